//! How near the simulated planet's regional fields lead: an observer who reads them in place of pictures.
//!
//! Pictures show a region by ten smooth fields, and each place deviates from its region by half of their spread (see
//! [`homing_planet::field`]), which keeps even a perfect reader from naming the place. The observer is given the country;
//! knows of every site that may be answered the region's fields and the labels, and takes the deviation for chance; and
//! reads of the site that is asked for the fields that its pictures are painted with and some labels, to within errors of
//! its own. It answers the known site with the most probability within 25 km (Bayes' rule, all known sites alike likely
//! before).
//!
//! That is an estimate of what can be had near towns never seen, no bound: pictures tell more than this observer reads
//! (the skyline of a neighbourhood, the height of houses, the style of a town nearby), and a model has to find out the
//! country first. Of towns that were seen it says nothing: their style names them.

use std::collections::HashMap;

use homing_models::LatLon;
use homing_models::figures::{Figures, Outcome, Tally};
use homing_models::geo::EARTH_RADIUS_KM;
use homing_models::sites::Labels;
use homing_planet::field::{Fields, REGIONAL};
use homing_planet::hash::{Rng, fold};
use rayon::prelude::*;

use crate::dataset::{Gallery, Sample};

/// The answer is the site with the most probability within so many kilometres.
const AROUND_KM: f64 = 25.0;
/// So many of the likeliest sites are weighed against each other; four times as many change no share by a point.
const WEIGHED: usize = 1000;
/// What a site counts in whose country no site is known: half the way around.
const LOST_KM: f64 = 20_000.0;

/// How well an observer reads the pictures of a site.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Error of each regional field, in that field's standard deviations.
    pub fields: f64,
    /// Errors of elevation (m), inhabitants (of their natural logarithm), temperature and its range (degrees Celsius),
    /// precipitation and its range (mm a day), all above 0; `None` where no label is read.
    pub labels: Option<[f64; 6]>,
}

/// A site that may be answered.
struct Known {
    position: LatLon,
    unit: [f64; 3],
    regional: [f32; REGIONAL],
    labels: [f64; 6],
}

/// The sites that may be answered, and how the planet's fields vary among them.
pub struct Observer {
    by_country: HashMap<[u8; 2], Vec<Known>>,
    /// Standard deviation of each regional field.
    regional: [f64; REGIONAL],
    /// Root mean square of each field's local deviation.
    local: [f64; REGIONAL],
}

impl Observer {
    /// Knows the sites of a gallery of the planet.
    pub fn of(gallery: &dyn Gallery) -> Self {
        let samples = gallery.samples();
        let fields: Vec<Fields> = samples.par_iter().map(|sample| Fields::at(sample.position)).collect();
        let mean = |of: &dyn Fn(&Fields) -> f64| fields.iter().map(of).sum::<f64>() / fields.len().max(1) as f64;
        let regional = std::array::from_fn(|i| {
            let middle = mean(&|f| f64::from(f.regional[i]));
            mean(&|f| (f64::from(f.regional[i]) - middle).powi(2)).sqrt()
        });
        let local = std::array::from_fn(|i| mean(&|f| f64::from(f.local[i] - f.regional[i]).powi(2)).sqrt());
        let mut by_country: HashMap<[u8; 2], Vec<Known>> = HashMap::new();
        for (sample, fields) in samples.iter().zip(&fields) {
            let (position, regional) = (sample.position, fields.regional);
            let known = Known { position, unit: position.unit(), regional, labels: readable(&sample.labels) };
            by_country.entry(sample.country).or_default().push(known);
        }
        Observer { by_country, regional, local }
    }

    /// Figures at the sites of another gallery of the planet; the reading errors follow from `seed`. The country is given
    /// and has no figure.
    pub fn examine(&self, asked: &dyn Gallery, reading: Reading, seed: u64) -> Figures {
        let distance_km = |(i, sample): (usize, &Sample)| {
            let answer = self.answer(sample, reading, Rng::new(fold(seed, i as u64)));
            answer.map_or(LOST_KM, |answer| answer.distance_km(sample.position))
        };
        let distances: Vec<f64> = asked.samples().par_iter().enumerate().map(distance_km).collect();
        let mut tally = Tally::default();
        for distance_km in distances {
            tally.push(&Outcome { distance_km, ..Outcome::default() });
        }
        tally.figures()
    }

