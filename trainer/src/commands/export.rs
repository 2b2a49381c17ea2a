//! `homing-trainer export RECIPE`: a finished run to a bundle, measured as a device would run it.

use std::path::PathBuf;

use super::run_options::{Measurement, RunOptions};
use crate::torch::checkpoint::WEIGHTS;
use crate::torch::{export, train};

/// Arguments of `export`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunOptions,
    /// Where the bundle goes [default: OUT/bundle]
    #[arg(long)]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    measurement: Measurement,
}

/// Runs the command.
///
/// # Errors
/// When a stage before it has not run, or the bundle cannot be written.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let bench = arguments.run.reopen()?;
    let network = train::trained(&bench, &bench.out.join(WEIGHTS))?;
    let target = arguments.bundle.clone().unwrap_or_else(|| bench.out.join("bundle"));
    let bundle = export::export(&bench, &network, &target, arguments.measurement.sites_and_seed())?;
    print!("{}", crate::card::tables(&bundle.manifest));
    println!("model {} in {}, {:.1} MB", bundle.model_id, target.display(), export::size_mb(&target)?);
    Ok(())
}
