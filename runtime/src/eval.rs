//! Eval: the columns of the poster's Tables 1 and 2, measured through the path that runs on the device.

mod rows;

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use homing_board::{
    CAMERA_BEARINGS_DEG, Frame,
    planet::{Planet, Split, camera::Camera, hash::fold},
};
use homing_models::{
    LatLon, TaskList,
    figures::{Evaluation, Outcome, Tally, TaskOutcome},
    tasks::season_of_month,
};
use rayon::prelude::*;

use rows::{Labels, QUANTITIES, Row};

use crate::{
    GraphError, Model,
    capture::Panorama,
    encode::Embeddings,
    locate::{Estimate, TaskValue},
    pictures::{self, PictureError},
};

/// Why an evaluation could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// A graph failed.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A picture of the data set cannot be used.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// The data set cannot be read.
    #[error("cannot read {}: {source}; name a file of JSON lines", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The data set has no line.
    #[error(
        "{} has no line; need {{\"images\":[\"front.jpg\"],\"lat\":48.1,\"lon\":11.6}} for each place",
        .0.display()
    )]
    NoLine(PathBuf),
    /// A line of it is wrong.
    #[error(
        "{}: line {line}: {cause}; need {{\"images\":[\"front.jpg\"],\"lat\":48.1,\"lon\":11.6}}",
        path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        cause: String,
    },
}

/// What is true at a site.
struct Truth {
    position: LatLon,
    country: Option<[u8; 2]>,
    labels: Labels,
}

/// The estimates at one site.
struct Answers {
    panorama: Estimate,
    one_view: Estimate,
}

fn answer(model: &mut Model, panorama: &Panorama, embeddings: &mut Embeddings) -> Result<Option<Answers>, GraphError> {
    model.encoder.encode(panorama, embeddings)?;
    let Some(whole) = model.locator.locate(embeddings)? else {
        return Ok(None);
    };
    let one_view = model.locator.locate_embedding(embeddings.view(0), 1)?;
    Ok(Some(Answers { panorama: whole, one_view }))
}

/// The three lines of a table, gathered site by site.
#[derive(Default)]
struct Tallies {
    full: Tally,
    one_view: Tally,
    centroid: Tally,
}

impl Tallies {
    fn push(&mut self, tasks: &TaskList, answers: &Answers, truth: &Truth) {
        let outcome = |guess: LatLon, estimate: &Estimate, radius: bool| Outcome {
            distance_km: guess.distance_km(truth.position),
            radius: radius.then_some(estimate.radius),
            country: truth.country.map(|c| country_of(guess) == Some(c)),
            tasks: task_outcomes(tasks, estimate, &truth.labels),
        };
        let (full, one) = (&answers.panorama, &answers.one_view);
        self.full.push(&outcome(full.position(), full, true));
        self.one_view.push(&outcome(one.position(), one, true));
        self.centroid.push(&outcome(full.centroid, full, false));
    }

    fn evaluation(&self, sites: usize, holdout: &str, model: &Model) -> Evaluation {
        Evaluation {
            sites,
            holdout: holdout.to_owned(),
            model: Some(model.card.id.clone()),
            figures: self.full.figures(),
            one_view: Some(self.one_view.figures()),
            centroid: Some(self.centroid.figures()),
            float: None,
        }
    }
}

fn country_of(position: LatLon) -> Option<[u8; 2]> {
    let planet = Planet::get();
    planet.country_at(position).map(|c| planet.country(c).iso)
}

/// The name of a split in reports.
pub fn holdout_name(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Validation => "validation",
        Split::Random => "random",
        Split::Towns => "towns",
        Split::TownsValidation => "towns-validation",
    }
}

