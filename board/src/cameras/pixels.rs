//! From a camera's bytes to pixels: YUYV, and MJPEG as cameras really send it.

use homing_models::jpeg;
use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use super::CameraFormat;
use crate::Frame;

/// Longest side of a picture that is decoded.
const MAX_SIDE_PX: usize = 8192;

/// How a camera lays out its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Coding.
    pub format: CameraFormat,
    /// Bytes from one row to the next, where rows are uncompressed.
    pub stride: u32,
}

impl Layout {
    /// Whether bytes can be a frame at all: a cheap look, so that a cut frame never replaces a whole one.
    pub fn may_be_whole(&self, bytes: &[u8]) -> bool {
        match self.format {
            CameraFormat::Mjpeg => bytes.starts_with(&[0xff, 0xd8, 0xff]),
            CameraFormat::Yuyv => bytes.len() >= self.uncompressed_bytes(),
        }
    }

    /// Drivers may leave out the last row's padding.
    fn uncompressed_bytes(&self) -> usize {
        self.stride() * (self.height as usize).saturating_sub(1) + 2 * self.width as usize
    }

    fn stride(&self) -> usize {
        self.stride.max(2 * self.width) as usize
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let format = match self.format {
            CameraFormat::Mjpeg => "mjpeg",
            CameraFormat::Yuyv => "yuyv",
        };
        write!(f, "{} x {} {format}", self.width, self.height)
    }
}

/// Decodes frames. Keeps its buffer.
#[derive(Default)]
pub struct Decoder {
    mended: Vec<u8>,
}

impl Decoder {
    /// Fills a frame, whose buffer is used again. On an error what is in the frame is of no use.
    ///
    /// # Errors
    /// When the bytes are no whole frame, with what is wrong with them.
    pub fn decode(&mut self, layout: Layout, bytes: &[u8], frame: &mut Frame) -> Result<(), String> {
        match layout.format {
            CameraFormat::Mjpeg => self.mjpeg(bytes, frame),
            CameraFormat::Yuyv => yuyv(layout, bytes, frame),
        }
    }

    fn mjpeg(&mut self, bytes: &[u8], frame: &mut Frame) -> Result<(), String> {
        let whole = self.mended(bytes)?;
        // The decoder paints grey over what is missing.
        if let Some(fault) = jpeg::fault(whole) {
            return Err(fault.to_owned());
        }
        let options = DecoderOptions::default()
            .set_max_width(MAX_SIDE_PX)
            .set_max_height(MAX_SIDE_PX)
            .jpeg_set_out_colorspace(ColorSpace::RGB);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(whole), options);
        decoder.decode_headers().map_err(|e| e.to_string())?;
        let info = decoder.info().ok_or("it has no header")?;
        (frame.width, frame.height) = (info.width.into(), info.height.into());
        frame.rgb.resize(3 * usize::from(info.width) * usize::from(info.height), 0);
        if decoder.output_buffer_size() != Some(frame.rgb.len()) {
            return Err("its colours are of an unknown kind".to_owned());
        }
        decoder.decode_into(&mut frame.rgb).map_err(|e| e.to_string())
    }

    /// The JPEG with what cameras leave out of it: the Huffman tables, which MJPEG agrees on, and the end mark.
    fn mended<'a>(&'a mut self, bytes: &'a [u8]) -> Result<&'a [u8], String> {
        let ended = bytes.ends_with(&END);
        let coded = has_tables(bytes).ok_or("it is no JPEG")?;
        if ended && coded {
            return Ok(bytes);
        }
        let (start, rest) = bytes.split_at(2);
        self.mended.clear();
        self.mended.extend(start);
        if !coded {
            self.mended.extend(STANDARD_TABLES);
        }
        self.mended.extend(rest);
        // A second mark behind the padding that some drivers leave does no harm, and a cut frame stays one: its
        // blocks are counted.
        self.mended.extend(END);
        Ok(&self.mended)
    }
}

const END: [u8; 2] = [0xff, 0xd9];

