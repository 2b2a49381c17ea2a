//! `homing`: a vehicle that lost GPS asks its cameras where it is.
//!
//! A panorama goes through the modules in this order, each knowing the one before only by the value it hands
//! on: [`capture`] four frames with one time stamp, [`encode`] an embedding per view, [`locate`] cell
//! probabilities and an estimate, [`track`] estimates over time, [`compare`] a verdict about GNSS, [`report`]
//! NMEA, display, JSON lines. [`supervise`] owns the stages; [`config`] and [`cli`] stand at the door; [`store`] keeps a
//! vehicle's models.
#![forbid(unsafe_code)]

pub mod bench;
pub mod capture;
pub mod check;
pub mod cli;
pub mod compare;
pub mod config;
pub mod encode;
pub mod eval;
pub mod event;
mod graph;
pub mod locate;
pub mod onnx;
pub mod pictures;
pub mod report;
pub mod store;
pub mod supervise;
#[cfg(test)]
#[path = "../tests/support/tiny.rs"]
mod tiny;
pub mod track;

use homing_models::{Bundle, Geocells, Prototypes, TaskList};
use std::{path::PathBuf, sync::Arc};

/// A model that is ready to run: the graphs are loaded and checked.
#[derive(Clone)]
pub struct Model {
    /// Views to embeddings.
    pub encoder: encode::Encoder,
    /// Embedding to estimate.
    pub locator: locate::Locator,
    /// What the model is, for reports.
    pub card: Arc<ModelCard>,
}

/// What reports say about a model.
#[derive(Clone, Debug)]
pub struct ModelCard {
    /// Name in the manifest.
    pub name: String,
    /// Short hash.
    pub id: String,
    /// Whether it knows the simulated planet only.
    pub simulated_planet: bool,
    /// Side of the encoder's input.
    pub image_px: u32,
    /// Auxiliary tasks.
    pub tasks: TaskList,
}

/// A bundle whose graphs cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}/{fault}", dir.display())]
pub struct ModelError {
    dir: PathBuf,
    fault: GraphError,
}

impl Model {
    /// Loads the graphs of a bundle and tries them on a panorama; one thread encodes.
    ///
    /// # Errors
    /// When a graph cannot be loaded or run, holds a NaN, or has other inputs and outputs than the manifest says.
    pub fn load(bundle: Bundle) -> Result<Self, ModelError> {
        Self::load_for(bundle, 1)
    }

    /// The same, with so many threads that share a panorama.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load_for(bundle: Bundle, threads: usize) -> Result<Self, ModelError> {
        let Bundle { dir, manifest, model_id, encoder, heads, geocells, prototypes } = bundle;
        let (geocells, prototypes): (Arc<Geocells>, Arc<Prototypes>) = (geocells.into(), prototypes.into());
        let graphs = || -> Result<_, GraphError> {
            let mut encoder = encode::Encoder::load(encoder, &manifest.image, manifest.embedding, threads)?;
            let mut locator = locate::Locator::load(heads, &manifest, geocells, prototypes)?;
            locator.locate(&encoder.try_out()?)?;
            Ok((encoder, locator))
        };
        let (encoder, locator) = graphs().map_err(|fault| ModelError { dir, fault })?;
        let card = ModelCard {
            name: manifest.name,
            id: model_id,
            simulated_planet: manifest.simulated_planet,
            image_px: manifest.image.size,
            tasks: manifest.tasks,
        };
        Ok(Model { encoder, locator, card: Arc::new(card) })
    }
}

pub use graph::GraphError;
