//! A simulated board whose pictures are drawn before anything is measured: a vehicle's cameras do not draw.

use std::{cell::Cell, rc::Rc, time::Duration};

use homing_board::{Board, BoardError, Camera, Clock, Epoch, Frame, Gnss, GnssFix};

/// Panoramas that are drawn, and given again and again. Few: they count as memory of the process.
pub(super) const PANORAMAS: usize = 8;

/// Which panorama is before the cameras.
type Now = Rc<Cell<usize>>;

/// The board with its next panoramas drawn; with each comes what GNSS says there.
///
/// # Errors
/// When a camera gives none.
pub(super) fn drawn(mut board: Board) -> Result<Board, BoardError> {
    let mut epochs = Vec::new();
    let mut frames: [Vec<Frame>; 4] = Default::default();
    let mut fixes = Vec::new();
    for _ in 0..PANORAMAS {
        epochs.push(board.clock.next_epoch());
        for (camera, frames) in board.cameras.iter_mut().zip(&mut frames) {
            let Some(camera) = camera else { continue };
            let mut frame = Frame::default();
            camera.grab(Duration::MAX, &mut frame)?;
            frames.push(frame);
        }
        if let Some(gnss) = &mut board.gnss {
            fixes.push(gnss.latest()?);
        }
    }
    let now = Now::default();
    board.gnss = board.gnss.map(|_| Box::new(DrawnGnss { fixes, now: now.clone() }) as Box<dyn Gnss>);
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
        // Time goes on: a round takes as long as its steps, and the one back to its beginning as long as the first.
        let [first, second, .., last] = self.epochs[..] else { return epoch };
        let since = |epoch: Epoch| epoch.time.duration_since(first.time).unwrap_or_default();
        epoch.time += (since(last) + since(second)) * round as u32;
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
        let Frame { width, height, rgb } = &self.frames[self.now.get()];
        (frame.width, frame.height) = (*width, *height);
        frame.rgb.clone_from(rgb);
        Ok(())
    }
}

struct DrawnGnss {
    fixes: Vec<Option<GnssFix>>,
    now: Now,
}

impl Gnss for DrawnGnss {
    fn latest(&mut self) -> Result<Option<GnssFix>, BoardError> {
        Ok(self.fixes[self.now.get()])
    }
}

#[cfg(test)]
mod tests {
    use homing_board::host::{HostOutput, HostSettings, board};

    use super::*;

    #[test]
    fn the_same_panoramas_come_round_and_time_goes_on() {
        let simulated = || board(&HostSettings::default(), 32, PANORAMAS as u64, &HostOutput::default()).unwrap().0;
        let (mut live, mut drawn) = (simulated(), drawn(simulated()).unwrap());
        let look = |board: &mut Board| {
            let epoch = board.clock.next_epoch();
            let mut frame = Frame::default();
            let camera = board.cameras[1].as_mut().unwrap();
            camera.grab(Duration::ZERO, &mut frame).unwrap();
            (epoch, frame, camera.name().to_owned(), board.gnss.as_mut().unwrap().latest().unwrap())
        };
        let first: Vec<_> = (0..PANORAMAS).map(|_| look(&mut drawn)).collect();
        assert_eq!(first, (0..PANORAMAS).map(|_| look(&mut live)).collect::<Vec<_>>());
        let second: Vec<_> = (0..PANORAMAS).map(|_| look(&mut drawn)).collect();
        assert!(first.iter().zip(&second).all(|(a, b)| (&a.1, a.3, a.0.truth) == (&b.1, b.3, b.0.truth)));
        let times: Vec<_> = first.iter().chain(&second).map(|(epoch, ..)| epoch.time).collect();
        assert!(times.windows(2).all(|t| t[1] > t[0]), "{times:?}");
    }
}
