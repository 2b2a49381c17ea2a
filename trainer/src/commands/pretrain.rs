//! `homing-trainer pretrain RECIPE`: contrastive pretraining, then what it knows without further training.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use homing_planet::Split;

use super::run_options::{Measurement, RunOptions};
use crate::dataset::PlanetGallery;
use crate::torch::device::settle_threads;
use crate::torch::pretrain;
use crate::torch::ranks::Alone;
use crate::torch::zero_shot::zero_shot;

/// Set by the first Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);

/// Arguments of `pretrain`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunOptions,
    #[command(flatten)]
    measurement: Measurement,
}

/// Runs the command.
///
/// # Errors
/// When the recipe has no `[contrastive]` section, or a stage fails; an interruption says how to go on.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    settle_threads();
    let bench = arguments.run.open(&Alone)?;
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
    })
    .context("cannot listen for Ctrl-C")?;
    pretrain::pretrain(&bench, &|| STOP.load(Ordering::Relaxed))?;
    let clip = pretrain::open(&bench)?;
    let held_out = bench.recipe.contrastive.as_ref().map_or(&[][..], |c| &c.held_out);
    let (sites, seed) = arguments.measurement.sites_and_seed();
    let side = bench.recipe.tower.image_px as usize;
    let measured = if bench.simulated() {
        zero_shot(&clip, &*bench.training, &PlanetGallery::draw(Split::Random, seed, sites), side, held_out)?
    } else {
        zero_shot(&clip, &*bench.training, &*bench.validation, side, held_out)?
    };
    let asked = [("seen", &measured.seen), ("held-out", &measured.held_out)];
    for (what, (sites, figures)) in asked.into_iter().filter(|(_, (sites, _))| *sites > 0) {
        println!(
            "zero-shot, {sites} sites in {what} countries: country {:.1} %, within 2500 km {:.1} %",
            figures.country.unwrap_or_default(),
            figures.within.continent
        );
    }
    println!("written to {}", bench.out.join(pretrain::PRETRAINED).display());
    Ok(())
}
