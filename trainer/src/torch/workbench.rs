//! What every stage of a run shares: the recipe, its data, geocells and tasks, and the working directory.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use homing_models::bundle::GEOCELLS;
use homing_models::{Geocells, TaskList};
use tch::Device;

use crate::commands::write_whole;
use crate::dataset::{self, Gallery};
use crate::geocells::divide;
use crate::recipe::{Data, Recipe};

use super::checkpoint::fingerprint;
use super::device::Processor;

/// A run's recipe and data, ready for any stage.
pub struct Workbench {
    /// The recipe.
    pub recipe: Recipe,
    /// Working directory: geocells, checkpoint, loss curve, weights, prototypes.
    pub out: PathBuf,
    /// Where the network lives.
    pub device: Device,
    /// Loader threads.
    pub threads: usize,
    /// Sites to train on.
    pub training: Box<dyn Gallery>,
    /// Other sites, for the curve and the choices.
    pub validation: Box<dyn Gallery>,
    /// The classes.
    pub geocells: Geocells,
    /// The auxiliary tasks, standardised over the training sites.
    pub tasks: TaskList,
}

impl Workbench {
    /// Reads the recipe, opens its data and the geocells of the working directory, which are made where absent.
    ///
    /// # Errors
    /// What is wrong with the recipe, the data, the directory or the device.
    pub fn open(recipe: &Path, out: Option<&Path>, processor: Processor, threads: Option<usize>) -> Result<Self> {
        let recipe = Recipe::load(recipe)?;
        let out = out.map_or_else(|| Path::new("out").join(&recipe.name), Path::to_owned);
        let device = processor.device()?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.unwrap_or(cores).max(1);
        tch::set_num_threads(i32::try_from(threads)?);
        std::fs::create_dir_all(&out).with_context(|| format!("cannot make the directory {}", out.display()))?;
        let (training, validation) = dataset::open(&recipe)?;
        Self::assemble(recipe, out, device, threads, training, validation)
    }

    /// A workbench on galleries of the caller's.
    ///
    /// # Errors
    /// When the geocells in `out` cannot be read or written.
    pub fn assemble(
        recipe: Recipe,
        out: PathBuf,
        device: Device,
        threads: usize,
        training: Box<dyn Gallery>,
        validation: Box<dyn Gallery>,
    ) -> Result<Self> {
        let path = out.join(GEOCELLS);
        let geocells = if path.exists() {
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            Geocells::decode(&bytes).with_context(|| format!("{}: delete it to make it anew", path.display()))?
        } else {
            let made = divide(training.samples(), &recipe.geocells)?.geocells;
            write_whole(&path, &made.encode())?;
            made
        };
        let tasks = dataset::task_list(&*training);
        Ok(Workbench { recipe, out, device, threads, training, validation, geocells, tasks })
    }

    /// A number for everything that the trained weights depend on.
    pub fn fingerprint(&self) -> i64 {
        let r = &self.recipe;
        // Debug text of plain values: stable within a version, which is all that a checkpoint needs.
        let text = format!("{} {:?} {:?} {:?} {:?}", r.seed, r.data, r.tower, r.training, r.tasks);
        fingerprint(&[text.as_bytes(), &self.geocells.encode()])
    }

    /// Whether the data is the simulated planet.
    pub fn simulated(&self) -> bool {
        matches!(self.recipe.data, Data::Planet { .. })
    }
}
