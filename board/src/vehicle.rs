//! A vehicle of hardware: what is mounted, on the board that carries it. The one place that knows all boards.

use std::time::{Duration, SystemTime};

use crate::{
    Board, BoardError, Clock, Display, Epoch, Gnss,
    cameras::{self, CameraSettings},
    displays::{DisplaySettings, PanelSettings},
    line::{self, LineSettings},
    panel::Panel,
    receiver::{Receiver, ReceiverSettings},
};

/// The board that carries display, lamp and button; cameras, receiver and line are the same on all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A Raspberry Pi, through rppal.
    Raspberry,
    /// A Jetson, or any Linux board, through the kernel's interfaces.
    Jetson,
}

impl Carrier {
    /// Its name in configurations and reports, and the feature that it needs.
    pub fn name(self) -> &'static str {
        match self {
            Carrier::Raspberry => "raspberry",
            Carrier::Jetson => "jetson",
        }
    }
}

/// What is mounted on a vehicle.
#[derive(Clone, Debug, Default)]
pub struct Mounting {
    /// The cameras.
    pub cameras: CameraSettings,
    /// The GNSS receiver, where there is one.
    pub gnss: Option<ReceiverSettings>,
    /// How the line is run.
    pub line: LineSettings,
    /// The display.
    pub display: DisplaySettings,
    /// Lamp and button.
    pub panel: PanelSettings,
}

/// Builds the board of a vehicle. `link` says where sentences go, as [`line::open`] reads it.
///
/// What may be plugged in later is no reason to fail: cameras, receiver, line and display are waited for by threads of
/// their own, and say what they wait for.
///
/// # Errors
/// When a setting cannot work, or this program was built without the board.
pub fn board(carrier: Carrier, mounting: &Mounting, link: Option<&str>) -> Result<Board, BoardError> {
    let (display, panel) = parts(carrier, mounting)?;
    let gnss = mounting.gnss.as_ref().map(Receiver::open).transpose()?;
    Ok(Board {
        name: carrier.name().to_owned(),
        clock: Box::new(SystemClock::default()),
        cameras: cameras::open(&mounting.cameras)?,
        gnss: gnss.map(|receiver| Box::new(receiver) as Box<dyn Gnss>),
        display,
        link: link.map(|link| line::open(link, &mounting.line)).transpose()?,
        panel,
    })
}

type Parts = (Option<Box<dyn Display>>, Panel);

fn parts(carrier: Carrier, mounting: &Mounting) -> Result<Parts, BoardError> {
    match carrier {
        #[cfg(feature = "raspberry")]
        Carrier::Raspberry => {
            Ok((crate::raspberry::display(&mounting.display)?, crate::raspberry::panel(&mounting.panel)?))
        }
        #[cfg(feature = "jetson")]
        Carrier::Jetson => Ok((crate::jetson::display(&mounting.display)?, crate::jetson::panel(&mounting.panel)?)),
        #[cfg(not(all(feature = "raspberry", feature = "jetson")))]
        other => {
            let name = other.name();
            let _ = mounting;
            Err(BoardError::Setting(format!(
                "this program was built without the board {name:?}: build it with --features {name}"
            )))
        }
    }
}

/// The system's time, made to rise: a step back of the system's clock must not repeat the time of a fix.
#[derive(Debug)]
struct SystemClock {
    last: SystemTime,
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { last: SystemTime::UNIX_EPOCH }
    }
}

impl Clock for SystemClock {
    fn next_epoch(&mut self) -> Epoch {
        // A hundredth is the least that sentences can tell apart.
        self.last = SystemTime::now().max(self.last + Duration::from_millis(10));
        Epoch { time: self.last, truth: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_rises_though_the_systems_clock_steps_back() {
        let mut clock = SystemClock { last: SystemTime::now() + Duration::from_secs(3600) };
        let times: Vec<SystemTime> = (0..5).map(|_| clock.next_epoch().time).collect();
        assert!(times.windows(2).all(|w| w[1] > w[0]));
        let now = SystemClock::default().next_epoch();
        assert!(now.truth.is_none() && now.time.elapsed().is_ok_and(|age| age < Duration::from_secs(60)));
    }

    #[cfg(not(any(feature = "raspberry", feature = "jetson")))]
    #[test]
    fn a_board_that_was_not_built_in_says_how_to_build_it() {
        let refused = board(Carrier::Raspberry, &Mounting::default(), None).err().unwrap().to_string();
        assert!(refused.contains("build it with --features raspberry"), "{refused}");
    }

    #[cfg(feature = "jetson")]
    #[test]
    fn a_vehicle_without_anything_yet_is_no_reason_to_fail() {
        let mut mounting = Mounting { gnss: Some(ReceiverSettings::default()), ..Mounting::default() };
        mounting.cameras.front = Some("/nonexistent/camera".into());
        let mut board = board(Carrier::Jetson, &mounting, Some("pty")).unwrap();
        let mut frame = crate::Frame::default();
        let camera = board.cameras[0].as_mut().unwrap();
        let cause = camera.grab(Duration::from_millis(300), &mut frame).unwrap_err().to_string();
        assert!(cause.contains("/nonexistent/camera"), "{cause}");
        assert!(board.cameras[1].is_none() && board.display.is_none() && board.panel.lamp.is_none());
    }
}
