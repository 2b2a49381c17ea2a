//! A bundle: the directory that a trained model is shipped in. Read and checked whole, or refused in one line.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    bytes::FormatError,
    geocells::Geocells,
    manifest::{self, Manifest, sha256_hex, sha256_hex_telling},
    mapping::FileBytes,
    prototypes::Prototypes,
    refine::Guess,
};

/// The manifest's file name.
pub const MANIFEST: &str = "manifest.toml";
/// The int8 graph from views to embeddings.
pub const ENCODER: &str = "encoder.onnx";
/// The graph from an embedding to cell logits and tasks.
pub const HEADS: &str = "heads.onnx";
/// The geocells.
pub const GEOCELLS: &str = "geocells.bin";
/// The prototypes.
pub const PROTOTYPES: &str = "prototypes.bin";
/// The files that the manifest names with their hashes.
pub const FILES: [&str; 4] = [ENCODER, HEADS, GEOCELLS, PROTOTYPES];

/// Why a bundle cannot be used. Each message is one line that says what, where, and the way out.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The directory or its manifest is not there.
    #[error("no model bundle at {}: {MANIFEST} is missing; name a bundle's directory", .0.display())]
    NoBundle(PathBuf),
    /// A file is not there.
    #[error("{} is missing: the bundle is incomplete, copy it again", .0.display())]
    Missing(PathBuf),
    /// A directory is where a file should be.
    #[error("{} is a directory and no file: copy the bundle again", .0.display())]
    NoFile(PathBuf),
    /// The file system refused.
    #[error("cannot read {}: {source}; check its permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not the one that the manifest was written for.
    #[error("{} is damaged: its SHA-256 is {found}, {MANIFEST} says {expected}; copy the bundle again", path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// Hash in the manifest.
        expected: String,
        /// Hash of the file.
        found: String,
    },
    /// The manifest cannot be used.
    #[error("{}: {fault}", path.display())]
    Manifest {
        /// The manifest's path.
        path: PathBuf,
        /// What is wrong, and where.
        fault: String,
    },
    /// A file's content cannot be used.
    #[error("{}: {fault}; export the bundle again", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// The file system refused to write.
    #[error("cannot write {}: {source}; name a directory that can be written", path.display())]
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A bundle that was read and checked.
pub struct Bundle {
    /// Where it was read from.
    pub dir: PathBuf,
    /// What it holds.
    pub manifest: Manifest,
    /// First 12 hexadecimal digits of the manifest's hash.
    pub model_id: String,
    /// Bytes of `encoder.onnx`.
    pub encoder: FileBytes,
    /// Bytes of `heads.onnx`.
    pub heads: Vec<u8>,
    /// The geocells.
    pub geocells: Geocells,
    /// The prototypes, mapped.
    pub prototypes: Prototypes,
}