/// Measures a model on sites of the planet. `done` is called after each site.
///
/// # Errors
/// When a graph fails.
pub fn on_planet(
    model: &Model,
    split: Split,
    sites: u64,
    seed: u64,
    done: impl Fn() + Sync,
) -> Result<Evaluation, EvalError> {
    let planet = Planet::get();
    let mut model = model.clone();
    model.encoder.warm_up(CAMERA_BEARINGS_DEG.len())?;
    let size = model.card.image_px;
    let one_site = |(model, embeddings): &mut (Model, Embeddings), index: u64| {
        let site = planet.site(split, seed, index);
        let scene = planet.scene(site.position, site.heading_deg, &site.moment);
        let frame = |(i, bearing): (usize, &f32)| {
            let camera = Camera::used(size as usize, fold(site.moment.seed, i as u64));
            Frame { width: size, height: size, rgb: scene.view(*bearing, &camera).rgb }
        };
        let panorama = Panorama::of(SystemTime::UNIX_EPOCH, CAMERA_BEARINGS_DEG.iter().enumerate().map(frame));
        let answers = answer(model, &panorama, embeddings)?;
        done();
        let labels = planet.aux_labels(&site);
        let country = Some(planet.country(labels.country).iso);
        Ok(answers.map(|a| (a, Truth { position: site.position, country, labels: Labels::from(&labels) })))
    };
    let state = || (model.clone(), Embeddings::default());
    // Collected in the order of the sites, so that sums do not depend on the number of threads.
    let answers: Vec<_> = (0..sites as usize)
        .into_par_iter()
        .with_min_len(8)
        .map_init(state, |state, i| one_site(state, i as u64))
        .collect::<Result<_, GraphError>>()?;
    let mut tallies = Tallies::default();
    for (answers, truth) in answers.iter().flatten() {
        tallies.push(&model.card.tasks, answers, truth);
    }
    Ok(tallies.evaluation(sites as usize, holdout_name(split), &model))
}

/// Measures a model on pictures: JSON lines as for training, paths relative to the file. Without a country in a
/// row, the planet's borders say which one it is.
///
/// # Errors
/// When there is no line, a line or a picture cannot be used, or a graph fails.
pub fn on_dataset(model: &Model, file: &Path, mut done: impl FnMut()) -> Result<Evaluation, EvalError> {
    let text =
        std::fs::read_to_string(file).map_err(|source| EvalError::Unreadable { path: file.to_owned(), source })?;
    let mut model = model.clone();
    let mut tallies = Tallies::default();
    let mut embeddings = Embeddings::default();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let wrong = |cause: String| EvalError::Line { path: file.to_owned(), line: i + 1, cause };
        let row = Row::parse(line).map_err(wrong)?;
        let frames = row.paths(file).map(|p| pictures::read(&p)).collect::<Result<Vec<_>, _>>()?;
        let panorama = Panorama::of(SystemTime::UNIX_EPOCH, frames);
        if let Some(answers) = answer(&mut model, &panorama, &mut embeddings)? {
            let country = row.country.or_else(|| country_of(row.position));
            tallies.push(&model.card.tasks, &answers, &Truth { position: row.position, country, labels: row.labels });
        }
        done();
    }
    // Figures of nothing would be invented.
    if tallies.full.is_empty() {
        return Err(EvalError::NoLine(file.to_owned()));
    }
    let name = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(tallies.evaluation(tallies.full.len(), &name, &model))
}

/// The outcome of each task that the labels know, and of the season, which follows from the month.
fn task_outcomes<'t>(tasks: &'t TaskList, estimate: &Estimate, labels: &Labels) -> Vec<(&'t str, TaskOutcome)> {
    let quantity = |name: &str| QUANTITIES.iter().position(|q| *q == name).and_then(|i| labels.quantities[i]);
    let mut outcomes = Vec::new();
    let mut values = estimate.tasks.iter();
    for (task, value) in tasks.regressions.iter().zip(&mut values) {
        if let (Some(truth), TaskValue::Quantity(v)) = (quantity(&task.name), value) {
            outcomes.push((task.name.as_str(), TaskOutcome::Error((v - f64::from(truth)).abs())));
        }
    }
    for (task, value) in tasks.classifications.iter().zip(values) {
        let TaskValue::Class(class) = *value else {
            continue;
        };
        match (task.name.as_str(), labels.koeppen, labels.month) {
            ("koeppen", Some(zone), _) => outcomes.push(("koeppen", TaskOutcome::Hit(class == zone))),
            ("month", _, Some(month)) => {
                outcomes.push(("month", TaskOutcome::Hit(class == month)));
                let season = season_of_month(class) == season_of_month(month);
                outcomes.push(("season", TaskOutcome::Hit(season)));
            }
            _ => {}
        }
    }
    outcomes
}
