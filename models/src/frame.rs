//! A picture in memory, and the square that a model looks at: the same for training and on the road.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

/// A picture: 8-bit red, green, blue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `3 * width * height` bytes, row by row from the top.
    pub rgb: Vec<u8>,
}

impl Frame {
    /// A picture of one single value: a dead sensor, or no picture at all. The darkest night still has noise.
    pub fn is_blank(&self) -> bool {
        let right_size = self.rgb.len() == 3 * self.width as usize * self.height as usize;
        !right_size || self.rgb.first().is_none_or(|first| self.rgb.iter().all(|v| v == first))
    }
}

/// A frame's bytes are not those of its size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {width} x {height} pixels has {bytes} bytes: {cause}")]
pub struct FrameError {
    width: u32,
    height: u32,
    bytes: usize,
    cause: String,
}

/// Cuts the largest square out of the middle of frames and resizes it, bicubic as CLIP does. Keeps its buffers.
#[derive(Clone, Default)]
pub struct SquareCutter(Resizer);

impl SquareCutter {
    /// Fills `square`, `3 * size * size` bytes, from a frame.
    ///
    /// # Errors
    /// When the frame has not the bytes of its size.
    ///
    /// # Panics
    /// When `square` has another length.
    pub fn cut(&mut self, frame: &Frame, size: u32, square: &mut [u8]) -> Result<(), FrameError> {
        let Frame { width, height, ref rgb } = *frame;
        let wrong =
            |cause: &dyn std::fmt::Display| FrameError { width, height, bytes: rgb.len(), cause: cause.to_string() };
        assert_eq!(square.len(), 3 * (size * size) as usize, "a buffer of one square");
        if (width, height) == (size, size) && rgb.len() == square.len() {
            square.copy_from_slice(rgb);
            return Ok(());
        }
        let side = f64::from(width.min(height));
        let (left, top) = ((f64::from(width) - side) / 2.0, (f64::from(height) - side) / 2.0);
        let source = ImageRef::new(width, height, rgb, PixelType::U8x3).map_err(|e| wrong(&e))?;
        let mut target = Image::from_slice_u8(size, size, square, PixelType::U8x3).map_err(|e| wrong(&e))?;
        let bicubic = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
        self.0.resize(&source, &mut target, &bicubic.crop(left, top, side, side)).map_err(|e| wrong(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Frame {
        let rgb = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y)).collect();
        Frame { width, height, rgb }
    }

    #[test]
    fn the_middle_square_is_what_counts() {
        // Red margins left and right of a green square.
        let wide = frame(64, 32, |x, _| if (16..48).contains(&x) { [0, 200, 0] } else { [255, 0, 0] });
        let tall = frame(20, 60, |_, y| if (20..40).contains(&y) { [0, 200, 0] } else { [255, 0, 0] });
        for picture in [wide, tall] {
            let mut square = vec![0; 3 * 16 * 16];
            SquareCutter::default().cut(&picture, 16, &mut square).unwrap();
            let inner = square.chunks_exact(3).enumerate().filter(|(i, _)| (3..13).contains(&(i % 16)));
            for (i, p) in inner.filter(|(i, _)| (3..13).contains(&(i / 16))) {
                assert!(p[0] < 12 && (190..=210).contains(&p[1]), "{p:?} at {i}");
            }
        }
    }

    #[test]
    fn a_frame_that_is_not_its_size_is_refused() {
        let short = Frame { width: 8, height: 8, rgb: vec![1; 10] };
        let e = SquareCutter::default().cut(&short, 8, &mut [0; 192]).unwrap_err().to_string();
        assert!(e.starts_with("a frame of 8 x 8 pixels has 10 bytes"), "{e}");
        assert!(short.is_blank() && frame(4, 4, |_, _| [7; 3]).is_blank() && Frame::default().is_blank());
        assert!(!frame(4, 4, |x, _| [x as u8; 3]).is_blank());
    }
}
