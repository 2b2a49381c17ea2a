//! Everything that needs libtorch: the network and its training, the prototypes' embeddings, export, evaluation.

pub mod ablate;
pub mod adamw;
pub mod batch;
pub mod bundle_weights;
pub mod checkpoint;
pub mod clip;
pub mod clip_weights;
pub mod contrastive;
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
#[cfg(feature = "mpi")]
pub mod mpi;
#[cfg(feature = "mpi")]
mod nccl;
pub mod network;
pub mod predictor;
pub mod pretrain;
pub mod probe;
pub mod prototypes;
pub mod ranks;
mod rounding;
pub mod teacher;
pub mod text;
pub mod tower;
pub mod train;
pub mod transformer;
pub mod workbench;
pub mod zero_shot;

#[cfg(test)]
mod tests;
