//! `homing-trainer train RECIPE`: the chain from the recipe to a finished bundle. Goes on where an earlier run stopped.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use super::run_options::{Measurement, RunOptions};
use crate::torch::{export, prototypes, train};

/// Set by the first Ctrl-C in a training.
static STOP: AtomicBool = AtomicBool::new(false);
/// Whether there is a training that must write its checkpoint before it stops.
static TRAINING: AtomicBool = AtomicBool::new(true);

/// Arguments of `train`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunOptions,
    /// Where the bundle goes [default: OUT/bundle]
    #[arg(long)]
    bundle: Option<PathBuf>,
    /// Moments at which each training site is seen for its prototype
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    variants: u32,
    #[command(flatten)]
    measurement: Measurement,
}

/// Runs the command.
///
/// # Errors
/// Whatever stage fails; a training that was interrupted says how to go on.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let bench = arguments.run.open()?;
    ctrlc::set_handler(|| {
        // The second time the user does not want to wait for the checkpoint. The stages after the training write
        // whole files or none, so they may end anywhere.
        if STOP.swap(true, Ordering::Relaxed) || !TRAINING.load(Ordering::Relaxed) {
            eprintln!("homing-trainer: interrupted; run the same command again to go on");
            std::process::exit(1);
        }
    })
    .context("cannot listen for Ctrl-C")?;
    eprintln!("{} sites in {} geocells, on {:?}", bench.training.samples().len(), bench.geocells.len(), bench.device);
    let network = train::train(&bench, &|| STOP.load(Ordering::Relaxed))?;
    TRAINING.store(false, Ordering::Relaxed);
    prototypes::prototypes(&bench, &network, arguments.variants)?;
    let target = arguments.bundle.clone().unwrap_or_else(|| bench.out.join("bundle"));
    let bundle = export::export(&bench, &network, &target, arguments.measurement.sites_and_seed())?;
    print!("{}", crate::card::tables(&bundle.manifest));
    println!("model {} in {}, {:.1} MB", bundle.model_id, target.display(), export::size_mb(&target)?);
    Ok(())
}
