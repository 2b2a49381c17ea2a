//! Tests of the whole: end to end, and side by side with other programs that do the same.

mod drives;
pub mod peers;

pub use drives::{Drive, drive, homing, program};

/// Views of a panorama that is timed.
pub const VIEWS: usize = 4;

/// The same normal numbers for every program that is timed.
pub fn noise(count: usize) -> Vec<f32> {
    let mut rng = homing_planet::hash::Rng::new(11);
    (0..count).map(|_| rng.normal()).collect()
}
