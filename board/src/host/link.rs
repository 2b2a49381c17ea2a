//! Lines on the host: a pseudo-terminal that another program opens as a serial port, or a file or device.

use std::{
    fs::{File, OpenOptions},
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

/// Sentences into an existing device or into a file.
pub struct FileLink {
    path: PathBuf,
    file: File,
}

impl FileLink {
    /// Opens `path` for appending; a file is made when it is not there.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, BoardError> {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.map_err(|source| BoardError::Write { path: path.to_owned(), source })?;
        Ok(FileLink { path: path.to_owned(), file })
    }
}

impl Link for FileLink {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), BoardError> {
        self.file.write_all(bytes).map_err(|source| BoardError::Write { path: self.path.clone(), source })
    }
}

/// A pseudo-terminal whose other end a consumer such as gpsd opens like a serial port.
pub struct PtyLink {
    file: File,
    other_end: PathBuf,
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
        Ok(PtyLink { file: File::from(own), other_end, _other: other })
    }

    /// The device that a consumer opens.
    pub fn other_end(&self) -> &Path {
        &self.other_end
    }
}

impl Link for PtyLink {
    fn name(&self) -> String {
        self.other_end.display().to_string()
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), BoardError> {
        match self.file.write(bytes) {
            Ok(_) => Ok(()),
            // Nobody reads and the line's buffer is full: sentences are lost, as on a wire.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(source) => Err(BoardError::Write { path: self.other_end.clone(), source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

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
    fn a_file_gets_all_bytes_and_a_wrong_path_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("line");
        let mut link = FileLink::open(&path).unwrap();
        link.send(b"a").unwrap();
        link.send(b"b").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"ab");
        let e = FileLink::open(&dir.path().join("no/line")).err().unwrap().to_string();
        assert!(e.contains("no/line"), "{e}");
    }
}
