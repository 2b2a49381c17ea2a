//! Eval: the columns of the poster's Tables 1 and 2, measured through the path that runs on the device.

use std::{path::Path, time::SystemTime};

use homing_board::{
    CAMERA_BEARINGS_DEG, Frame,
    planet::{Planet, Split, camera::Camera, hash::fold},
};
use homing_models::{
    LatLon, Nearest, Prototypes, TaskList,
    figures::{Evaluation, Outcome, Tally, TaskOutcome},
    pictures::{self, PictureError},
    sites::{Labels, SitesError, read_sites},
};
use rayon::prelude::*;

use crate::{
    GraphError, Model,
    capture::Panorama,
    encode::Embeddings,
    locate::{Estimate, TaskValue},
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
    /// The data set cannot be used.
    #[error(transparent)]
    Sites(#[from] SitesError),
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

/// The lines of a table, gathered site by site.
struct Tallies<'m> {
    prototypes: &'m Prototypes,
    places: Option<Nearest>,
    full: Tally,
    one_view: Tally,
    centroid: Tally,
    nearest: Tally,
}

impl<'m> Tallies<'m> {
    fn new(model: &'m Model) -> Self {
        let prototypes = model.locator.prototypes();
        let places = Nearest::of((0..prototypes.len() as u32).map(|i| prototypes.get(i).position));
        let [full, one_view, centroid, nearest] = [(); 4].map(|()| Tally::default());
        Tallies { prototypes, places, full, one_view, centroid, nearest }
    }

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
        if let Some(places) = &self.places {
            let nearest = self.prototypes.get(places.to(truth.position) as u32).position;
            self.nearest.push(&Outcome { tasks: Vec::new(), ..outcome(nearest, full, false) });
        }
    }

    fn evaluation(&self, sites: usize, holdout: &str, model: &Model) -> Evaluation {
        Evaluation {
            sites,
            holdout: holdout.to_owned(),
            model: Some(model.card.id.clone()),
            figures: self.full.figures(),
            one_view: Some(self.one_view.figures()),
            centroid: Some(self.centroid.figures()),
            nearest: self.places.is_some().then(|| self.nearest.figures()),
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
    let mut tallies = Tallies::new(&model);
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
    let planet = Planet::get();
    let sites = read_sites(file, |iso| planet.countries().iter().any(|c| c.iso == iso))?;
    let mut working = model.clone();
    let mut tallies = Tallies::new(model);
    let mut embeddings = Embeddings::default();
    for site in sites {
        let frames = site.images.iter().map(|p| pictures::read(p)).collect::<Result<Vec<_>, _>>()?;
        let panorama = Panorama::of(SystemTime::UNIX_EPOCH, frames);
        if let Some(answers) = answer(&mut working, &panorama, &mut embeddings)? {
            let country = site.country.or_else(|| country_of(site.position));
            let truth = Truth { position: site.position, country, labels: site.labels };
            tallies.push(&model.card.tasks, &answers, &truth);
        }
        done();
    }
    let name = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(tallies.evaluation(tallies.full.len(), &name, model))
}

/// The outcome of each task that the labels know.
fn task_outcomes<'t>(tasks: &'t TaskList, estimate: &Estimate, labels: &Labels) -> Vec<(&'t str, TaskOutcome)> {
    let (mut quantities, mut classes) = (Vec::new(), Vec::new());
    for value in &estimate.tasks {
        match *value {
            TaskValue::Quantity(value) => quantities.push(value),
            TaskValue::Class(class) => classes.push(class),
        }
    }
    labels.outcomes(tasks, |i| quantities[i], |i| classes[i])
}
