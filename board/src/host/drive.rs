//! A drive from town to town over the simulated planet, on its roads, in its daylight.

use std::time::{Duration, SystemTime};

use homing_models::LatLon;
use homing_planet::{
    Planet, Scene, Split,
    hash::{Rng, fold},
    moment::Moment,
    roads,
};

/// Speed that turns the distance between fixes into time.
const SPEED_KM_H: f64 = 90.0;
/// How far away the next town may be.
const HORIZON_KM: f64 = 160.0;
/// A town is reached at this distance.
const ARRIVED_KM: f64 = 6.0;
/// The first of January 2026, in seconds since 1970: simulated drives start in that year.
const YEAR_START_S: u64 = 1_767_225_600;

/// A place on the way: where the vehicle is and where it heads.
#[derive(Clone)]
pub struct Drive {
    planet: &'static Planet,
    rng: Rng,
    step_km: f64,
    position: LatLon,
    heading_deg: f64,
    target: Option<LatLon>,
    visited: Vec<LatLon>,
}

impl Drive {
    /// Starts at a hold-out site that `seed` chooses.
    pub fn start(seed: u64, step_km: f64) -> Self {
        let planet = Planet::get();
        let site = planet.site(Split::Random, seed, 0);
        Drive {
            planet,
            rng: Rng::new(fold(seed, 0xd21e)),
            step_km,
            position: site.position,
            heading_deg: site.heading_deg,
            target: None,
            visited: vec![site.position],
        }
    }

    /// Drives one step on, towards a town over land, and onto the nearest road there.
    fn advance(&mut self) {
        if self.target.is_none_or(|t| t.distance_km(self.position) < ARRIVED_KM.max(self.step_km)) {
            self.target = self.next_town();
            self.visited.extend(self.target);
        }
        let wanted = match self.target {
            Some(town) => self.position.bearing_deg(town),
            None => self.heading_deg,
        };
        // Straight on if there is land, else the smallest turn that finds some.
        let turns = [0.0, 30.0, -30.0, 60.0, -60.0, 90.0, -90.0, 135.0, -135.0, 180.0];
        let land = |turn: &f64| {
            let to = self.position.destination(wanted + turn, self.step_km);
            self.planet.land_at(to).is_some().then_some((to, wanted + turn))
        };
        let Some((to, bearing)) = turns.iter().find_map(land) else {
            // An islet smaller than a step: stay on its road.
            (self.position, self.heading_deg) = roads::ahead(self.position, self.heading_deg, 100.0);
            return;
        };
        (self.position, self.heading_deg) = roads::ahead(to, bearing, 0.0);
    }

    /// The most attractive town within reach that was not visited: large, ahead, and on this side of the water.
    fn next_town(&mut self) -> Option<LatLon> {
        let mut best: Option<(f64, LatLon)> = None;
        for place in self.planet.places_within(self.position, HORIZON_KM) {
            let distance = self.position.distance_km(place.position);
            let seen = self.visited.iter().any(|v| v.distance_km(place.position) < 30.0);
            if distance < 25.0 || seen {
                continue;
            }
            let turn = (self.position.bearing_deg(place.position) - self.heading_deg).to_radians();
            let score = f64::from(place.population.max(1)).ln() + 2.0 * turn.cos() + self.rng.f64();
            if best.is_none_or(|(s, _)| score > s) && self.land_all_the_way(place.position, distance) {
                best = Some((score, place.position));
            }
        }
        best.map(|(_, position)| position)
    }

    fn land_all_the_way(&self, to: LatLon, distance_km: f64) -> bool {
        let bearing = self.position.bearing_deg(to);
        let steps = (distance_km / 8.0) as usize;
        (1..steps).all(|i| self.planet.land_at(self.position.destination(bearing, 8.0 * i as f64)).is_some())
    }
}

