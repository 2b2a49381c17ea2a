//! `homing-trainer ablate RECIPE`: what each contribution is worth, row by row.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use super::run_options::Measurement;
use super::write_whole;
use crate::ablation;
use crate::recipe::{Data, Recipe};
use crate::torch::ablate::Ablation;
use crate::torch::device::{Computing, settle_threads};

/// Set by the first Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);

/// Arguments of `ablate`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The recipe of the whole method, trainer/recipes/ablation.toml
    recipe: PathBuf,
    /// Working directory, with a folder for each seed [default: out/NAME]
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    computing: Computing,
    /// How often the whole is done, each time with the next seed: the report then has means and spreads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=20))]
    seeds: u8,
    /// Where the report goes [default: OUT/ablation.md]
    #[arg(long)]
    report: Option<PathBuf>,
    #[command(flatten)]
    measurement: Measurement,
}

/// Runs the command.
///
/// # Errors
/// When the recipe is not that of the whole method or a stage fails; an interruption says how to go on.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    settle_threads();
    let whole = Recipe::load(&arguments.recipe)?;
    let (device, threads) = arguments.computing.settle(0)?;
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
    })
    .context("cannot listen for Ctrl-C")?;
    let out = arguments.out.clone().unwrap_or_else(|| Path::new("out").join(&whole.name));
    let measured = arguments.measurement.sites_and_seed();
    let (mut seeds, mut captions) = (Vec::new(), Vec::new());
    for i in 0..u64::from(arguments.seeds) {
        let mut whole = whole.clone();
        whole.seed += i;
        let out = out.join(format!("seed-{}", whole.seed));
        let stop = || STOP.load(Ordering::Relaxed);
        let (rows, found) = Ablation { whole, out, device, threads, measured, stop: &stop }.run()?;
        seeds.push(rows);
        if captions.is_empty() {
            captions = found;
        }
    }
    let report = ablation::report(&seeds, &captions, &preamble(arguments, &whole, device, threads));
    let place = arguments.report.clone().unwrap_or_else(|| out.join("ablation.md"));
    write_whole(&place, report.as_bytes())?;
    print!("{report}");
    println!("\nwritten to {}", place.display());
    Ok(())
}

/// The processor's name in brackets, as the system tells it.
fn processor() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = told.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(String::new, |(_, name)| format!(" ({})", name.trim()))
}

/// What was run, on what data and hardware.
fn preamble(arguments: &Arguments, whole: &Recipe, device: tch::Device, threads: usize) -> String {
    let (sites, seed) = arguments.measurement.sites_and_seed();
    let (data, asked) = match &whole.data {
        Data::Planet { sites: known, .. } => {
            (format!("the **simulated planet**, {known} sites"), format!("{sites} other sites of each kind"))
        }
        Data::Files(path) => (
            format!("`{}`", path.display()),
            "its validation part, which also chose the constants of the refinement".to_owned(),
        ),
    };
    let base = match &whole.tower.weights {
        Some(weights) => format!("the tower of `{}`", weights.file_name().unwrap_or_default().display()),
        None => "a tower pretrained on captions that tell what is to be seen".to_owned(),
    };
    let mut text = format!(
        "Written by `homing-trainer ablate {} --sites {sites} --seed {seed} --seeds {}`; do not edit. Trained on {data}, \
         measured on {asked}, in floats. Each row has what the rows above have. The base, as a \
         stand-in for the published CLIP, is {base}. The poster's figures are of Street View, another planet and another \
         task: compare what the rows add, not the rows.\n",
        arguments.recipe.display(),
        arguments.seeds,
    );
    let t = &whole.training;
    if let Some(c) = &whole.contrastive {
        let _ = write!(
            text,
            "\nBudget: {} steps of {} views for each pretraining, {} steps of {} sites for each training; {device:?}{}, \
             {threads} threads.\n",
            c.steps,
            c.batch_views,
            t.steps,
            t.batch_sites,
            processor()
        );
        if !c.held_out.is_empty() {
            let _ = write!(
                text,
                "\nContrastive pretraining sees no site of {}: the tower of the last two rows learns without them.\n",
                c.held_out.join(", ")
            );
        }
    }
    if arguments.seeds > 1 {
        text += "\nMeans over the seeds, ± half of what lies between the least and the largest.\n";
    }
    text
}
