//! Places with people: names, positions, populations, administrative units (GeoNames, 1,000 inhabitants or more).

use homing_models::{LatLon, geo::EARTH_RADIUS_KM};
use kiddo::{ImmutableKdTree, SquaredEuclidean};

use crate::country::CountryId;
use crate::data::{DataError, Numbers, Sections, words};

/// Coordinates are whole 1e-4 degrees.
const DEGREE: f64 = 10_000.0;
/// A place that may lend its name to the second-level unit around it, where GeoNames knows none.
const SEAT: u32 = 15_000;

/// A place of the gazetteer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place<'p> {
    /// Its index, as in [`crate::Site::town`].
    pub index: u32,
    /// Its name.
    pub name: &'p str,
    /// Its centre.
    pub position: LatLon,
    /// Its inhabitants, to two significant digits.
    pub population: u32,
    /// Its country.
    pub country: CountryId,
    /// First-level unit (state, region); empty where GeoNames knows none.
    pub admin1: &'p str,
    /// Second-level unit (county, district) by GeoNames, or, where it knows none, the nearest place of 15,000
    /// inhabitants in the same first-level unit (or that unit's largest place).
    pub admin2: &'p str,
}

/// Lines of text, each found by its number.
struct Lines {
    text: String,
    ends: Vec<u32>,
}

impl Lines {
    fn new(text: String) -> Self {
        let breaks = text.bytes().enumerate().filter(|&(_, b)| b == b'\n').map(|(at, _)| at as u32);
        let ends = breaks.chain([text.len() as u32]).collect();
        Lines { text, ends }
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, line: usize) -> &str {
        let start = if line == 0 { 0 } else { self.ends[line - 1] as usize + 1 };
        &self.text[start..self.ends[line] as usize]
    }
}

/// A first- or second-level unit: its country and the lines of its names.
#[derive(Clone, Copy)]
struct Unit {
    country: u16,
    admin1: u32,
    admin2: u32,
}

/// All places, sorted by country, first and second unit.
pub(crate) struct Gazetteer {
    names: Lines,
    admin1: Lines,
    admin2: Lines,
    units: Vec<Unit>,
    unit_of: Vec<u32>,
    positions: Vec<[i32; 2]>,
    populations: Vec<u32>,
    /// For places in a second unit without a name: the place that lends its own.
    seats: Vec<u32>,
    tree: ImmutableKdTree<f64, 3>,
}

impl Gazetteer {
    pub(crate) fn decode(sections: &Sections, countries: usize) -> Result<Self, DataError> {
        let names = Lines::new(sections.text("NAME")?);
        let (admin1, admin2) = (Lines::new(sections.text("ADM1")?), Lines::new(sections.text("ADM2")?));
        let raw = sections.unpack("UNIT")?;
        let mut numbers = Numbers::of("UNIT", &raw);
        let (mut units, mut unit_of) = (Vec::with_capacity(admin2.len()), Vec::with_capacity(names.len()));
        let (mut first, mut country) = (0u32, 0u32);
        while !numbers.at_end() {
            if numbers.unsigned()? == 1 {
                country = numbers.unsigned()?;
                first += 1;
            }
            let unit = Unit { country: country as u16, admin1: first.wrapping_sub(1), admin2: units.len() as u32 };
            if country as usize >= countries || unit.admin1 as usize >= admin1.len() || units.len() >= admin2.len() {
                return Err(DataError::Damaged("UNIT"));
            }
            let count = numbers.unsigned()? as usize;
            if unit_of.len() + count > names.len() {
                return Err(DataError::Damaged("UNIT"));
            }
            unit_of.resize(unit_of.len() + count, units.len() as u32);
            units.push(unit);
        }
        let (lats, lons) = (sections.unpack("LATS")?, sections.unpack("LONS")?);
        let (mut lats, mut lons) = (Numbers::of("LATS", &lats), Numbers::of("LONS", &lons));
        let (mut y, mut x) = (0i32, 0i32);
        let mut positions = Vec::with_capacity(names.len());
        for _ in 0..names.len() {
            y = y.wrapping_add(lats.signed()?);
            x = x.wrapping_add(lons.signed()?);
            positions.push([y, x]);
        }
        let populations: Vec<u32> = words(&sections.unpack("POPS")?).map(two_digits).collect();
        if unit_of.len() != names.len() || populations.len() != names.len() {
            return Err(DataError::Damaged("POPS"));
        }
        let points: Vec<[f64; 3]> = positions.iter().map(|&p| position(p).unit()).collect();
        let tree = ImmutableKdTree::new_from_slice(&points).map_err(|_| DataError::Damaged("LATS"))?;
        let mut gazetteer =
            Gazetteer { names, admin1, admin2, units, unit_of, positions, populations, seats: Vec::new(), tree };
        gazetteer.seats = gazetteer.find_seats();
        Ok(gazetteer)
    }

