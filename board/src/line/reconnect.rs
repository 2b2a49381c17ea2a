//! A line that is opened again when it is lost: the thread behind serial devices and TCP consumers that are called.

use std::{
    io::{self, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use super::queue::Queue;
use crate::{BoardError, Link};

/// How patiently a lost device is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReconnectSettings {
    /// Pause after the first failure; doubled with each further one.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
}

impl Default for ReconnectSettings {
    fn default() -> Self {
        ReconnectSettings { first: Duration::from_millis(250), longest: Duration::from_secs(8) }
    }
}

/// Pauses between attempts, doubling.
pub(crate) struct Backoff {
    settings: ReconnectSettings,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(settings: ReconnectSettings) -> Self {
        Backoff { settings, next: settings.first }
    }

    /// The pause that is due.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.settings.longest);
        pause
    }

    /// It worked: the next failure is a first one. Being open is not enough for that, or a device that opens and
    /// fails at once would be opened four times a second.
    pub(crate) fn reset(&mut self) {
        self.next = self.settings.first;
    }
}

/// Why a device could not be opened or was lost, in words for a person.
pub(crate) struct Refusal {
    /// What kind of trouble it is.
    pub(crate) kind: io::ErrorKind,
    /// What happened, and the way out.
    pub(crate) cause: String,
}

/// An open line. Its writes wait a fraction of a second at most and then say so by `TimedOut` or `WouldBlock`.
pub(super) type Wire = Box<dyn Write + Send>;
/// Opens the line.
pub(super) type Dial = Box<dyn FnMut() -> Result<Wire, Refusal> + Send>;

/// A serial device or a TCP consumer, with a thread that sends, and opens it again by its name when it is lost.
pub struct Reconnecting {
    name: String,
    queue: Arc<Queue>,
}

impl Reconnecting {
    /// `name` is for messages; a wire that takes nothing for as long as `stuck` is lost.
    pub(super) fn start(name: String, pace: ReconnectSettings, stuck: Duration, dial: Dial) -> Self {
        let queue = Queue::new(format!("line {name}"));
        let work = Work { queue: queue.clone(), backoff: Backoff::new(pace), stuck };
        let _detached = std::thread::spawn(move || work.run(dial));
        Reconnecting { name, queue }
    }
}

impl Link for Reconnecting {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), BoardError> {
        self.queue.push(bytes)
    }

    fn news(&mut self) -> Option<String> {
        self.queue.lock().health.news()
    }

    fn summary(&self) -> Option<String> {
        Some(self.queue.summary())
    }
}

impl Drop for Reconnecting {
    fn drop(&mut self) {
        self.queue.close();
    }
}

struct Work {
    queue: Arc<Queue>,
    backoff: Backoff,
    stuck: Duration,
}

impl Work {
    fn run(mut self, mut dial: Dial) {
        while !self.queue.closing() {
            let refusal = match dial() {
                Ok(mut wire) => {
                    self.queue.keep_newest();
                    match self.carry(&mut wire) {
                        Ok(()) => break,
                        Err(e) => {
                            Refusal { kind: e.kind(), cause: format!("lost ({e}); opened again when it is there") }
                        }
                    }
                }
                Err(refusal) => refusal,
            };
            self.queue.lock().health.lost(refusal);
            self.queue.pause(self.backoff.pause());
        }
        self.queue.done();
    }

    /// Sends bursts until the line is closed.
    fn carry(&mut self, wire: &mut Wire) -> io::Result<()> {
        while let Some(burst) = self.queue.next() {
            let sent = self.send(wire, &burst);
            let mut inner = self.queue.lock();
            match sent {
                Ok(()) => inner.sent += 1,
                // The rest of it is not sent later: a line begins with a burst's beginning.
                Err(_) => inner.dropped += 1,
            }
            sent?;
            inner.health.found();
            self.backoff.reset();
        }
        Ok(())
    }

    fn send(&self, wire: &mut Wire, mut rest: &[u8]) -> io::Result<()> {
        let mut moved = Instant::now();
        while !rest.is_empty() {
            match wire.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    rest = &rest[n..];
                    moved = Instant::now();
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
                    if self.queue.closing() || moved.elapsed() > self.stuck {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "it takes no more bytes"));
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::line::testing::{burst, wait_until, whole_bursts};

    const FAST: ReconnectSettings =
        ReconnectSettings { first: Duration::from_millis(1), longest: Duration::from_millis(4) };

    type Got = Arc<Mutex<Vec<u8>>>;

    /// A wire that takes seven bytes at a time, and fails in the midst of things.
    struct Frail {
        got: Got,
        writes_left: usize,
    }

    impl Write for Frail {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let Some(left) = self.writes_left.checked_sub(1) else {
                return Err(io::ErrorKind::BrokenPipe.into());
            };
            self.writes_left = left;
            let n = bytes.len().min(7);
            self.got.lock().unwrap().extend(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::new(ReconnectSettings::default());
        let pauses: Vec<u128> = (0..7).map(|_| backoff.pause().as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 8000]);
        backoff.reset();
        assert_eq!(backoff.pause().as_millis(), 250);
    }

    #[test]
    fn after_a_loss_the_line_begins_with_a_burst() {
        let wires: Arc<Mutex<Vec<Got>>> = Arc::default();
        let made = wires.clone();
        let dial: Dial = Box::new(move || {
            let got = Arc::default();
            made.lock().unwrap().push(Arc::clone(&got));
            // The first is lost within a burst.
            let writes_left = if made.lock().unwrap().len() == 1 { 9 } else { usize::MAX };
            Ok(Box::new(Frail { got, writes_left }))
        });
        let mut link = Reconnecting::start("x".to_owned(), FAST, Duration::MAX, dial);
        let mut failures = Vec::new();
        let mut number = 0;
        wait_until("the line is back", || {
            failures.extend(link.send(&burst(number)).err().map(|e| e.to_string()));
            number += 1;
            link.news().is_some_and(|n| n == "line x: back")
        });
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert!(failures[0].starts_with("line x: lost (broken pipe); opened again"), "{failures:?}");
        drop(link);
        let wires = wires.lock().unwrap();
        assert_eq!(wires.len(), 2);
        assert!(!whole_bursts(&wires[1].lock().unwrap()).is_empty());
    }

    #[test]
    fn what_cannot_be_opened_is_told_once_and_never_holds_up_the_caller() {
        let dial: Dial =
            Box::new(|| Err(Refusal { kind: io::ErrorKind::NotFound, cause: "it is not there".to_owned() }));
        let mut link = Reconnecting::start("x".to_owned(), FAST, Duration::MAX, dial);
        let mut failures = 0;
        wait_until("told", || {
            failures += usize::from(link.send(&burst(1)).is_err());
            failures > 0
        });
        let began = Instant::now();
        failures += (0..1000).filter(|n| link.send(&burst(*n)).is_err()).count();
        assert_eq!(failures, 1);
        assert!(began.elapsed() < Duration::from_secs(1));
        assert!(link.summary().unwrap().contains("0 bursts sent"), "{:?}", link.summary());
    }
}
