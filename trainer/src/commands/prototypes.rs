//! `homing-trainer prototypes RECIPE`: prototypes and the refinement's constants for a trained network.

use super::run_options::RunOptions;
use crate::torch::checkpoint::WEIGHTS;
use crate::torch::{prototypes, train};

/// Arguments of `prototypes`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunOptions,
}

/// Runs the command.
///
/// # Errors
/// When the training is not finished, or a file cannot be written.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let bench = arguments.run.reopen()?;
    let network = train::trained(&bench, &bench.out.join(WEIGHTS))?;
    prototypes::prototypes(&bench, &network)?;
    println!("written to {}", bench.out.display());
    Ok(())
}