    fn answer(&self, sample: &Sample, reading: Reading, mut chance: Rng) -> Option<LatLon> {
        let known = self.by_country.get(&sample.country)?;
        let mut read = |truth: f64, error: f64| truth + error * f64::from(chance.normal());
        let painted = Fields::at(sample.position).local;
        // Each feature as it is read, and one over the variance of that about what is known of the right site.
        let fields: [(f64, f64); REGIONAL] = std::array::from_fn(|i| {
            let error = reading.fields * self.regional[i];
            (read(f64::from(painted[i]), error), (error.powi(2) + self.local[i].powi(2)).recip())
        });
        let labels = reading.labels.map(|errors| {
            let truths = readable(&sample.labels);
            std::array::from_fn::<_, 6, _>(|i| (read(truths[i], errors[i]), errors[i].powi(-2)))
        });
        let log_likelihood = |site: &Known| {
            let regional = site.regional.map(f64::from);
            let labels = labels.map_or(0.0, |labels| misfit(&labels, &site.labels));
            -0.5 * (misfit(&fields, &regional) + labels)
        };
        let mut likeliest: Vec<(f64, &Known)> = known.iter().map(|site| (log_likelihood(site), site)).collect();
        likeliest.sort_by(|a, b| b.0.total_cmp(&a.0));
        likeliest.truncate(WEIGHED);
        let best = likeliest.first()?.0;
        likeliest.iter_mut().for_each(|(weight, _)| *weight = (*weight - best).exp());
        let near = (AROUND_KM / EARTH_RADIUS_KM).cos();
        let around = |at: &Known| -> f64 {
            let cosine = |u: [f64; 3]| at.unit[0] * u[0] + at.unit[1] * u[1] + at.unit[2] * u[2];
            likeliest.iter().filter(|(_, site)| cosine(site.unit) >= near).map(|(weight, _)| weight).sum()
        };
        let weighed = likeliest.iter().map(|(_, site)| (around(site), site.position));
        weighed.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, position)| position)
    }
}

/// Sum of squared differences in standard deviations; features are pairs of a value and one over its variance.
fn misfit<const N: usize>(read: &[(f64, f64); N], known: &[f64; N]) -> f64 {
    read.iter().zip(known).map(|((value, precision), known)| (value - known).powi(2) * precision).sum()
}

/// The labels in the form in which they are read: inhabitants, who span five decades, by their logarithm.
fn readable(labels: &Labels) -> [f64; 6] {
    let mut labels = labels.quantities.map(|quantity| quantity.map_or(0.0, f64::from));
    labels[1] = labels[1].max(0.0).ln_1p();
    labels
}

#[cfg(test)]
mod tests {
    use homing_planet::Split;

    use super::*;
    use crate::dataset::PlanetGallery;

    fn within(observer: &Observer, asked: &PlanetGallery, fields: f64, labels: Option<[f64; 6]>) -> [f64; 5] {
        observer.examine(asked, Reading { fields, labels }, 1).within.shares()
    }

    #[test]
    fn the_local_deviation_keeps_even_a_perfect_reader_from_towns_never_seen() {
        let observer = Observer::of(&PlanetGallery::draw(Split::Train, 1, 40_000));
        let towns = PlanetGallery::draw(Split::Towns, 1, 1500);
        let [_, exact, region, ..] = within(&observer, &towns, 0.0, None);
        let [_, half, ..] = within(&observer, &towns, 0.5, None);
        let [_, blind, blind_region, ..] = within(&observer, &towns, 1e6, None);
        // Half of a field's deviation hides the place; ten fields together still tell its surroundings.
        assert!((25.0..45.0).contains(&exact) && region > 80.0, "{exact} {region}");
        assert!(exact > half + 2.0 && half > blind + 5.0, "{exact} {half} {blind}");
        assert!(blind < 25.0 && blind_region < 60.0, "{blind} {blind_region}");
        // Labels narrow it down; read with great errors they tell nothing.
        let [_, told, ..] = within(&observer, &towns, 0.0, Some([120.0, 0.3, 1.0, 1.5, 0.2, 0.5]));
        assert!(told > exact + 1.0, "{told} {exact}");
        assert_eq!(within(&observer, &towns, 0.0, Some([1e12; 6])), within(&observer, &towns, 0.0, None));
    }

    #[test]
    fn without_a_known_site_in_the_country_the_answer_is_lost() {
        let observer = Observer::of(&PlanetGallery::draw(Split::Train, 1, 0));
        let figures =
            observer.examine(&PlanetGallery::draw(Split::Towns, 1, 3), Reading { fields: 0.0, labels: None }, 1);
        assert_eq!(figures.median_km, LOST_KM);
    }
}
