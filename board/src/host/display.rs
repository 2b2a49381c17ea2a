//! A display that is a PNG file: each update replaces it whole.

use std::{fs, io, path::PathBuf};

use image::{ImageFormat, Rgb, RgbImage};

use crate::{BoardError, Display, Screen};

/// Pixels of the picture for one pixel of the screen.
const SCALE: u32 = 4;
/// A rim as a real module has one.
const RIM: u32 = 16;

/// Writes what a 128x64 display would show.
pub struct PngDisplay {
    path: PathBuf,
}

impl PngDisplay {
    /// A display whose picture is the file `path`.
    pub fn new(path: PathBuf) -> Self {
        PngDisplay { path }
    }
}

impl Display for PngDisplay {
    fn show(&mut self, screen: &Screen) -> Result<(), BoardError> {
        let size = (Screen::WIDTH * SCALE + 2 * RIM, Screen::HEIGHT * SCALE + 2 * RIM);
        let picture = RgbImage::from_fn(size.0, size.1, |x, y| {
            let (Some(px), Some(py)) = (x.checked_sub(RIM), y.checked_sub(RIM)) else {
                return Rgb([24, 26, 30]);
            };
            if px >= Screen::WIDTH * SCALE || py >= Screen::HEIGHT * SCALE {
                return Rgb([24, 26, 30]);
            }
            // A dark seam between pixels, as on the real thing.
            let seam = px % SCALE == SCALE - 1 || py % SCALE == SCALE - 1;
            match (screen.lit(px / SCALE, py / SCALE), seam) {
                (true, false) => Rgb([178, 226, 255]),
                (true, true) => Rgb([96, 132, 158]),
                (false, _) => Rgb([6, 9, 14]),
            }
        });
        let partial = self.path.with_extension("png.partial");
        let written = picture
            .save_with_format(&partial, ImageFormat::Png)
            .map_err(|e| match e {
                image::ImageError::IoError(e) => e,
                other => io::Error::other(other),
            })
            .and_then(|()| fs::rename(&partial, &self.path));
        written.map_err(|source| {
            let _ = fs::remove_file(&partial);
            BoardError::Write { path: self.path.clone(), source }
        })
    }
}

#[cfg(test)]
mod tests {
    use embedded_graphics::{
        Drawable,
        pixelcolor::BinaryColor,
        prelude::{Pixel, Point},
    };

    use super::*;

    #[test]
    fn the_picture_shows_the_pixels() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("display.png");
        let mut screen = Screen::new();
        Pixel(Point::new(3, 2), BinaryColor::On).draw(&mut screen).unwrap();
        PngDisplay::new(path.clone()).show(&screen).unwrap();
        let picture = image::open(&path).unwrap().to_rgb8();
        assert!(picture.get_pixel(RIM + 3 * SCALE, RIM + 2 * SCALE).0[2] > 200);
        assert!(picture.get_pixel(RIM + 4 * SCALE, RIM + 2 * SCALE).0[2] < 50);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing half-made is left");
        let e = PngDisplay::new(dir.path().join("none/display.png")).show(&screen).unwrap_err().to_string();
        assert!(e.contains("cannot write") && e.contains("none"), "{e}");
        // A directory of that name cannot be replaced by a file.
        let taken = dir.path().join("taken.png");
        fs::create_dir(&taken).unwrap();
        assert!(PngDisplay::new(taken).show(&screen).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing half-made is left");
    }
}
