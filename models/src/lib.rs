//! What a trained model *is*: the files of a bundle, its label spaces, and great-circle arithmetic.
//!
//! A bundle is a directory ([`bundle`]): a manifest with the hash of every other file, two ONNX graphs, the
//! geocells and the prototypes. This crate reads, checks and writes it, and holds the two pieces of
//! arithmetic that training and running must share to the last digit: the refinement of a guess over
//! prototypes ([`refine`](refine())) and the calibrated radius around it ([`radius`]).

pub mod bundle;
mod bytes;
pub mod figures;
pub mod geo;
pub mod geocells;
pub mod manifest;
mod mapping;
mod one_line;
pub mod prototypes;
pub mod radius;
pub mod refine;
pub mod tasks;

pub use bundle::{Bundle, BundleError, BundleWriter};
pub use geo::LatLon;
pub use geocells::{Cell, CellId, Geocells};
pub use manifest::Manifest;
pub use one_line::one_line;
pub use prototypes::{Prototypes, PrototypesWriter};
pub use radius::{Radius, RadiusTable, spread_km};
pub use refine::{Candidate, Guess, RefineParams, refine};
pub use tasks::{Classification, Regression, TaskList};

/// Views of a panorama at most: front, right, back, left.
pub const MAX_VIEWS: usize = 4;
