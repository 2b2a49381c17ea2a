//! A simulated GNSS receiver: a few metres of noise, and the two ways in which GNSS fails a vehicle.

use homing_models::LatLon;
use homing_planet::hash::{Rng, fold};
use serde::Deserialize;

use super::{Shared, lock};
use crate::{BoardError, Gnss, GnssFix};

/// Standard deviation of the noise in one direction, metres.
const NOISE_M: f64 = 4.0;
/// How far away a spoofed receiver is made to believe it is.
const SPOOFED_KM: f64 = 2500.0;

/// What happens to GNSS in a simulated drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GnssStory {
    /// Good in the first quarter, jammed until three quarters, then back but spoofed.
    #[default]
    JammedThenSpoofed,
    /// Always good.
    Good,
    /// Never there.
    Denied,
    /// Spoofed all the time.
    Spoofed,
}

/// The receiver.
pub struct SimulatedGnss {
    story: GnssStory,
    fixes: u64,
    seed: u64,
    vehicle: Shared,
}

impl SimulatedGnss {
    /// A receiver whose story is spread over a drive of `fixes`.
    pub fn new(story: GnssStory, fixes: u64, seed: u64, vehicle: Shared) -> Self {
        SimulatedGnss { story, fixes: fixes.max(1), seed, vehicle }
    }
}

impl Gnss for SimulatedGnss {
    fn latest(&mut self) -> Result<Option<GnssFix>, BoardError> {
        let (truth, epoch, key) = {
            let vehicle = lock(&self.vehicle);
            (vehicle.position(), vehicle.epochs(), vehicle.epoch_key())
        };
        // A drive without end tells its story again and again.
        let quarter = 4 * (epoch.saturating_sub(1) % self.fixes) / self.fixes;
        let state = match (self.story, quarter) {
            (GnssStory::JammedThenSpoofed, 0) => GnssStory::Good,
            (GnssStory::JammedThenSpoofed, 3) => GnssStory::Spoofed,
            (GnssStory::JammedThenSpoofed, _) => GnssStory::Denied,
            (other, _) => other,
        };
        let mut rng = Rng::new(fold(key, 0x9255));
        let noisy = |p: LatLon, rng: &mut Rng| {
            let off_m = NOISE_M * (f64::from(rng.normal()).powi(2) + f64::from(rng.normal()).powi(2)).sqrt();
            p.destination(rng.f64() * 360.0, off_m / 1000.0)
        };
        let fix = |position| Some(GnssFix { position, accuracy_m: Some(NOISE_M as f32) });
        Ok(match state {
            GnssStory::Denied => None,
            GnssStory::Spoofed => {
                let bearing = Rng::new(fold(self.seed, 0x5900f)).f64() * 360.0;
                fix(noisy(truth.destination(bearing, SPOOFED_KM), &mut rng))
            }
            _ => fix(noisy(truth, &mut rng)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::host::{Drive, Vehicle};

    #[test]
    fn good_then_jammed_then_spoofed() {
        let vehicle = Arc::new(Mutex::new(Vehicle::new(Drive::start(1, 4.0))));
        let mut gnss = SimulatedGnss::new(GnssStory::JammedThenSpoofed, 20, 1, vehicle.clone());
        let errors: Vec<Option<f64>> = (0..20)
            .map(|_| {
                lock(&vehicle).advance();
                let truth = lock(&vehicle).position();
                gnss.latest().unwrap().map(|f| f.position.distance_km(truth))
            })
            .collect();
        assert!(errors[..5].iter().all(|e| e.is_some_and(|km| km < 0.03)), "{errors:?}");
        assert!(errors[..5].iter().flatten().any(|km| *km > 0.0005), "there is noise");
        assert!(errors[5..15].iter().all(Option::is_none));
        assert!(errors[15..].iter().all(|e| e.is_some_and(|km| (km - SPOOFED_KM).abs() < 1.0)));
    }
}
