//! A simulated Earth: real places, borders, relief and driving sides; everything else by formula and hash.
//!
//! The data is embedded and decoded once, at the first [`Planet::get`]. Whatever stands on the ground is a pure
//! function of its position; chance comes from [`hash`] alone, so the planet is the same on every machine.

mod aux_labels;
pub mod camera;
pub mod climate;
pub mod country;
pub mod data;
mod elevation;
mod facts;
pub mod field;
pub mod gazetteer;
pub mod hash;
mod koeppen;
pub mod moment;
pub mod outline;
mod paint;
mod population;
pub mod roads;
mod scene;
pub mod sites;
mod wind;

use std::sync::{LazyLock, OnceLock};

pub use aux_labels::AuxLabels;
pub use camera::{Camera, Faults, Frame};
pub use climate::{Climate, Koeppen};
pub use country::{Country, CountryId, Facts};
pub use gazetteer::Place;
pub use homing_models::LatLon;
pub use moment::{Moment, Weather};
pub use outline::Ring;
pub use scene::Scene;
pub use sites::{Site, Split};

use data::{DataError, EMBEDDED, Sections};
use elevation::Elevation;
use gazetteer::Gazetteer;
use outline::Outlines;
use population::Population;
use sites::Coverage;
use wind::WindMap;

/// The simulated Earth.
pub struct Planet {
    countries: Vec<Country>,
    gazetteer: Gazetteer,
    outlines: Outlines,
    elevation: Elevation,
    population: Population,
    winds: WindMap,
    coverage: OnceLock<Coverage>,
}

impl Planet {
    /// The planet; decoded from the embedded data at the first call.
    ///
    /// # Panics
    /// When the embedded data is damaged, which the tests rule out.
    pub fn get() -> &'static Planet {
        static PLANET: LazyLock<Planet> = LazyLock::new(|| match Planet::decode(EMBEDDED) {
            Ok(planet) => planet,
            Err(error) => panic!("{error}"),
        });
        &PLANET
    }

    fn decode(file: &[u8]) -> Result<Planet, DataError> {
        let sections = Sections::open(file)?;
        let (mut countries, mut inhabitants) = (Vec::new(), Vec::new());
        for line in sections.text("CTRY")?.lines() {
            let mut cells = line.split('\t');
            let (Some(code), Some(name), Some(people)) = (cells.next(), cells.next(), cells.next()) else {
                return Err(DataError::Damaged("CTRY"));
            };
            let iso: [u8; 2] = code.as_bytes().try_into().map_err(|_| DataError::Damaged("CTRY"))?;
            countries.push(Country { iso, name: name.to_owned(), facts: facts::facts_of(iso) });
            inhabitants.push(people.parse().map_err(|_| DataError::Damaged("CTRY"))?);
        }
        let gazetteer = Gazetteer::decode(&sections, countries.len())?;
        let outlines = Outlines::decode(&sections, countries.len())?;
        let elevation = Elevation::decode(&sections)?;
        let population = Population::new(&gazetteer, &inhabitants);
        let winds = WindMap::new(&outlines, &elevation);
        let coverage = OnceLock::new();
        Ok(Planet { countries, gazetteer, outlines, elevation, population, winds, coverage })
    }

    /// All countries and territories by ISO code; [`CountryId`] is an index into this slice.
    pub fn countries(&self) -> &[Country] {
        &self.countries
    }

    /// A country of the table.
    ///
    /// # Panics
    /// When the id is not from this planet.
    pub fn country(&self, id: CountryId) -> &Country {
        &self.countries[usize::from(id.0)]
    }

    /// The country that contains the position, or the one whose outline is nearest within 20 km.
    pub fn country_at(&self, p: LatLon) -> Option<CountryId> {
        self.outlines.country_at(p)
    }

    /// The country whose outline contains the position; `None` on the sea.
    pub fn land_at(&self, p: LatLon) -> Option<CountryId> {
        self.outlines.inside(p)
    }

    /// The outlines of all countries, for maps: land and (by the even-odd rule) holes.
    pub fn rings(&self) -> &[Ring] {
        self.outlines.rings()
    }

    /// Elevation in metres, bilinear on 1/6 degree; the sea is 0, below it lie only depressions of the land.
    pub fn elevation_m(&self, p: LatLon) -> f32 {
        self.elevation.at(p)
    }

    /// Highest minus lowest elevation within about 13 km, in metres.
    pub fn relief_m(&self, p: LatLon) -> f32 {
        self.elevation.relief(p)
    }

    /// Twelve months of temperature and precipitation.
    pub fn climate(&self, p: LatLon) -> Climate {
        Climate::at(p, self.elevation.at(p), &self.winds.at(p))
    }

    /// Inhabitants per square kilometre, continuous in the position.
    pub fn population_km2(&self, p: LatLon) -> f32 {
        self.population.at(p)
    }

    /// A place by its index.
    ///
    /// # Panics
    /// When the index is not below the number of [`Planet::places`].
    pub fn place(&self, index: u32) -> Place<'_> {
        self.gazetteer.place(index)
    }

    /// All places, sorted by country, first and second administrative unit.
    pub fn places(&self) -> impl ExactSizeIterator<Item = Place<'_>> {
        (0..self.gazetteer.len() as u32).map(|index| self.place(index))
    }

    /// The place whose centre is nearest.
    pub fn nearest_place(&self, p: LatLon) -> Place<'_> {
        self.place(self.gazetteer.nearest(p))
    }

    /// Places whose centres lie up to `km` away, nearest first.
    pub fn places_within(&self, p: LatLon, km: f64) -> Vec<Place<'_>> {
        self.gazetteer.within(p, km)
    }

    fn coverage(&self) -> &Coverage {
        self.coverage.get_or_init(|| Coverage::new(self))
    }
}
