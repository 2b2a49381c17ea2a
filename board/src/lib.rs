//! Hardware of a vehicle behind four traits, so that the locating loop names no board.
//!
//! [`Camera`] gives pictures, [`Gnss`] positions, [`Display`] shows a small screen and [`Link`] carries bytes
//! to whoever listens for positions. A board is a [`Board`] of such parts with a [`Clock`] that says when the
//! next fix is due; one file per board makes it, and the configuration's choice is the only thing that selects.
#![forbid(unsafe_code)]

pub mod cameras;
pub mod displays;
pub mod host;
#[cfg(feature = "jetson")]
pub mod jetson;
pub mod line;
pub mod panel;
#[cfg(feature = "raspberry")]
pub mod raspberry;
pub mod receiver;
pub mod replay;
mod screen;
pub mod vehicle;

use std::{
    io,
    path::PathBuf,
    time::{Duration, SystemTime},
};

pub use homing_models::Frame;
use homing_models::LatLon;
pub use homing_planet as planet;
pub use screen::Screen;

/// Bearings of the four cameras relative to the vehicle's heading, degrees clockwise: front, right, back, left.
pub const CAMERA_BEARINGS_DEG: [f32; 4] = [0.0, 90.0, 180.0, 270.0];
/// Names of the four cameras in the same order.
pub const CAMERA_NAMES: [&str; 4] = ["front", "right", "back", "left"];

/// Why a part of the board did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// A camera gave no picture.
    #[error("{camera} camera: {cause}")]
    Camera {
        /// Which one.
        camera: String,
        /// What happened, and the way out.
        cause: String,
    },
    /// A display, lamp, button, receiver or line did not do its work.
    #[error("{part}: {cause}")]
    Part {
        /// Which one.
        part: String,
        /// What happened, and the way out.
        cause: String,
    },
    /// A link or display could not be opened or written.
    #[error("cannot write {}: {source}; check the path and its permissions", path.display())]
    Write {
        /// The file or device.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A part was configured in a way that cannot work.
    #[error("{0}")]
    Setting(String),
}

/// One camera.
pub trait Camera {
    /// What it is called in messages.
    fn name(&self) -> &str;

    /// Takes a picture now, into a frame whose buffer is used again.
    ///
    /// # Errors
    /// When no picture came within `deadline`. The camera may be asked again.
    fn grab(&mut self, deadline: Duration, frame: &mut Frame) -> Result<(), BoardError>;

    /// Something that happened and that a person should know, in one line, each once: it is lost, it is back.
    fn news(&mut self) -> Option<String> {
        None
    }

    /// What became of its frames, in one line, for the end of a run.
    fn summary(&self) -> Option<String> {
        None
    }
}

/// A position as a GNSS receiver reports it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GnssFix {
    /// Where it says the vehicle is.
    pub position: LatLon,
    /// Its own estimate of the horizontal error, metres, when it gives one.
    pub accuracy_m: Option<f32>,
}

/// A GNSS receiver.
pub trait Gnss {
    /// The latest fix, or `None` when there is none.
    ///
    /// # Errors
    /// When the receiver itself failed, which is more than having no fix.
    fn latest(&mut self) -> Result<Option<GnssFix>, BoardError>;

    /// Something that happened and that a person should know, in one line, each once: it is back, its time jumped.
    fn news(&mut self) -> Option<String> {
        None
    }

    /// What became of all it received, in one line, for the end of a run.
    fn summary(&self) -> Option<String> {
        None
    }
}

/// A small screen.
pub trait Display {
    /// Shows a picture.
    ///
    /// # Errors
    /// When the display did not take it.
    fn show(&mut self, screen: &Screen) -> Result<(), BoardError>;
}

/// A line that carries sentences to a consumer of positions.
pub trait Link {
    /// Where it leads, for messages.
    fn name(&self) -> String;

    /// Sends bytes. A consumer that does not read must not hold up the caller.
    ///
    /// # Errors
    /// When the line is gone.
    fn send(&mut self, bytes: &[u8]) -> Result<(), BoardError>;

    /// Something that happened and that a person should know, in one line, each once: it is back, a consumer came.
    fn news(&mut self) -> Option<String> {
        None
    }

    /// What became of all that was sent, in one line, for the end of a run.
    fn summary(&self) -> Option<String> {
        None
    }
}

/// The moment of a fix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// When it is; never falls.
    pub time: SystemTime,
    /// Where the vehicle really is, which only a simulation knows.
    pub truth: Option<LatLon>,
}

/// Says when the next fix is due.
pub trait Clock {
    /// Waits until the next fix is due, or, in a simulation, drives on to it.
    fn next_epoch(&mut self) -> Epoch;
}

/// The parts of one board. A part that is not there is `None`, and the loop goes on without it.
pub struct Board {
    /// What it is called in reports.
    pub name: String,
    /// Pace of the loop.
    pub clock: Box<dyn Clock>,
    /// Front, right, back, left.
    pub cameras: [Option<Box<dyn Camera>>; 4],
    /// The GNSS receiver.
    pub gnss: Option<Box<dyn Gnss>>,
    /// The screen.
    pub display: Option<Box<dyn Display>>,
    /// Where sentences go.
    pub link: Option<Box<dyn Link>>,
    /// Status lamp and button.
    pub panel: panel::Panel,
}
