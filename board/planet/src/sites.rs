//! Where panoramas are taken: the covered towns, their hold-outs, and sites as a pure function of an index.
//!
//! 10,000 towns are *covered*: drawn from all places without replacement, by population^0.45, tempered by country so
//! that small countries are seen. By a hash of its position a town in twenty is held out of training for the final
//! figures and another one for validation. A site is drawn anew from (split, seed, index) alone, so any thread may
//! compute any site.

use homing_models::LatLon;

use crate::Planet;
use crate::gazetteer::Place;
use crate::hash::{Rng, fold, mix};
use crate::moment::Moment;
use crate::roads;

/// Towns with panoramas.
const COVERED: usize = 10_000;
/// Inhabitants count by this power.
const POPULATION_POWER: f64 = 0.45;
/// A country's towns together count by this power of their sum.
const COUNTRY_POWER: f64 = 0.58;
/// Half of the sites lie this close to their town's centre ...
const INNER_KM: f64 = 1.8;
/// ... the others in this ring around it.
const OUTER_KM: std::ops::Range<f64> = 2.0..15.0;
/// Positions drawn before a site falls back to its town's centre.
const TRIES: usize = 24;

/// The parts of the planet's sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// Sites to train on, around training towns.
    Train,
    /// Other sites around training towns, for choices during training.
    Validation,
    /// The random hold-out: other sites around training towns, for the final figures.
    Random,
    /// Sites around towns never seen in training, for the final figures.
    Towns,
    /// Sites around further towns never seen in training, for choices during training.
    TownsValidation,
}

impl Split {
    fn group(self) -> Group {
        match self {
            Split::Train | Split::Validation | Split::Random => Group::Training,
            Split::Towns => Group::HeldOut,
            Split::TownsValidation => Group::Validation,
        }
    }
}

/// What a town is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Training,
    HeldOut,
    Validation,
}

impl Group {
    /// By the town's position, so that other data keeps most towns in their group.
    fn of(place: &Place) -> Self {
        match mix(town_key(place) ^ 0x70_77_6e) % 20 {
            0 => Group::HeldOut,
            1 => Group::Validation,
            _ => Group::Training,
        }
    }
}

fn town_key(place: &Place) -> u64 {
    let whole = |deg: f64| (deg * 1e4).round() as i64 as u64;
    fold(whole(place.position.lat()), whole(place.position.lon()))
}

/// One place and moment where a panorama is taken.
#[derive(Clone, Debug)]
pub struct Site {
    /// Where the vehicle is, on a road.
    pub position: LatLon,
    /// Where the vehicle points, 0..360 degrees clockwise from north.
    pub heading_deg: f64,
    /// Index of the town it belongs to, for [`Planet::place`].
    pub town: u32,
    /// When, and in which weather.
    pub moment: Moment,
}

/// The covered towns of one group with their running weights.
#[derive(Default)]
struct Towns {
    places: Vec<u32>,
    running: Vec<f64>,
}

impl Towns {
    fn push(&mut self, place: u32, weight: f64) {
        self.places.push(place);
        self.running.push(self.running.last().copied().unwrap_or(0.0) + weight);
    }

    fn draw(&self, rng: &mut Rng) -> Option<u32> {
        let at = rng.f64() * self.running.last()?;
        let i = self.running.partition_point(|&r| r <= at).min(self.places.len() - 1);
        Some(self.places[i])
    }
}

/// The covered towns.
pub(crate) struct Coverage {
    training: Towns,
    held_out: Towns,
    validation: Towns,
}

impl Coverage {
    pub(crate) fn new(planet: &Planet) -> Self {
        let weight = |place: &Place| f64::from(place.population.max(1)).powf(POPULATION_POWER);
        let mut country = vec![0f64; planet.countries().len()];
        for place in planet.places() {
            country[usize::from(place.country.0)] += weight(&place);
        }
        // Drawing without replacement: the smallest exponential arrival times with the weights as rates
        // (Efraimidis and Spirakis 2006).
        let mut arrivals: Vec<(f64, u32, f64)> = planet
            .places()
            .map(|place| {
                let tempered = weight(&place) * country[usize::from(place.country.0)].powf(COUNTRY_POWER - 1.0);
                let uniform = Rng::new(fold(town_key(&place), 0xc0_7e)).f64();
                (-(1.0 - uniform).ln() / tempered, place.index, tempered)
            })
            .collect();
        arrivals.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        // Places the outlines give to another country (disputed areas, tiny islands) cannot be covered.
        let covered = arrivals.iter().filter(|(_, index, _)| {
            let place = planet.place(*index);
            planet.country_at(place.position) == Some(place.country)
        });
        let mut coverage =
            Coverage { training: Towns::default(), held_out: Towns::default(), validation: Towns::default() };
        for &(_, index, tempered) in covered.take(COVERED) {
            let towns = match Group::of(&planet.place(index)) {
                Group::Training => &mut coverage.training,
                Group::HeldOut => &mut coverage.held_out,
                Group::Validation => &mut coverage.validation,
            };
            // Being drawn already favours the heavy towns: among the drawn ones the root is enough.
            towns.push(index, tempered.sqrt());
        }
        coverage
    }

    fn towns(&self, split: Split) -> &Towns {
        match split.group() {
            Group::Training => &self.training,
            Group::HeldOut => &self.held_out,
            Group::Validation => &self.validation,
        }
    }
}

impl Planet {
    /// The covered towns of a split, as indices for [`Planet::place`].
    pub fn towns(&self, split: Split) -> &[u32] {
        &self.coverage().towns(split).places
    }

