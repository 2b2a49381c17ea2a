//! The poster's ablation: eight rows, each with one contribution more than the row above, and the report on them.
//!
//! All rows come from one recipe, the one of the whole method; a row's recipe is that one with the contributions of the
//! later rows taken out. What stands for the published CLIP, which learned from captions of the web, is the recipe's
//! `tower.weights`, or without any its own pretraining with captions that tell what is to be seen (`CaptionStyle::Web`).

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, ensure};
use homing_models::figures::Figures;
use serde::{Deserialize, Serialize};

use crate::recipe::{CaptionStyle, Contrastive, Data, Recipe, Smoothing, TaskWeights, Trainable, ViewShares};

/// A row of the poster's Tables 1 and 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PosterRow {
    /// What the row adds.
    pub name: &'static str,
    /// Per cent within 1, 25, 200, 750 and 2500 km.
    pub within: [f64; 5],
    /// Per cent of right countries.
    pub country: f64,
    /// Mean error.
    pub mean_km: f64,
    /// Median error.
    pub median_km: f64,
    /// Game score.
    pub score: f64,
    /// Errors of elevation (m), people per km2, temperature (C) and precipitation (mm/day), per cent of right seasons and
    /// climate zones; the poster has them of two rows.
    pub tasks: Option<[f64; 6]>,
}

const fn row(
    name: &'static str,
    within: [f64; 5],
    country: f64,
    mean_km: f64,
    median_km: f64,
    score: f64,
) -> PosterRow {
    PosterRow { name, within, country, mean_km, median_km, score, tasks: None }
}

const fn with_tasks(row: PosterRow, tasks: [f64; 6]) -> PosterRow {
    PosterRow { tasks: Some(tasks), ..row }
}

/// The poster's Tables 1 and 2: Street View, 5,000 locations.
pub const POSTER: [PosterRow; 8] = [
    row("CLIP base", [1.28, 24.08, 55.38, 80.20, 92.00], 72.12, 990.0, 148.0, 3890.0),
    row("+ label smoothing", [0.92, 24.18, 59.04, 82.84, 92.76], 74.74, 877.4, 131.1, 3986.0),
    row("+ four-image panorama", [1.10, 32.50, 75.32, 92.92, 98.00], 87.64, 315.7, 60.81, 4442.0),
    row("+ fine-tuning the last layer", [1.10, 32.74, 75.14, 93.00, 97.98], 87.90, 312.7, 61.81, 4442.0),
    with_tasks(
        row("+ multi-task heads", [1.18, 33.22, 75.42, 93.42, 98.16], 87.96, 299.9, 60.63, 4454.0),
        [141.7, 1084.0, 1.37, 14.48, 45.74, 74.10],
    ),
    with_tasks(
        row("+ semantic geocells", [1.24, 34.54, 76.36, 93.36, 97.94], 89.36, 316.9, 55.51, 4464.0),
        [147.1, 1064.0, 1.36, 14.71, 45.74, 74.66],
    ),
    row("+ contrastive pretraining", [1.32, 35.56, 78.86, 94.54, 98.54], 91.14, 251.9, 50.01, 4522.0),
    row("+ ProtoNet refinement", [5.36, 40.36, 78.28, 94.52, 98.56], 91.96, 251.6, 44.35, 4525.0),
];

/// Row, from 0, that shows all four views and those after it.
const PANORAMA: usize = 2;
/// Row that adds the tasks.
const TASKS: usize = 4;
/// Row that adds contrastive pretraining.
pub const CONTRASTIVE: usize = 6;
/// Row that adds the refinement, to the very network of the row above.
pub const REFINEMENT: usize = 7;

/// Whether a row is asked about panoramas, or about single views.
pub fn sees_panoramas(row: usize) -> bool {
    row >= PANORAMA
}

