//! The 128x64 black-and-white picture that every display shows, whatever its own size.

use embedded_graphics::{
    pixelcolor::BinaryColor,
    prelude::{DrawTarget, OriginDimensions, Pixel, Point, Size},
};

/// Pixels of one screen, drawn with `embedded-graphics`; drawing outside is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen {
    bits: [u8; (Screen::WIDTH * Screen::HEIGHT / 8) as usize],
}

impl Screen {
    /// Pixels in a row.
    pub const WIDTH: u32 = 128;
    /// Rows.
    pub const HEIGHT: u32 = 64;

    /// A dark screen.
    pub const fn new() -> Self {
        Screen { bits: [0; (Screen::WIDTH * Screen::HEIGHT / 8) as usize] }
    }

    /// Whether a pixel is lit; dark outside.
    pub fn lit(&self, x: u32, y: u32) -> bool {
        x < Self::WIDTH && y < Self::HEIGHT && self.bits[Self::byte(x, y)] & 1 << (x % 8) != 0
    }

    fn byte(x: u32, y: u32) -> usize {
        ((y * Self::WIDTH + x) / 8) as usize
    }
}

impl Default for Screen {
    fn default() -> Self {
        Screen::new()
    }
}

impl OriginDimensions for Screen {
    fn size(&self) -> Size {
        Size::new(Self::WIDTH, Self::HEIGHT)
    }
}

impl DrawTarget for Screen {
    type Color = BinaryColor;
    type Error = core::convert::Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<BinaryColor>>>(&mut self, pixels: I) -> Result<(), Self::Error> {
        for Pixel(Point { x, y }, colour) in pixels {
            let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
                continue;
            };
            if x < Self::WIDTH && y < Self::HEIGHT {
                let (byte, mask) = (Self::byte(x, y), 1 << (x % 8));
                match colour {
                    BinaryColor::On => self.bits[byte] |= mask,
                    BinaryColor::Off => self.bits[byte] &= !mask,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_lit_and_nothing_else() {
        let mut s = Screen::new();
        let on = |x, y| Pixel(Point::new(x, y), BinaryColor::On);
        s.draw_iter([on(0, 0), on(127, 63), on(9, 1), on(-1, 5), on(128, 5), on(3, 64)]).unwrap();
        let lit: Vec<_> = (0..64).flat_map(|y| (0..128).map(move |x| (x, y))).filter(|(x, y)| s.lit(*x, *y)).collect();
        assert_eq!(lit, [(0, 0), (9, 1), (127, 63)]);
        s.draw_iter([Pixel(Point::new(9, 1), BinaryColor::Off)]).unwrap();
        assert!(!s.lit(9, 1) && !s.lit(500, 500));
    }
}
