//! What a trained model *is*: the files of a bundle, its label spaces, and great-circle arithmetic.
//!
//! A bundle is a directory ([`bundle`]): a manifest with the hash of every other file, two ONNX graphs, the
//! geocells and the prototypes. This crate reads, checks and writes it, and holds what training and running
//! must share to the last digit: pictures ([`pictures`]) and the square that a model sees of them ([`frame`]), the lines
//! of a data set ([`sites`]), the refinement of a guess over prototypes ([`refine`](refine())) and the calibrated
//! radius around it ([`radius`]).

pub mod bundle;
mod bytes;
pub mod figures;
pub mod frame;
pub mod geo;
pub mod geocells;
pub mod jpeg;
mod likeliest;
pub mod manifest;
mod mapping;
mod nearest;
mod one_line;
pub mod pictures;
pub mod prototypes;
pub mod radius;
pub mod refine;
pub mod sites;
pub mod tasks;

pub use bundle::{Bundle, BundleError, BundleWriter};
pub use frame::Frame;
pub use geo::LatLon;
pub use geocells::{Cell, CellId, Geocells};
pub use manifest::Manifest;
pub use mapping::FileBytes;
pub use nearest::Nearest;
pub use one_line::{one_line, panic_line};
pub use prototypes::{Prototypes, PrototypesWriter};
pub use radius::{Radius, RadiusTable, spread_km};
pub use refine::{Candidate, Guess, RefineParams, refine};
pub use tasks::{Classification, Regression, TaskList};

/// Views of a panorama at most: front, right, back, left.
pub const MAX_VIEWS: usize = 4;