impl Bundle {
    /// Opens a bundle: every file present, every hash as the manifest says, formats known, sizes in agreement.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn open(dir: &Path) -> Result<Self, BundleError> {
        Self::open_telling(dir, &mut |_, _| ())
    }

    /// The same; while hashes are checked, which takes a small board seconds for a large bundle, `told` hears how many
    /// bytes are done of how many.
    ///
    /// # Errors
    /// As [`Bundle::open`].
    pub fn open_telling(dir: &Path, told: &mut dyn FnMut(u64, u64)) -> Result<Self, BundleError> {
        let path = dir.join(MANIFEST);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(BundleError::NoBundle(dir.to_owned()));
            }
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                let fault = "it is no text in UTF-8; copy the bundle again".to_owned();
                return Err(BundleError::Manifest { path, fault });
            }
            Err(e) => return Err(unreadable(path, e)),
        };
        let in_manifest = |fault: String| BundleError::Manifest { path: dir.join(MANIFEST), fault };
        let manifest = Manifest::parse(&text).map_err(in_manifest)?;
        if let Some(name) = manifest.files.keys().find(|f| !FILES.contains(&f.as_str())) {
            return Err(in_manifest(format!("files: {name} is no file of a bundle; take it out")));
        }
        let expected = |name: &str| {
            manifest.files.get(name).ok_or_else(|| in_manifest(format!("files: the hash of {name} is missing")))
        };
        let size = |name: &str| fs::metadata(dir.join(name)).map_or(0, |m| m.len());
        let (mut done, all) = (0, FILES.into_iter().map(size).sum());
        let mut checked = |name: &str, bytes: &[u8]| {
            let mut piece = |bytes: usize| {
                done += bytes as u64;
                told(done, all);
            };
            let (expected, found) = (expected(name)?, sha256_hex_telling(bytes, &mut piece));
            match *expected == found {
                true => Ok(()),
                false => Err(BundleError::Hash { path: dir.join(name), expected: expected.clone(), found }),
            }
        };
        // Mapped as the prototypes are, until it is read: a large encoder is then in memory once, as what is made of it.
        let encoder = FileBytes::map(&dir.join(ENCODER)).map_err(|e| unreadable(dir.join(ENCODER), e))?;
        checked(ENCODER, &encoder)?;
        encoder.forget();
        let mut read = |name: &str| {
            let bytes = fs::read(dir.join(name)).map_err(|e| unreadable(dir.join(name), e))?;
            checked(name, &bytes).map(|()| bytes)
        };
        let heads = read(HEADS)?;
        let content = |name: &str, e: FormatError| BundleError::Content { path: dir.join(name), fault: e.to_string() };
        let geocells = Geocells::decode(&read(GEOCELLS)?).map_err(|e| content(GEOCELLS, e))?;
        // The hash is taken over the mapping itself. Which of the two faults of a damaged file is told first
        // does not matter, so that it is mapped once only.
        let prototypes =
            match Prototypes::map(&dir.join(PROTOTYPES)).map_err(|e| unreadable(dir.join(PROTOTYPES), e))? {
                Ok(p) => {
                    checked(PROTOTYPES, p.bytes())?;
                    // All of it was read once; from now on only the rows of the cells in question are.
                    p.forget();
                    p
                }
                Err(fault) => {
                    read(PROTOTYPES)?;
                    return Err(content(PROTOTYPES, fault));
                }
            };
        let sizes = [
            ("cells", manifest.cells, geocells.len(), GEOCELLS),
            ("cells", manifest.cells, prototypes.cells(), PROTOTYPES),
            ("embedding", manifest.embedding, prototypes.dims(), PROTOTYPES),
        ];
        if let Some((what, said, found, name)) = sizes.into_iter().find(|s| s.1 != s.2) {
            let fault = format!("{MANIFEST} says {what} = {said}, here it is {found}");
            return Err(BundleError::Content { path: dir.join(name), fault });
        }
        if manifest.refine.guess == Guess::NearestMember && !prototypes.is_empty() && !prototypes.has_members() {
            let fault = "refine.guess needs the clusters' members, which are not kept".to_owned();
            return Err(BundleError::Content { path: dir.join(PROTOTYPES), fault });
        }
        let model_id = manifest::model_id(&text);
        Ok(Bundle { dir: dir.to_owned(), manifest, model_id, encoder, heads, geocells, prototypes })
    }
}

fn unreadable(path: PathBuf, source: io::Error) -> BundleError {
    match source.kind() {
        io::ErrorKind::NotFound => BundleError::Missing(path),
        io::ErrorKind::IsADirectory => BundleError::NoFile(path),
        _ => BundleError::Unreadable { path, source },
    }
}

/// Writes a bundle beside its final place and moves it there when it is complete and opens.
pub struct BundleWriter {
    target: PathBuf,
    partial: PathBuf,
    hashes: std::collections::BTreeMap<String, String>,
}

