//! `homing-trainer prototypes RECIPE`: prototypes and the refinement's constants for a trained network.

use super::run_options::RunOptions;
use crate::torch::checkpoint::WEIGHTS;
use crate::torch::{prototypes, train};

/// Arguments of `prototypes`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunOptions,
    /// Moments at which each training site is seen
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    variants: u32,
}

/// Runs the command.
///
/// # Errors
/// When the training is not finished, or a file cannot be written.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let bench = arguments.run.open()?;
    let network = train::trained(&bench, &bench.out.join(WEIGHTS))?;
    prototypes::prototypes(&bench, &network, arguments.variants)?;
    println!("written to {}", bench.out.display());
    Ok(())
}
