//! A simulated board whose pictures are drawn before anything is measured: a vehicle's cameras do not draw.

use std::{cell::Cell, rc::Rc, time::Duration};

use homing_board::{Board, BoardError, Camera, Clock, Epoch, Frame};

/// Panoramas that are drawn, and given again and again. Few: they count as memory of the process.
const PANORAMAS: usize = 8;

/// Which panorama is before the cameras.
type Now = Rc<Cell<usize>>;

/// The board with its next panoramas drawn.
///
/// # Errors
/// When a camera gives none.
pub(super) fn drawn(mut board: Board) -> Result<Board, BoardError> {
    let mut epochs = Vec::new();
    let mut frames: [Vec<Frame>; 4] = Default::default();
    for _ in 0..PANORAMAS {
        epochs.push(board.clock.next_epoch());
        for (camera, frames) in board.cameras.iter_mut().zip(&mut frames) {
            let Some(camera) = camera else { continue };
            let mut frame = Frame::default();
            camera.grab(Duration::MAX, &mut frame)?;
            frames.push(frame);
        }
    }
    let now = Now::default();
    board.clock = Box::new(DrawnClock { epochs, given: 0, now: now.clone() });
    board.cameras = std::array::from_fn(|i| {
        let name = board.cameras[i].as_ref()?.name().to_owned();
        let frames = std::mem::take(&mut frames[i]);
        Some(Box::new(DrawnCamera { name, frames, now: now.clone() }) as Box<dyn Camera>)
    });
    Ok(board)
}

struct DrawnClock {
    epochs: Vec<Epoch>,
    given: usize,
    now: Now,
}

impl Clock for DrawnClock {
    fn next_epoch(&mut self) -> Epoch {
        let (round, at) = (self.given / PANORAMAS, self.given % PANORAMAS);
        self.now.set(at);
        self.given += 1;
        let mut epoch = self.epochs[at];
        // Time goes on.
        if let Ok(step) = self.epochs[1].time.duration_since(self.epochs[0].time) {
            epoch.time += step * (round * PANORAMAS) as u32;
        }
        epoch
    }
}

struct DrawnCamera {
    name: String,
    frames: Vec<Frame>,
    now: Now,
}

impl Camera for DrawnCamera {
    fn name(&self) -> &str {
        &self.name
    }

    fn grab(&mut self, _deadline: Duration, frame: &mut Frame) -> Result<(), BoardError> {
        frame.clone_from(&self.frames[self.now.get()]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use homing_board::host::{HostOutput, HostSettings, board};

    use super::*;

    #[test]
    fn the_same_panoramas_come_round_and_time_goes_on() {
        let simulated = || board(&HostSettings::default(), 32, 20, &HostOutput::default()).unwrap().0;
        let (mut live, mut drawn) = (simulated(), drawn(simulated()).unwrap());
        let look = |board: &mut Board| {
            let epoch = board.clock.next_epoch();
            let mut frame = Frame::default();
            let camera = board.cameras[1].as_mut().unwrap();
            camera.grab(Duration::ZERO, &mut frame).unwrap();
            (epoch, frame, camera.name().to_owned())
        };
        let first: Vec<_> = (0..PANORAMAS).map(|_| look(&mut drawn)).collect();
        assert_eq!(first, (0..PANORAMAS).map(|_| look(&mut live)).collect::<Vec<_>>());
        let second: Vec<_> = (0..PANORAMAS).map(|_| look(&mut drawn)).collect();
        assert!(first.iter().zip(&second).all(|(a, b)| a.1 == b.1 && a.0.truth == b.0.truth));
        let times: Vec<_> = first.iter().chain(&second).map(|(epoch, ..)| epoch.time).collect();
        let steps: Vec<_> = times.windows(2).map(|t| t[1].duration_since(t[0]).unwrap()).collect();
        assert!(steps.iter().all(|step| *step == steps[0] && !step.is_zero()), "{steps:?}");
    }
}
