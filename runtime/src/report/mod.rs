//! Report: what leaves the vehicle. NMEA for consumers of positions, MAVLink for autopilots, JSON lines for programs, a
//! small screen and a picture of the drive for people.

mod drive_map;
mod ground;
pub mod json;
pub mod mavlink;
pub mod nmea;
mod outfile;
mod paint;
mod screen;
pub mod settings;

use std::time::{Duration, SystemTime};

use homing_board::GnssFix;
use homing_models::LatLon;

pub use drive_map::{DriveMap, MapWords, save_png};
pub use outfile::{OutDir, OutError, OutFile};
pub use screen::draw as draw_screen;

use crate::{compare::Comparison, locate::Estimate, track::Tracked};

/// Everything known about one fix; what a stage did not give is `None`.
#[derive(Clone, Debug)]
pub struct Fix {
    /// Number of the fix, from 1.
    pub number: u64,
    /// When the panorama was taken.
    pub time: SystemTime,
    /// Where the vehicle really was, in a simulation.
    pub truth: Option<LatLon>,
    /// Views that took part.
    pub views: usize,
    /// This panorama alone.
    pub estimate: Option<Estimate>,
    /// With the panoramas before.
    pub tracked: Option<Tracked>,
    /// What GNSS says.
    pub gnss: Option<GnssFix>,
    /// What the comparison says.
    pub comparison: Comparison,
    /// Time taken so far.
    pub latency: Latency,
}

impl Fix {
    /// Distance from the truth, in a simulation that knows it.
    pub fn error_km(&self) -> Option<f64> {
        Some(self.tracked?.position.distance_km(self.truth?))
    }
}

/// Wall time of the stages of one fix.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    /// Taking the frames.
    pub capture: Duration,
    /// Resizing and encoding.
    pub encode: Duration,
    /// The part of `encode` before the graph: cutting, resizing, normalising.
    pub cut: Duration,
    /// Heads, refinement, track and comparison.
    pub locate: Duration,
    /// The part of `locate` that the heads took.
    pub heads: Duration,
    /// NMEA and display.
    pub report: Duration,
}

impl Latency {
    /// All stages.
    pub fn total(&self) -> Duration {
        self.capture + self.encode + self.locate + self.report
    }
}
