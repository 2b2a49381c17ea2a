//! A store of bundles on a vehicle: the model in use and the one before it, to which a bad one gives way by itself.
//!
//! ```text
//! /var/lib/homing/bundles/
//!     3623dc29a4f6/       a bundle, named by the hash of its manifest
//!     91b0c7d2e4a5/
//!     current -> 91b0c7d2e4a5
//!     previous -> 3623dc29a4f6
//!     trial               starts of the current one so far, until it has come to an estimate
//! ```
//!
//! Links and directories change by renaming, so that a loss of power leaves the one or the other. The hashes are
//! checked at every start, whoever changed the files.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{MetadataExt, lchown, symlink},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use homing_models::{Bundle, BundleError, bundle};

use crate::{Model, ModelError};

/// Where a vehicle keeps its bundles when nobody says otherwise.
pub const PLACE: &str = "/var/lib/homing/bundles";
/// After so many starts without an estimate a new bundle gives way.
pub const TRIALS: u32 = 3;

/// Nobody is told of what takes less.
const PATIENCE: Duration = Duration::from_secs(2);

const CURRENT: &str = "current";
const PREVIOUS: &str = "previous";
const TRIAL: &str = "trial";

/// Why a bundle cannot be installed, or the last good one not be returned to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is no bundle, or damaged.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It does not come through its self-test.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The file system refused.
    #[error("cannot write {}: {source}; name a directory that can be written with --store", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is none to return to.
    #[error("{} has no bundle before the current one; install one with homing install", .0.display())]
    NoPrevious(PathBuf),
}

/// A store of bundles.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

/// The bundle's directory that a path means: the current one of a store, or itself.
pub fn resolve(path: PathBuf) -> PathBuf {
    match Store::at(&path) {
        Some(store) => store.dir.join(CURRENT),
        None => path,
    }
}

/// Opens and tries the bundle at a path. In a store one that is damaged, fails its self-test, or has been started
/// [`TRIALS`] times without coming to an estimate gives way to the one before it, which is told. The store comes back
/// while its bundle is on trial: [`Store::prove`] ends that.
///
/// # Errors
/// When neither the bundle nor the one before it can be used.
pub fn open(path: &Path, threads: usize, told: &mut dyn FnMut(&str)) -> Result<(Model, Option<Store>), StoreError> {
    let load = |dir: &Path, told: &mut dyn FnMut(&str)| -> Result<Model, StoreError> {
        Ok(Model::load_for(bundle_at(dir, told)?, threads)?)
    };
    let Some(store) = Store::at(path) else {
        return Ok((load(path, told)?, None));
    };
    let trial = store.trial();
    let why = match trial {
        Some(starts) if starts >= TRIALS && store.target(PREVIOUS).is_some() => {
            format!("{} came to no estimate in {starts} starts", store.dir.join(CURRENT).display())
        }
        _ => match load(&store.dir.join(CURRENT), told) {
            Ok(model) => {
                if let Some(starts) = trial {
                    // Counted before anything can go wrong. A store that cannot be written cannot count.
                    store.write_trial(starts + 1).unwrap_or_else(|e| told(&e.to_string()));
                }
                return Ok((model, trial.map(|_| store)));
            }
            Err(e) if store.target(PREVIOUS).is_none() => return Err(e),
            Err(e) => e.to_string(),
        },
    };
    let model = load(&store.dir.join(PREVIOUS), told)?;
    told(&format!("{why}: returning to the model before it, {} {}", model.card.name, model.card.id));
    // That the links cannot be written is no reason to stand still: the next start tries again.
    store.back().map(drop).unwrap_or_else(|e| told(&e.to_string()));
    Ok((model, None))
}

/// Opens a bundle. Of a large one, whose hashes take a while, it is told every two seconds how far they are.
///
/// # Errors
/// As [`Bundle::open`].
pub fn bundle_at(dir: &Path, told: &mut dyn FnMut(&str)) -> Result<Bundle, BundleError> {
    let mut last = Instant::now();
    Bundle::open_telling(dir, &mut |done, all| {
        if last.elapsed() >= PATIENCE {
            last = Instant::now();
            let (done, all) = (done as f64 / 1e6, all as f64 / 1e6);
            told(&format!("checking {}: {done:.0} of {all:.0} MB", dir.display()));
        }
    })
}

impl Store {
    /// The store at a path, when one is there.
    pub fn at(dir: &Path) -> Option<Self> {
        dir.join(CURRENT).is_symlink().then(|| Store { dir: dir.to_owned() })
    }

