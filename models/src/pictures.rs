//! Pictures from files: JPEG and PNG of any depth, upright by their EXIF orientation, within bounded memory.

use std::{
    fs::File,
    io::{Cursor, Read},
    path::{Path, PathBuf},
};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::{Frame, jpeg, one_line};

/// Longest side of a picture.
const MAX_SIDE_PX: u32 = 16_384;
/// Shortest side: a smaller one holds nothing to locate.
const MIN_SIDE_PX: u32 = 8;
/// Memory for one decoded picture.
const MAX_BYTES: u64 = 512 << 20;
/// Bytes of a picture's file that are read.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Why a picture cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// It is not there or cannot be read.
    #[error("cannot read {}: {source}; check the path and its permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no JPEG or PNG, or a damaged one.
    #[error(
        "{} is no whole JPEG or PNG picture: {cause}; copy it again, or save it anew as JPEG or PNG",
        path.display()
    )]
    NoPicture {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        cause: String,
    },
    /// It is too large or too small.
    #[error("{} is {width} x {height} pixels; pictures from {MIN_SIDE_PX} to {MAX_SIDE_PX} pixels a side can be located: resize it", path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// Its sides are possible, but too many pixels are between them.
    #[error("{} is {width} x {height} pixels, which are {} MB in memory, need at most {}: resize it", path.display(), bytes >> 20, MAX_BYTES >> 20)]
    Memory {
        /// The file.
        path: PathBuf,
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
        /// What they would take.
        bytes: u64,
    },
    /// It shows nothing.
    #[error("{} is blank: all its values are the same; name a picture that shows something", .0.display())]
    Blank(PathBuf),
}

