//! What a thread that owns a device has to tell, each thing once: that it was lost, and that it is back.

use std::{collections::VecDeque, io};

use super::Refusal;
use crate::BoardError;

/// Lines kept for whoever asks; more than that nobody wants to read about one device.
const NEWS: usize = 8;

/// Whether a device works, and what of it was not told yet.
pub(crate) struct Health {
    part: String,
    down: bool,
    /// That it is there but may not be opened was told; a new device file with wrong rights is its own trouble.
    forbidden: bool,
    losses: u64,
    failure: Option<BoardError>,
    news: VecDeque<String>,
}

impl Health {
    /// Of a part that nothing is known of yet; `part` is what it is called in messages.
    pub(crate) fn new(part: String) -> Self {
        Health { part, down: false, forbidden: false, losses: 0, failure: None, news: VecDeque::new() }
    }

    /// It is lost or could not be opened. Told when it worked before, or nothing was known.
    pub(crate) fn lost(&mut self, refusal: Refusal) {
        let forbidden = refusal.kind == io::ErrorKind::PermissionDenied;
        if !self.down {
            self.losses += 1;
        }
        if !self.down || (forbidden && !self.forbidden) {
            self.fail(refusal.cause);
        }
        self.down = true;
        self.forbidden |= forbidden;
    }

    /// It works. Told when it did not before.
    pub(crate) fn found(&mut self) {
        if std::mem::take(&mut self.down) {
            self.forbidden = false;
            self.tell("back");
        }
    }

    /// How often it was lost.
    pub(crate) fn losses(&self) -> u64 {
        self.losses
    }

    /// Something is wrong with it.
    pub(crate) fn fail(&mut self, cause: String) {
        self.failure = Some(BoardError::Part { part: self.part.clone(), cause });
    }

    /// Something that a person should know and that is no failure.
    pub(crate) fn tell(&mut self, what: &str) {
        if self.news.len() == NEWS {
            self.news.pop_front();
        }
        self.news.push_back(format!("{}: {what}", self.part));
    }

    /// The failure that was not told yet.
    pub(crate) fn failure(&mut self) -> Option<BoardError> {
        self.failure.take()
    }

    /// The oldest line that was not told yet.
    pub(crate) fn news(&mut self) -> Option<String> {
        self.news.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(kind: io::ErrorKind, cause: &str) -> Refusal {
        Refusal { kind, cause: cause.to_owned() }
    }

    #[test]
    fn each_change_is_told_once() {
        let mut health = Health::new("line /dev/x".to_owned());
        health.found();
        assert!(health.news().is_none(), "it was never lost");
        health.lost(refusal(io::ErrorKind::BrokenPipe, "unplugged"));
        health.lost(refusal(io::ErrorKind::NotFound, "not there"));
        assert_eq!(health.failure().unwrap().to_string(), "line /dev/x: unplugged");
        for _ in 0..2 {
            health.lost(refusal(io::ErrorKind::PermissionDenied, "not allowed"));
        }
        assert_eq!(health.failure().unwrap().to_string(), "line /dev/x: not allowed");
        health.lost(refusal(io::ErrorKind::PermissionDenied, "not allowed"));
        assert!(health.failure().is_none());
        health.found();
        health.found();
        assert_eq!(health.news().unwrap(), "line /dev/x: back");
        assert!(health.news().is_none());
        assert_eq!(health.losses(), 1);
    }

    #[test]
    fn news_are_bounded() {
        let mut health = Health::new("x".to_owned());
        for n in 0..20 {
            health.tell(&n.to_string());
        }
        assert_eq!(health.news().unwrap(), "x: 12");
    }
}