/// The pretraining of the tower that all rows start from: the recipe's own, with captions of the web's kind, on all
/// countries.
///
/// # Errors
/// When the recipe is not that of the whole method.
pub fn base(whole: &Recipe) -> anyhow::Result<Recipe> {
    let contrastive = whole.contrastive.as_ref().context("an ablation needs a recipe with [contrastive]")?;
    ensure!(contrastive.captions == CaptionStyle::Place, "an ablation needs contrastive.captions = \"place\"");
    ensure!(
        whole.training.trainable == Trainable::LastLayer && whole.training.smoothing == Smoothing::Haversine,
        "an ablation needs training.trainable = \"last-layer\" and haversine smoothing"
    );
    ensure!(whole.geocells.rectangles.is_none(), "an ablation needs semantic geocells: leave out geocells.rectangles");
    ensure!(
        whole.distillation.is_none(),
        "an ablation measures what each row learns by itself: leave out [distillation]"
    );
    // Captions of what is to be seen are there for the planet alone.
    ensure!(
        whole.tower.weights.is_some() || matches!(whole.data, Data::Planet { .. }),
        "an ablation on your own pictures needs tower.weights to begin from: CLIP's, or those of a bundle"
    );
    let web = Contrastive { captions: CaptionStyle::Web, held_out: Vec::new(), ..contrastive.clone() };
    Ok(Recipe { contrastive: Some(web), ..whole.clone() })
}

/// The recipe of a row, which starts from the weights `base`; `cells` is the number of semantic geocells, which the
/// rectangular ones are to have as well.
pub fn of_row(whole: &Recipe, row: usize, base: &Path, cells: u32) -> Recipe {
    let mut recipe = whole.clone();
    recipe.tower.weights = Some(base.to_owned());
    let training = &mut recipe.training;
    if row < 1 {
        training.smoothing = Smoothing::None;
    }
    if !sees_panoramas(row) {
        training.views = ViewShares { one: 1.0, two: 0.0, four: 0.0 };
    }
    if row < 3 {
        training.trainable = Trainable::Heads;
    }
    if row < TASKS {
        recipe.tasks = TaskWeights { regression: 0.0, koeppen: 0.0, month: 0.0 };
    }
    if row < 5 {
        recipe.geocells.rectangles = Some(cells);
    }
    if row < CONTRASTIVE {
        recipe.contrastive = None;
    }
    recipe
}

/// What was measured of one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowFigures {
    /// Geocells of the row.
    pub cells: usize,
    /// Seconds that the row took, of the run that finished it.
    pub seconds: f64,
    /// By hold-out, in the order of the report.
    pub figures: Vec<(String, Figures)>,
    /// What validation said to each way of refining, in the row that refines.
    pub refinement: Vec<String>,
}

/// What captions alone tell, before and after the pretraining on captions of places (poster, Table 3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaptionFigures {
    /// Whether the pretraining on places saw the countries, and how many sites there are.
    pub countries: String,
    /// Sites.
    pub sites: usize,
    /// The base, where it has a text tower.
    pub before: Option<Figures>,
    /// After the pretraining on captions of places.
    pub after: Figures,
}

/// The report in Markdown. `seeds[s][r]` is row `r` of the `s`-th seed; every seed has all rows.
pub fn report(seeds: &[Vec<RowFigures>], captions: &[CaptionFigures], preamble: &str) -> String {
    let mut text = String::from("# What each contribution is worth\n\n");
    text += preamble;
    let Some(first) = seeds.first() else { return text };
    let holdouts: Vec<String> = first[0].figures.iter().map(|(name, _)| name.clone()).collect();
    for (h, holdout) in holdouts.iter().enumerate() {
        let _ = write!(text, "\n## {}\n\n", title(holdout));
        table_1(&mut text, seeds, h);
        text.push('\n');
        table_2(&mut text, seeds, h);
    }
    if !captions.is_empty() {
        table_3(&mut text, captions);
    }
    text += "\n## The guess inside a cluster\n\nThe best constants of each, by validation, of the first seed:\n\n";
    for tried in &first[REFINEMENT].refinement {
        let _ = writeln!(text, "* {tried}");
    }
    text += "\n## Cost\n\n| row | geocells | minutes |\n|---|---|---|\n";
    for (r, (row, poster)) in first.iter().zip(POSTER).enumerate() {
        let minutes = seeds.iter().map(|rows| rows[r].seconds / 60.0).sum::<f64>() / seeds.len() as f64;
        let _ = writeln!(text, "| {} | {} | {minutes:.1} |", poster.name, row.cells);
    }
    text
}

