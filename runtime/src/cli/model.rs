//! `homing model`.

use std::process::ExitCode;

use anyhow::Context;
use homing_kernels::{Kernel, VARIABLE};
use serde::Serialize;

use super::{ModelArgs, SIMULATED, load, print};
use crate::config::Config;

/// What a bundle holds and how it runs here.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    name: &'a str,
    model: &'a str,
    simulated_planet: bool,
    image_px: u32,
    embedding: usize,
    cells: usize,
    prototypes: usize,
    tasks: Vec<&'a str>,
    kernel: &'static str,
    /// The operators in place of the file's nodes.
    encoder: String,
    heads: String,
}

pub(super) fn run(args: ModelArgs) -> anyhow::Result<ExitCode> {
    let model = load(&Config::default(), args.bundle.bundle.as_deref())?;
    let (card, locator) = (&model.card, &model.locator);
    let regressions = card.tasks.regressions.iter().map(|task| task.name.as_str());
    let classes = card.tasks.classifications.iter().map(|task| task.name.as_str());
    let summary = Summary {
        name: &card.name,
        model: &card.id,
        simulated_planet: card.simulated_planet,
        image_px: card.image_px,
        embedding: locator.prototypes().dims(),
        cells: locator.geocells().len(),
        prototypes: locator.prototypes().len(),
        tasks: regressions.chain(classes).collect(),
        kernel: Kernel::chosen()?.name(),
        encoder: model.encoder.fused().to_string(),
        heads: locator.fused().to_string(),
    };
    if args.json {
        print(&(serde_json::to_string(&summary).context("a summary has a JSON form")? + "\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Summary { name, model, image_px, embedding, cells, prototypes, tasks, kernel, encoder, heads, .. } = &summary;
    let remark = if summary.simulated_planet { format!("{SIMULATED}\n") } else { String::new() };
    let tasks = tasks.join(", ");
    print(&format!(
        "model {name} {model}\n{remark}input {image_px} x {image_px} pixels, embedding {embedding}, {cells} geocells, \
         {prototypes} prototypes\ntasks {tasks}\nkernel {kernel} (of {}; {VARIABLE} chooses)\nencoder {encoder}\n\
         heads {heads}\n",
        Kernel::available().iter().map(|k| k.name()).collect::<Vec<_>>().join(", ")
    ))?;
    Ok(ExitCode::SUCCESS)
}
