//! Files of named tensors in the safetensors format, read one tensor at a time: CLIP's largest file has 1.7 GB, of which
//! a run wants a part.
//!
//! A file is the length of its header (8 bytes, little endian), the header as JSON, and the tensors' bytes
//! (<https://github.com/huggingface/safetensors>).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Longest header, that of the format's own library.
const MAX_HEADER: u64 = 100_000_000;

/// A file of tensors cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SafetensorsError {
    /// The file cannot be opened or read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The header is none.
    #[error("{path} is no safetensors file: {message}")]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The file ends before its last tensor.
    #[error("{path} is cut short: it has {found} bytes and should have {expected}; copy or download it again")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
        /// The size that its header asks for.
        expected: u64,
    },
}

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// Type of its values: `F32`, `F16`, `BF16`, `I64`, ...
    pub dtype: String,
    /// Sizes, outermost first.
    pub shape: Vec<u64>,
    /// First byte and the one after the last, counted from the end of the header.
    data_offsets: (u64, u64),
}

/// An open file of tensors.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    file: File,
    start: u64,
    entries: BTreeMap<String, Entry>,
}

impl TensorFile {
    /// Reads the header and checks that the tensors it names are there.
    ///
    /// # Errors
    /// When the file cannot be read, has no valid header, or is cut short.
    pub fn open(path: &Path) -> Result<Self, SafetensorsError> {
        let read = |source| SafetensorsError::Read { path: path.to_owned(), source };
        let broken = |message: String| SafetensorsError::Header { path: path.to_owned(), message };
        let mut file = File::open(path).map_err(read)?;
        let size = file.metadata().map_err(read)?.len();
        let mut length = [0; 8];
        if size < length.len() as u64 {
            return Err(broken(format!("it has {size} bytes")));
        }
        file.read_exact(&mut length).map_err(read)?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER {
            return Err(broken(format!("its first 8 bytes give a header of {length} bytes")));
        }
        let start = 8 + length;
        if start > size {
            return Err(SafetensorsError::Truncated { path: path.to_owned(), found: size, expected: start });
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(read)?;
        let header: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&header).map_err(|e| broken(format!("its header is damaged: {e}")))?;
        let mut entries = BTreeMap::new();
        let mut end = 0;
        for (name, value) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
            let entry: Entry =
                serde_json::from_value(value).map_err(|e| broken(format!("its entry {name} is damaged: {e}")))?;
            if !entry.fits() {
                return Err(broken(format!("the bytes of {name} do not fit its type and shape")));
            }
            end = end.max(entry.data_offsets.1);
            entries.insert(name, entry);
        }
        let expected = start.saturating_add(end);
        if size < expected {
            return Err(SafetensorsError::Truncated { path: path.to_owned(), found: size, expected });
        }
        Ok(TensorFile { path: path.to_owned(), file, start, entries })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All tensors by name.
    pub fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.entries
    }

    /// The bytes of a tensor of this file, row-major and little endian.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn bytes(&mut self, entry: &Entry) -> Result<Vec<u8>, SafetensorsError> {
        let (from, to) = entry.data_offsets;
        let mut bytes = vec![0; to.saturating_sub(from) as usize];
        let mut read = |file: &mut File| {
            file.seek(SeekFrom::Start(self.start + from))?;
            file.read_exact(&mut bytes)
        };
        read(&mut self.file).map_err(|source| SafetensorsError::Read { path: self.path.clone(), source })?;
        Ok(bytes)
    }
}

impl Entry {
    /// Whether as many bytes are given as type and shape ask for. Types that nobody asks for may have any size.
    fn fits(&self) -> bool {
        let (from, to) = self.data_offsets;
        let Some(bytes) = to.checked_sub(from) else { return false };
        let size = match self.dtype.as_str() {
            "F32" => 4,
            "F16" | "BF16" => 2,
            _ => return true,
        };
        self.shape.iter().try_fold(size, |product: u64, &n| product.checked_mul(n)) == Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with this header and as many bytes of data, cut to `keep` bytes.
    fn open(header: &str, data: usize, keep: usize) -> Result<TensorFile, SafetensorsError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.safetensors");
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend((0..data).map(|i| i as u8));
        bytes.truncate(keep);
        std::fs::write(&path, bytes).unwrap();
        TensorFile::open(&path)
    }

    const HEADER: &str = r#"{"__metadata__":{"format":"pt"},
        "a":{"dtype":"F16","shape":[2,1],"data_offsets":[0,4]},
        "b":{"dtype":"F32","shape":[],"data_offsets":[4,8]},
        "c":{"dtype":"I64","shape":[1,1],"data_offsets":[8,16]}}"#;

    #[test]
    fn tensors_are_found_by_name() {
        let mut file = open(HEADER, 16, usize::MAX).unwrap();
        assert!(file.entries().keys().eq(["a", "b", "c"]));
        let entry = file.entries()["b"].clone();
        assert_eq!((entry.dtype.as_str(), entry.shape.len()), ("F32", 0));
        assert_eq!(file.bytes(&entry).unwrap(), [4, 5, 6, 7]);
        let entry = file.entries()["a"].clone();
        assert_eq!(file.bytes(&entry).unwrap(), [0, 1, 2, 3]);
    }

    #[test]
    fn a_file_that_was_cut_or_is_none_is_refused() {
        let whole = 8 + HEADER.len() + 16;
        assert!(open(HEADER, 16, whole).is_ok());
        for keep in 0..whole {
            let error = open(HEADER, 16, keep).unwrap_err().to_string();
            let expected = if keep < 8 { "no safetensors file" } else { "is cut short" };
            assert!(error.contains("t.safetensors") && error.contains(expected), "{keep}: {error}");
        }
        let error = |header: &str| open(header, 16, usize::MAX).unwrap_err().to_string();
        assert!(error("[]").contains("header is damaged"));
        assert!(error(r#"{"a":{"dtype":"F32","shape":[1]}}"#).contains("entry a is damaged"));
        for bad in [
            r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#,
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}"#,
            r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#,
        ] {
            assert!(error(bad).contains("the bytes of a do not fit"), "{bad}");
        }
        assert!(
            error(r#"{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,18446744073709551615]}}"#).contains("cut short")
        );
        let picture = open("", 0, usize::MAX).map(|_| ());
        assert!(picture.is_err());
    }
}