fn title(holdout: &str) -> &str {
    match holdout {
        "random" => "Sites drawn at random around known towns",
        "towns" => "Towns never seen in training",
        other => other,
    }
}

fn table_1(text: &mut String, seeds: &[Vec<RowFigures>], holdout: usize) {
    *text += "| per cent within | 1 km | 25 km | 200 km | 750 km | 2500 km | the poster's |\n|---|---|---|---|---|---|---|\n";
    for (r, poster) in POSTER.iter().enumerate() {
        let shares: Vec<String> =
            (0..5).map(|i| spread(seeds.iter().map(|rows| rows[r].figures[holdout].1.within.shares()[i]), 1)).collect();
        let theirs = poster.within.map(|share| format!("{share:.1}")).join(" / ");
        let _ = writeln!(text, "| {} | {} | {theirs} |", poster.name, shares.join(" | "));
    }
}

fn table_3(text: &mut String, captions: &[CaptionFigures]) {
    *text += "\n## From captions alone\n\nOf the first seed: the nearest of all countries' captions, and as the guess the middle \
             of that country's training sites (the poster's Table 3; there, within 2500 km, IM2GPS: 77.22 % before, \
             83.12 % after, IM2GPS3K: 67.43 % and 76.44 %, and of countries not seen 41.51 % and 52.79 % right).\n\n\
             | countries | sites | country %, base | after pretraining | within 2500 km %, base | after pretraining |\n\
             |---|---|---|---|---|---|\n";
    for c in captions {
        let country = |f: &Figures| f.country.unwrap_or_default();
        let of_base = |figure: &dyn Fn(&Figures) -> f64| {
            c.before.as_ref().map_or_else(|| "-".to_owned(), |f| format!("{:.1}", figure(f)))
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.1} | {} | {:.1} |",
            c.countries,
            c.sites,
            of_base(&country),
            country(&c.after),
            of_base(&|f| f.within.continent),
            c.after.within.continent
        );
    }
}

