//! The commands of `homing-trainer`, one file each.

pub mod geocells;
pub mod sheet;

use std::path::Path;

use anyhow::Context;

/// Writes a file as a whole or not at all: under a temporary name beside it, then renamed.
///
/// # Errors
/// When the folder cannot be made or the file not be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        std::io::Write::write_all(&mut file, bytes)?;
        file.persist(path)?;
        Ok(())
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
