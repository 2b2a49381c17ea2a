//! Check: looks at everything a run needs, one line each, and says how to mend what is wrong.

use std::{
    fmt, io,
    path::Path,
    time::{Duration, Instant},
};

use homing_board::{
    BoardError, Camera, Display, Frame, Gnss, GnssFix, Screen,
    host::{self, HostOutput},
    vehicle,
};
use homing_models::Bundle;

use crate::{Model, capture::Panorama, config::Config, encode::Embeddings};

/// How long a part that has just been opened may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it works.
    pub ok: bool,
    /// What it is.
    pub what: &'static str,
    /// What was found, and the way out when it does not work.
    pub found: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:4} {:14} {}", if self.ok { "ok" } else { "FAIL" }, self.what, self.found)
    }
}

/// Looks at configuration, bundle, model, cameras, link and output; `told` hears of each.
///
/// # Errors
/// Those of `told`.
pub fn run<E>(
    config: Option<&Path>,
    bundle: Option<&Path>,
    mut told: impl FnMut(Finding) -> Result<(), E>,
) -> Result<(), E> {
    let mut tell = |what, outcome: Result<String, String>| {
        let (ok, found) = outcome.map_or_else(|e| (false, e), |s| (true, s));
        told(Finding { ok, what, found })
    };
    let read = config.map_or_else(|| Ok(Config::default()), Config::read);
    let named = config.map_or_else(|| "none, all as built in".to_owned(), |p| p.display().to_string());
    tell("configuration", read.as_ref().map(|_| named).map_err(ToString::to_string))?;
    let Ok(config) = read else { return Ok(()) };

    let dir = config.bundle_dir(bundle);
    let opened = Bundle::open(&dir).map_err(|e| e.to_string());
    let world = |simulated| {
        if simulated { ", simulated planet only" } else { "" }
    };
    let about = |b: &Bundle| {
        let m = &b.manifest;
        format!("{}: {} {}, {} cells{}", dir.display(), m.name, b.model_id, m.cells, world(m.simulated_planet))
    };
    tell("bundle", opened.as_ref().map(about).map_err(Clone::clone))?;
    let mut image_px = 96;
    if let Ok(bundle) = opened {
        let model = Model::load(bundle).map_err(|e| e.to_string());
        if let Ok(m) = &model {
            image_px = m.card.image_px;
        }
        tell("model", model.and_then(try_model))?;
    }

    // Without its link, which would be made where it is not there.
    let built = match config.board.carrier() {
        None => host::board(&config.host, image_px, 1, &HostOutput::default()).map(|(board, _)| board),
        Some(carrier) => vehicle::board(carrier, &config.mounting(), None),
    };
    match built {
        Err(e) => tell("board", Err(e.to_string()))?,
        Ok(mut board) => {
            tell("board", Ok(board.name.clone()))?;
            board.clock.next_epoch();
            for camera in board.cameras.iter_mut().flatten() {
                let mut frame = Frame::default();
                let grabbed = first_frame(camera.as_mut(), &mut frame);
                let size = |()| format!("{}: {} x {} pixels", camera.name(), frame.width, frame.height);
                tell("camera", grabbed.map(size).map_err(|e| e.to_string()))?;
            }
            if let Some(gnss) = &mut board.gnss {
                let fix = first_fix(gnss.as_mut()).map_err(|e| e.to_string());
                tell("gnss", fix.map(|f| f.map_or("no fix now".to_owned(), |f| f.position.to_string())))?;
            }
            if let Some(display) = &mut board.display {
                tell("display", try_display(display.as_mut()).map_err(|e| e.to_string()))?;
            }
        }
    }
    tell("link", try_link(&config))?;
    let out = config.out.clone().unwrap_or_else(|| "out".into());
    tell(
        "output",
        writable(&out).map(|()| out.display().to_string()).map_err(|e| {
            format!(
                "cannot write {}: {e}; set out in the configuration to a directory that can be written",
                out.display()
            )
        }),
    )
}

/// Tries the link, as far as that goes without making it, and says what it will speak.
fn try_link(config: &Config) -> Result<String, String> {
    let Some(link) = config.link.as_deref() else {
        return match config.mavlink {
            None => Ok("none".to_owned()),
            Some(_) => Err("none to speak MAVLink on; name one with link, or take [mavlink] out".to_owned()),
        };
    };
    let carried = config.board.carrier().map_or(Ok(()), |_| config.line_carries(Some(link)));
    let tried = carried.and_then(|()| host::try_link(link)).map_err(|e| e.to_string())?;
    Ok(config.mavlink.map_or_else(|| tried.clone(), |mavlink| format!("{tried}; {mavlink}")))
}

/// Waits a little for a camera that has just been opened, by itself: the frames of a panorama must lie close together,
/// which those of cameras that begin one after the other do not.
fn first_frame(camera: &mut dyn Camera, frame: &mut Frame) -> Result<(), BoardError> {
    let begun = Instant::now();
    loop {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        match camera.grab(left, frame) {
            Err(_) if !left.is_zero() => std::thread::sleep(PATIENCE / 20),
            outcome => return outcome,
        }
    }
}

/// Waits a little for a receiver that has just been opened.
fn first_fix(gnss: &mut dyn Gnss) -> Result<Option<GnssFix>, BoardError> {
    let begun = Instant::now();
    loop {
        let fix = gnss.latest()?;
        if fix.is_some() || begun.elapsed() > PATIENCE {
            return Ok(fix);
        }
        std::thread::sleep(PATIENCE / 20);
    }
}

/// Shows an empty picture twice: a display's own thread tells of a failure when it is next asked.
fn try_display(display: &mut dyn Display) -> Result<String, BoardError> {
    display.show(&Screen::new())?;
    std::thread::sleep(PATIENCE / 2);
    display.show(&Screen::new())?;
    Ok("takes pictures".to_owned())
}

fn try_model(mut model: Model) -> Result<String, String> {
    let px = model.card.image_px;
    let rgb = (0..3 * px * px).map(|i| (i * 7 % 251) as u8).collect();
    let panorama = Panorama::of(std::time::SystemTime::now(), [Frame { width: px, height: px, rgb }]);
    let mut embeddings = Embeddings::default();
    model.encoder.encode(&panorama, &mut embeddings).map_err(|e| e.to_string())?;
    model.locator.locate(&embeddings).map_err(|e| e.to_string())?;
    Ok(format!("loads and answers, {px} pixels a side"))
}

/// Tries a file in the directory, or in its nearest parent that is there, and leaves nothing behind.
fn writable(dir: &Path) -> io::Result<()> {
    let there = dir.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("."));
    let probe = there.join(format!(".homing-check-{}.partial", std::process::id()));
    std::fs::write(&probe, b"")?;
    std::fs::remove_file(probe)
}
