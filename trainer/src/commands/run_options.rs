//! What every command on a training run is told: the recipe, where its files are, and what computes.

use std::path::PathBuf;

use crate::torch::device::{Computing, settle_threads};
use crate::torch::ranks::{Alone, Ranks};
use crate::torch::workbench::Workbench;

/// Arguments of `train`, `prototypes`, `export` and `eval`.
#[derive(Clone, Debug, clap::Args)]
pub struct RunOptions {
    /// The recipe, such as trainer/recipes/own.toml
    recipe: PathBuf,
    /// Working directory of the run: geocells, checkpoint, loss curve, weights, prototypes [default: out/NAME]
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    computing: Computing,
}

impl RunOptions {
    /// Opens the recipe's data on all ranks and makes the geocells where they are absent.
    ///
    /// # Errors
    /// What is wrong with the recipe, the data, the directory or the device.
    pub fn open(&self, ranks: &dyn Ranks) -> anyhow::Result<Workbench> {
        self.workbench(true, ranks)
    }

    /// As [`RunOptions::open`], for a stage after the training: nothing is made.
    ///
    /// # Errors
    /// Also when the working directory has no geocells.
    pub fn reopen(&self) -> anyhow::Result<Workbench> {
        settle_threads();
        self.workbench(false, &Alone)
    }

    fn workbench(&self, fresh: bool, ranks: &dyn Ranks) -> anyhow::Result<Workbench> {
        Workbench::open(&self.recipe, self.out.as_deref(), self.computing, fresh, ranks)
    }
}

/// How a model is measured.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Measurement {
    /// Sites of each hold-out
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sites: u32,
    /// Seed of the hold-outs' sites
    #[arg(long = "seed", default_value_t = 1)]
    seed: u64,
}

impl Measurement {
    /// Sites of each hold-out and their seed.
    pub fn sites_and_seed(self) -> (usize, u64) {
        (self.sites as usize, self.seed)
    }
}
