//! A gallery drawn from the simulated planet.

use homing_models::LatLon;
use homing_models::sites::Labels;
use homing_planet::camera::Camera;
use homing_planet::hash::{Rng, fold};
use homing_planet::moment::Moment;
use homing_planet::{Planet, Site, Split};
use rayon::prelude::*;

use super::{Gallery, Sample, Scenery, ViewError};

/// Sites of one split of the planet; pictures are rendered when asked for.
pub struct PlanetGallery {
    planet: &'static Planet,
    sites: Vec<Site>,
    samples: Vec<Sample>,
}

impl PlanetGallery {
    /// The sites 0..`count` of a split.
    pub fn draw(split: Split, seed: u64, count: usize) -> Self {
        let planet = Planet::get();
        let sites: Vec<Site> = (0..count as u64).into_par_iter().map(|i| planet.site(split, seed, i)).collect();
        let samples = sites.par_iter().map(|site| sample_of(planet, site)).collect();
        PlanetGallery { planet, sites, samples }
    }

    /// The sites behind the samples.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// When the pictures of this variant are taken.
    fn moment(&self, sample: usize, variant: u64) -> Moment {
        let site = &self.sites[sample];
        if variant == 0 {
            return site.moment;
        }
        Moment::draw(self.planet, site.position, &mut Rng::new(fold(site.moment.seed, variant)))
    }
}

fn sample_of(planet: &Planet, site: &Site) -> Sample {
    let labels = planet.aux_labels(site);
    Sample {
        position: site.position,
        country: planet.country(labels.country).iso,
        admin1: labels.admin1.to_owned(),
        admin2: labels.admin2.to_owned(),
        town: labels.town.to_owned(),
        labels: Labels::from(&labels),
    }
}

/// Renders views of a site: four used cameras on the roof, whose small faults follow from the moment.
fn render(
    planet: &Planet,
    position: LatLon,
    heading_deg: f64,
    moment: &Moment,
    views: impl Iterator<Item = usize>,
    size_px: usize,
    out: &mut [u8],
) {
    let scene = planet.scene(position, heading_deg, moment);
    for (bearing, out) in views.zip(out.chunks_exact_mut(3 * size_px * size_px)) {
        let camera = Camera::used(size_px, fold(moment.seed, bearing as u64));
        scene.view_into(90.0 * bearing as f32, &camera, out);
    }
}

impl Gallery for PlanetGallery {
    fn samples(&self) -> &[Sample] {
        &self.samples
    }

    fn views(&self, _: usize) -> usize {
        homing_models::MAX_VIEWS
    }

    fn month(&self, sample: usize, variant: u64) -> Option<usize> {
        Some(self.moment(sample, variant).month())
    }

    fn heading_deg(&self, sample: usize) -> Option<f64> {
        Some(self.sites[sample].heading_deg)
    }

    fn scenery(&self, sample: usize, variant: u64) -> Option<Scenery> {
        let (moment, position) = (self.moment(sample, variant), self.sites[sample].position);
        let w = moment.weather;
        let weather = match w {
            _ if w.fog > 0.0 => "in fog",
            _ if w.rain > 0.0 => "in the rain",
            _ if w.snow > 0.0 => "in the snow",
            _ if w.cloud > 0.7 => "under an overcast sky",
            _ if w.cloud > 0.3 => "under a cloudy sky",
            _ => "under a clear sky",
        };
        let light = match moment.sun(position).elevation.to_degrees() {
            height if height < -6.0 => "at night",
            height if height < 8.0 => "in low light",
            _ => "by day",
        };
        let surroundings = match self.planet.population_km2(position) {
            people if people < 50.0 => "a country road",
            people if people < 400.0 => "a road through a village",
            people if people < 2500.0 => "a street in a town",
            _ => "a street in a city",
        };
        Some(Scenery { weather, light, surroundings })
    }

    fn views_into(&self, sample: usize, variant: u64, size_px: usize, out: &mut [u8]) -> Result<(), ViewError> {
        let (asked, views) = (out.len() / (3 * size_px * size_px), self.views(sample));
        if asked > views {
            return Err(ViewError::NoSuchView { sample, views, asked: asked - 1 });
        }
        let site = &self.sites[sample];
        let moment = self.moment(sample, variant);
        render(self.planet, site.position, site.heading_deg, &moment, 0..asked, size_px, out);
        Ok(())
    }

    fn view_into(
        &self,
        sample: usize,
        variant: u64,
        bearing: usize,
        size_px: usize,
        out: &mut [u8],
    ) -> Result<(), ViewError> {
        let views = self.views(sample);
        if bearing >= views {
            return Err(ViewError::NoSuchView { sample, views, asked: bearing });
        }
        let site = &self.sites[sample];
        let moment = self.moment(sample, variant);
        render(self.planet, site.position, site.heading_deg, &moment, bearing..bearing + 1, size_px, out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_view_is_that_view_of_the_panorama_and_variants_differ() {
        let gallery = PlanetGallery::draw(Split::Train, 4, 3);
        let size = 24;
        let mut four = vec![0; 4 * 3 * size * size];
        let mut one = vec![0; 3 * size * size];
        gallery.views_into(1, 0, size, &mut four).unwrap();
        for bearing in 0..4 {
            gallery.view_into(1, 0, bearing, size, &mut one).unwrap();
            assert_eq!(one, four[bearing * one.len()..][..one.len()]);
        }
        gallery.view_into(1, 1, 3, size, &mut one).unwrap();
        assert_ne!(one, four[3 * one.len()..]);
        assert_eq!(gallery.month(1, 0), Some(gallery.sites()[1].moment.month()));
        assert!(gallery.view_into(1, 0, 4, size, &mut one).is_err());
    }

    #[test]
    fn samples_carry_the_planets_labels() {
        let gallery = PlanetGallery::draw(Split::Train, 4, 50);
        for sample in gallery.samples() {
            let at = Planet::get().country_at(sample.position).unwrap();
            assert_eq!(Planet::get().country(at).iso, sample.country);
            assert!(sample.labels.quantities.iter().all(|v| v.is_some_and(f32::is_finite)));
        }
        let tasks = super::super::task_list(&gallery);
        assert_eq!(tasks.fault(), None);
        assert_eq!(tasks.names().count(), 8);
    }
}
