//! `homing-trainer planet probe RECIPE`: how much of the planet's own make-up its pictures show.

use std::path::PathBuf;

use crate::recipe::Recipe;
use crate::torch::device::settle_threads;
use crate::torch::probe::probe;

/// Arguments of `planet probe`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The recipe whose tower learns, trainer/recipes/calibration.toml
    recipe: PathBuf,
    /// Sites to learn from
    #[arg(long, default_value_t = 40_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    sites: u32,
    /// Steps of the training
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    steps: u32,
}

/// Runs the command.
///
/// # Errors
/// When the recipe cannot be read.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    settle_threads();
    let recipe = Recipe::load(&arguments.recipe)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    tch::set_num_threads(i32::try_from(threads)?);
    print!("{}", probe(&recipe, arguments.sites as usize, arguments.steps, threads)?);
    Ok(())
}
