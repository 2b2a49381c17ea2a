//! GNSS in: a receiver on a serial device, or whatever receiver gpsd has.
//!
//! A [`Receiver`] has a thread that reads and understands; asking it for the latest fix never waits. What it answers is
//! a position from satellites: no fix, a fix by dead reckoning, from a simulator or by hand is `None`, and so is one
//! older than the configured seconds, or one whose own time stands still. Our own estimates, which are dead reckoning in
//! NMEA's words, thus cannot come back in as GNSS when gpsd is given both. A [`Transcript`] understands the same without a receiver.

mod clock;
mod gpsd;
mod sentences;
mod serial;
mod settings;
mod transcript;

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

pub use settings::ReceiverSettings;
use settings::Source;
pub use transcript::Transcript;

use crate::{
    BoardError, Gnss, GnssFix,
    line::{Health, ReconnectSettings, Refusal},
};

/// What became of everything that was received since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverCounters {
    /// Bytes.
    pub bytes: u64,
    /// Sentences with a right checksum; of gpsd, reports.
    pub sentences: u64,
    /// Sentences with a wrong checksum and half ones; of gpsd, lines that are no JSON. Noise between sentences is not
    /// counted.
    pub garbled: u64,
    /// Sentences that are whole and say nothing that can be understood.
    pub unreadable: u64,
    /// Fixes from satellites.
    pub fixes: u64,
    /// Fixes refused because they are dead reckoning, simulated or entered by hand.
    pub estimated: u64,
    /// Times that the fixes' own time went another way than ours. Not seen through gpsd.
    pub time_jumps: u64,
    /// Times that the receiver was lost.
    pub losses: u64,
}

impl fmt::Display for ReceiverCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sentences, {} garbled, {} not understood; {} fixes, {} estimates refused; time jumped {} times, \
             receiver lost {} times",
            self.sentences, self.garbled, self.unreadable, self.fixes, self.estimated, self.time_jumps, self.losses
        )
    }
}

/// How long things may take; shorter in tests.
#[derive(Clone, Copy)]
struct Pace {
    reconnect: ReconnectSettings,
    /// Bytes without a sentence for so long are a wrong baud.
    mute: Duration,
    /// So long without any byte is told.
    silent: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let (mute, silent) = (Duration::from_secs(4), Duration::from_secs(15));
        Pace { reconnect: ReconnectSettings::default(), mute, silent }
    }
}

impl Pace {
    /// How long a read waits for bytes: what else is to be noticed is noticed that late.
    fn glance(self) -> Duration {
        (self.mute / 4).min(Duration::from_millis(200))
    }
}

/// What the reading thread knows.
struct State {
    /// The last fix, and when the first sentence of it came.
    fix: Option<(GnssFix, Instant)>,
    counters: ReceiverCounters,
    health: Health,
}

impl State {
    /// The receiver is gone, and with it its fix.
    fn lost(&mut self, refusal: Refusal) {
        self.fix = None;
        self.health.lost(refusal);
    }
}

/// The state, shared with the thread, and the wish that the thread ends.
struct Shared {
    state: Mutex<State>,
    stop: Mutex<bool>,
    stopped: Condvar,
}

impl Shared {
    fn new(part: String) -> Arc<Self> {
        let state = State { fix: None, counters: ReceiverCounters::default(), health: Health::new(part) };
        Arc::new(Shared { state: Mutex::new(state), stop: Mutex::new(false), stopped: Condvar::new() })
    }

