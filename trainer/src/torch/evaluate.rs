//! The columns of the poster's Tables 1 and 2 for a predictor, on any gallery.

use anyhow::Result;
use homing_models::figures::{Evaluation, Figures, Outcome, Tally, TaskOutcome};
use homing_models::sites::Labels;
use homing_models::{Geocells, LatLon, Prototypes, RadiusTable, RefineParams, TaskList, refine, spread_km};
use homing_planet::Planet;
use rayon::prelude::*;

use crate::dataset::{Gallery, Sample};

use super::embed::Panoramas;
use super::predictor::{Predictions, Predictor};

/// Sites in memory at once.
const SITES_AT_ONCE: usize = 500;

/// Everything that turns a prediction into a guess.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    /// The classes.
    pub geocells: &'a Geocells,
    /// The auxiliary tasks.
    pub tasks: &'a TaskList,
    /// What refines inside the cells; without it every guess is a cell's centroid.
    pub refinement: Option<Refinement<'a>>,
}

/// What refines a guess inside the cells.
#[derive(Clone, Copy)]
pub struct Refinement<'a> {
    /// The clusters inside the cells.
    pub prototypes: &'a Prototypes,
    /// Constants of the refinement.
    pub params: &'a RefineParams,
    /// Calibrated radii.
    pub radius: &'a RadiusTable,
}

/// How a site is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Show the first view only.
    pub one_view: bool,
    /// Refine the guess.
    pub refined: bool,
}

impl Judge<'_> {
    /// Asks about every sample of a gallery with all views, with one, and without refinement.
    ///
    /// # Errors
    /// When a view cannot be read or the model cannot run.
    pub fn evaluate(
        &self,
        predictor: &dyn Predictor,
        gallery: &dyn Gallery,
        side: usize,
        holdout: &str,
    ) -> Result<Evaluation> {
        let questions = [(false, true), (true, true), (false, false)];
        let questions = questions.map(|(one_view, refined)| Question { one_view, refined });
        let [figures, one_view, centroid] = self.ask(predictor, gallery, side, questions)?;
        Ok(Evaluation {
            sites: gallery.samples().len(),
            holdout: holdout.to_owned(),
            model: None,
            figures,
            one_view: Some(one_view),
            centroid: Some(centroid),
            nearest: None,
            float: None,
        })
    }

    /// Asks about every sample of a gallery in each of some ways.
    ///
    /// # Errors
    /// When a view cannot be read or the model cannot run.
    pub fn ask<const N: usize>(
        &self,
        predictor: &dyn Predictor,
        gallery: &dyn Gallery,
        side: usize,
        questions: [Question; N],
    ) -> Result<[Figures; N]> {
        let sites: Vec<usize> = (0..gallery.samples().len()).collect();
        let mut tallies = [(); N].map(|()| Tally::default());
        for chunk in sites.chunks(SITES_AT_ONCE) {
            let embedded = predictor.embed(&Panoramas::load(gallery, chunk, side, 0)?)?;
            let four = predictor.predict(&embedded.panoramas)?;
            let one = predictor.predict(&embedded.first_views)?;
            let guess = |i: usize, question: Question| {
                let sample = &gallery.samples()[chunk[i]];
                if question.one_view {
                    self.guess(&one, i, embedded.first_view(i), sample, question.refined)
                } else {
                    self.guess(&four, i, embedded.panorama(i), sample, question.refined)
                }
            };
            let outcomes: Vec<[Outcome; N]> =
                (0..chunk.len()).into_par_iter().map(|i| questions.map(|question| guess(i, question))).collect();
            for of_site in &outcomes {
                tallies.iter_mut().zip(of_site).for_each(|(tally, outcome)| tally.push(outcome));
            }
        }
        Ok(tallies.map(|tally| tally.figures()))
    }

    fn guess(&self, found: &Predictions, i: usize, embedding: &[f32], truth: &Sample, refined: bool) -> Outcome<'_> {
        let probabilities = &found.cells[i * self.geocells.len()..][..self.geocells.len()];
        let (guess, radius) = match self.refinement.filter(|_| refined) {
            Some(Refinement { prototypes, params, radius }) => {
                let guess = refine(self.geocells, prototypes, probabilities, embedding, params)[0].position;
                (guess, Some(radius.lookup(spread_km(self.geocells, probabilities, guess))))
            }
            None => (self.geocells.cells()[likeliest(probabilities)].centroid, None),
        };
        Outcome {
            distance_km: guess.distance_km(truth.position),
            radius,
            country: Some(country_at(guess) == Some(truth.country)),
            tasks: self.task_outcomes(found, i, &truth.labels),
        }
    }

    fn task_outcomes(&self, found: &Predictions, i: usize, labels: &Labels) -> Vec<(&str, TaskOutcome)> {
        let TaskList { regressions, classifications } = self.tasks;
        let value = |task: usize| regressions[task].decode(f64::from(found.tasks[task][i]));
        let class = |task: usize| {
            let classes = classifications[task].classes.len();
            likeliest(&found.tasks[regressions.len() + task][i * classes..][..classes])
        };
        labels.outcomes(self.tasks, value, class)
    }
}

/// The place of the largest of some numbers.
fn likeliest(numbers: &[f32]) -> usize {
    (0..numbers.len()).max_by(|&a, &b| numbers[a].total_cmp(&numbers[b])).unwrap_or(0)
}

/// The country whose area contains the position.
fn country_at(position: LatLon) -> Option<[u8; 2]> {
    let planet = Planet::get();
    planet.country_at(position).map(|id| planet.country(id).iso)
}
