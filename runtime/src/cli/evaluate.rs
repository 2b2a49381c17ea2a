//! `homing eval`.

use std::{
    fmt::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use homing_board::planet::Split;
use homing_models::{
    TaskList,
    figures::{Evaluation, Figures},
};
use indicatif::{ProgressBar, ProgressStyle};

use super::{EvalArgs, Holdout, SIMULATED, load, print};
use crate::{config::Config, eval};

pub(super) fn run(args: EvalArgs) -> anyhow::Result<ExitCode> {
    let model = load(&Config::default(), args.bundle.bundle.as_deref())?;
    let show = |e: &Evaluation| -> anyhow::Result<()> {
        let text = match args.json {
            true => serde_json::to_string(e).context("figures have a JSON form")? + "\n",
            false => table(e, &model.card.tasks)?,
        };
        Ok(print(&text)?)
    };
    if !args.json && model.card.simulated_planet {
        print(&format!("{SIMULATED}\n"))?;
    }
    if let Some(file) = &args.dataset {
        let lines = std::fs::read_to_string(file).map(|t| t.lines().filter(|l| !l.trim().is_empty()).count());
        let bar = bar(lines.unwrap_or(0) as u64, "pictures");
        let evaluation = eval::on_dataset(&model, file, || bar.inc(1))?;
        bar.finish_and_clear();
        show(&evaluation)?;
        return Ok(ExitCode::SUCCESS);
    }
    let splits = match args.holdout {
        None => vec![Split::Random, Split::Towns],
        Some(Holdout::Random) => vec![Split::Random],
        Some(Holdout::Towns) => vec![Split::Towns],
    };
    for split in splits {
        let bar = bar(args.sites, eval::holdout_name(split));
        let evaluation = eval::on_planet(&model, split, args.sites, args.seed, || bar.inc(1))?;
        bar.finish_and_clear();
        show(&evaluation)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn bar(length: u64, what: &str) -> ProgressBar {
    // The template is a constant that is known to parse.
    let style = ProgressStyle::with_template("{msg:>10} {bar:40} {pos}/{len} sites, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_message(what.to_owned())
}

fn table(e: &Evaluation, tasks: &TaskList) -> Result<String, fmt::Error> {
    let out = &mut String::new();
    writeln!(out, "\n{} hold-out, {} sites, model {}", e.holdout, e.sites, e.model.as_deref().unwrap_or("-"))?;
    writeln!(out, "                        % within                            country    median      mean     game")?;
    writeln!(out, "                     1 km  25 km  200 km  750 km  2500 km         %        km        km    score")?;
    let mut line = |name: &str, f: &Figures| -> fmt::Result {
        let [a, b, c, d, g] = f.within.shares();
        write!(out, "{name:18} {a:6.2} {b:6.2} {c:7.2} {d:7.2} {g:8.2} ")?;
        match f.country {
            Some(share) => write!(out, "{share:9.2} ")?,
            None => write!(out, "{:>9} ", "-")?,
        }
        writeln!(out, "{:9.1} {:9.1} {:8.0}", f.median_km, f.mean_km, f.score)
    };
    line("all views", &e.figures)?;
    if let Some(f) = &e.one_view {
        line("one view", f)?;
    }
    if let Some(f) = &e.centroid {
        line("without refinement", f)?;
    }
    if let Some(f) = &e.nearest {
        line("nearest prototype", f)?;
    }
    if let Some(c) = e.figures.coverage {
        writeln!(out, "the 50 % radius held {:.1} % of the true positions, the 95 % radius {:.1} %", c.p50, c.p95)?;
    }
    for (name, value) in &e.figures.tasks {
        match tasks.regressions.iter().find(|r| r.name == *name) {
            Some(r) => writeln!(out, "{name:28} off by {value:.2} {} on average", r.unit)?,
            None => writeln!(out, "{name:28} right in {value:.2} %")?,
        }
    }
    Ok(std::mem::take(out))
}