/// Columns of Table 2: heading, figure, digits.
type Column = (&'static str, fn(&Figures) -> Option<f64>, usize);

const TABLE_2: [Column; 10] = [
    ("country %", |f| f.country, 1),
    ("mean km", |f| Some(f.mean_km), 0),
    ("median km", |f| Some(f.median_km), 1),
    ("score", |f| Some(f.score), 0),
    ("elevation m", |f| f.tasks.get("elevation_m").copied(), 0),
    ("people/km2", |f| f.tasks.get("population_km2").copied(), 0),
    ("temperature C", |f| f.tasks.get("temperature_c").copied(), 2),
    ("rain mm/day", |f| f.tasks.get("precipitation_mm_day").copied(), 2),
    ("season %", |f| f.tasks.get("season").copied(), 1),
    ("climate %", |f| f.tasks.get("koeppen").copied(), 1),
];

fn table_2(text: &mut String, seeds: &[Vec<RowFigures>], holdout: usize) {
    let headings = TABLE_2.map(|(heading, ..)| heading).join(" | ");
    let _ = writeln!(text, "| | {headings} | the poster's country, mean, median, score; elevation to climate |");
    let _ = writeln!(text, "|---|{}---|", "---|".repeat(TABLE_2.len()));
    for (r, poster) in POSTER.iter().enumerate() {
        let cell = |(_, figure, digits): &Column| {
            let values: Option<Vec<f64>> = seeds.iter().map(|rows| figure(&rows[r].figures[holdout].1)).collect();
            values.map_or("-".to_owned(), |values| spread(values.into_iter(), *digits))
        };
        let cells: Vec<String> = TABLE_2.iter().map(cell).collect();
        let mut theirs =
            format!("{:.1} / {:.0} / {:.1} / {:.0}", poster.country, poster.mean_km, poster.median_km, poster.score);
        if let Some([elevation, people, temperature, rain, season, climate]) = poster.tasks {
            let _ = write!(
                theirs,
                "; {elevation:.0} / {people:.0} / {temperature:.2} / {rain:.2} / {season:.1} / {climate:.1}"
            );
        }
        let _ = writeln!(text, "| {} | {} | {theirs} |", poster.name, cells.join(" | "));
    }
}

/// The mean, and with several values half of what lies between the least and the largest.
fn spread(values: impl ExactSizeIterator<Item = f64> + Clone, digits: usize) -> String {
    let n = values.len();
    let mean = values.clone().sum::<f64>() / n.max(1) as f64;
    if n < 2 {
        return format!("{mean:.digits$}");
    }
    let (least, most) = values.fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
    format!("{mean:.digits$} ± {:.digits$}", (most - least) / 2.0)
}

/// A row's figures without what it was not trained for.
pub fn known(row: usize, mut figures: Figures) -> Figures {
    if row < TASKS {
        figures.tasks.clear();
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Distillation;

    fn whole() -> Recipe {
        Recipe::parse(include_str!("../recipes/ablation.toml"), Path::new("ablation.toml")).unwrap()
    }

    #[test]
    fn each_row_adds_one_contribution_and_the_last_is_the_whole_method() {
        let whole = whole();
        let rows: Vec<Recipe> = (0..POSTER.len()).map(|row| of_row(&whole, row, Path::new("base"), 900)).collect();
        for (row, pair) in rows.windows(2).enumerate() {
            let (before, after) = (&pair[0], &pair[1]);
            let changes = [
                before.training.smoothing != after.training.smoothing,
                before.training.views != after.training.views,
                before.training.trainable != after.training.trainable,
                before.tasks != after.tasks,
                before.geocells != after.geocells,
                before.contrastive != after.contrastive,
            ];
            let expected: [bool; 6] = std::array::from_fn(|i| i == row);
            assert_eq!(changes, expected, "row {row} to {}", row + 1);
        }
        let mut last = rows[REFINEMENT].clone();
        last.tower.weights.clone_from(&whole.tower.weights);
        assert_eq!(last, whole);
    }

    #[test]
    fn a_recipe_that_is_not_the_whole_method_is_refused() {
        let refused = |change: fn(&mut Recipe)| {
            let mut recipe = whole();
            change(&mut recipe);
            base(&recipe).unwrap_err().to_string()
        };
        assert!(refused(|r| r.contrastive = None).contains("[contrastive]"));
        assert!(refused(|r| r.training.trainable = Trainable::All).contains("last-layer"));
        assert!(refused(|r| r.geocells.rectangles = Some(5)).contains("rectangles"));
        let taught: fn(&mut Recipe) = |r| r.distillation = Some(Distillation { teacher: "mine".into(), weight: 0.5 });
        assert!(refused(taught).contains("leave out [distillation]"));
        let own = |r: &mut Recipe| (r.data, r.tower.weights) = (Data::Files("sites.jsonl".into()), None);
        assert!(refused(own).contains("needs tower.weights"));
        assert_eq!(base(&whole()).unwrap().contrastive.unwrap().captions, CaptionStyle::Web);
    }

    #[test]
    fn the_report_has_every_row_beside_the_posters() {
        let figures = |country| Figures { country: Some(country), median_km: 50.0, ..Figures::default() };
        let row = |country| RowFigures {
            cells: 9,
            seconds: 60.0,
            figures: vec![("random".into(), figures(country))],
            refinement: vec!["the nearest member: K 5".into()],
        };
        let seeds = [vec![row(60.0); 8], vec![row(62.0); 8]];
        let text = report(&seeds, &[], "Preamble.\n");
        assert_eq!(text.lines().filter(|l| l.starts_with("| + ProtoNet refinement |")).count(), 3);
        assert!(text.contains("| 61.0 ± 1.0 | 0 ± 0 | 50.0 ± 0.0 |"), "{text}");
        assert!(text.contains("5.4 / 40.4 / 78.3 / 94.5 / 98.6") && text.contains("| - | - |"), "{text}");
        let places = CaptionFigures { countries: "seen".into(), sites: 9, before: None, after: figures(31.0) };
        let both = CaptionFigures { before: Some(figures(30.0)), ..places.clone() };
        let one = report(&seeds[..1], &[places, both], "");
        assert!(one.contains("| seen | 9 | - | 31.0 | - | 0.0 |\n| seen | 9 | 30.0 | 31.0 | 0.0 | 0.0 |\n"), "{one}");
        assert!(one.contains("* the nearest member: K 5\n"));
        assert!(one.contains("| 60.0 | 0 | 50.0 |") && !one.contains('±'), "{one}");
    }
}
