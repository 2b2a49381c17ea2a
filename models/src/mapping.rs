//! A read-only file in memory: mapped where it comes from disk, owned where it was just made.
//!
//! The one file of this crate with `unsafe` in it.
#![allow(unsafe_code)]

use std::{fs::File, io, ops::Deref, path::Path, sync::Arc};

/// Bytes that do not change, from a mapping or from the heap. A clone is the same bytes.
#[derive(Clone)]
pub struct FileBytes(Arc<Source>);

enum Source {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl FileBytes {
    /// Maps the file at `path` read-only.
    ///
    /// # Errors
    /// When the system refuses, or it is a directory.
    pub fn map(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if metadata.len() == 0 {
            return Ok(Vec::new().into()); // an empty mapping is an error on some systems
        }
        // SAFETY: the mapping is read only. Changing the file under a running program is the one way to break it; bundles
        // are replaced by renaming a whole directory, which leaves the mapped file as it was.
        Ok(FileBytes(Arc::new(Source::Mapped(unsafe { memmap2::Mmap::map(&file)? }))))
    }

    /// Gives the memory of what was read back to the system; what is asked for again is read again.
    pub fn forget(&self) {
        if let Source::Mapped(mapped) = &*self.0 {
            // SAFETY: the mapping is of a file and never written to: its pages come back as they were. A system that
            // does not know how keeps them, which does no harm.
            let _ = unsafe { mapped.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }
}

impl From<Vec<u8>> for FileBytes {
    fn from(bytes: Vec<u8>) -> Self {
        FileBytes(Arc::new(Source::Owned(bytes)))
    }
}

impl Deref for FileBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &*self.0 {
            Source::Mapped(m) => m,
            Source::Owned(v) => v,
        }
    }
}
