//! Sentences into a file, a named pipe, or a device that is no serial line.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

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
pub(super) fn options(path: &Path) -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    options.append(true).custom_flags(flags.bits() as i32);
    // Held open at its reading end too, a named pipe waits for no consumer, and one may come and go.
    if std::fs::metadata(path).is_ok_and(|m| m.file_type().is_fifo()) {
        options.read(true);
    }
    options
}

impl Link for FileLink {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), BoardError> {
        match self.file.write_all(bytes) {
            // Nobody reads and the pipe is full: sentences are lost, as on a wire. A pipe takes a burst whole or not.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            outcome => outcome.map_err(|source| BoardError::Write { path: self.path.clone(), source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

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
}
