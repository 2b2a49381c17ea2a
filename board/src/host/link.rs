//! Lines on the host: a pseudo-terminal that another program opens as a serial port, or a file or device.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{FileTypeExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, Mode, OFlags, access},
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
        let file = options(path).create(true).open(path);
        let file = file.map_err(|source| BoardError::Write { path: path.to_owned(), source })?;
        Ok(FileLink { path: path.to_owned(), file })
    }
}

/// How a device, pipe or file is opened: a consumer that is not there or does not read never holds up a vehicle.
fn options(path: &Path) -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    options.append(true).custom_flags(flags.bits() as i32);
    // Held open at its reading end too, a named pipe waits for no consumer, and one may come and go.
    if std::fs::metadata(path).is_ok_and(|m| m.file_type().is_fifo()) {
        options.read(true);
    }
    options
}

/// Whether a link could be opened, without making anything; answers with what it is.
///
/// # Errors
/// When it could not.
pub fn try_link(link: &str) -> Result<String, BoardError> {
    if link == PTY {
        return PtyLink::open().map(|pty| pty.name());
    }
    let path = Path::new(link);
    let opened = match options(path).open(path) {
        Ok(_) => return Ok(link.to_owned()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from)
        }
        Err(e) => Err(e),
    };
    let to_be_made = format!("{link}, a file that is not there yet");
    opened.map(|()| to_be_made).map_err(|source| BoardError::Write { path: path.to_owned(), source })
}

/// The name of a link that is a new pseudo-terminal.
pub const PTY: &str = "pty";

impl Link for FileLink {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), BoardError> {
        match self.file.write_all(bytes) {
            // Nobody reads and the line's buffer is full: sentences are lost, as on a wire.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            outcome => outcome.map_err(|source| BoardError::Write { path: self.path.clone(), source }),
        }
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

    #[test]
    fn a_named_pipe_needs_no_reader_and_never_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let mut link = FileLink::open(&path).unwrap();
        link.send(b"$GPRMC,1*00\r\n").unwrap();
        let mut got = [0; 13];
        File::open(&path).unwrap().read_exact(&mut got).unwrap();
        assert_eq!(&got, b"$GPRMC,1*00\r\n");
        for _ in 0..2000 {
            link.send(&[b'x'; 80]).unwrap();
        }
    }

    #[test]
    fn trying_a_link_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        assert!(try_link(&at("line")).unwrap().contains("not there yet"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(try_link(&at("no/line")).unwrap_err().to_string().contains("no/line"));
        std::fs::write(at("line"), "kept").unwrap();
        assert_eq!(try_link(&at("line")).unwrap(), at("line"));
        assert_eq!(std::fs::read_to_string(at("line")).unwrap(), "kept");
        assert!(try_link(PTY).unwrap().starts_with("/dev/"));
    }
}
