//! A new pseudo-terminal: another program opens its other end as if it were a serial port.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{OptionalActions, tcgetattr, tcsetattr},
};

use crate::{BoardError, Link};

/// A pseudo-terminal whose other end a consumer such as gpsd opens like a serial port.
pub struct PtyLink {
    file: File,
    other_end: PathBuf,
    /// What of the last burst the line did not take.
    rest: Vec<u8>,
    /// Bursts that a full line did not take.
    dropped: u64,
    /// Of them, those in a row at this moment.
    stalled: u64,
    news: Option<String>,
    // Held open, so that a consumer may come and go without the line reporting a hang-up.
    _other: OwnedFd,
}

impl PtyLink {
    /// Makes the pair and sets the line raw: no echo, no change of line ends.
    ///
    /// # Errors
    /// When the system has no pseudo-terminal left.
    pub fn open() -> Result<Self, BoardError> {
        let failed = |e: rustix::io::Errno| BoardError::Write { path: "/dev/ptmx".into(), source: e.into() };
        let own = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).map_err(failed)?;
        grantpt(&own).map_err(failed)?;
        unlockpt(&own).map_err(failed)?;
        let name = ptsname(&own, Vec::new()).map_err(failed)?;
        let other_end = PathBuf::from(name.to_string_lossy().into_owned());
        let other = rustix::fs::open(&other_end, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).map_err(failed)?;
        let mut line = tcgetattr(&other).map_err(failed)?;
        line.make_raw();
        tcsetattr(&other, OptionalActions::Now, &line).map_err(failed)?;
        let flags = rustix::fs::fcntl_getfl(&own).map_err(failed)?;
        rustix::fs::fcntl_setfl(&own, flags | OFlags::NONBLOCK).map_err(failed)?;
        Ok(PtyLink {
            file: File::from(own),
            other_end,
            rest: Vec::new(),
            dropped: 0,
            stalled: 0,
            news: None,
            _other: other,
        })
    }

    /// The device that a consumer opens.
    pub fn other_end(&self) -> &Path {
        &self.other_end
    }

    /// Writes what the line takes now.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, BoardError> {
        match self.file.write(bytes) {
            Ok(n) => Ok(n),
            // Nobody reads and the line's buffer is full: sentences are lost, as on a wire.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(source) => Err(BoardError::Write { path: self.other_end.clone(), source }),
        }
    }
}

impl Link for PtyLink {
    fn name(&self) -> String {
        self.other_end.display().to_string()
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), BoardError> {
        // A burst of which the line took a part is ended before another begins.
        let rest = std::mem::take(&mut self.rest);
        let ended = if rest.is_empty() { 0 } else { self.write(&rest)? };
        let taken = if ended < rest.len() { 0 } else { self.write(bytes)? };
        self.rest = match (ended < rest.len(), taken) {
            (true, _) => rest[ended..].to_vec(),
            (false, 0) => Vec::new(),
            (false, taken) => bytes[taken..].to_vec(),
        };
        match (taken, self.stalled) {
            (0, 0) => self.news = Some(format!("{}: nobody reads, sentences are dropped", self.name())),
            (1.., 1..) => {
                self.news = Some(format!("{}: read again, {} bursts were dropped", self.name(), self.stalled))
            }
            _ => {}
        }
        self.stalled = if taken == 0 { self.stalled + 1 } else { 0 };
        self.dropped += u64::from(taken == 0);
        Ok(())
    }

    fn news(&mut self) -> Option<String> {
        self.news.take()
    }

    fn summary(&self) -> Option<String> {
        (self.dropped > 0).then(|| format!("{} bursts dropped because nobody read", self.dropped))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::line::testing::{burst, whole_bursts};

    #[test]
    fn a_pseudo_terminal_carries_line_ends_unchanged_and_never_blocks() {
        let mut link = PtyLink::open().unwrap();
        let mut reader = File::open(link.other_end()).unwrap();
        link.send(b"$GPRMC,1*00\r\n").unwrap();
        let mut got = [0; 13];
        reader.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"$GPRMC,1*00\r\n");
        for _ in 0..2000 {
            link.send(&[b'x'; 80]).unwrap();
        }
    }

    #[test]
    fn a_burst_is_never_torn_by_a_full_line() {
        let mut link = PtyLink::open().unwrap();
        let mut number = 0;
        // What the line takes at first goes on into the system's further buffers, at a time of its own choosing.
        while link.stalled < 50 {
            link.send(&burst(number)).unwrap();
            number += 1;
            assert!(number < 100_000, "a line that nobody reads is full some day");
        }
        assert!(link.dropped >= 50 && link.summary().unwrap().contains("nobody read"));
        assert!(link.news().unwrap().contains("nobody reads") && link.news().is_none(), "once");
        let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK;
        let mut reader = File::from(rustix::fs::open(link.other_end(), flags, Mode::empty()).unwrap());
        let (mut got, begun) = (Vec::new(), Instant::now());
        // Empty as it is now, the line takes bursts again, and each that it takes comes whole.
        let last = loop {
            let _ = reader.read_to_end(&mut got);
            link.send(&burst(number)).unwrap();
            let stalled = link.stalled > 0;
            number += 1;
            if !stalled && link.rest.is_empty() {
                break number - 1;
            }
            assert!(begun.elapsed() < Duration::from_secs(10));
        };
        let end = burst(last);
        while !got.ends_with(&end) {
            let _ = reader.read_to_end(&mut got);
            assert!(begun.elapsed() < Duration::from_secs(10));
        }
        let numbers = whole_bursts(&got);
        assert!(link.news().unwrap().contains("read again, "));
        assert!(numbers.last() == Some(&last) && numbers.len() < last);
    }
}
