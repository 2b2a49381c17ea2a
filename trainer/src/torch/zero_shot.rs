//! Countries from captions alone (poster, Table 3): which country's caption is nearest to a panorama?

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use homing_models::LatLon;
use homing_models::figures::{Figures, Outcome, Tally};
use homing_models::geo::centroid;
use homing_planet::Planet;
use tch::{Kind, Tensor};

use crate::captions::country_captions;
use crate::dataset::Gallery;
use crate::tokens::CaptionTokenizer;

use super::clip::Clip;
use super::embed::Panoramas;
use super::network;
use super::text::rows;

/// Captions that go through the text tower at once.
const CAPTIONS_AT_ONCE: usize = 64;
/// Sites whose views are in memory at once.
const SITES_AT_ONCE: usize = 500;

/// Figures of a zero-shot prediction, by whether pretraining saw the true country.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ZeroShot {
    /// Sites in countries that pretraining saw, and their figures.
    pub seen: (usize, Figures),
    /// Sites in countries that were held out, and their figures.
    pub held_out: (usize, Figures),
}

/// Asks about every site of a gallery: the nearest caption's country, and as the guess the middle of that country's
/// training sites.
///
/// # Errors
/// When a view cannot be read or no country has training sites.
pub fn zero_shot(
    clip: &Clip,
    training: &dyn Gallery,
    asked: &dyn Gallery,
    side: usize,
    held_out: &[String],
) -> Result<ZeroShot> {
    let planet = Planet::get();
    let mut sites = BTreeMap::<[u8; 2], Vec<LatLon>>::new();
    training.samples().iter().for_each(|s| sites.entry(s.country).or_default().push(s.position));
    let choices: Vec<([u8; 2], LatLon, String)> = country_captions(planet)
        .into_iter()
        .filter_map(|(id, caption)| {
            let iso = planet.country(id).iso;
            let positions = sites.get(&iso)?;
            Some((iso, centroid(positions.iter().copied()).unwrap_or(positions[0]), caption))
        })
        .collect();
    let captions: Vec<&str> = choices.iter().map(|(.., caption)| caption.as_str()).collect();
    let captions = text_features(clip, &captions).context("no country has training sites")?;

    let (mut seen, mut unseen) = (Tally::default(), Tally::default());
    let all: Vec<usize> = (0..asked.samples().len()).collect();
    for chunk in all.chunks(SITES_AT_ONCE) {
        let encoder = |pixels: &Tensor| {
            let pixels = pixels.to_device(clip.variables.device());
            // Of length 1, so that no view outvotes the others.
            tch::no_grad(|| unit(&clip.image_features(&pixels, false)))
        };
        let images = Panoramas::load(asked, chunk, side, 0)?.embed_with(&encoder);
        let logits = tch::no_grad(|| clip.logits(&images.tensor(clip.variables.device()), &captions));
        let best = network::values(&logits.argmax(1, false).to_kind(Kind::Float));
        for (&site, best) in chunk.iter().zip(best) {
            let (truth, (iso, guess, _)) = (&asked.samples()[site], &choices[best as usize]);
            let outcome = Outcome {
                distance_km: guess.distance_km(truth.position),
                country: Some(*iso == truth.country),
                ..Outcome::default()
            };
            let unknown = held_out.iter().any(|code| code.as_bytes() == truth.country);
            if unknown { unseen.push(&outcome) } else { seen.push(&outcome) }
        }
    }
    Ok(ZeroShot { seen: (seen.len(), seen.figures()), held_out: (unseen.len(), unseen.figures()) })
}

fn text_features(clip: &Clip, captions: &[&str]) -> Option<Tensor> {
    let tokenizer = CaptionTokenizer::new();
    let parts = captions
        .chunks(CAPTIONS_AT_ONCE)
        .map(|chunk| tch::no_grad(|| clip.text_features(&rows(&tokenizer.batch(chunk), clip.variables.device()))));
    let parts: Vec<Tensor> = parts.collect();
    (!parts.is_empty()).then(|| Tensor::cat(&parts, 0))
}

fn unit(rows: &Tensor) -> Tensor {
    rows / rows.norm_scalaropt_dim(2, [1], true)
}
