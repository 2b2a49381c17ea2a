//! Bursts on their way to a thread that sends them: few, and the oldest go first when it is too slow.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::Health;
use crate::BoardError;

/// Bursts that wait at most. A position from longer ago helps nobody.
pub(super) const WAITING: usize = 8;
/// How long a line that is closed may take to send what waits.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A burst, shared between consumers.
pub(super) type Burst = Arc<[u8]>;

/// The queue, and what its two ends know of each other.
pub(super) struct Queue {
    inner: Mutex<Inner>,
    changed: Condvar,
}

/// What is behind the queue's lock.
pub(super) struct Inner {
    waiting: VecDeque<Burst>,
    /// Bursts sent whole.
    pub(super) sent: u64,
    /// Bursts not sent, or not to everybody.
    pub(super) dropped: u64,
    /// What the sending thread has to tell.
    pub(super) health: Health,
    closing: bool,
    done: bool,
}

impl Queue {
    pub(super) fn new(part: String) -> Arc<Self> {
        let health = Health::new(part);
        let inner = Inner { waiting: VecDeque::new(), sent: 0, dropped: 0, health, closing: false, done: false };
        Arc::new(Queue { inner: Mutex::new(inner), changed: Condvar::new() })
    }

    /// The state stays usable when a thread panicked: every change of it is complete.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a burst; answers with the failure that was not told yet.
    pub(super) fn push(&self, bytes: &[u8]) -> Result<(), BoardError> {
        let mut inner = self.lock();
        if inner.waiting.len() == WAITING {
            inner.waiting.pop_front();
            inner.dropped += 1;
        }
        inner.waiting.push_back(bytes.into());
        self.changed.notify_all();
        inner.health.failure().map_or(Ok(()), Err)
    }

    /// The next burst; `None` when the line is being closed and all is sent.
    pub(super) fn next(&self) -> Option<Burst> {
        let empty = |inner: &mut Inner| inner.waiting.is_empty() && !inner.closing;
        let mut inner = self.changed.wait_while(self.lock(), empty).unwrap_or_else(PoisonError::into_inner);
        inner.waiting.pop_front()
    }

    /// The next burst if one comes within `wait`.
    pub(super) fn next_within(&self, wait: Duration) -> Option<Burst> {
        self.wait(wait, |inner| inner.waiting.is_empty() && !inner.closing).waiting.pop_front()
    }

    /// After a loss a line begins with the newest burst; what waited is from before.
    pub(super) fn keep_newest(&self) {
        let mut inner = self.lock();
        while inner.waiting.len() > 1 {
            inner.waiting.pop_front();
            inner.dropped += 1;
        }
    }

    /// Waits, unless the line is closed meanwhile.
    pub(super) fn pause(&self, time: Duration) {
        drop(self.wait(time, |inner| !inner.closing));
    }

    /// Whether the line is being closed.
    pub(super) fn closing(&self) -> bool {
        self.lock().closing
    }

    /// Said by the sending thread as its last.
    pub(super) fn done(&self) {
        self.lock().done = true;
        self.changed.notify_all();
    }

    /// Asks the sending thread to end, and lets it send what waits: a moment, no longer.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_all();
        drop(self.wait(LAST_WORDS, |inner| !inner.done));
    }

    /// What became of the bursts, in words.
    pub(super) fn summary(&self) -> String {
        let inner = self.lock();
        format!("{} bursts sent, {} dropped, lost {} times", inner.sent, inner.dropped, inner.health.losses())
    }

    fn wait(&self, time: Duration, condition: impl Fn(&Inner) -> bool) -> MutexGuard<'_, Inner> {
        let end = Instant::now() + time;
        let mut inner = self.lock();
        while condition(&inner) {
            let Some(left) = end.checked_duration_since(Instant::now()).filter(|l| !l.is_zero()) else {
                break;
            };
            inner = self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_are_counted() {
        let queue = Queue::new("line".to_owned());
        for n in 0..10u8 {
            queue.push(&[n]).unwrap();
        }
        assert_eq!((&*queue.next().unwrap(), queue.lock().dropped), (&[2u8][..], 2));
        queue.keep_newest();
        assert_eq!((&*queue.next().unwrap(), queue.lock().dropped), (&[9u8][..], 8));
        assert!(queue.next_within(Duration::ZERO).is_none());
    }

    #[test]
    fn closed_it_gives_what_waits_and_then_nothing() {
        let queue = Queue::new("line".to_owned());
        queue.push(b"last").unwrap();
        queue.done();
        queue.close();
        assert_eq!(&*queue.next().unwrap(), b"last");
        assert!(queue.next().is_none());
        queue.pause(Duration::from_secs(60));
    }
}