impl BundleWriter {
    /// A writer for the bundle `target`; nothing of that name is touched before [`BundleWriter::finish`].
    ///
    /// # Errors
    /// When the directory beside it cannot be made.
    pub fn new(target: &Path) -> Result<Self, BundleError> {
        let name = target.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let partial = target.with_file_name(format!(".{name}.{}.partial", std::process::id()));
        let unwritable = |source| BundleError::Unwritable { path: partial.clone(), source };
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(unwritable)?;
        }
        fs::create_dir_all(&partial).map_err(unwritable)?;
        Ok(BundleWriter { target: target.to_owned(), partial, hashes: Default::default() })
    }

    /// Adds a file. Those in [`FILES`] enter the manifest with their hash; others (a card, a licence) come along.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), BundleError> {
        let path = self.partial.join(name);
        fs::write(&path, bytes).map_err(|source| BundleError::Unwritable { path, source })?;
        if FILES.contains(&name) {
            self.hashes.insert(name.to_owned(), sha256_hex(bytes));
        }
        Ok(())
    }

    /// Writes the manifest with the hashes of the files, opens the bundle as a device would, and puts it in
    /// place of whatever was there.
    ///
    /// # Errors
    /// When the bundle does not open, or the directory cannot be moved; the old one then stays.
    pub fn finish(self, mut manifest: Manifest) -> Result<Bundle, BundleError> {
        manifest.files = self.hashes.clone();
        let fault = |fault| BundleError::Manifest { path: self.target.join(MANIFEST), fault };
        let text = manifest.text().map_err(fault)?;
        let path = self.partial.join(MANIFEST);
        fs::write(&path, text).map_err(|source| BundleError::Unwritable { path, source })?;
        Bundle::open(&self.partial)?;
        let unwritable = |source| BundleError::Unwritable { path: self.target.clone(), source };
        let old = self.partial.with_extension("old");
        if self.target.exists() {
            fs::rename(&self.target, &old).map_err(unwritable)?;
        }
        if let Err(e) = fs::rename(&self.partial, &self.target) {
            let _ = fs::rename(&old, &self.target);
            return Err(unwritable(e));
        }
        if old.exists() {
            fs::remove_dir_all(&old).map_err(unwritable)?;
        }
        Bundle::open(&self.target)
    }
}

impl Drop for BundleWriter {
    /// Leaves nothing half-made behind.
    fn drop(&mut self) {
        if self.partial.exists() {
            let _ = fs::remove_dir_all(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        geo::LatLon,
        geocells::{Cell, CellId},
        prototypes::{Cluster, PrototypesWriter},
    };

    fn geocells() -> Geocells {
        let cell = |lon| Cell {
            centroid: LatLon::new(1.0, lon).unwrap(),
            country: *b"GA",
            place: "Libreville".into(),
            admin1: "Estuaire".into(),
            samples: 2,
        };
        Geocells::new(vec![cell(9.0), cell(10.0)], vec![]).unwrap()
    }

    fn prototypes() -> Vec<u8> {
        let mut w = PrototypesWriter::new(3);
        w.push(&Cluster {
            cell: CellId(1),
            embedding: &[1.0, 2.0, 3.0],
            position: LatLon::new(1.0, 10.1).unwrap(),
            place: "Libreville",
            spread_km: 2.0,
            members: 3,
            member_rows: vec![],
        });
        w.encode(2)
    }

    fn write(target: &Path) -> Result<Bundle, BundleError> {
        let mut w = BundleWriter::new(target)?;
        w.file(ENCODER, b"not looked into here")?;
        w.file(HEADS, b"nor here")?;
        w.file(GEOCELLS, &geocells().encode())?;
        w.file(PROTOTYPES, &prototypes())?;
        w.file("README.md", b"# Card")?;
        w.finish(manifest::tests::sample())
    }

    fn fails(dir: &Path) -> String {
        let e = Bundle::open(dir).err().expect("must be refused").to_string();
        assert!(!e.contains('\n'), "one line: {e}");
        e
    }

    #[test]
    fn written_opened_and_replaced_without_leavings() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("shipped");
        let first = write(&target).unwrap();
        assert_eq!((first.geocells.len(), first.prototypes.len(), first.model_id.len()), (2, 1, 12));
        let second = write(&target).unwrap();
        assert_eq!(second.model_id, first.model_id, "the same content has the same name");
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["shipped"]);
    }

