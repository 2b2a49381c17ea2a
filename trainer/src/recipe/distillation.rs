//! Distillation: a trained bundle as a teacher.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Smoothing, Wrong};

/// What is learned from the teacher's answers to the same pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distillation {
    /// A bundle, relative to the recipe's folder, that sees pictures of the recipe's size. Its geocells may be others.
    pub teacher: PathBuf,
    /// The teacher's share of the cells' targets, above 0 and at most 1; the rest is the site's own.
    pub weight: f64,
}

impl Distillation {
    pub(super) fn check(&self, smoothing: Smoothing) -> Result<(), Wrong> {
        let wrong = |key, why: &str| Err(Wrong { key, why: why.to_owned() });
        if !(self.weight > 0.0 && self.weight <= 1.0) {
            return wrong("distillation.weight", "must be above 0 and at most 1");
        }
        // A share of targets that sum to 1.
        if smoothing == Smoothing::Unnormalised {
            return wrong("distillation", "is not for training.smoothing = \"unnormalised\"");
        }
        Ok(())
    }
}