    /// The site number `index` of a split: always the same for the same arguments.
    ///
    /// Half of the sites lie within 1.8 km of their town's centre, half 2-15 km away, all on a road in the town's
    /// country. Training sites never have a held-out town as their nearest place.
    pub fn site(&self, split: Split, seed: u64, index: u64) -> Site {
        let mut rng = Rng::new(fold(fold(mix(seed), split as u64 + 1), index));
        let town = self.coverage().towns(split).draw(&mut rng).unwrap_or(0);
        let place = self.place(town);
        let inner = rng.chance(0.5);
        let accepted = (0..TRIES).find_map(|_| {
            // The root makes the inner disc even; outside, nearer distances are preferred to an even ring.
            let km = if inner {
                INNER_KM * rng.f64().sqrt()
            } else {
                OUTER_KM.start + (OUTER_KM.end - OUTER_KM.start) * rng.f64()
            };
            let (position, along) = roads::snap(place.position.destination(360.0 * rng.f64(), km));
            self.may_hold(split, &place, position).then_some((position, along))
        });
        let (position, along) = accepted.unwrap_or_else(|| {
            let (position, along) = roads::snap(place.position);
            let inside = self.country_at(position) == Some(place.country);
            (if inside { position } else { place.position }, along)
        });
        let heading_deg = if rng.chance(0.5) { along } else { (along + 180.0).rem_euclid(360.0) };
        let moment = Moment::draw(self, position, &mut rng);
        Site { position, heading_deg, town, moment }
    }

    /// On land, in the town's country, and not beside a town of another group if that would be unfair.
    fn may_hold(&self, split: Split, town: &Place, position: LatLon) -> bool {
        if self.land_at(position) != Some(town.country) {
            return false;
        }
        split.group() != Group::Training || Group::of(&self.nearest_place(position)) == Group::Training
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    const SPLITS: [Split; 5] = [Split::Train, Split::Validation, Split::Random, Split::Towns, Split::TownsValidation];

    #[test]
    fn ten_thousand_towns_in_disjoint_groups() {
        let planet = Planet::get();
        let groups = [Split::Train, Split::Towns, Split::TownsValidation].map(|s| planet.towns(s));
        let all: HashSet<u32> = groups.iter().flat_map(|g| g.iter().copied()).collect();
        assert_eq!(all.len(), COVERED);
        assert_eq!(groups.iter().map(|g| g.len()).sum::<usize>(), COVERED);
        for held in &groups[1..] {
            assert!((400..600).contains(&held.len()), "{}", held.len());
        }
        assert_eq!(planet.towns(Split::Train), planet.towns(Split::Random));
    }

    #[test]
    fn a_site_depends_on_nothing_but_its_arguments() {
        let planet = Planet::get();
        for split in SPLITS {
            let forwards: Vec<Site> = (0..50).map(|i| planet.site(split, 7, i)).collect();
            for i in (0..50).rev() {
                let again = planet.site(split, 7, i);
                let first = &forwards[i as usize];
                assert_eq!((again.position, again.town, again.moment), (first.position, first.town, first.moment));
                assert_eq!(again.heading_deg, first.heading_deg);
            }
        }
        let (a, b) = (planet.site(Split::Train, 7, 1), planet.site(Split::Random, 7, 1));
        assert!(a.position != b.position && planet.site(Split::Train, 8, 1).position != a.position);
    }

    #[test]
    fn sites_lie_by_their_town_in_its_country() {
        let planet = Planet::get();
        let (mut inner, mut centre) = (0, 0);
        let total = 5 * 2000;
        for split in SPLITS {
            let towns: HashSet<u32> = planet.towns(split).iter().copied().collect();
            for i in 0..2000 {
                let site = planet.site(split, 1, i);
                let town = planet.place(site.town);
                assert!(towns.contains(&site.town));
                assert_eq!(planet.country_at(site.position), Some(town.country), "{} {}", town.name, site.position);
                let km = site.position.distance_km(town.position);
                assert!(km < 15.3, "{} {km} km", town.name);
                inner += usize::from(km < 1.95);
                centre += usize::from(km < 0.2);
                if split == Split::Train {
                    assert!(km < 0.2 || Group::of(&planet.nearest_place(site.position)) == Group::Training);
                }
            }
        }
        assert!((0.45..0.60).contains(&(inner as f64 / total as f64)), "{inner} inner");
        assert!((centre as f64) < 0.06 * total as f64, "{centre} of {total} at the centre");
    }

    #[test]
    fn a_hundred_and_fifty_countries_make_most_sites() {
        let planet = Planet::get();
        let total = 20_000;
        let mut count = HashMap::new();
        for i in 0..total {
            *count.entry(planet.place(planet.site(Split::Train, 3, i).town).country).or_insert(0u64) += 1;
        }
        let mut shares: Vec<f64> = count.values().map(|&n| n as f64 / total as f64).collect();
        shares.sort_by(|a, b| b.total_cmp(a));
        let of = |n: usize| shares.iter().take(n).sum::<f64>();
        println!("{} countries; first {:.3}, 50: {:.3}, 150: {:.3}", shares.len(), shares[0], of(50), of(150));
        assert!(of(150) >= 0.90, "150 countries make {:.3}", of(150));
        assert!(of(150) <= 0.99, "no fewer: {:.3}", of(150));
        assert!(shares[0] < 0.08, "no country dominates: {:.3}", shares[0]);
    }
}
