//! The prototypes: embeddings of the mapped training sites, averaged inside each cluster, and the constants that use
//! them best.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use homing_models::bundle::PROTOTYPES;
use homing_models::{CellId, Guess, LatLon, Prototypes, RadiusTable, RefineParams, refine, spread_km};
use homing_planet::Split;
use indicatif::ProgressBar;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::cluster;
use crate::commands::write_whole;
use crate::dataset::{Gallery, PlanetGallery};

use super::embed::{Embedded, embed_gallery};
use super::network::Network;
use super::predictor::{Predictions, Predictor};
use super::workbench::Workbench;

/// File of the chosen constants in the working directory.
pub const CALIBRATION: &str = "calibration.toml";
/// Members' own embeddings are kept only while `prototypes.bin` stays below this many bytes, with which it is memory that a
/// board can spare.
const LARGEST_WITH_MEMBERS: usize = 6_000_000;

/// What validation chose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Constants of the refinement.
    pub refine: RefineParams,
    /// Calibrated radii.
    pub radius: RadiusTable,
    /// The best constants with each guess inside a cluster, and how good they were.
    #[serde(default)]
    pub tried: Vec<Tried>,
}

/// Constants of the refinement and what validation said to them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tried {
    /// Mean over the validation sites of ln(1 + error in km): it counts street and continent alike.
    pub mean_log_km: f64,
    /// The constants.
    pub params: RefineParams,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RefineParams { k, temperature, limit_km, guess } = self.params;
        let limit = limit_km.map_or("none".to_owned(), |km| format!("{km} km"));
        let guess = match guess {
            Guess::Centroid => "the cluster's centroid".to_owned(),
            Guess::NearestMember => "the nearest member".to_owned(),
            Guess::Blend(t) => format!("the cell's clusters, blended with T {t}"),
        };
        let km = self.mean_log_km.exp_m1();
        write!(f, "{guess}: K {k}, T {temperature}, limit {limit}; geometric mean of the errors {km:.1} km")
    }
}

impl Calibration {
    /// Reads the choice of an earlier stage.
    ///
    /// # Errors
    /// When the file is missing or damaged.
    pub fn read(out: &Path) -> Result<Self> {
        let path = out.join(CALIBRATION);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{}: no prototypes yet; run `homing-trainer prototypes` first", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is damaged: run `homing-trainer prototypes`", path.display()))
    }
}

/// Embeds the mapped training sites as the recipe's number of moments show them, clusters them, chooses the constants and
/// writes `prototypes.bin` and the calibration into the working directory.
///
/// # Errors
/// When a view cannot be read or a file cannot be written.
pub fn prototypes(bench: &Workbench, network: &Network) -> Result<(Prototypes, Calibration)> {
    let mapped = bench.mapped();
    let embedded = mean_embeddings(bench, &*mapped, network)?;
    let (samples, cells) = (mapped.samples(), bench.geocells.len());
    // The geocells' labelled sites are the same samples, in their order.
    let cell_of: Vec<CellId> = bench.geocells.sites().iter().map(|site| site.cell).collect();
    let clusters = cluster::clusters(samples, &cell_of, cells, &bench.recipe.prototypes);
    let encode =
        |keep_members| cluster::prototypes(samples, &clusters, cells, &embedded.panoramas, embedded.dims, keep_members);
    let (plain, full) = (encode(false), encode(true));

    let exam = Exam::take(bench, network)?;
    let with_members = Prototypes::from_bytes(full.clone())?;
    let may_keep = full.len() <= LARGEST_WITH_MEMBERS;
    let tried = choose(bench, &exam, &with_members);
    let allowed = tried.iter().filter(|t| may_keep || t.params.guess != Guess::NearestMember);
    let best = allowed.min_by(|a, b| a.mean_log_km.total_cmp(&b.mean_log_km));
    let params = best.map_or(RefineParams::STREET_VIEW, |best| best.params);
    let bytes = if params.guess == Guess::NearestMember { full } else { plain };
    let prototypes = Prototypes::from_bytes(bytes.clone())?;
    let radius = calibrate(bench, &exam, &prototypes, &params).context("there is no validation site")?;
    let calibration = Calibration { refine: params, radius, tried };

    write_whole(&bench.out.join(PROTOTYPES), &bytes)?;
    write_whole(&bench.out.join(CALIBRATION), toml::to_string(&calibration)?.as_bytes())?;
    eprintln!("{} prototypes of {} sites", prototypes.len(), samples.len());
    calibration.tried.iter().for_each(|tried| eprintln!("{tried}"));
    if !may_keep {
        eprintln!("members' own embeddings would make the bundle too large: clusters' centroids it is");
    }
    Ok((prototypes, calibration))
}

