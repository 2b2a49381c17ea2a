//! Captions for contrastive pretraining, made of a sample's labels (method section 4).
//!
//! A caption starts with where the picture was taken; climate, driving side, compass direction and month follow in any
//! order. Each part is there by chance, and only if its label is known.

use homing_planet::hash::Rng;
use homing_planet::{CountryId, Koeppen, Planet, Split};

use crate::dataset::{Gallery, MONTHS, Scenery};

/// Probability that the location names the town.
pub const TOWN: f32 = 0.4;
/// Probability that the location names the region.
pub const REGION: f32 = 0.6;
/// Probability of the sentence on the climate.
pub const CLIMATE: f32 = 0.4;
/// Probability of the sentence on the driving side.
pub const DRIVING_SIDE: f32 = 0.3;
/// Probability of the sentence on the compass direction.
pub const COMPASS: f32 = 0.3;
/// Probability of the sentence on the month.
pub const MONTH: f32 = 0.3;

/// The climate zones in words, in the order of [`Koeppen::CODES`].
pub const CLIMATES: [&str; Koeppen::CODES.len()] = [
    "tropical rainforest",
    "tropical monsoon",
    "tropical savanna",
    "hot desert",
    "cold desert",
    "hot steppe",
    "cold steppe",
    "hot-summer Mediterranean",
    "warm-summer Mediterranean",
    "cold-summer Mediterranean",
    "humid subtropical monsoon",
    "subtropical highland",
    "cold subtropical highland",
    "humid subtropical",
    "temperate oceanic",
    "subpolar oceanic",
    "hot, dry-summer continental",
    "warm, dry-summer continental",
    "dry-summer subarctic",
    "severely cold, dry-summer subarctic",
    "hot, dry-winter continental",
    "warm, dry-winter continental",
    "dry-winter subarctic",
    "severely cold, dry-winter subarctic",
    "hot-summer humid continental",
    "warm-summer humid continental",
    "subarctic",
    "severely cold subarctic",
    "tundra",
    "ice cap",
];

/// The eight compass directions, clockwise from north.
pub const DIRECTIONS: [&str; 8] =
    ["north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest"];

/// What is known about one view; each part of a caption says one of these.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ViewLabels<'g> {
    /// The town, not empty.
    pub town: Option<&'g str>,
    /// The first-level administrative unit, not empty.
    pub region: Option<&'g str>,
    /// The country's English short name.
    pub country: Option<&'g str>,
    /// The climate zone in words, from [`CLIMATES`].
    pub climate: Option<&'static str>,
    /// Whether traffic keeps to the left.
    pub left: Option<bool>,
    /// Where the camera looks, from [`DIRECTIONS`].
    pub direction: Option<&'static str>,
    /// Name of the month.
    pub month: Option<&'static str>,
}

impl<'g> ViewLabels<'g> {
    /// The labels of a view: `bearing` 0 front, 1 right, 2 back, 3 left. Country and driving side are looked up by the
    /// sample's ISO code.
    pub fn of(gallery: &'g dyn Gallery, sample: usize, variant: u64, bearing: usize) -> Self {
        let labels = &gallery.samples()[sample];
        let country = Planet::get().countries().iter().find(|c| c.iso == labels.country);
        let view_deg = gallery.heading_deg(sample).map(|heading| heading + 90.0 * bearing as f64);
        let named = |name: &'g str| Some(name).filter(|name| !name.trim().is_empty());
        ViewLabels {
            town: named(&labels.town),
            region: named(&labels.admin1),
            country: country.map(|c| c.name.as_str()),
            climate: labels.labels.koeppen.and_then(|zone| CLIMATES.get(zone).copied()),
            left: country.map(|c| c.facts.left),
            direction: view_deg.map(direction),
            month: gallery.month(sample, variant).and_then(|month| MONTHS.get(month).copied()),
        }
    }

    /// A caption drawn from these labels: one to five sentences.
    pub fn caption(&self, rng: &mut Rng) -> String {
        // All draws are made whatever is known, so that a label which comes to be known changes no other part.
        let [town, region, climate, side, compass, month] =
            [TOWN, REGION, CLIMATE, DRIVING_SIDE, COMPASS, MONTH].map(|p| rng.chance(p));
        let location = location(self.town.filter(|_| town), self.region.filter(|_| region), self.country);
        let side_name = |left| if left { "left" } else { "right" };
        let mut rest = [
            self.climate.filter(|_| climate).map(|zone| format!("This location has {} climate.", with_article(zone))),
            self.left
                .filter(|_| side)
                .map(|left| format!("In this location, people drive on the {} side of the road.", side_name(left))),
            self.direction.filter(|_| compass).map(|direction| format!("This photo is facing {direction}.")),
            self.month.filter(|_| month).map(|month| format!("This photo was taken in {month}.")),
        ];
        // Fisher and Yates.
        for i in (1..rest.len()).rev() {
            rest.swap(i, rng.below(i + 1));
        }
        std::iter::once(location).chain(rest.into_iter().flatten()).collect::<Vec<_>>().join(" ")
    }
}

/// Probability that a caption of the web names the country.
pub const WEB_COUNTRY: f32 = 0.3;

/// A caption as the web has them: what is to be seen, and now and then the country.
pub fn web_caption(scenery: Option<Scenery>, country: Option<&str>, rng: &mut Rng) -> String {
    let mut text = "A photo of ".to_owned();
    text += scenery.map_or("a road", |s| s.surroundings);
    let told = rng.chance(WEB_COUNTRY);
    if let Some(country) = country.filter(|_| told) {
        text += &format!(" in {country}");
    }
    if let Some(s) = scenery {
        text += &format!(" {} {}", s.weather, s.light);
    }
    text + "."
}

/// "A Street View photo close to the town of T in the region of R in C.", less what is not given.
fn location(town: Option<&str>, region: Option<&str>, country: Option<&str>) -> String {
    let mut text = "A Street View photo".to_owned();
    for (before, name) in [(" close to the town of ", town), (" in the region of ", region), (" in ", country)] {
        if let Some(name) = name {
            text.push_str(before);
            // A user's file may break a name over lines.
            text.push_str(&name.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    if !text.ends_with('.') {
        text.push('.');
    }
    text
}

fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {noun}")
}

/// The nearest of the eight directions.
fn direction(view_deg: f64) -> &'static str {
    let sector = (view_deg.rem_euclid(360.0) / 45.0).round() as usize;
    DIRECTIONS[sector % DIRECTIONS.len()]
}

/// The caption of a country without anything else, as [`ViewLabels::caption`] words it.
pub fn country_caption(name: &str) -> String {
    location(None, None, Some(name))
}

/// The captions that a zero-shot prediction chooses from: one for each country with sites, in the planet's order.
pub fn country_captions(planet: &Planet) -> Vec<(CountryId, String)> {
    let mut covered = vec![false; planet.countries().len()];
    for split in [Split::Train, Split::Towns, Split::TownsValidation] {
        for &town in planet.towns(split) {
            covered[usize::from(planet.place(town).country.0)] = true;
        }
    }
    let countries = planet.countries().iter().zip(covered).enumerate();
    countries
        .filter(|(_, (_, covered))| *covered)
        .map(|(i, (country, _))| (CountryId(i as u16), country_caption(&country.name)))
        .collect()
}

#[cfg(test)]
#[path = "captions_tests.rs"]
mod tests;
