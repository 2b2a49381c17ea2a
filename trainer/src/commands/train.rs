//! `homing-trainer train RECIPE`: the chain from the recipe to a finished bundle. Goes on where an earlier run stopped.
//!
//! Started by `mpirun` or `srun`, all processes train together; what comes after the training is rank 0's alone.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, ensure};

use super::run_options::{Measurement, RunOptions};
use crate::torch::device::settle_threads;
use crate::torch::{export, pretrain, prototypes, ranks, train};

/// Set by the first Ctrl-C in a training.
static STOP: AtomicBool = AtomicBool::new(false);
/// Whether there is a training that must write its checkpoint before it stops.
static TRAINING: AtomicBool = AtomicBool::new(true);
/// Whether the training has failed, on whichever rank.
static OVER: AtomicBool = AtomicBool::new(false);

/// Arguments of `train`.
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
/// Whatever stage fails; a training that was interrupted says how to go on.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // It may start the program again, which a process that has joined a job must not do.
    settle_threads();
    let ranks = ranks::join()?;
    let bench = arguments.run.open(&*ranks)?;
    let ranks = ranks::on(ranks, bench.device)?;
    let (first, several, out) = (ranks.first(), ranks.count() > 1, bench.out.display().to_string());
    // The first rank speaks for all; where it has died, the next one if it is on the same machine.
    let process = PathBuf::from(format!("/proc/{}", ranks.shared_number(i64::from(std::process::id()))));
    let next = ranks.rank() == 1 && ranks.local_rank() == 1;
    let listening = ctrlc::set_handler(move || {
        // All ranks know of an error that one of them says: the launcher ends those that leave a moment later.
        if OVER.load(Ordering::Relaxed) {
            std::process::exit(1);
        }
        // The second time the user does not want to wait for the checkpoint. The stages after the training write
        // whole files or none, so they may end anywhere.
        if STOP.swap(true, Ordering::Relaxed) || !TRAINING.load(Ordering::Relaxed) {
            if first {
                eprintln!("homing-trainer: interrupted; run the same command again to go on");
            }
            std::process::exit(1);
        }
        if first && several || next && !process.exists() {
            // Where a rank has died, the launcher tells the others to stop, and soon makes them.
            eprintln!(
                "homing-trainer: a rank died, or the job is to stop; \
                 run the same command again to go on from the last checkpoint in {out}"
            );
        }
    });
    ranks.together(listening.context("cannot listen for Ctrl-C"))?;
    if first {
        let (sites, cells) = (bench.training.samples().len(), bench.geocells.len());
        let ranks = if several { format!(", {} ranks", ranks.count()) } else { String::new() };
        let mapped = bench.geocells.sites().len();
        let mapped = if mapped < sites { format!(", {mapped} of them mapped,") } else { String::new() };
        eprintln!("{sites} sites{mapped} in {cells} geocells, on {:?}{ranks}", bench.device);
        let unseen = crate::dataset::unseen(&bench.tasks, &*bench.training);
        if !unseen.is_empty() {
            eprintln!("no training site has these, so the model cannot learn them: {unseen}");
        }
    }
    let pretrained = pretrain::is_done(&bench).and_then(|done| {
        ensure!(done || !several, "pretraining runs as one process: run `homing-trainer pretrain` before this job");
        Ok(done)
    });
    if !ranks.together(pretrained)? {
        pretrain::pretrain(&bench, &|| STOP.load(Ordering::Relaxed))?;
    }
    let trained = train::train(&bench, &*ranks, &|| STOP.load(Ordering::Relaxed));
    let network = trained.inspect_err(|_| OVER.store(true, Ordering::Relaxed))?;
    TRAINING.store(false, Ordering::Relaxed);
    // The job ends here for all.
    drop(ranks);
    if !first {
        return Ok(());
    }
    prototypes::prototypes(&bench, &network)?;
    let target = arguments.bundle.clone().unwrap_or_else(|| bench.out.join("bundle"));
    let bundle = export::export(&bench, &network, &target, arguments.measurement.sites_and_seed())?;
    print!("{}", crate::card::tables(&bundle.manifest));
    println!("model {} in {}, {:.1} MB", bundle.model_id, target.display(), export::size_mb(&target)?);
    Ok(())
}
