//! `homing-trainer eval RECIPE`: the trained network in floats beside the int8 graphs that a bundle gets.

use std::collections::BTreeMap;

use anyhow::Context;
use homing_kernels::Kernel;
use homing_models::Prototypes;
use homing_models::bundle::PROTOTYPES;
use homing_models::figures::Evaluation;

use super::run_options::{Measurement, RunOptions};
use crate::encoder_graph::Precision;
use crate::torch::checkpoint::WEIGHTS;
use crate::torch::prototypes::Calibration;
use crate::torch::{export, train};

/// Arguments of `eval`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunOptions,
    #[command(flatten)]
    measurement: Measurement,
    /// Print one JSON object with `float` and `int8`, each by hold-out
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When a stage before it has not run.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let bench = arguments.run.reopen()?;
    let network = train::trained(&bench, &bench.out.join(WEIGHTS))?;
    let calibration = Calibration::read(&bench.out)?;
    let path = bench.out.join(PROTOTYPES);
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let prototypes = Prototypes::from_bytes(bytes).with_context(|| path.display().to_string())?;
    let measured = arguments.measurement.sites_and_seed();
    let float = export::figures(&bench, &network, &prototypes, &calibration, measured)?;
    let graphs = export::graphs(&bench, &network, Precision::Int8)?;
    let int8 = export::figures(
        &bench,
        &export::exported(&bench, &graphs, Some(Kernel::chosen()?))?,
        &prototypes,
        &calibration,
        measured,
    )?;
    let both = [("float", float), ("int8", int8)];
    if arguments.json {
        let both: BTreeMap<&str, BTreeMap<String, Evaluation>> = both.into();
        println!("{}", serde_json::to_string(&both)?);
        return Ok(());
    }
    for (precision, figures) in both {
        println!("# {precision}");
        figures.iter().for_each(|(name, evaluation)| print!("{}", crate::card::table(name, evaluation)));
    }
    Ok(())
}