    #[test]
    fn it_is_told_how_far_the_hashes_are() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("shipped");
        write(&target).unwrap();
        let mut told = Vec::new();
        Bundle::open_telling(&target, &mut |done, all| told.push((done, all))).unwrap();
        let all = FILES.iter().map(|name| fs::metadata(target.join(name)).unwrap().len()).sum();
        assert_eq!((told.len(), *told.last().unwrap()), (FILES.len(), (all, all)), "these are small: a piece each");
        assert!(told.windows(2).all(|w| w[0].0 < w[1].0));
    }

    #[test]
    fn an_unfinished_bundle_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("shipped");
        write(&target).unwrap();
        let mut w = BundleWriter::new(&target).unwrap();
        w.file(ENCODER, b"only this").unwrap();
        assert!(w.finish(manifest::tests::sample()).is_err());
        assert!(Bundle::open(&target).is_ok());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn every_fault_is_one_line_with_file_and_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("shipped");
        assert!(fails(&target).contains("no model bundle at"));
        write(&target).unwrap();
        for name in FILES {
            let path = target.join(name);
            let good = fs::read(&path).unwrap();
            let mut flipped = good.clone();
            flipped[good.len() / 2] ^= 1;
            fs::write(&path, flipped).unwrap();
            let e = fails(&target);
            assert!(e.contains(name) && e.contains("is damaged") && e.contains("copy the bundle again"), "{e}");
            fs::remove_file(&path).unwrap();
            let e = fails(&target);
            assert!(e.contains(name) && e.contains("is missing"), "{e}");
            fs::create_dir(&path).unwrap();
            let e = fails(&target);
            assert!(e.contains(name) && e.contains("is a directory and no file: copy the bundle again"), "{e}");
            fs::remove_dir(&path).unwrap();
            fs::write(&path, good).unwrap();
        }
        let path = target.join(MANIFEST);
        let good = fs::read_to_string(&path).unwrap();
        for (text, says) in [
            (good.replace("format = 1", "format = 9"), "its format is 9, this program knows 1: update the program"),
            (good.replace("heads.onnx", "hats.onnx"), "hats.onnx is no file of a bundle"),
            (good.replace("cells = 2", "cells = 3"), "says cells = 3, here it is 2"),
            (good.replace("embedding = 3", "embedding = 4"), "says embedding = 4, here it is 3"),
            (good.replace("\"centroid\"", "\"nearest-member\""), "members, which are not kept"),
        ] {
            assert_ne!(text, good);
            fs::write(&path, text).unwrap();
            let e = fails(&target);
            assert!(e.contains(says) && e.contains("shipped"), "{e}");
        }
        fs::write(&path, b"name = \"\xff\"").unwrap();
        let e = fails(&target);
        assert!(e.contains("manifest.toml: it is no text in UTF-8; copy the bundle again"), "{e}");
    }

    #[test]
    fn a_nan_centroid_with_the_right_hash_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut cells = geocells().encode();
        let at = cells.len() - 2 * 32;
        cells[at..at + 8].copy_from_slice(&f64::NAN.to_le_bytes());
        let mut w = BundleWriter::new(&dir.path().join("b")).unwrap();
        w.file(ENCODER, b"").unwrap();
        w.file(HEADS, b"").unwrap();
        w.file(GEOCELLS, &cells).unwrap();
        w.file(PROTOTYPES, &prototypes()).unwrap();
        let e = w.finish(manifest::tests::sample()).err().unwrap().to_string();
        assert!(e.contains("geocells.bin: geocell 0: latitude NaN") && e.contains("export the bundle again"), "{e}");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        let e = BundleWriter::new(&file.join("bundle")).err().unwrap().to_string();
        assert!(e.contains("cannot write") && e.contains("file"), "{e}");
    }
}
