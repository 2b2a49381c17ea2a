//! The columns of the poster's Tables 1 and 2 for a predictor, on any gallery.

use anyhow::Result;
use homing_models::figures::{Evaluation, Outcome, Tally, TaskOutcome};
use homing_models::tasks::season_of_month;
use homing_models::{Geocells, LatLon, Prototypes, RadiusTable, RefineParams, TaskList, refine, spread_km};
use homing_planet::Planet;
use rayon::prelude::*;

use crate::dataset::{Gallery, REGRESSIONS, Sample};

use super::embed::Panoramas;
use super::predictor::{Predictions, Predictor};

/// Sites in memory at once.
const SITES_AT_ONCE: usize = 500;

/// Everything that turns a prediction into a guess.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    /// The classes.
    pub geocells: &'a Geocells,
    /// The clusters inside them.
    pub prototypes: &'a Prototypes,
    /// Constants of the refinement.
    pub params: &'a RefineParams,
    /// Calibrated radii.
    pub radius: &'a RadiusTable,
    /// The auxiliary tasks.
    pub tasks: &'a TaskList,
}

/// One guess with what it is compared with.
struct Truth<'a> {
    sample: &'a Sample,
    month: Option<u8>,
}

impl Judge<'_> {
    /// Asks about every sample of a gallery.
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
        let sites: Vec<usize> = (0..gallery.samples().len()).collect();
        let [mut refined, mut one_view, mut centroid] = [Tally::default(), Tally::default(), Tally::default()];
        for chunk in sites.chunks(SITES_AT_ONCE) {
            let embedded = predictor.embed(&Panoramas::load(gallery, chunk, side, 0)?)?;
            let four = predictor.predict(&embedded.panoramas)?;
            let one = predictor.predict(&embedded.first_views)?;
            let outcomes: Vec<[Outcome; 3]> = (0..chunk.len())
                .into_par_iter()
                .map(|i| {
                    let sample = &gallery.samples()[chunk[i]];
                    let truth = Truth { sample, month: gallery.month(chunk[i], 0) };
                    [
                        self.guess(&four, i, embedded.panorama(i), &truth, true),
                        self.guess(&one, i, embedded.first_view(i), &truth, true),
                        self.guess(&four, i, embedded.panorama(i), &truth, false),
                    ]
                })
                .collect();
            for [a, b, c] in &outcomes {
                refined.push(a);
                one_view.push(b);
                centroid.push(c);
            }
        }
        Ok(Evaluation {
            sites: sites.len(),
            holdout: holdout.to_owned(),
            model: None,
            figures: refined.figures(),
            one_view: Some(one_view.figures()),
            centroid: Some(centroid.figures()),
            float: None,
        })
    }

    fn guess(
        &self,
        found: &Predictions,
        i: usize,
        embedding: &[f32],
        truth: &Truth,
        with_refinement: bool,
    ) -> Outcome<'_> {
        let probabilities = &found.cells[i * self.geocells.len()..][..self.geocells.len()];
        let params = RefineParams { k: if with_refinement { self.params.k } else { 1 }, ..*self.params };
        let best = refine(self.geocells, self.prototypes, probabilities, embedding, &params)[0];
        let guess = if with_refinement { best.position } else { self.geocells.cell(best.cell).centroid };
        let radius = self.radius.lookup(spread_km(self.geocells, probabilities, guess));
        Outcome {
            distance_km: guess.distance_km(truth.sample.position),
            radius: with_refinement.then_some(radius),
            country: Some(country_at(guess) == Some(truth.sample.country)),
            tasks: self.task_outcomes(found, i, truth),
        }
    }

    fn task_outcomes(&self, found: &Predictions, i: usize, truth: &Truth) -> Vec<(&str, TaskOutcome)> {
        let mut outcomes = Vec::new();
        let (regressions, classes) = found.tasks.split_at(self.tasks.regressions.len());
        for (task, outputs) in self.tasks.regressions.iter().zip(regressions) {
            let known = REGRESSIONS.iter().position(|(name, ..)| *name == task.name);
            if let Some(value) = known.and_then(|at| truth.sample.aux.regressions[at]) {
                let error = (task.decode(f64::from(outputs[i])) - f64::from(value)).abs();
                outcomes.push((task.name.as_str(), TaskOutcome::Error(error)));
            }
        }
        for (task, outputs) in self.tasks.classifications.iter().zip(classes) {
            let logits = &outputs[i * task.classes.len()..][..task.classes.len()];
            let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0);
            let label = match task.name.as_str() {
                "koeppen" => truth.sample.aux.koeppen,
                "month" => truth.month,
                _ => None,
            };
            let Some(label) = label.map(usize::from) else { continue };
            outcomes.push((task.name.as_str(), TaskOutcome::Hit(best == label)));
            if task.name == "month" {
                outcomes.push(("season", TaskOutcome::Hit(season_of_month(best) == season_of_month(label))));
            }
        }
        outcomes
    }
}

/// The country whose area contains the position.
fn country_at(position: LatLon) -> Option<[u8; 2]> {
    let planet = Planet::get();
    planet.country_at(position).map(|id| planet.country(id).iso)
}
