//! What a camera's thread and those who ask share, and how it is told.

use std::{
    collections::VecDeque,
    fmt, mem,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use super::Moment;
use crate::cameras::{device::Shot, lock, pixels::Layout};

/// News that nobody fetched; older ones are dropped.
const MAX_NEWS: usize = 16;

/// What a camera did since it was opened first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CameraStatistics {
    /// Frames that came, damaged ones included.
    pub frames: u64,
    /// Times that none came within the time-out.
    pub timeouts: u64,
    /// Times that it was opened again after a failure.
    pub rebuilds: u64,
    /// Frames that were damaged.
    pub corrupt: u64,
}

impl fmt::Display for CameraStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CameraStatistics { frames, timeouts, rebuilds, corrupt } = self;
        write!(f, "frames: {frames}, damaged: {corrupt}, time-outs: {timeouts}, opened again: {rebuilds}")
    }
}

/// A camera's counts and news, readable from any thread.
#[derive(Clone)]
pub struct CameraWatch(Arc<Shared>);

impl CameraWatch {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        CameraWatch(shared)
    }

    /// Which of front, right, back, left.
    pub fn name(&self) -> &str {
        self.0.name
    }

    /// Its counts so far.
    pub fn statistics(&self) -> CameraStatistics {
        lock(&self.0.state).statistics
    }

    /// The next line that has not been told: another picture format than was asked for, a failure, a return. Each
    /// is told once, not at every attempt.
    pub fn news(&self) -> Option<String> {
        lock(&self.0.state).news.pop_front().map(|line| format!("{} camera: {line}", self.0.name))
    }
}

/// What both sides hold.
pub(super) struct Shared {
    pub name: &'static str,
    pub path: PathBuf,
    pub timeout: Duration,
    pub state: Mutex<State>,
    pub changed: Condvar,
}

/// Where the thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// In the line before the bus.
    Turn,
    /// In the driver, to open it.
    Opening,
    /// Waiting for a frame.
    Streaming,
    /// Leaving a camera that failed alone until then.
    Pausing(Instant),
}

/// A frame that is kept, and its bytes.
#[derive(Default)]
struct Kept {
    slot: Option<Slot>,
    bytes: Vec<u8>,
}

/// Which frame is kept.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub number: u64,
    pub taken: Instant,
    pub layout: Layout,
}

pub(super) struct State {
    pub stage: Stage,
    /// Since when the thread is in this step, or when the last frame came.
    pub since: Instant,
    /// The newest frame, and the one that was laid aside for a panorama.
    newest: Kept,
    aside: Kept,
    pub statistics: CameraStatistics,
    /// Frames in a row that came damaged.
    pub damaged: u32,
    /// Frames in a row that looked whole and could not be decoded.
    pub undecodable: u32,
    /// What was wrong with the last of either.
    pub damage: String,
    /// The failure that has not been overcome.
    pub fault: Option<String>,
    pub told_layout: Option<Layout>,
    pub news: VecDeque<String>,
    pub stop: bool,
    pub ended: bool,
}

impl Default for State {
    fn default() -> Self {
        State {
            stage: Stage::Opening,
            since: Instant::now(),
            newest: Kept::default(),
            aside: Kept::default(),
            statistics: CameraStatistics::default(),
            damaged: 0,
            undecodable: 0,
            damage: String::new(),
            fault: None,
            told_layout: None,
            news: VecDeque::new(),
            stop: false,
            ended: false,
        }
    }
}

impl State {
    pub fn enter(&mut self, stage: Stage) {
        (self.stage, self.since) = (stage, Instant::now());
    }

    pub fn tell(&mut self, line: String) {
        self.news.push_back(line);
        self.news.drain(..self.news.len().saturating_sub(MAX_NEWS));
    }

    /// Keeps a frame as the newest.
    pub fn keep(&mut self, shot: &Shot<'_>, layout: Layout) {
        self.newest.bytes.clear();
        self.newest.bytes.extend_from_slice(shot.bytes);
        self.newest.slot = Some(Slot { number: self.statistics.frames, taken: shot.taken, layout });
    }

    /// Lays the newest frame aside for a panorama that begins; the one of before stays when none came since.
    pub fn lay_aside(&mut self) {
        if self.newest.slot.is_some() {
            mem::swap(&mut self.newest, &mut self.aside);
            self.newest.slot = None;
        }
    }

    /// Copies the bytes of a frame of the moment, other than the refused one.
    pub fn frame_of(&self, moment: Moment, refused: u64, bytes: &mut Vec<u8>) -> Option<Slot> {
        let fits = |slot: &Slot| {
            let in_time = moment.latest.is_none_or(|latest| slot.taken <= latest);
            slot.number != refused && in_time && moment.oldest.is_none_or(|oldest| slot.taken >= oldest)
        };
        let kept = [&self.aside, &self.newest];
        let (slot, kept) = kept.iter().find_map(|kept| Some((kept.slot.filter(fits)?, kept)))?;
        bytes.clone_from(&kept.bytes);
        Some(slot)
    }

    /// Why there is no frame for one who asks: what, where and what to do.
    pub fn why(&self, shared: &Shared, now: Instant) -> String {
        let path = shared.path.display();
        let silent = now.saturating_duration_since(self.since);
        let hangs = silent > 2 * shared.timeout && matches!(self.stage, Stage::Opening | Stage::Streaming);
        let cause = match (self.stage, &self.fault) {
            _ if hangs => format!(
                "{path} has not answered for {:.0} s, not even with an error; unplug the camera, or restart the device",
                silent.as_secs_f32()
            ),
            (Stage::Pausing(until), Some(fault)) => {
                let left = until.saturating_duration_since(now).as_secs_f32();
                format!("{fault}; it is tried again in {left:.1} s")
            }
            (_, Some(fault)) => format!("{fault}; it is being tried again"),
            (Stage::Opening, None) => format!("no picture yet: {path} is being opened; wait a moment"),
            (Stage::Turn, None) => {
                format!("no picture yet: {path} waits for its turn on the bus; set a longer window_ms")
            }
            _ if self.damaged > 0 || self.undecodable > 0 => {
                format!("{path} gives damaged pictures ({}); check its cable, hub and power supply", self.damage)
            }
            _ => match self.newest.slot.or(self.aside.slot) {
                None => format!("no picture yet: {path} has just been opened; wait a moment"),
                Some(slot) => format!(
                    "no picture of this moment: the newest of {path} is {} ms old; set a longer window_ms, or check \
                     cable and light",
                    now.saturating_duration_since(slot.taken).as_millis()
                ),
            },
        };
        format!("{cause} ({})", self.statistics)
    }
}
