//! What is known about a site beside its position: the labels of the auxiliary heads and of captions.

use homing_models::sites::Labels;

use crate::climate::Koeppen;
use crate::country::CountryId;
use crate::{Planet, Site};

/// The auxiliary labels of a site.
#[derive(Clone, Debug, PartialEq)]
pub struct AuxLabels<'p> {
    /// The country.
    pub country: CountryId,
    /// Name of the first-level unit of the site's town.
    pub admin1: &'p str,
    /// Name of the second-level unit of the site's town.
    pub admin2: &'p str,
    /// The site's town.
    pub town: &'p str,
    /// Elevation in metres.
    pub elevation_m: f32,
    /// Inhabitants per square kilometre.
    pub population_km2: f32,
    /// Mean temperature of the year in degrees Celsius.
    pub temperature_c: f32,
    /// Warmest minus coldest month in degrees Celsius.
    pub temperature_range_c: f32,
    /// Mean precipitation of the year in millimetres a day.
    pub precipitation_mm_day: f32,
    /// Wettest minus driest month in millimetres a day.
    pub precipitation_range_mm_day: f32,
    /// The climate zone.
    pub koeppen: Koeppen,
    /// Month of the picture, 0 (January) to 11.
    pub month: usize,
    /// Whether traffic keeps to the left.
    pub left: bool,
    /// Heading of the vehicle, degrees clockwise from north.
    pub heading_deg: f64,
}

impl From<&AuxLabels<'_>> for Labels {
    fn from(l: &AuxLabels<'_>) -> Self {
        let quantities = [
            l.elevation_m,
            l.population_km2,
            l.temperature_c,
            l.temperature_range_c,
            l.precipitation_mm_day,
            l.precipitation_range_mm_day,
        ];
        Labels { quantities: quantities.map(Some), koeppen: Some(l.koeppen.index()), month: Some(l.month) }
    }
}

impl Planet {
    /// The auxiliary labels of a site.
    pub fn aux_labels(&self, site: &Site) -> AuxLabels<'_> {
        let town = self.place(site.town);
        let climate = self.climate(site.position);
        AuxLabels {
            country: town.country,
            admin1: town.admin1,
            admin2: town.admin2,
            town: town.name,
            elevation_m: self.elevation_m(site.position),
            population_km2: self.population_km2(site.position),
            temperature_c: climate.mean_temperature_c(),
            temperature_range_c: climate.temperature_range_c(),
            precipitation_mm_day: climate.mean_precipitation_mm_day(),
            precipitation_range_mm_day: climate.precipitation_range_mm_day(),
            koeppen: climate.koeppen(),
            month: site.moment.month(),
            left: self.country(town.country).facts.left,
            heading_deg: site.heading_deg,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Planet, Split};

    #[test]
    fn labels_are_finite_and_agree_with_the_planet() {
        let planet = Planet::get();
        for i in 0..500 {
            let site = planet.site(Split::Random, 5, i);
            let labels = planet.aux_labels(&site);
            assert_eq!(Some(labels.country), planet.country_at(site.position));
            assert!(labels.month < 12 && labels.population_km2 >= 0.0 && labels.precipitation_mm_day >= 0.0);
            assert!(labels.temperature_range_c >= 0.0 && labels.precipitation_range_mm_day >= 0.0);
            assert!((-450.0..6000.0).contains(&labels.elevation_m), "{}", labels.elevation_m);
            assert!((-35.0..40.0).contains(&labels.temperature_c), "{}", labels.temperature_c);
            assert!(!labels.town.is_empty() && !labels.admin2.is_empty());
        }
    }
}
