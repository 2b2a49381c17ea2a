//! Everything that needs libtorch: the network and its training, the prototypes' embeddings, export, evaluation.

pub mod adamw;
pub mod batch;
pub mod checkpoint;
mod cuda_library;
pub mod curve;
pub mod device;
pub mod embed;
pub mod evaluate;
pub mod examination;
pub mod export;
pub mod heads;
pub mod labels;
pub mod loader;
pub mod loss;
pub mod network;
pub mod predictor;
pub mod probe;
pub mod prototypes;
pub mod tower;
pub mod train;
pub mod workbench;

#[cfg(test)]
mod tests;