/// Whether Huffman tables stand before the first scan; `None` where no scan begins.
fn has_tables(jpeg: &[u8]) -> Option<bool> {
    let mut rest = jpeg.strip_prefix(&[0xff, 0xd8])?;
    loop {
        let [0xff, marker, after @ ..] = rest else { return None };
        match marker {
            0xc4 => return Some(true),
            0xda => return Some(false),
            // Bytes that fill up before a marker.
            0xff => rest = &rest[1..],
            _ => {
                let length = usize::from(u16::from_be_bytes([*after.first()?, *after.get(1)?]));
                rest = after.get(length..)?;
            }
        }
    }
}

/// ITU-R BT.601, limited range: luma 16..=235 and colour 16..=240 around 128, in 1/256.
fn yuyv(layout: Layout, bytes: &[u8], frame: &mut Frame) -> Result<(), String> {
    let (width, height) = (layout.width as usize, layout.height as usize);
    if width == 0 || height == 0 || width % 2 == 1 {
        return Err(format!("{layout} is no size of YUYV"));
    }
    let needed = layout.uncompressed_bytes();
    if bytes.len() < needed {
        return Err(format!("it has {} bytes of {needed}", bytes.len()));
    }
    (frame.width, frame.height) = (layout.width, layout.height);
    frame.rgb.resize(3 * width * height, 0);
    for (row, out) in bytes.chunks(layout.stride()).zip(frame.rgb.chunks_exact_mut(3 * width)) {
        for (pair, out) in row.chunks_exact(4).zip(out.chunks_exact_mut(6)) {
            let (u, v) = (i32::from(pair[1]) - 128, i32::from(pair[3]) - 128);
            let (red, green, blue) = (409 * v + 128, 128 - 100 * u - 208 * v, 516 * u + 128);
            for (out, luma) in out.chunks_exact_mut(3).zip([pair[0], pair[2]]) {
                let grey = 298 * (i32::from(luma) - 16);
                for (out, colour) in out.iter_mut().zip([red, green, blue]) {
                    *out = ((grey + colour) >> 8).clamp(0, 255) as u8;
                }
            }
        }
    }
    Ok(())
}

/// The segment of Huffman tables that MJPEG agrees on (ITU-T T.81, tables K.3, K.4, K.5 and K.6).
#[rustfmt::skip]
const STANDARD_TABLES: &[u8; 420] = &[
    0xff, 0xc4, 0x01, 0xa2, 0x00, 0x00, 0x01, 0x05, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x01, 0x00, 0x03, 0x01, 0x01, 0x01, 0x01,
    0x01, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09,
    0x0a, 0x0b, 0x10, 0x00, 0x02, 0x01, 0x03, 0x03, 0x02, 0x04, 0x03, 0x05, 0x05, 0x04, 0x04, 0x00, 0x00, 0x01, 0x7d, 0x01,
    0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71, 0x14, 0x32, 0x81,
    0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0a, 0x16, 0x17,
    0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46,
    0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a,
    0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95,
    0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7,
    0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9,
    0xda, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9,
    0xfa, 0x11, 0x00, 0x02, 0x01, 0x02, 0x04, 0x04, 0x03, 0x04, 0x07, 0x05, 0x04, 0x04, 0x00, 0x01, 0x02, 0x77, 0x00, 0x01,
    0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22, 0x32, 0x81, 0x08, 0x14,
    0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1, 0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25,
    0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46,
    0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a,
    0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94,
    0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6,
    0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8,
    0xd9, 0xda, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];

#[cfg(test)]
pub(super) mod tests {
    use image::{Rgb, RgbImage, codecs::jpeg::JpegEncoder};

    use super::*;

    const MJPEG: Layout = Layout { width: 64, height: 48, format: CameraFormat::Mjpeg, stride: 0 };