/// Reads one picture.
///
/// # Errors
/// When it cannot be read or decoded whole, is of an impossible size, or is blank.
pub fn read(path: &Path) -> Result<Frame, PictureError> {
    let unreadable = |source| PictureError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(unreadable(std::io::ErrorKind::IsADirectory.into()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    decode(&bytes, path)
}

/// The picture that the bytes of a file are; `path` names it in messages.
///
/// # Errors
/// As [`read`], which has the bytes from a file.
pub fn decode(bytes: &[u8], path: &Path) -> Result<Frame, PictureError> {
    let damaged = |cause: &str| PictureError::NoPicture { path: path.to_owned(), cause: cause.to_owned() };
    let no_picture = |e: ImageError| damaged(&one_line(&e));
    if bytes.is_empty() {
        return Err(damaged("it is empty"));
    }
    let mut reader = ImageReader::new(Cursor::new(bytes));
    reader = reader.with_guessed_format().map_err(|e| damaged(&one_line(&e)))?;
    let is_jpeg = reader.format() == Some(ImageFormat::Jpeg);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(no_picture)?;
    // The size is in the header: a picture that is too large is refused before any of it is decoded.
    let (width, height) = decoder.dimensions();
    let sides = MIN_SIDE_PX..=MAX_SIDE_PX;
    if !sides.contains(&width) || !sides.contains(&height) {
        return Err(PictureError::Size { path: path.to_owned(), width, height });
    }
    // The limit above is of what decoders take for themselves; the picture comes on top.
    let decoded = decoder.total_bytes();
    if decoded > MAX_BYTES {
        return Err(PictureError::Memory { path: path.to_owned(), width, height, bytes: decoded });
    }
    // The decoder would fill what is missing with grey.
    if let Some(fault) = is_jpeg.then(|| jpeg::fault(bytes)).flatten() {
        return Err(damaged(fault));
    }
    let orientation = decoder.orientation().map_err(no_picture)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(no_picture)?;
    picture.apply_orientation(orientation);
    let rgb = picture.into_rgb8();
    let frame = Frame { width: rgb.width(), height: rgb.height(), rgb: rgb.into_raw() };
    if frame.is_blank() { Err(PictureError::Blank(path.to_owned())) } else { Ok(frame) }
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Rgb, RgbImage};

    use super::*;

    fn fails(path: &Path) -> String {
        let e = read(path).expect_err("must be refused").to_string();
        assert!(!e.contains('\n') && e.contains(&path.display().to_string()), "{e}");
        e
    }

    #[test]
    fn bad_files_are_refused_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        assert!(fails(&at("missing.jpg")).contains("cannot read"));
        std::fs::write(at("empty.jpg"), b"").unwrap();
        assert!(fails(&at("empty.jpg")).contains("it is empty"));
        std::fs::write(at("text.png"), b"these are words\nand lines").unwrap();
        assert!(fails(&at("text.png")).contains("no whole JPEG or PNG"));
        RgbImage::from_fn(64, 64, |x, y| Rgb([x as u8 * 3, y as u8 * 3, 9])).save(at("good.png")).unwrap();
        let good = std::fs::read(at("good.png")).unwrap();
        std::fs::write(at("cut.png"), &good[..good.len() / 2]).unwrap();
        assert!(fails(&at("cut.png")).contains("no whole"));
        assert!(fails(&at("cut.png")).ends_with("; copy it again, or save it anew as JPEG or PNG"));
        RgbImage::new(1, 1).save(at("dot.png")).unwrap();
        assert!(fails(&at("dot.png")).contains("1 x 1 pixels"));
        assert!(fails(dir.path()).contains("cannot read"));
    }

    #[test]
    fn twenty_thousand_pixels_are_refused_from_the_header() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("huge.png");
        RgbImage::new(20_000, 9).save(&path).unwrap();
        assert!(fails(&path).contains("20000 x 9 pixels"));
    }

    #[test]
    fn a_picture_that_would_fill_the_memory_is_refused_from_the_header() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("claims.jpg");
        RgbImage::from_fn(64, 64, |x, y| Rgb([x as u8 * 3, y as u8 * 3, 9])).save(&path).unwrap();
        let mut jpeg = std::fs::read(&path).unwrap();
        let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        // Height and width, 16,384 each.
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0x40, 0, 0x40, 0]);
        std::fs::write(&path, jpeg).unwrap();
        assert!(
            fails(&path).ends_with("16384 x 16384 pixels, which are 768 MB in memory, need at most 512: resize it")
        );
    }

    #[test]
    fn sixteen_bits_and_grey_become_eight_bit_colours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep.png");
        ImageBuffer::<Rgb<u16>, _>::from_fn(16, 8, |_, _| Rgb([65535, 32768, 0])).save(&path).unwrap();
        let f = read(&path).unwrap();
        assert_eq!((f.width, f.height, &f.rgb[..3]), (16, 8, &[255, 128, 0][..]));
        image::GrayImage::from_fn(9, 9, |x, _| image::Luma([77 + x as u8])).save(&path).unwrap();
        assert_eq!(read(&path).unwrap().rgb[..3], [77, 77, 77]);
    }

    #[test]
    fn a_damaged_jpeg_is_refused_although_it_could_be_decoded() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let pixel = |x: u32, y: u32| Rgb([(x * x / 7 + y) as u8, ((y * 5) ^ x) as u8, (x * y / 90) as u8]);
        RgbImage::from_fn(640, 480, pixel).save(at("whole.jpg")).unwrap();
        assert!(read(&at("whole.jpg")).is_ok());
        let whole = std::fs::read(at("whole.jpg")).unwrap();
        for per_cent in [50, 99] {
            std::fs::write(at("cut.jpg"), &whole[..whole.len() * per_cent / 100]).unwrap();
            assert!(fails(&at("cut.jpg")).contains("its data ends too early"), "{per_cent} %");
        }
        let mut garbled = whole.clone();
        let middle = whole.len() / 2;
        (0..3000).for_each(|i| garbled[middle + i] = ((i * i * 31) >> 5) as u8);
        std::fs::write(at("garbled.jpg"), &garbled).unwrap();
        assert!(fails(&at("garbled.jpg")).contains("no whole JPEG"));
    }

    #[test]
    fn a_blank_picture_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["black.png", "black.jpg"] {
            let path = dir.path().join(name);
            RgbImage::new(64, 48).save(&path).unwrap();
            assert!(fails(&path).contains("is blank"));
        }
    }

    #[test]
    fn exif_orientation_is_honoured() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("turned.jpg");
        // Left half red, right half blue, 32 x 16.
        let plain = RgbImage::from_fn(32, 16, |x, _| if x < 16 { Rgb([250, 0, 0]) } else { Rgb([0, 0, 250]) });
        plain.save(&path).unwrap();
        let jpeg = std::fs::read(&path).unwrap();
        // An APP1 segment with one TIFF entry: orientation 6, "turn right by 90 degrees".
        let exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let mut turned = jpeg[..2].to_vec();
        turned.extend([0xff, 0xe1]);
        turned.extend((exif.len() as u16 + 2).to_be_bytes());
        turned.extend(exif);
        turned.extend(&jpeg[2..]);
        std::fs::write(&path, turned).unwrap();
        let f = read(&path).unwrap();
        assert_eq!((f.width, f.height), (16, 32));
        let pixel = |x: usize, y: usize| &f.rgb[3 * (y * 16 + x)..][..3];
        assert!(pixel(8, 3)[0] > 200 && pixel(8, 28)[2] > 200, "the left is on top now");
    }
}
