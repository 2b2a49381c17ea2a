//! A recorded drive in place of a vehicle: what `homing record` kept, with its times.

use std::path::Path;

use crate::{
    Board, BoardError, Camera, Display,
    cameras::recorded::Replay,
    host::{HostOutput, PngDisplay},
    line,
    panel::Panel,
};

/// Builds the board of a recording. Answers with the number of its panoramas too, after which the drive is over.
///
/// # Errors
/// When the recording cannot be read or the link not be opened.
pub fn board(folder: &Path, output: &HostOutput) -> Result<(Board, u64), BoardError> {
    let (clock, cameras, gnss) = Replay::open(folder)?;
    let panoramas = clock.panoramas() as u64;
    let board = Board {
        name: format!("replay of {}", folder.display()),
        clock: Box::new(clock),
        cameras: cameras.map(|camera| camera.map(|camera| Box::new(camera) as Box<dyn Camera>)),
        gnss: Some(Box::new(gnss)),
        display: output.display.clone().map(|path| Box::new(PngDisplay::new(path)) as Box<dyn Display>),
        link: output.link.as_deref().map(|link| line::open(link, &output.line)).transpose()?,
        panel: Panel::default(),
    };
    Ok((board, panoramas))
}