/// The simulated vehicle: a drive, a clock, and the scene around it.
pub struct Vehicle {
    drive: Drive,
    time: SystemTime,
    seed: u64,
    day: f32,
    start_hour: f64,
    driven_s: f64,
    epochs: u64,
    scene: Option<(u64, Scene)>,
}

impl Vehicle {
    /// A vehicle at the start of a drive, in the morning of some day.
    pub fn new(mut drive: Drive) -> Self {
        let seed = drive.rng.u64();
        let day = drive.rng.below(365) as f32;
        let start_hour = 8.5 + f64::from(drive.rng.range(0.0, 1.5));
        // Local solar time at the start's longitude, as UTC.
        let utc_s = (f64::from(day) * 24.0 + start_hour - drive.position.lon() / 15.0) * 3600.0;
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(YEAR_START_S);
        let time = match utc_s < 0.0 {
            true => start - Duration::from_secs(-utc_s as u64),
            false => start + Duration::from_secs(utc_s as u64),
        };
        Vehicle { drive, time, seed, day, start_hour, driven_s: 0.0, epochs: 0, scene: None }
    }

    /// Drives to the next fix; the first one is where the drive starts.
    pub fn advance(&mut self) {
        if self.epochs > 0 {
            let before = self.drive.position;
            self.drive.advance();
            // Whole seconds, at least one: a consumer of NMEA wants rising time.
            let took_s = (before.distance_km(self.drive.position) / SPEED_KM_H * 3600.0).round().max(1.0);
            self.driven_s += took_s;
            self.time += Duration::from_secs(took_s as u64);
        }
        self.epochs += 1;
    }

    /// Where the vehicle is.
    pub fn position(&self) -> LatLon {
        self.drive.position
    }

    /// Where it heads, degrees clockwise from north.
    pub fn heading_deg(&self) -> f64 {
        self.drive.heading_deg
    }

    /// The simulated time, UTC.
    pub fn time(&self) -> SystemTime {
        self.time
    }

    /// How many fixes the drive has come to, from 1.
    pub fn epochs(&self) -> u64 {
        self.epochs
    }

    /// Seed of what stays the same over the drive.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// A hash that stands for this fix: noise drawn from it is new at each fix and the same in each run.
    pub(crate) fn epoch_key(&self) -> u64 {
        fold(self.seed, self.epochs)
    }

    /// What is around the vehicle now; made once per fix for all cameras.
    pub(crate) fn scene(&mut self) -> &Scene {
        let stale = self.scene.as_ref().is_none_or(|(epoch, _)| *epoch != self.epochs);
        if stale {
            let planet = self.drive.planet;
            // Nobody takes pictures at night by choice: the day's light starts again when it ends.
            let hour = (7.0 + (self.start_hour - 7.0 + self.driven_s / 3600.0) % 11.0) as f32;
            let moment = Moment::weathered(planet, self.drive.position, self.day, hour, self.epoch_key());
            self.scene = Some((self.epochs, planet.scene(self.drive.position, self.drive.heading_deg, &moment)));
        }
        &self.scene.as_ref().expect("made above").1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drive_stays_on_land_moves_on_and_is_the_same_again() {
        for seed in [1, 2, 3] {
            let drive = |seed| {
                let mut v = Vehicle::new(Drive::start(seed, 4.0));
                (0..40)
                    .map(|_| {
                        v.advance();
                        (v.position(), v.time())
                    })
                    .collect::<Vec<_>>()
            };
            let way = drive(seed);
            assert_eq!(way, drive(seed), "deterministic");
            for pair in way.windows(2) {
                let km = pair[0].0.distance_km(pair[1].0);
                assert!((0.05..4.6).contains(&km), "{km} km between fixes");
                assert!(pair[1].1 > pair[0].1, "rising time");
                assert!(Planet::get().country_at(pair[1].0).is_some(), "on land");
            }
            let reach = way.iter().map(|p| p.0.distance_km(way[0].0)).fold(0.0, f64::max);
            assert!(reach > 25.0, "went {reach} km away");
        }
    }
}
