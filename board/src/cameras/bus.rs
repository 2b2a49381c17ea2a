//! A USB bus that carries one camera at a time: cameras wait in line for their turn on it.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use super::lock;

/// How often one that waits looks whether it shall stop.
const LOOK: Duration = Duration::from_millis(50);

/// The line before the bus.
pub(super) struct Bus {
    line: Mutex<Line>,
    moved: Condvar,
    /// A camera that keeps the bus for longer hangs, and the next one goes on without waiting for it.
    lease: Duration,
}

#[derive(Default)]
struct Line {
    tickets: u64,
    waiting: VecDeque<u64>,
    holder: Option<(u64, Instant)>,
}

impl Bus {
    /// A free bus.
    pub fn new(lease: Duration) -> Arc<Self> {
        Arc::new(Bus { line: Mutex::default(), moved: Condvar::new(), lease })
    }

    /// Waits for the bus, first come first served; `None` when `stopped` says so.
    pub fn turn(&self, stopped: impl Fn() -> bool) -> Option<Turn<'_>> {
        let mut line = lock(&self.line);
        line.tickets += 1;
        let ticket = line.tickets;
        line.waiting.push_back(ticket);
        loop {
            if stopped() {
                line.waiting.retain(|t| *t != ticket);
                return None;
            }
            let free = line.holder.is_none_or(|(_, since)| since.elapsed() > self.lease);
            if free && line.waiting.front() == Some(&ticket) {
                line.waiting.pop_front();
                line.holder = Some((ticket, Instant::now()));
                return Some(Turn { bus: self, ticket });
            }
            line = self.moved.wait_timeout(line, LOOK).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }
}

/// The right to use the bus, until it is dropped.
pub(super) struct Turn<'a> {
    bus: &'a Bus,
    ticket: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut line = lock(&self.bus.line);
        // One that hung has lost it to another meanwhile.
        if line.holder.is_some_and(|(ticket, _)| ticket == self.ticket) {
            line.holder = None;
        }
        self.bus.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn one_at_a_time_in_the_order_of_asking() {
        let bus = Bus::new(Duration::from_secs(60));
        let order = Mutex::new(Vec::new());
        let first = bus.turn(|| false).unwrap();
        thread::scope(|s| {
            for i in 0..3 {
                let (bus, order) = (&bus, &order);
                s.spawn(move || {
                    let _turn = bus.turn(|| false).unwrap();
                    lock(order).push(i);
                });
                while lock(&bus.line).waiting.len() <= i {
                    thread::yield_now();
                }
            }
            assert!(bus.turn(|| true).is_none(), "one that is stopped leaves the line");
            assert_eq!(*lock(&order), Vec::<usize>::new());
            drop(first);
        });
        assert_eq!(*lock(&order), [0, 1, 2]);
    }

    #[test]
    fn one_that_hangs_loses_its_turn_and_cannot_end_that_of_another() {
        let bus = Bus::new(Duration::from_millis(30));
        let hung = bus.turn(|| false).unwrap();
        let next = bus.turn(|| false).unwrap();
        drop(hung);
        assert_eq!(lock(&bus.line).holder.map(|(ticket, _)| ticket), Some(next.ticket));
    }
}
