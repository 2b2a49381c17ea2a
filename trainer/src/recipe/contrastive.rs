//! Contrastive pretraining: what the tower learns from captions before it learns the cells (method section 4).

use serde::{Deserialize, Serialize};

use super::{TextTower, Wrong};

/// Pretraining of both of CLIP's towers on views and their captions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contrastive {
    /// What the captions tell.
    #[serde(default)]
    pub captions: CaptionStyle,
    /// Optimiser steps.
    pub steps: u32,
    /// Views, each with its caption, that are compared with one another in one step.
    pub batch_views: u32,
    /// Parts in which a step's batch goes through the towers, for large batches in little memory. The gradient is that
    /// of the whole batch.
    #[serde(default = "super::one")]
    pub accumulate: u32,
    /// Peak learning rate of AdamW; cosine to zero after the warm-up.
    pub lr: f64,
    /// Weight decay of AdamW, on matrices only.
    pub weight_decay: f64,
    /// Share of the steps that warm up.
    pub warmup: f64,
    /// Gradients are clipped to this norm.
    pub clip_norm: f64,
    /// Steps between checkpoints.
    pub checkpoint_every: u32,
    /// ISO codes of countries that pretraining never sees: what zero-shot prediction is then asked about.
    #[serde(default)]
    pub held_out: Vec<String>,
    /// The text transformer.
    pub text: TextTower,
}

/// What captions tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaptionStyle {
    /// `"place"`: PIGEON's, from the labels of the place.
    #[default]
    Place,
    /// `"web"`: what is to be seen, and now and then the country: a stand-in for the captions of the web, which the
    /// published CLIP learned from. For the planet, where no published weights are of use.
    Web,
}

impl Contrastive {
    pub(super) fn check(&self) -> Result<(), Wrong> {
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let countries = homing_planet::Planet::get().countries();
        let is_code = |code: &String| countries.iter().any(|country| country.iso == code.as_bytes());
        let checks = [
            (self.steps > 0, "contrastive.steps", "must be at least 1"),
            (self.batch_views >= 2, "contrastive.batch_views", "must be at least 2"),
            (
                self.accumulate >= 1 && self.batch_views.is_multiple_of(self.accumulate),
                "contrastive.accumulate",
                "must divide contrastive.batch_views",
            ),
            (positive(self.lr), "contrastive.lr", "must be above 0"),
            (
                self.weight_decay >= 0.0 && self.weight_decay.is_finite(),
                "contrastive.weight_decay",
                "must be 0 or more",
            ),
            ((0.0..=1.0).contains(&self.warmup), "contrastive.warmup", "must be 0 to 1"),
            (positive(self.clip_norm), "contrastive.clip_norm", "must be above 0"),
            (self.checkpoint_every > 0, "contrastive.checkpoint_every", "must be at least 1"),
            (
                self.held_out.iter().all(is_code),
                "contrastive.held_out",
                "needs ISO 3166 codes of countries, such as \"GB\"",
            ),
        ];
        if let Some((_, key, why)) = checks.into_iter().find(|(holds, _, _)| !holds) {
            return Err(Wrong { key, why: why.to_owned() });
        }
        self.text.check().map_err(|(key, why)| Wrong { key: "contrastive.text", why: format!("{key}: {why}") })
    }
}
