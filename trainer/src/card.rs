//! The model card: what a bundle is, what it was measured to do and what it must not be used for.

use std::fmt::Write;

use homing_models::figures::{Evaluation, Figures};
use homing_models::{Guess, Manifest};

/// The card's file name in a bundle.
pub const CARD: &str = "README.md";

/// The card of a bundle, in Markdown, from the figures in its manifest.
pub fn card(manifest: &Manifest) -> String {
    let mut text = format!("# Model card: {}\n\n", manifest.name);
    if manifest.simulated_planet {
        text.push_str(
            "**This model knows the simulated planet only.** It was trained on rendered pictures; every figure below is \
             from the simulated planet and says nothing about real photographs.\n\n",
        );
    }
    let _ = write!(
        text,
        "Tells from one to four views of a vehicle's surroundings (front, right, back, left) where on Earth they were \
         taken: a distribution over {} geocells, refined by prototypes. Made by {}; do not edit, the trainer writes this \
         file.\n\n",
        manifest.cells, manifest.created_by
    );
    text.push_str("| | |\n|---|---|\n");
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "| {name} | {value} |");
    };
    row("Licence", manifest.licence.clone());
    row("Input", format!("{0} x {0} pixels RGB, normalised, 1 to 4 views", manifest.image.size));
    row("Embedding", format!("{} numbers, the mean over views", manifest.embedding));
    row("Label smoothing", format!("tau = {} km", manifest.tau_km));
    let limit = manifest.refine.limit_km.map_or("none".to_owned(), |km| format!("{km} km"));
    let refine = &manifest.refine;
    let guess = match refine.guess {
        Guess::Centroid => "a cluster's centroid".to_owned(),
        Guess::NearestMember => "a cluster's nearest member".to_owned(),
        Guess::Blend(t) => format!("the clusters of a cell, blended with T = {t}"),
    };
    row("Refinement", format!("K = {}, T = {}, limit {limit}, {guess}", refine.k, refine.temperature));
    for (key, value) in &manifest.training {
        row(key, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    text.push_str("\n## Measured figures\n\nOf the int8 graphs in this bundle, by the trainer when it made them (`homing-trainer export`); `homing eval` \
         measures anew on the device. Shares in per cent of the sites.\n");
    text.push_str(&tables(manifest));
    if manifest.figures.is_empty() {
        text.push_str("\nNone yet.\n");
    }
    text.push_str(
        "\n## Limits\n\nThe radius is calibrated on sites like those of the training; on other pictures it is too small. \
         Not for finding people, nor as the only means of navigation.\n",
    );
    text
}

/// The tables of all hold-outs of a bundle, in Markdown.
pub fn tables(manifest: &Manifest) -> String {
    manifest.figures.iter().map(|(name, evaluation)| table(name, evaluation)).collect()
}

/// The tables of one hold-out, in Markdown.
pub fn table(name: &str, evaluation: &Evaluation) -> String {
    let mut text = String::new();
    let text = &mut text;
    let what = match name {
        "random" => "Sites drawn at random around known towns",
        "towns" => "Towns never seen in training",
        "validation" => "The validation part of the user's files",
        _ => name,
    };
    let _ = write!(text, "\n### {what} ({} sites)\n\n", evaluation.sites);
    text.push_str("| | 1 km | 25 km | 200 km | 750 km | 2500 km | country | median km | mean km | score |\n");
    text.push_str("|---|---|---|---|---|---|---|---|---|---|\n");
    figures_row(text, "four views, refined", &evaluation.figures);
    if let Some(figures) = &evaluation.one_view {
        figures_row(text, "one view, refined", figures);
    }
    if let Some(figures) = &evaluation.centroid {
        figures_row(text, "four views, no refinement", figures);
    }
    if let Some(figures) = &evaluation.float {
        figures_row(text, "four views, refined, in floats", figures);
    }
    if let Some(coverage) = evaluation.figures.coverage {
        let _ = write!(
            text,
            "\nInside the stated 50 % radius: {:.1} %; inside the 95 % radius: {:.1} %.\n",
            coverage.p50, coverage.p95
        );
    }
    if !evaluation.figures.tasks.is_empty() {
        text.push_str("\n| task | mean absolute error or accuracy (%) |\n|---|---|\n");
        for (task, value) in &evaluation.figures.tasks {
            let _ = writeln!(text, "| {task} | {value:.2} |");
        }
    }
    std::mem::take(text)
}

fn figures_row(text: &mut String, what: &str, figures: &Figures) {
    let shares: Vec<String> = figures.within.shares().iter().map(|share| format!("{share:.1}")).collect();
    let country = figures.country.map_or("-".to_owned(), |c| format!("{c:.1}"));
    let _ = writeln!(
        text,
        "| {what} | {} | {country} | {:.1} | {:.1} | {:.0} |",
        shares.join(" | "),
        figures.median_km,
        figures.mean_km,
        figures.score
    );
}
