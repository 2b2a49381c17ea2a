//! A camera that looks after itself: its own thread opens, reads and, after any failure, opens it again, and keeps
//! the newest frame for whoever asks. However long the driver takes, one that asks waits no longer than it said.

mod thread;
mod watch;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

pub use watch::{CameraStatistics, CameraWatch};

use self::watch::{Shared, State};
use super::{CameraFormat, CameraSettings, bus::Bus, device::Source, lock, pixels::Decoder};
use crate::{BoardError, CAMERA_NAMES, Camera, Frame};

/// How long the thread may take over its last step when the camera is dropped, beyond the time-out.
const LAST_STEP: Duration = Duration::from_millis(500);

/// How one camera is looked after.
#[derive(Clone)]
pub(super) struct Plan {
    /// For messages.
    pub path: PathBuf,
    /// Pixels in a row, rows and coding that were asked for.
    pub asked: (u32, u32, CameraFormat),
    /// The device's own time-out; one that takes much longer hangs.
    pub timeout: Duration,
    /// How old a frame may be, and how far apart those of one panorama.
    pub window: Duration,
    /// First and longest pause before it is opened again.
    pub pauses: (Duration, Duration),
    /// The bus that it shares in turns.
    pub bus: Option<Arc<Bus>>,
}

impl Plan {
    /// As it is set.
    pub fn new(settings: &CameraSettings, path: &Path, bus: Option<Arc<Bus>>) -> Self {
        Plan {
            path: path.to_owned(),
            asked: (settings.width, settings.height, settings.format),
            timeout: settings.timeout(),
            window: settings.window(),
            pauses: (Duration::from_millis(250), Duration::from_secs(8)),
            bus,
        }
    }
}

/// A camera with a thread that keeps it going. Dropped, it ends the thread.
pub struct SupervisedCamera {
    index: usize,
    plan: Plan,
    shared: Arc<Shared>,
    panorama: Arc<Mutex<PanoramaWindow>>,
    decoder: Decoder,
    bytes: Vec<u8>,
    /// Number of the last frame that could not be decoded.
    refused: u64,
}

impl SupervisedCamera {
    /// Begins to look after the camera at `index` of front, right, back, left. Does not wait for it.
    pub(super) fn start(
        index: usize,
        plan: Plan,
        panorama: Arc<Mutex<PanoramaWindow>>,
        source: impl Source,
    ) -> Result<Self, BoardError> {
        let shared = Arc::new(Shared {
            name: CAMERA_NAMES[index],
            path: plan.path.clone(),
            timeout: plan.timeout,
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        });
        let (theirs, their_plan) = (Arc::clone(&shared), plan.clone());
        std::thread::Builder::new()
            .name(format!("{} camera", CAMERA_NAMES[index]))
            .spawn(move || thread::run(source, &theirs, &their_plan))
            .map_err(|e| BoardError::Setting(format!("the system has no thread left for a camera: {e}; end others")))?;
        lock(&panorama).members.push(Arc::clone(&shared));
        let (decoder, bytes) = (Decoder::default(), Vec::new());
        Ok(SupervisedCamera { index, plan, shared, panorama, decoder, bytes, refused: 0 })
    }

    /// Its counts and news, to be read from anywhere and also when the camera is in a box.
    pub fn watch(&self) -> CameraWatch {
        CameraWatch::new(Arc::clone(&self.shared))
    }

    fn take(&mut self, moment: Moment, until: Instant, frame: &mut Frame) -> Result<Instant, String> {
        loop {
            let mut state = lock(&self.shared.state);
            let slot = loop {
                if let Some(slot) = state.frame_of(moment, self.refused, &mut self.bytes) {
                    break slot;
                }
                let now = Instant::now();
                let left = until.saturating_duration_since(now);
                // While a fault stands no frame comes, and a panorama is not held up for it.
                if left.is_zero() || state.fault.is_some() {
                    return Err(state.why(&self.shared, now));
                }
                state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            };
            // Others and the camera's thread go on while this is decoded.
            drop(state);
            let decoded = self.decoder.decode(slot.layout, &self.bytes, frame);
            let mut state = lock(&self.shared.state);
            match decoded {
                Ok(()) => {
                    state.undecodable = 0;
                    return Ok(slot.taken);
                }
                Err(cause) => {
                    self.refused = slot.number;
                    state.undecodable += 1;
                    state.statistics.corrupt += 1;
                    state.damage = cause;
                }
            }
        }
    }
}

impl Camera for SupervisedCamera {
    fn name(&self) -> &str {
        self.shared.name
    }

    fn news(&mut self) -> Option<String> {
        self.watch().news()
    }

    fn summary(&self) -> Option<String> {
        Some(self.watch().statistics().to_string())
    }

    fn grab(&mut self, deadline: Duration, frame: &mut Frame) -> Result<(), BoardError> {
        let now = Instant::now();
        let moment = lock(&self.panorama).moment(self.index, now, self.plan.window);
        // What comes after the window is none of this panorama.
        let until = moment.latest.map_or(now + deadline, |latest| latest.min(now + deadline));
        let taken = self.take(moment, until, frame);
        lock(&self.panorama).grabbed(Instant::now(), taken.as_ref().ok().copied());
        taken.map(drop).map_err(|cause| BoardError::Camera { camera: self.shared.name.to_owned(), cause })
    }
}

impl Drop for SupervisedCamera {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.stop = true;
        self.shared.changed.notify_all();
        // A thread that hangs in the kernel cannot be ended, and is not waited for.
        let until = state.since + self.plan.timeout + LAST_STEP;
        while !state.ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Between when the frames of a panorama are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    oldest: Option<Instant>,
    latest: Option<Instant>,
}

/// Keeps the frames of one panorama together. Cameras are asked in the order front, right, back, left, so that one
/// asked out of this order begins a new panorama. At its beginning the newest frame of every camera is laid aside:
/// decoding one must not make the next older or younger.
#[derive(Default)]
pub(super) struct PanoramaWindow {
    members: Vec<Arc<Shared>>,
    last: Option<(usize, Instant)>,
    begun: Option<Instant>,
    earliest: Option<Instant>,
}

impl PanoramaWindow {
    /// When a frame of the camera at `index` may be taken.
    fn moment(&mut self, index: usize, now: Instant, window: Duration) -> Moment {
        let goes_on = |(last, at): (usize, Instant)| index > last && now.saturating_duration_since(at) <= window;
        if !self.last.is_some_and(goes_on) {
            (self.begun, self.earliest) = (Some(now), None);
            self.members.iter().for_each(|member| lock(&member.state).lay_aside());
        }
        self.last = Some((index, now));
        let oldest = self.begun.and_then(|begun| begun.checked_sub(window));
        Moment { oldest, latest: self.earliest.map(|earliest| earliest + window) }
    }

    /// Notes what the camera gave.
    fn grabbed(&mut self, now: Instant, taken: Option<Instant>) {
        self.last = self.last.map(|(index, _)| (index, now));
        self.earliest = self.earliest.into_iter().chain(taken).min();
    }
}

#[cfg(test)]
mod tests;