/// The mean embedding of each site over as many moments as the recipe says.
fn mean_embeddings(bench: &Workbench, gallery: &dyn Gallery, network: &Network) -> Result<Embedded> {
    let (sites, variants) = (gallery.samples().len(), bench.recipe.prototypes.variants);
    let bar = ProgressBar::new(sites as u64 * u64::from(variants)).with_message("prototypes");
    let side = bench.recipe.tower.image_px as usize;
    let mut sum: Option<Embedded> = None;
    for variant in 0..variants {
        let before = u64::from(variant) * sites as u64;
        let done = |n: usize| bar.set_position(before + n as u64);
        let own = embed_gallery(network, gallery, side, u64::from(variant), &done)?;
        match &mut sum {
            None => sum = Some(own),
            Some(sum) => sum.panoramas.iter_mut().zip(own.panoramas).for_each(|(s, v)| *s += v),
        }
    }
    bar.finish_and_clear();
    let mut mean = sum.context("there is no site to embed")?;
    let factor = 1.0 / variants as f32;
    mean.panoramas.iter_mut().for_each(|v| *v *= factor);
    Ok(mean)
}

/// Validation sites with the network's answers: known towns and, on the planet, as many unknown ones.
struct Exam {
    truths: Vec<LatLon>,
    embedded: Embedded,
    predictions: Predictions,
}

impl Exam {
    fn take(bench: &Workbench, network: &Network) -> Result<Self> {
        let side = bench.recipe.tower.image_px as usize;
        let mut embedded = embed_gallery(network, &*bench.validation, side, 0, &|_| ())?;
        let mut truths: Vec<LatLon> = bench.validation.samples().iter().map(|s| s.position).collect();
        if let crate::recipe::Data::Planet { seed, .. } = bench.recipe.data {
            let towns = PlanetGallery::draw(Split::TownsValidation, seed, truths.len());
            embedded.panoramas.extend(embed_gallery(network, &towns, side, 0, &|_| ())?.panoramas);
            truths.extend(towns.samples().iter().map(|s| s.position));
        }
        let predictions = Predictor::predict(network, &embedded.panoramas)?;
        Ok(Exam { truths, embedded, predictions })
    }

    fn guess(&self, bench: &Workbench, prototypes: &Prototypes, params: &RefineParams, i: usize) -> (LatLon, &[f32]) {
        let cells = bench.geocells.len();
        let probabilities = &self.predictions.cells[i * cells..][..cells];
        let best = refine(&bench.geocells, prototypes, probabilities, self.embedded.panorama(i), params)[0];
        (best.position, probabilities)
    }
}

/// The best of the candidate constants for each guess inside a cluster.
fn choose(bench: &Workbench, exam: &Exam, prototypes: &Prototypes) -> Vec<Tried> {
    let r = &bench.recipe.refine;
    let try_out = |params: RefineParams| {
        let errors: Vec<f64> = (0..exam.truths.len())
            .into_par_iter()
            .map(|i| exam.guess(bench, prototypes, &params, i).0.distance_km(exam.truths[i]).ln_1p())
            .collect();
        Tried { mean_log_km: errors.iter().sum::<f64>() / errors.len().max(1) as f64, params }
    };
    // Of equals the first in the recipe's order stays.
    let better = |a: &Tried, b: &Tried| a.mean_log_km.total_cmp(&b.mean_log_km);
    let best = |guess| {
        let constants =
            r.k.iter().flat_map(|&k| r.temperature.iter().map(move |&temperature| (k as usize, temperature)));
        let candidates =
            constants.flat_map(|(k, temperature)| r.limits().map(move |limit_km| (k, temperature, limit_km)));
        candidates
            .map(|(k, temperature, limit_km)| try_out(RefineParams { k, temperature, limit_km, guess }))
            .min_by(better)
    };
    let blended = r.blend.iter().filter_map(|&t| best(Guess::Blend(t))).min_by(better);
    [Guess::Centroid, Guess::NearestMember].into_iter().filter_map(best).chain(blended).collect()
}

fn calibrate(bench: &Workbench, exam: &Exam, prototypes: &Prototypes, params: &RefineParams) -> Option<RadiusTable> {
    let pair = |i: usize| {
        let (guess, probabilities) = exam.guess(bench, prototypes, params, i);
        (spread_km(&bench.geocells, probabilities, guess), guess.distance_km(exam.truths[i]))
    };
    RadiusTable::fit(&(0..exam.truths.len()).into_par_iter().map(pair).collect::<Vec<_>>())
}
