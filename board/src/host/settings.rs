//! What can be set about the simulated vehicle, checked while it is read, so that a message has the line.

use std::{fmt, ops::RangeInclusive};

use serde::{Deserialize, Deserializer, de::Error};

use super::GnssStory;
use crate::{BoardError, CAMERA_NAMES};

/// Sides of the camera pictures; larger ones take seconds to draw.
const CAMERA_PX: RangeInclusive<u32> = 16..=1024;
/// Distances between two fixes.
const STEP_KM: RangeInclusive<f64> = 0.001..=50.0;

/// How the simulated vehicle drives and what it carries.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostSettings {
    /// Decides where on Earth the drive starts, its weather and all noise.
    pub seed: u64,
    /// Distance between two fixes, 0.001..=50.
    #[serde(deserialize_with = "step_km")]
    pub step_km: f64,
    /// Side of the square camera pictures, 16..=1024; `None` for what the model takes.
    #[serde(deserialize_with = "camera_px")]
    pub camera_px: Option<u32>,
    /// What happens to GNSS on the way.
    pub gnss: GnssStory,
    /// Cameras that are broken, by name.
    #[serde(deserialize_with = "dead_cameras")]
    pub dead_cameras: Vec<String>,
}

impl Default for HostSettings {
    fn default() -> Self {
        HostSettings { seed: 11, step_km: 4.0, camera_px: None, gnss: GnssStory::default(), dead_cameras: Vec::new() }
    }
}

impl HostSettings {
    /// The same checks for settings that were not read from a file.
    pub(super) fn check(&self) -> Result<(), BoardError> {
        let checks = [
            within("step_km", self.step_km, STEP_KM),
            self.camera_px.map_or(Ok(()), |px| within("camera_px", px, CAMERA_PX)),
            named(&self.dead_cameras),
        ];
        checks.into_iter().collect::<Result<(), _>>().map_err(BoardError::Setting)
    }
}

fn within<T: PartialOrd + fmt::Display>(name: &str, value: T, range: RangeInclusive<T>) -> Result<(), String> {
    match range.contains(&value) {
        true => Ok(()),
        false => Err(format!("{name} is {value}, need {}..={}", range.start(), range.end())),
    }
}

fn named(cameras: &[String]) -> Result<(), String> {
    match cameras.iter().find(|n| !CAMERA_NAMES.contains(&n.as_str())) {
        None => Ok(()),
        Some(name) => Err(format!("dead_cameras: no camera {name:?}; use {}", CAMERA_NAMES.join(", "))),
    }
}

fn step_km<'de, D: Deserializer<'de>>(value: D) -> Result<f64, D::Error> {
    let km = f64::deserialize(value)?;
    within("step_km", km, STEP_KM).map(|()| km).map_err(D::Error::custom)
}

fn camera_px<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u32>, D::Error> {
    let px = u32::deserialize(value)?;
    within("camera_px", px, CAMERA_PX).map(|()| Some(px)).map_err(D::Error::custom)
}

fn dead_cameras<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(value)?;
    named(&names).map(|()| names).map_err(D::Error::custom)
}
