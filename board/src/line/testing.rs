//! What the tests of lines and receivers share: a pseudo-terminal as a serial port, and bursts whose tears show.

use std::{
    fs::File,
    io::{Read, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::{
    fs::OFlags,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

/// The far end of a serial port that another part opens by its path; dropped, the port is unplugged.
pub(crate) struct Pty {
    pub(crate) far: File,
    pub(crate) path: PathBuf,
}

impl Pty {
    pub(crate) fn open() -> Self {
        let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&far).unwrap();
        unlockpt(&far).unwrap();
        let path = PathBuf::from(ptsname(&far, Vec::new()).unwrap().to_str().unwrap());
        let flags = rustix::fs::fcntl_getfl(&far).unwrap();
        rustix::fs::fcntl_setfl(&far, flags | OFlags::NONBLOCK).unwrap();
        Pty { far: far.into(), path }
    }

    /// Adds what has arrived. That nobody has the port open is an error of the system's and nothing to the tests.
    pub(crate) fn read(&mut self, got: &mut Vec<u8>) {
        let _ = self.far.read_to_end(got);
    }

    /// Writes what fits.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let _ = self.far.write(bytes);
    }
}

/// Waits for something, with a deadline that only a failure reaches.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A burst of two sentences that carry its number.
pub(crate) fn burst(number: usize) -> Vec<u8> {
    format!("$TEST,{number},first*00\r\n$TEST,{number},second*00\r\n").into_bytes()
}

/// The numbers of the bursts, which must all be whole.
pub(crate) fn whole_bursts(bytes: &[u8]) -> Vec<usize> {
    let text = std::str::from_utf8(bytes).unwrap();
    let mut lines = text.split_inclusive("\r\n");
    let mut numbers = Vec::new();
    while let Some(first) = lines.next() {
        let number: usize = first.split(',').nth(1).unwrap_or_default().parse().unwrap_or_else(|_| panic!("{first:?}"));
        let both = [first, lines.next().unwrap_or_default()].concat();
        assert_eq!(both.as_bytes(), burst(number), "torn");
        numbers.push(number);
    }
    numbers
}