    /// The state stays usable when the thread panicked: every change of it is complete.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stopped.notify_all();
    }

    /// Waits; answers whether the thread shall end.
    fn pause(&self, time: Duration) -> bool {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        *self.stopped.wait_timeout_while(stop, time, |s| !*s).unwrap_or_else(PoisonError::into_inner).0
    }

    fn stopping(&self) -> bool {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A GNSS receiver: on a serial device or behind gpsd.
pub struct Receiver {
    shared: Arc<Shared>,
    stale: Duration,
    /// Of a serial device, which is free for others only when its thread has ended.
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Begins to read. A receiver that is not there is waited for, and [`Gnss::latest`] says so once.
    ///
    /// # Errors
    /// When a setting is impossible.
    pub fn open(settings: &ReceiverSettings) -> Result<Self, BoardError> {
        Receiver::at_pace(settings, Pace::default())
    }

    fn at_pace(settings: &ReceiverSettings, pace: Pace) -> Result<Self, BoardError> {
        settings.check()?;
        let shared = Shared::new(format!("GNSS {}", settings.source));
        let own = shared.clone();
        let thread = match settings.source()? {
            Source::Serial(path) => {
                let baud = settings.baud;
                Some(std::thread::spawn(move || serial::run(&path, baud, &own, pace)))
            }
            Source::Gpsd(address) => {
                // Not waited for in the end: a name may take long to resolve.
                let _detached = std::thread::spawn(move || gpsd::run(&address, &own, pace));
                None
            }
        };
        Ok(Receiver { shared, stale: Duration::from_secs_f64(settings.stale_s), thread })
    }

    /// What was received until now.
    pub fn counters(&self) -> ReceiverCounters {
        let state = self.shared.lock();
        ReceiverCounters { losses: state.health.losses(), ..state.counters }
    }
}

impl Gnss for Receiver {
    fn latest(&mut self) -> Result<Option<GnssFix>, BoardError> {
        let mut state = self.shared.lock();
        if let Some(e) = state.health.failure() {
            return Err(e);
        }
        Ok(state.fix.filter(|(_, came)| came.elapsed() <= self.stale).map(|(fix, _)| fix))
    }

    fn news(&mut self) -> Option<String> {
        self.shared.lock().health.news()
    }

    fn summary(&self) -> Option<String> {
        Some(self.counters().to_string())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // That it panicked was printed; there is nothing more to do about it here.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::testing::wait_until;

    /// A sentence with its checksum and line end.
    pub(super) fn sentence(body: &str) -> String {
        format!("${body}*{:02X}\r\n", body.bytes().fold(0, |x, b| x ^ b))
    }

    /// A receiver that loses no time.
    pub(super) fn open(source: &str) -> Receiver {
        let (first, longest) = (Duration::from_millis(1), Duration::from_millis(20));
        let pace = Pace {
            reconnect: ReconnectSettings { first, longest },
            mute: Duration::from_millis(100),
            silent: Duration::from_millis(1500),
        };
        let settings = ReceiverSettings { source: source.to_owned(), ..ReceiverSettings::default() };
        Receiver::at_pace(&settings, pace).unwrap()
    }

    /// Waits for a fix and answers with it; on the way nothing may fail.
    pub(super) fn fix_of(receiver: &mut Receiver, mut feed: impl FnMut()) -> GnssFix {
        let mut fix = None;
        wait_until("a fix", || {
            feed();
            fix = receiver.latest().unwrap();
            fix.is_some()
        });
        fix.unwrap()
    }

    /// Waits for a failure and answers with its words.
    pub(super) fn failure_of(receiver: &mut Receiver, mut feed: impl FnMut()) -> String {
        let mut failure = None;
        wait_until("a failure", || {
            feed();
            failure = receiver.latest().err();
            failure.is_some()
        });
        failure.unwrap().to_string()
    }

    #[test]
    fn a_fix_grows_stale() {
        let mut receiver = open("/dev/no-such-receiver");
        failure_of(&mut receiver, || {});
        let position = homing_models::LatLon::new(1.0, 2.0).unwrap();
        let old = Instant::now().checked_sub(Duration::from_millis(2900)).unwrap();
        receiver.shared.lock().fix = Some((GnssFix { position, accuracy_m: None }, old));
        receiver.stale = Duration::from_secs(3600);
        assert_eq!(receiver.latest().unwrap().unwrap().position, position);
        receiver.stale = Duration::from_millis(2900);
        assert_eq!(receiver.latest().unwrap(), None);
    }

    #[test]
    fn impossible_settings_are_refused_and_counters_said() {
        let settings = ReceiverSettings { baud: 1, ..ReceiverSettings::default() };
        assert!(Receiver::open(&settings).is_err());
        let receiver = open("/dev/no-such-receiver");
        wait_until("it is missed", || receiver.counters().losses == 1);
        assert!(receiver.summary().unwrap().ends_with("receiver lost 1 times"));
    }
}
