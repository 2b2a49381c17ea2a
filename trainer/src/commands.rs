//! The commands of `homing-trainer`, one file each.

#[cfg(feature = "torch")]
pub mod ablate;
#[cfg(feature = "torch")]
pub mod eval;
#[cfg(feature = "torch")]
pub mod export;
pub mod geocells;
pub mod observer;
#[cfg(feature = "torch")]
pub mod pretrain;
#[cfg(feature = "torch")]
pub mod probe;
#[cfg(feature = "torch")]
pub mod prototypes;
#[cfg(feature = "torch")]
pub mod run_options;
pub mod sheet;
#[cfg(feature = "torch")]
pub mod train;

use std::path::Path;

use anyhow::Context;

/// The command failed in another process of the job, which says why; this one says nothing.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("another process of the job failed")]
pub struct SaidElsewhere;

/// Writes a file as a whole or not at all: under a temporary name beside it, then renamed.
///
/// # Errors
/// When the folder cannot be made or the file not be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let partial = path.with_extension("partial");
    let write = || -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&partial, bytes)?;
        std::fs::rename(&partial, path)
    };
    write().with_context(|| format!("cannot write {}; choose another place with --out", path.display()))
}

/// Writes a picture as PNG, whole or not at all.
///
/// # Errors
/// As [`write_whole`].
pub fn write_picture(path: &Path, picture: &image::RgbImage) -> anyhow::Result<()> {
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png).context("encoding a PNG picture")?;
    write_whole(path, png.get_ref())
}
