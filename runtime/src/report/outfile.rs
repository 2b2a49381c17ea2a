//! A file that has its final name only when it is complete.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// Writes to `NAME.partial`; [`OutFile::finish`] gives it its name.
pub struct OutFile {
    writer: BufWriter<File>,
    partial: PathBuf,
    path: PathBuf,
}

impl OutFile {
    /// Opens the partial file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        Ok(OutFile { writer: BufWriter::new(File::create(&partial)?), partial, path: path.to_owned() })
    }

    /// Adds bytes and hands whole lines to the system, so that a reader may follow the partial file.
    ///
    /// # Errors
    /// When the file system refuses, as when it is full.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)?;
        self.writer.flush()
    }

    /// Makes the file durable and gives it its final name.
    ///
    /// # Errors
    /// When the file system refuses; the partial file then stays.
    pub fn finish(mut self) -> io::Result<()> {
        self.writer.flush()?;
        self.writer.get_ref().sync_all()?;
        fs::rename(&self.partial, &self.path)
    }

    /// The final name.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_final_name_means_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fixes.jsonl");
        let mut f = OutFile::create(&path).unwrap();
        f.append(b"{}\n").unwrap();
        assert!(!path.exists());
        assert_eq!(fs::read(dir.path().join("fixes.jsonl.partial")).unwrap(), b"{}\n");
        f.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{}\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
