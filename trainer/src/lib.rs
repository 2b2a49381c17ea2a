//! Makes models: from sites with labels to a bundle that `homing` runs.
//!
//! This library is the part of the trainer that needs no libtorch; the modules behind the feature `torch` train and
//! export. A run goes through the modules in this order: recipe, dataset, geocells, training, prototypes, export.

// `deny` by the workspace; one file of `torch` needs to load a library.
#![deny(unsafe_code)]

pub mod ablation;
mod canvas;
pub mod captions;
pub mod card;
pub mod cli;
pub mod clip_config;
pub mod cluster;
pub mod commands;
pub mod dataset;
pub mod encoder_graph;
pub mod geocells;
pub mod map;
pub mod observer;
pub mod onnx;
pub mod optics;
pub mod plot;
pub mod quantise;
pub mod recipe;
pub mod reference;
pub mod safetensors;
pub mod sheet;
pub mod smoothing;
pub mod tokens;
#[cfg(feature = "torch")]
pub mod torch;
