//! The host board: a simulated vehicle that drives over the simulated planet. Needs no hardware at all.

mod cameras;
mod display;
mod drive;
mod gnss;
mod settings;

use std::{path::PathBuf, sync::Arc, sync::Mutex};

pub use crate::line::{FileLink, PtyLink, try_link};
pub use cameras::SimulatedCamera;
pub use display::PngDisplay;
pub use drive::{Drive, Vehicle};
pub use gnss::{GnssStory, SimulatedGnss};
pub use settings::HostSettings;

use crate::{
    Board, BoardError, CAMERA_BEARINGS_DEG, CAMERA_NAMES, Camera, Clock, Epoch, Frame,
    line::{self, LineSettings},
    panel::Panel,
};

/// Where the host board's output goes; each is left out when `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostOutput {
    /// PNG picture of the display, replaced on each update.
    pub display: Option<PathBuf>,
    /// Where sentences go, as [`line::open`] reads it.
    pub link: Option<String>,
    /// How a serial line is run.
    pub line: LineSettings,
}

/// The vehicle, shared by everything that is mounted on it.
pub type Shared = Arc<Mutex<Vehicle>>;

/// Builds the host board. `model_px` is the side of the cameras' pictures where the settings name none;
/// `fixes` is the length of the drive that the GNSS story is spread over.
///
/// # Errors
/// When a setting is impossible or the link cannot be opened.
pub fn board(
    settings: &HostSettings,
    model_px: u32,
    fixes: u64,
    output: &HostOutput,
) -> Result<(Board, Shared), BoardError> {
    let camera_px = settings.camera_px.unwrap_or(model_px);
    settings.check()?;
    let vehicle = Arc::new(Mutex::new(Vehicle::new(Drive::start(settings.seed, settings.step_km))));
    let cameras = std::array::from_fn(|i| {
        let dead = settings.dead_cameras.iter().any(|n| n == CAMERA_NAMES[i]);
        let camera = SimulatedCamera::new(CAMERA_NAMES[i], CAMERA_BEARINGS_DEG[i], camera_px, dead, vehicle.clone());
        Some(Box::new(camera) as Box<dyn Camera>)
    });
    let link = output.link.as_deref().map(|link| line::open(link, &output.line)).transpose()?;
    let board = Board {
        name: "host (simulated drive)".to_owned(),
        clock: Box::new(SimulatedClock(vehicle.clone())),
        cameras,
        gnss: Some(Box::new(SimulatedGnss::new(settings.gnss, fixes, settings.seed, vehicle.clone()))),
        display: output.display.clone().map(|path| Box::new(PngDisplay::new(path)) as Box<dyn crate::Display>),
        link,
        panel: Panel::default(),
    };
    Ok((board, vehicle))
}

/// Pictures of what is around the vehicle now, at any size, as the four cameras would take them.
///
/// # Errors
/// Never for 8..=1024 pixels.
pub fn portrait(vehicle: &Shared, size_px: u32) -> Result<Vec<Frame>, BoardError> {
    let view = |i: usize| {
        let mut frame = Frame::default();
        SimulatedCamera::new(CAMERA_NAMES[i], CAMERA_BEARINGS_DEG[i], size_px, false, vehicle.clone())
            .grab(std::time::Duration::MAX, &mut frame)?;
        Ok(frame)
    };
    (0..CAMERA_NAMES.len()).map(view).collect()
}

/// Drives on instead of waiting.
struct SimulatedClock(Shared);

impl Clock for SimulatedClock {
    fn next_epoch(&mut self) -> Epoch {
        let mut vehicle = lock(&self.0);
        vehicle.advance();
        Epoch { time: vehicle.time(), truth: Some(vehicle.position()) }
    }
}

/// The vehicle's state stays usable when another thread panicked: every change of it is complete.
fn lock(vehicle: &Shared) -> std::sync::MutexGuard<'_, Vehicle> {
    vehicle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
