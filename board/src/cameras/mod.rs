//! Cameras of a vehicle: V4L2 devices, each of which looks after itself, or frames that were recorded.
//!
//! [`open`] makes them from [`CameraSettings`] and returns at once: a camera that is not there yet is retried in its
//! own thread, and until then says so when it is asked for a picture.

#[cfg(feature = "cameras")]
mod bus;
#[cfg(feature = "cameras")]
mod device;
#[cfg(feature = "cameras")]
pub mod pixels;
pub mod recorded;
mod settings;
#[cfg(feature = "cameras")]
mod supervised;
#[cfg(feature = "cameras")]
mod v4l;

pub use settings::{CameraFormat, CameraSettings};
#[cfg(feature = "cameras")]
pub use supervised::{CameraStatistics, CameraWatch, SupervisedCamera};

use crate::{BoardError, Camera};

/// Cameras of front, right, back, left in boxes; one that is not set is `None`.
///
/// # Errors
/// When the settings cannot work, or the recording cannot be read. A device that is not there is no error.
pub fn open(settings: &CameraSettings) -> Result<[Option<Box<dyn Camera>>; 4], BoardError> {
    settings.check()?;
    if let Some(folder) = &settings.recorded {
        return Ok(recorded::open(folder)?.map(boxed));
    }
    #[cfg(feature = "cameras")]
    return Ok(open_devices(settings)?.map(boxed));
    #[cfg(not(feature = "cameras"))]
    Err(BoardError::Setting(
        "this program was built without cameras: build it with --features raspberry or jetson, or set recorded".into(),
    ))
}

fn boxed<C: Camera + 'static>(camera: Option<C>) -> Option<Box<dyn Camera>> {
    camera.map(|camera| Box::new(camera) as Box<dyn Camera>)
}

/// The V4L2 cameras of the settings before they are in boxes, so that each can be [watched](SupervisedCamera::watch).
///
/// # Errors
/// When the settings cannot work.
#[cfg(feature = "cameras")]
pub fn open_devices(settings: &CameraSettings) -> Result<[Option<SupervisedCamera>; 4], BoardError> {
    use std::sync::Arc;

    settings.check()?;
    // Whoever takes three time-outs for a turn does not answer any more.
    let bus = settings.round_robin.then(|| bus::Bus::new(3 * settings.timeout()));
    let panorama = Arc::default();
    let mut cameras = [const { None }; 4];
    for (index, path) in settings.devices().into_iter().enumerate() {
        let Some(path) = path else { continue };
        let plan = supervised::Plan::new(settings, path, bus.clone());
        let source = v4l::V4l2Source::new(settings, path.clone());
        cameras[index] = Some(SupervisedCamera::start(index, plan, Arc::clone(&panorama), source)?);
    }
    Ok(cameras)
}

/// Takes a lock also after another thread panicked with it: what it guards is replaced as a whole.
fn lock<T>(shared: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(all(test, feature = "cameras"))]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::Frame;

    #[test]
    fn cameras_that_are_not_there_hold_up_nothing_and_say_so() {
        let dir = tempfile::tempdir().unwrap();
        let device = |name: &str| Some(dir.path().join(name));
        let settings = CameraSettings { front: device("front"), left: device("left"), ..CameraSettings::default() };
        let start = Instant::now();
        let [mut front, right, back, left] = open(&settings).unwrap();
        assert!(right.is_none() && back.is_none() && left.is_some());
        let front = front.as_mut().unwrap();
        let e = loop {
            let e = front.grab(Duration::from_millis(20), &mut Frame::default()).unwrap_err().to_string();
            assert!(start.elapsed() < Duration::from_secs(30), "{e}");
            if !e.contains("no picture yet") {
                break e;
            }
        };
        assert!(e.starts_with("front camera: ") && e.contains("is not there; plug the camera in"), "{e}");
        assert!(e.contains("opened again"), "{e}");
        assert!(open(&CameraSettings::default()).is_err());
    }
}
