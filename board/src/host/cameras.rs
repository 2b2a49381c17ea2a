//! Simulated cameras: they look at the planet from the vehicle's roof.

use std::time::Duration;

use homing_planet::{camera, hash::fold};

use super::{Shared, lock};
use crate::{BoardError, Camera, Frame};

/// A camera at a bearing of the simulated vehicle.
pub struct SimulatedCamera {
    name: String,
    bearing_deg: f32,
    size_px: u32,
    dead: bool,
    vehicle: Shared,
}

impl SimulatedCamera {
    /// A camera `bearing_deg` clockwise from the heading, with square pictures.
    pub fn new(name: &str, bearing_deg: f32, size_px: u32, dead: bool, vehicle: Shared) -> Self {
        SimulatedCamera { name: name.to_owned(), bearing_deg, size_px, dead, vehicle }
    }
}

impl Camera for SimulatedCamera {
    fn name(&self) -> &str {
        &self.name
    }

    fn grab(&mut self, _deadline: Duration, frame: &mut Frame) -> Result<(), BoardError> {
        if self.dead {
            return Err(BoardError::Camera {
                camera: self.name.clone(),
                cause: "no picture (switched off by dead_cameras)".to_owned(),
            });
        }
        let mut vehicle = lock(&self.vehicle);
        // Mounted once, so its tilt stays; the noise is new in each picture through the scene's moment.
        let mounted =
            camera::Camera::used(self.size_px as usize, fold(vehicle.seed(), self.bearing_deg.to_bits().into()));
        (frame.width, frame.height) = (self.size_px, self.size_px);
        frame.rgb.resize(3 * (self.size_px * self.size_px) as usize, 0);
        vehicle.scene().view_into(self.bearing_deg, &mounted, &mut frame.rgb);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::host::{Drive, Vehicle};

    #[test]
    fn cameras_see_different_things_and_the_same_again() {
        let grab = |bearing| {
            let vehicle = Arc::new(Mutex::new(Vehicle::new(Drive::start(5, 4.0))));
            lock(&vehicle).advance();
            let mut frame = Frame::default();
            let mut camera = SimulatedCamera::new("front", bearing, 48, false, vehicle);
            camera.grab(Duration::from_secs(1), &mut frame).unwrap();
            frame
        };
        assert_eq!(grab(0.0), grab(0.0));
        let (front, right) = (grab(0.0), grab(90.0));
        assert_eq!((front.width, front.height, front.rgb.len()), (48, 48, 3 * 48 * 48));
        let differing = front.rgb.iter().zip(&right.rgb).filter(|(a, b)| a != b).count();
        assert!(differing > front.rgb.len() / 2, "{differing}");
    }

    #[test]
    fn a_dead_camera_says_so() {
        let vehicle = Arc::new(Mutex::new(Vehicle::new(Drive::start(5, 4.0))));
        let mut camera = SimulatedCamera::new("left", 270.0, 48, true, vehicle);
        let e = camera.grab(Duration::ZERO, &mut Frame::default()).unwrap_err().to_string();
        assert!(e.starts_with("left camera: no picture"), "{e}");
    }
}