    /// For each place whose second unit has no name: the nearest larger place of its first unit.
    fn find_seats(&self) -> Vec<u32> {
        let mut seats: Vec<u32> = (0..self.len() as u32).collect();
        let first_of = |i: usize| self.units[self.unit_of[i] as usize].admin1;
        let mut start = 0;
        while start < self.len() {
            let end = (start..self.len()).find(|&i| first_of(i) != first_of(start)).unwrap_or(self.len());
            let mut large: Vec<usize> = (start..end).filter(|&i| self.populations[i] >= SEAT).collect();
            if large.is_empty() {
                large.extend((start..end).max_by_key(|&i| self.populations[i]));
            }
            for (place, own) in seats.iter_mut().enumerate().take(end).skip(start) {
                if self.admin2.get(self.unit_of[place] as usize).is_empty() {
                    let [y, x] = self.positions[place];
                    let shrink = (f64::from(y) / DEGREE).to_radians().cos();
                    let seat = large.iter().copied().min_by_key(|&i| {
                        let [dy, dx] = [self.positions[i][0] - y, self.positions[i][1] - x];
                        (f64::from(dy).powi(2) + (f64::from(dx) * shrink).powi(2)) as u64
                    });
                    *own = seat.unwrap_or(place) as u32;
                }
            }
            start = end;
        }
        seats
    }

    pub(crate) fn len(&self) -> usize {
        self.positions.len()
    }

    /// # Panics
    /// When `index` is not below [`Gazetteer::len`].
    pub(crate) fn place(&self, index: u32) -> Place<'_> {
        let i = index as usize;
        let unit = self.units[self.unit_of[i] as usize];
        let admin2 = match self.admin2.get(unit.admin2 as usize) {
            "" => self.names.get(self.seats[i] as usize),
            name => name,
        };
        Place {
            index,
            name: self.names.get(i),
            position: position(self.positions[i]),
            population: self.populations[i],
            country: CountryId(unit.country),
            admin1: self.admin1.get(unit.admin1 as usize),
            admin2,
        }
    }

    /// Position, inhabitants and country of a place, for passes over all of them.
    pub(crate) fn position_and_people(&self, index: u32) -> (LatLon, u32, usize) {
        let i = index as usize;
        (position(self.positions[i]), self.populations[i], self.units[self.unit_of[i] as usize].country.into())
    }

    /// Index of the nearest place.
    pub(crate) fn nearest(&self, p: LatLon) -> u32 {
        self.tree.query(&p.unit()).nearest_one::<SquaredEuclidean<f64>>().execute().item
    }

    /// Places up to `km` away, nearest first.
    pub(crate) fn within(&self, p: LatLon, km: f64) -> Vec<Place<'_>> {
        let chord = 2.0 * (km / EARTH_RADIUS_KM / 2.0).min(std::f64::consts::FRAC_PI_2).sin();
        let found = self.tree.query(&p.unit()).within::<SquaredEuclidean<f64>>(chord * chord).execute();
        found.into_iter().map(|hit| self.place(hit.item)).collect()
    }
}

fn position([y, x]: [i32; 2]) -> LatLon {
    LatLon::wrapped(f64::from(y) / DEGREE, f64::from(x) / DEGREE)
}

/// 0..90 as is, then two significant digits: 90 numbers a decade.
fn two_digits(word: u16) -> u32 {
    let index = u32::from(word);
    if index < 100 {
        return index;
    }
    let decade = (index - 10) / 90;
    (index - 90 * decade).saturating_mul(10u32.saturating_pow(decade))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Planet;

    #[test]
    fn populations_keep_two_digits() {
        assert_eq!([0, 7, 99].map(two_digits), [0, 7, 99]);
        assert_eq!([100, 101, 189, 190, 191].map(two_digits), [100, 110, 990, 1000, 1100]);
    }

    #[test]
    fn known_places_are_found_with_their_units() {
        let planet = Planet::get();
        let at = |lat, lon| planet.nearest_place(LatLon::new(lat, lon).unwrap());
        let vienna = at(48.2085, 16.3721);
        assert_eq!(planet.country(vienna.country).code(), "AT");
        let lyon = at(45.7485, 4.8467);
        assert_eq!((lyon.name, lyon.admin1), ("Lyon", "Auvergne-Rhône-Alpes"));
        assert!(lyon.admin2.contains("Rhône"), "{}", lyon.admin2);
        assert!((400_000..600_000).contains(&lyon.population));
        let boulder = at(40.015, -105.2706);
        assert_eq!((boulder.name, boulder.admin1, boulder.admin2), ("Boulder", "Colorado", "Boulder County"));
    }

    #[test]
    fn nearest_and_within_agree_with_brute_force() {
        let planet = Planet::get();
        for (lat, lon) in [(51.0, 7.0), (-33.0, -70.5), (66.0, 179.99), (-17.8, -179.95)] {
            let p = LatLon::new(lat, lon).unwrap();
            let best = planet.places().min_by(|a, b| p.distance_km(a.position).total_cmp(&p.distance_km(b.position)));
            assert_eq!(planet.nearest_place(p).index, best.unwrap().index);
            let mut near: Vec<u32> = planet.places_within(p, 30.0).iter().map(|place| place.index).collect();
            near.sort_unstable();
            let brute = planet.places().filter(|place| p.distance_km(place.position) <= 30.0);
            assert_eq!(near, brute.map(|place| place.index).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_place_has_a_second_unit() {
        let planet = Planet::get();
        assert!(planet.places().len() > 100_000);
        assert!(planet.places().all(|place| !place.admin2.is_empty() && !place.name.is_empty()));
    }
}
