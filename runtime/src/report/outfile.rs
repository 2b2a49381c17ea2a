//! A directory of output that one run has for itself, and files in it that have their final names only when they
//! are complete.

use std::{
    fs::{self, File, TryLockError},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// Why output cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutError {
    /// The file system refused.
    #[error("cannot write {}: {source}; name another directory with --out", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory is in use.
    #[error("another run writes into {}; name another directory with --out", .0.display())]
    Busy(PathBuf),
}

/// An output directory, claimed: two runs that write files of the same names would spoil both.
pub struct OutDir {
    path: PathBuf,
    // The claim ends with the handle, however the program ends.
    _claim: File,
    made: Vec<PathBuf>,
}

impl OutDir {
    /// Makes the directory where it is not there, and claims it.
    ///
    /// # Errors
    /// When it cannot be made or opened, or another run has it.
    pub fn claim(path: &Path) -> Result<Self, OutError> {
        let failed = |source| OutError::Write { path: path.to_owned(), source };
        let made = path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).map(Path::to_owned);
        let made: Vec<PathBuf> = made.collect();
        fs::create_dir_all(path).map_err(failed)?;
        let claim = File::open(path).map_err(failed)?;
        match claim.try_lock() {
            Err(TryLockError::WouldBlock) => Err(OutError::Busy(path.to_owned())),
            // A file system without locks cannot tell; that is no reason not to write.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(OutDir { path: path.to_owned(), _claim: claim, made }),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for OutDir {
    /// Takes back the directories that were made for nothing.
    fn drop(&mut self) {
        // One with files in it stays, because it cannot be removed.
        let _ = self.made.iter().try_for_each(fs::remove_dir);
    }
}

/// Writes to `NAME.partial`; [`OutFile::finish`] gives it its name.
///
/// A drive may have no end, and a vehicle's disk has one: a part that has grown to its bound is finished as
/// `NAME.1.EXTENSION`, the ones before move up, and no more than [`OutFile::KEPT_PARTS`] of them are kept.
pub struct OutFile {
    writer: BufWriter<File>,
    partial: PathBuf,
    path: PathBuf,
    bytes: u64,
    bound: u64,
    finished: bool,
}

impl OutFile {
    /// Finished parts of a file that are kept beside the one being written.
    pub const KEPT_PARTS: u32 = 3;

    /// Opens the partial file; a part of it has at most `bound` bytes and one record more.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path, bound: u64) -> Result<Self, OutError> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).map_err(|source| OutError::Write { path: path.to_owned(), source })?;
        let writer = BufWriter::new(file);
        Ok(OutFile { writer, partial, path: path.to_owned(), bytes: 0, bound, finished: false })
    }

    /// Adds whole lines and hands them to the system, so that a reader may follow the partial file.
    ///
    /// # Errors
    /// When the file system refuses, as when it is full.
    pub fn append(&mut self, lines: &[u8]) -> Result<(), OutError> {
        let written = self.writer.write_all(lines).and_then(|()| self.writer.flush());
        written.map_err(|source| self.failed(source))?;
        self.bytes += lines.len() as u64;
        if self.bytes >= self.bound {
            self.next_part().map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    fn next_part(&mut self) -> io::Result<()> {
        for older in (1..Self::KEPT_PARTS).rev() {
            match fs::rename(self.part(older), self.part(older + 1)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => (),
            }
        }
        self.writer.get_ref().sync_all()?;
        fs::rename(&self.partial, self.part(1))?;
        (self.writer, self.bytes) = (BufWriter::new(File::create(&self.partial)?), 0);
        Ok(())
    }

    /// The name of a finished part, the newest being 1: `fixes.1.jsonl`.
    fn part(&self, number: u32) -> PathBuf {
        let extension = self.path.extension().unwrap_or_default().to_string_lossy();
        self.path.with_extension(format!("{number}.{extension}"))
    }

    /// Makes the file durable and gives it its final name.
    ///
    /// # Errors
    /// When the file system refuses; the partial file then stays.
    pub fn finish(mut self) -> Result<(), OutError> {
        let durable = self.writer.flush().and_then(|()| self.writer.get_ref().sync_all());
        let named = durable.and_then(|()| fs::rename(&self.partial, &self.path));
        self.finished = named.is_ok();
        named.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> OutError {
        OutError::Write { path: self.path.clone(), source }
    }
}

impl Drop for OutFile {
    /// Leaves no file of a run that never began. What a run has recorded stays, under its partial name.
    fn drop(&mut self) {
        let empty = || self.writer.get_ref().metadata().is_ok_and(|m| m.len() == 0);
        if !self.finished && self.writer.buffer().is_empty() && empty() {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn the_final_name_means_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fixes.jsonl");
        let mut f = OutFile::create(&path, u64::MAX).unwrap();
        f.append(b"{}\n").unwrap();
        assert!(!path.exists());
        assert_eq!(fs::read(dir.path().join("fixes.jsonl.partial")).unwrap(), b"{}\n");
        f.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{}\n");
        assert_eq!(entries(dir.path()), 1);
    }

    #[test]
    fn a_drive_without_end_takes_a_bounded_place() {
        let dir = tempfile::tempdir().unwrap();
        let mut f = OutFile::create(&dir.path().join("fixes.jsonl"), 40).unwrap();
        for i in 0..100 {
            f.append(format!("{i:09}\n").as_bytes()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(entries(dir.path()), 1 + OutFile::KEPT_PARTS as usize);
        assert_eq!(read("fixes.1.jsonl").lines().map(|l| l.parse().unwrap()).collect::<Vec<u32>>(), [96, 97, 98, 99]);
        assert_eq!(read("fixes.3.jsonl").lines().next(), Some("000000088"));
        f.append(b"the last\n").unwrap();
        f.finish().unwrap();
        assert_eq!(read("fixes.jsonl"), "the last\n");
    }

    #[test]
    fn a_run_that_never_began_leaves_nothing_and_one_that_broke_off_its_record() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("a/b");
        let claimed = OutDir::claim(&out).unwrap();
        drop(OutFile::create(&out.join("drive.nmea"), u64::MAX).unwrap());
        drop(claimed);
        assert_eq!(entries(dir.path()), 0);
        let claimed = OutDir::claim(&out).unwrap();
        OutFile::create(&out.join("drive.nmea"), u64::MAX).unwrap().append(b"$").unwrap();
        drop(claimed);
        assert_eq!(fs::read(out.join("drive.nmea.partial")).unwrap(), b"$");
    }

    #[test]
    fn a_directory_has_one_run_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = OutDir::claim(dir.path()).unwrap();
        let e = OutDir::claim(dir.path()).err().unwrap().to_string();
        assert!(e.starts_with("another run writes into") && e.contains("--out"), "{e}");
        drop(first);
        assert!(OutDir::claim(dir.path()).is_ok());
    }
}
