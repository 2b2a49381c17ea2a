//! Eval: the columns of the poster's Tables 1 and 2, measured through the path that runs on the device.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use homing_board::{
    CAMERA_BEARINGS_DEG, Frame,
    planet::{AuxLabels, Planet, Split, camera::Camera, hash::fold},
};
use homing_models::{
    LatLon, TaskList,
    figures::{Evaluation, Outcome, Tally, TaskOutcome},
    tasks::season_of_month,
};
use rayon::prelude::*;
use serde::Deserialize;

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
struct Truth<'p> {
    position: LatLon,
    country: Option<[u8; 2]>,
    labels: Option<AuxLabels<'p>>,
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
    fn push(&mut self, tasks: &TaskList, answers: &Answers, truth: &Truth<'_>) {
        let outcome = |guess: LatLon, estimate: &Estimate, radius: bool| Outcome {
            distance_km: guess.distance_km(truth.position),
            radius: radius.then_some(estimate.radius),
            country: truth.country.map(|c| country_of(guess) == Some(c)),
            tasks: truth.labels.as_ref().map_or_else(Vec::new, |l| task_outcomes(tasks, estimate, l)),
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
        Ok(answers.map(|a| (a, Truth { position: site.position, country, labels: Some(labels) })))
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    images: Vec<PathBuf>,
    lat: f64,
    lon: f64,
    #[serde(default)]
    country: Option<String>,
}

/// Measures a model on pictures: JSON lines, paths relative to the file. Without a country in a row, the
/// planet's borders say which one it is.
///
/// # Errors
/// When a line or a picture cannot be used, or a graph fails.
pub fn on_dataset(model: &Model, file: &Path, mut done: impl FnMut()) -> Result<Evaluation, EvalError> {
    let text =
        std::fs::read_to_string(file).map_err(|source| EvalError::Unreadable { path: file.to_owned(), source })?;
    let mut model = model.clone();
    let mut tallies = Tallies::default();
    let mut embeddings = Embeddings::default();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let wrong = |cause: String| EvalError::Line { path: file.to_owned(), line: i + 1, cause };
        let row: Row = serde_json::from_str(line).map_err(|e| wrong(e.to_string()))?;
        let position = LatLon::new(row.lat, row.lon).map_err(|e| wrong(e.to_string()))?;
        let country = match row.country.as_deref().map(str::as_bytes) {
            None => country_of(position),
            Some([a, b]) => Some([*a, *b].map(|c| c.to_ascii_uppercase())),
            Some(_) => {
                return Err(wrong("country is a code of two letters, such as FR".to_owned()));
            }
        };
        if !(1..=4).contains(&row.images.len()) {
            return Err(wrong(format!("{} images, need one to four", row.images.len())));
        }
        let beside = |p: &PathBuf| file.parent().unwrap_or(Path::new("")).join(p);
        let frames = row.images.iter().map(|p| pictures::read(&beside(p))).collect::<Result<Vec<_>, _>>()?;
        let panorama = Panorama::of(SystemTime::UNIX_EPOCH, frames);
        if let Some(answers) = answer(&mut model, &panorama, &mut embeddings)? {
            tallies.push(&model.card.tasks, &answers, &Truth { position, country, labels: None });
        }
        done();
    }
    let name = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(tallies.evaluation(tallies.full.len(), &name, &model))
}

/// The outcome of each task that the labels know, and of the season, which follows from the month.
fn task_outcomes<'t>(tasks: &'t TaskList, estimate: &Estimate, labels: &AuxLabels<'_>) -> Vec<(&'t str, TaskOutcome)> {
    let quantity = |name: &str| match name {
        "elevation_m" => Some(labels.elevation_m),
        "population_km2" => Some(labels.population_km2),
        "temperature_c" => Some(labels.temperature_c),
        "temperature_range_c" => Some(labels.temperature_range_c),
        "precipitation_mm_day" => Some(labels.precipitation_mm_day),
        "precipitation_range_mm_day" => Some(labels.precipitation_range_mm_day),
        _ => None,
    };
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
        match task.name.as_str() {
            "koeppen" => outcomes.push(("koeppen", TaskOutcome::Hit(class == labels.koeppen.index()))),
            "month" => {
                outcomes.push(("month", TaskOutcome::Hit(class == labels.month)));
                let season = season_of_month(class) == season_of_month(labels.month);
                outcomes.push(("season", TaskOutcome::Hit(season)));
            }
            _ => {}
        }
    }
    outcomes
}
