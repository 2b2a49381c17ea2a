//! Tests of the whole: end to end, and side by side with other programs that do the same.

mod drives;
pub mod peers;

pub use drives::{Drive, drive, homing, program};