    /// Puts a copy of a bundle into the store at `dir`, which is made when it is not there, tries it, and makes it the
    /// current one, on trial. In a new store `before`, when it is there, is what a bad bundle gives way to. Answers
    /// with the model, of which nothing is changed when it is the current one already.
    ///
    /// # Errors
    /// When the bundle is damaged or fails its self-test, or the store cannot be written; the current one stays.
    pub fn install(dir: &Path, source: &Path, before: &Path, told: &mut dyn FnMut(&str)) -> Result<Model, StoreError> {
        let store = Store { dir: dir.to_owned() };
        let id = bundle_at(source, told)?.model_id;
        fs::create_dir_all(dir).map_err(|e| store.refused("", e))?;
        let partial = dir.join(format!("{id}.partial"));
        store.copy(source, &partial).map_err(|e| store.refused(&format!("{id}.partial"), e))?;
        // The copy and not the source is what will be used.
        let tried = bundle_at(&partial, told).map_err(StoreError::from).and_then(|b| Ok(Model::load(b)?));
        let model = tried.inspect_err(|_| drop(fs::remove_dir_all(&partial)))?;
        let version = Path::new(&id);
        if store.target(CURRENT).as_deref() == Some(version) && Bundle::open(&dir.join(CURRENT)).is_ok() {
            let _ = fs::remove_dir_all(&partial);
            return Ok(model);
        }
        // What a bad bundle gives way to has come to an estimate and is whole: a current one on trial has not.
        let good = |link: &str| {
            let last = store.target(link).filter(|last| last != version)?;
            Bundle::open(&dir.join(link)).is_ok().then_some(last)
        };
        let proven = if store.trial().is_none() { good(CURRENT) } else { None };
        let last = proven.or_else(|| good(PREVIOUS)).or_else(|| good(CURRENT));
        let last = last.or_else(|| before.is_dir().then(|| before.to_owned()));
        let replaced = match fs::remove_dir_all(dir.join(version)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => fs::rename(&partial, dir.join(version)),
        };
        replaced.map_err(|e| store.refused(&id, e))?;
        // The current one changes last: until then a start finds the store as it was, but for a trial that ends soon.
        if let Some(last) = last {
            store.link(PREVIOUS, &last)?;
        }
        store.write_trial(0)?;
        store.link(CURRENT, version)?;
        store.sweep();
        Ok(model)
    }

    /// Makes the bundle before the current one the current one. Answers with its name in the store.
    ///
    /// # Errors
    /// When there is none, or the store cannot be written.
    pub fn back(&self) -> Result<PathBuf, StoreError> {
        let previous = self.target(PREVIOUS).ok_or_else(|| StoreError::NoPrevious(self.dir.clone()))?;
        self.link(CURRENT, &previous)?;
        for name in [TRIAL, PREVIOUS] {
            self.remove(name)?;
        }
        Ok(previous)
    }

    /// Ends the trial of the current bundle: it has come to an estimate.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn prove(&self) -> Result<(), StoreError> {
        self.remove(TRIAL)
    }

    /// Takes back the count of a start that came to nothing for a reason which is not the bundle's fault: no picture to
    /// look at, or a line that cannot be opened.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn excuse(&self) -> Result<(), StoreError> {
        self.write_trial(self.trial().unwrap_or(0).saturating_sub(1))
    }

    /// Starts of the current bundle so far, while it is on trial. What cannot be read is an old start.
    fn trial(&self) -> Option<u32> {
        match fs::read_to_string(self.dir.join(TRIAL)) {
            Ok(text) => Some(text.trim().parse().unwrap_or(0)),
            Err(_) => None,
        }
    }

    fn write_trial(&self, starts: u32) -> Result<(), StoreError> {
        let partial = self.dir.join("trial.partial");
        let written = File::create(&partial).and_then(|mut file| {
            file.write_all(format!("{starts}\n").as_bytes())?;
            file.sync_all()
        });
        let written = written.and_then(|()| self.hand_over(&partial));
        written.and_then(|()| fs::rename(&partial, self.dir.join(TRIAL))).map_err(|e| self.refused(TRIAL, e))
    }

    /// What a link of the store leads to; a link that leads nowhere is none.
    fn target(&self, link: &str) -> Option<PathBuf> {
        let path = self.dir.join(link);
        fs::read_link(&path).ok().filter(|_| path.is_dir())
    }

    fn link(&self, name: &str, target: &Path) -> Result<(), StoreError> {
        let partial = self.dir.join(format!("{name}.partial"));
        let _ = fs::remove_file(&partial);
        let linked = symlink(target, &partial).and_then(|()| self.hand_over(&partial));
        let linked = linked.and_then(|()| fs::rename(&partial, self.dir.join(name)));
        linked.and_then(|()| File::open(&self.dir)?.sync_all()).map_err(|e| self.refused(name, e))
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        match fs::remove_file(self.dir.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(self.refused(name, e)),
            _ => Ok(()),
        }
    }

    /// Copies the files of a bundle, and waits until the disk has them.
    fn copy(&self, source: &Path, to: &Path) -> io::Result<()> {
        let _ = fs::remove_dir_all(to);
        fs::create_dir(to)?;
        self.hand_over(to)?;
        for name in [bundle::MANIFEST].iter().chain(&bundle::FILES) {
            let file = to.join(name);
            fs::copy(source.join(name), &file)?;
            self.hand_over(&file)?;
            File::open(&file)?.sync_all()?;
        }
        File::open(to)?.sync_all()
    }

    /// Installed by root, used by the service: what is in the store belongs to whom the directory around it does.
    fn hand_over(&self, path: &Path) -> io::Result<()> {
        let owner = fs::metadata(self.dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        let theirs = fs::symlink_metadata(path)?;
        match theirs.uid() == owner.uid() {
            true => Ok(()),
            // Others than root cannot give anything away, and need not.
            false => lchown(path, Some(owner.uid()), Some(owner.gid())).or(Ok(())),
        }
    }

    /// Removes the bundles that no link leads to.
    fn sweep(&self) {
        let kept = [CURRENT, PREVIOUS].map(|link| fs::read_link(self.dir.join(link)).ok());
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let used = kept.iter().flatten().any(|target| *target == Path::new(&entry.file_name()));
            if !used && entry.path().join(bundle::MANIFEST).is_file() && !entry.path().is_symlink() {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn refused(&self, name: &str, source: io::Error) -> StoreError {
        StoreError::Write { path: self.dir.join(name), source }
    }
}
