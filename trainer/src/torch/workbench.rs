//! What every stage of a run shares: the recipe, its data, geocells and tasks, and the working directory.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use homing_models::bundle::GEOCELLS;
use homing_models::{Geocells, TaskList};
use tch::Device;

use crate::commands::write_whole;
use crate::dataset::{self, Gallery, Mapped, Sample};
use crate::geocells::divide;
use crate::recipe::{Data, Recipe};

use super::checkpoint::fingerprint;
use super::device::Computing;
use super::ranks::Ranks;
use super::teacher;

/// A run's recipe and data, ready for any stage.
pub struct Workbench {
    /// The recipe; its `training.batch_sites` are those of all ranks together.
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
    /// The model that teaches, by its id.
    pub teacher: Option<String>,
}

impl Workbench {
    /// Reads the recipe, opens its data and the geocells of the working directory, which are made where absent when
    /// the run may be a `fresh` one. Of several ranks only the first reads and writes the working directory.
    ///
    /// # Errors
    /// What is wrong with the recipe, the data, the directory or the device.
    pub fn open(
        recipe: &Path,
        out: Option<&Path>,
        computing: Computing,
        fresh: bool,
        ranks: &dyn Ranks,
    ) -> Result<Self> {
        let open = || -> Result<_> {
            let recipe = Recipe::load(recipe)?;
            let out = out.map_or_else(|| Path::new("out").join(&recipe.name), Path::to_owned);
            if !fresh && !out.join(GEOCELLS).exists() {
                bail!(
                    "{}: no run of this recipe here; run `homing-trainer train` first, or name its --out",
                    out.display()
                );
            }
            let (device, threads) = computing.settle(ranks.local_rank())?;
            if ranks.first() {
                std::fs::create_dir_all(&out)
                    .with_context(|| format!("cannot make the directory {}", out.display()))?;
            }
            let (training, validation) = dataset::open(&recipe)?;
            Ok((recipe, out, device, threads, training, validation))
        };
        let (recipe, out, device, threads, training, validation) = ranks.together(open())?;
        Self::assemble(recipe, out, device, threads, training, validation, ranks)
    }

    /// A workbench on galleries of the caller's.
    ///
    /// # Errors
    /// When the geocells in `out` cannot be read or written, or the recipe's teacher cannot teach it.
    pub fn assemble(
        mut recipe: Recipe,
        out: PathBuf,
        device: Device,
        threads: usize,
        training: Box<dyn Gallery>,
        validation: Box<dyn Gallery>,
        ranks: &dyn Ranks,
    ) -> Result<Self> {
        let batch = u32::try_from(ranks.count()).ok().and_then(|n| recipe.training.batch_sites.checked_mul(n));
        let batch = batch.with_context(|| format!("training.batch_sites is too large for {} ranks", ranks.count()));
        recipe.training.batch_sites = ranks.together(batch)?;
        let teacher = ranks.together(teacher::id(&recipe))?;
        let path = out.join(GEOCELLS);
        let encoded = ranks.from_first(|| {
            if path.exists() {
                return std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()));
            }
            let made = divide(dataset::mapped(&*training, &recipe).samples(), &recipe.geocells)?.geocells.encode();
            write_whole(&path, &made)?;
            Ok(made)
        })?;
        let decoded = Geocells::decode(&encoded);
        let geocells = decoded.with_context(|| format!("{}: delete it to make it anew", path.display()));
        let geocells = geocells.and_then(|geocells| {
            let samples = dataset::mapped(&*training, &recipe);
            ensure!(
                are_of(&geocells, samples.samples()),
                "{} has {} sites of other data or of another geocells.sites, where the recipe gives {}: restore the \
                 recipe and its data, or name another --out",
                path.display(),
                geocells.sites().len(),
                samples.samples().len()
            );
            Ok(geocells)
        });
        let geocells = ranks.together(geocells)?;
        let tasks = dataset::task_list(&*training);
        Ok(Workbench { recipe, out, device, threads, training, validation, geocells, tasks, teacher })
    }

    /// The training sites that are in the bundle: the geocells' labelled sites, in their order, and what the prototypes
    /// are made of.
    pub fn mapped(&self) -> Mapped<'_> {
        dataset::mapped(&*self.training, &self.recipe)
    }

    /// A number for everything that the trained weights depend on but the learning rates: a run whose loss is not finite
    /// any more goes on with a lower one.
    pub fn fingerprint(&self) -> i64 {
        let mut r = self.recipe.clone();
        r.training.lr = 0.0;
        if let Some(contrastive) = &mut r.contrastive {
            contrastive.lr = 0.0;
        }
        // Debug text of plain values: stable within a version, which is all that a checkpoint needs.
        let mut text = format!("{} {:?} {:?} {:?} {:?}", r.seed, r.data, r.tower, r.training, r.tasks);
        // A key that came later: without it checkpoints of before go on.
        text = text.replace(", echo: 1,", ",");
        if let Some(contrastive) = &r.contrastive {
            text += &format!(" {contrastive:?}");
        }
        if let (Some(distillation), Some(id)) = (&r.distillation, &self.teacher) {
            text += &format!(" taught by {id}, {}", distillation.weight);
        }
        fingerprint(&[text.as_bytes(), &self.geocells.encode()])
    }

    /// Whether the data is the simulated planet.
    pub fn simulated(&self) -> bool {
        matches!(self.recipe.data, Data::Planet { .. })
    }
}

/// Whether these are the labelled sites of the geocells, in their order, as exactly as the file has them.
fn are_of(geocells: &Geocells, samples: &[Sample]) -> bool {
    const FILE_KM: f64 = 0.01;
    let sites = geocells.sites();
    sites.len() == samples.len() && sites.iter().zip(samples).all(|(a, b)| a.position.distance_km(b.position) < FILE_KM)
}