    /// A picture that shows something, as JPEG. `tint` tells one from another.
    pub fn sample_jpeg(tint: u8) -> Vec<u8> {
        let pixel = |x: u32, y: u32| Rgb([(x * 4) as u8, (y * 5) as u8, tint]);
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, 95).encode_image(&RgbImage::from_fn(64, 48, pixel)).unwrap();
        jpeg
    }

    fn decode(bytes: &[u8]) -> Result<Frame, String> {
        let mut frame = Frame::default();
        Decoder::default().decode(MJPEG, bytes, &mut frame).map(|()| frame)
    }

    /// The same JPEG as cameras send it: without its Huffman tables.
    fn without_tables(jpeg: &[u8]) -> Vec<u8> {
        let mut bare = jpeg.to_vec();
        while let Some(at) = bare.windows(2).position(|w| w == [0xff, 0xc4]) {
            let length = usize::from(u16::from_be_bytes([bare[at + 2], bare[at + 3]]));
            bare.drain(at..at + 2 + length);
        }
        assert!(bare.len() + 400 < jpeg.len());
        bare
    }

    #[test]
    fn a_frame_without_huffman_tables_or_end_mark_gives_the_same_picture() {
        let jpeg = sample_jpeg(200);
        let whole = decode(&jpeg).unwrap();
        assert_eq!((whole.width, whole.height, whole.rgb.len()), (64, 48, 3 * 64 * 48));
        let pixel = &whole.rgb[3 * (24 * 64 + 40)..][..3];
        for (got, drawn) in pixel.iter().zip([160u8, 120, 200]) {
            assert!(got.abs_diff(drawn) < 12, "{pixel:?}");
        }
        assert_eq!(decode(&without_tables(&jpeg)).unwrap(), whole);
        assert_eq!(decode(&jpeg[..jpeg.len() - 2]).unwrap(), whole);
        assert_eq!(decode(&[&jpeg[..], &[0; 500]].concat()).unwrap(), whole, "padding of the driver");
    }

    #[test]
    fn cut_or_garbled_frames_are_errors() {
        let bare = without_tables(&sample_jpeg(9));
        for jpeg in [sample_jpeg(9), bare] {
            for n in (0..jpeg.len() - 8).step_by(29) {
                assert!(decode(&jpeg[..n]).is_err(), "cut after {n} of {}", jpeg.len());
            }
            let mut state = 7u64;
            for _ in 0..150 {
                let mut garbled = jpeg.clone();
                for _ in 0..4 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let at = (state >> 33) as usize % garbled.len();
                    garbled[at] = (state >> 17) as u8;
                }
                let _ = decode(&garbled);
            }
        }
        assert!(decode(b"").is_err() && decode(b"no picture").is_err());
        assert!(!MJPEG.may_be_whole(b"\0\0\0") && MJPEG.may_be_whole(&sample_jpeg(1)));
    }

    #[test]
    fn yuyv_becomes_the_colours_of_bt_601() {
        // Pairs of white, black, red, green and blue, in a row with four bytes of padding.
        let pairs =
            [[235, 128, 235, 128], [16, 128, 16, 128], [81, 90, 81, 240], [145, 54, 145, 34], [41, 240, 41, 110]];
        let row = [&pairs.concat()[..], &[7; 4]].concat();
        let layout = Layout { width: 10, height: 2, format: CameraFormat::Yuyv, stride: 24 };
        let bytes = [&row[..], &row[..20]].concat();
        let mut frame = Frame::default();
        let mut decoder = Decoder::default();
        decoder.decode(layout, &bytes, &mut frame).unwrap();
        let colours = [[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]];
        assert_eq!((frame.width, frame.height, frame.rgb.len()), (10, 2, 60));
        for (i, pixel) in frame.rgb.chunks_exact(3).enumerate() {
            let near = pixel.iter().zip(colours[i % 10 / 2]).all(|(a, b)| a.abs_diff(b) <= 2);
            assert!(near, "{pixel:?} at {i}");
        }
        assert!(layout.may_be_whole(&bytes) && !layout.may_be_whole(&bytes[1..]));
        let e = decoder.decode(layout, &bytes[1..], &mut frame).unwrap_err();
        assert!(e.contains("43 bytes of 44"), "{e}");
    }
}
