//! A drawing surface for plotters on a plain RGB image, with embedded-graphics' bitmap fonts: pictures look the same on
//! every machine, fonts installed or not.

use std::convert::Infallible;

use embedded_graphics::geometry::Point;
use embedded_graphics::mono_font::iso_8859_1::{FONT_6X13, FONT_7X14_BOLD, FONT_9X18, FONT_10X20};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::prelude::*;
use embedded_graphics::text::{Baseline, Text};
use image::{Rgb, RgbImage};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{BackendColor, BackendCoord, BackendTextStyle, DrawingBackend, DrawingErrorKind};

/// An image that plotters draws on: `Canvas(&mut image).into_drawing_area()`.
pub struct Canvas<'i>(pub &'i mut RgbImage);

impl DrawingBackend for Canvas<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.0.dimensions()
    }

    fn ensure_prepared(&mut self) -> Result<(), DrawingErrorKind<Infallible>> {
        Ok(())
    }

    fn present(&mut self) -> Result<(), DrawingErrorKind<Infallible>> {
        Ok(())
    }

    fn draw_pixel(&mut self, at: BackendCoord, colour: BackendColor) -> Result<(), DrawingErrorKind<Infallible>> {
        let (r, g, b) = colour.rgb;
        blend(self.0, at.0, at.1, [r, g, b], colour.alpha);
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        style: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        Ok(text_size(text, font(style.size())))
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        at: BackendCoord,
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        let font = font(style.size());
        let (width, height) = text_size(text, font);
        let (width, height) = (width as i32, height as i32);
        let left = match style.anchor().h_pos {
            HPos::Left => 0,
            HPos::Center => -width / 2,
            HPos::Right => -width,
        };
        let top = match style.anchor().v_pos {
            VPos::Top => 0,
            VPos::Center => -height / 2,
            VPos::Bottom => -height,
        };
        let (r, g, b) = style.color().rgb;
        let turn = style.transform();
        for p in lit_pixels(text, font) {
            let (x, y) = turn.transform(left + p.x, top + p.y);
            blend(self.0, at.0 + x, at.1 + y, [r, g, b], style.color().alpha);
        }
        Ok(())
    }
}

/// Writes text with its top left corner at (`x`, `y`); `size` as in plotters, about the height in pixels.
pub fn write(image: &mut RgbImage, text: &str, x: i32, y: i32, size: f64, colour: [u8; 3]) {
    for p in lit_pixels(text, font(size)) {
        blend(image, x + p.x, y + p.y, colour, 1.0);
    }
}

fn blend(image: &mut RgbImage, x: i32, y: i32, colour: [u8; 3], alpha: f64) {
    let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
    if let Some(Rgb(pixel)) = image.get_pixel_mut_checked(x, y) {
        for (old, new) in pixel.iter_mut().zip(colour) {
            *old = (f64::from(*old) + (f64::from(new) - f64::from(*old)) * alpha).round() as u8;
        }
    }
}

fn font(size: f64) -> &'static MonoFont<'static> {
    match size {
        ..14.0 => &FONT_6X13,
        ..17.0 => &FONT_7X14_BOLD,
        ..20.0 => &FONT_9X18,
        _ => &FONT_10X20,
    }
}

fn text_size(text: &str, font: &MonoFont) -> (u32, u32) {
    (text.chars().count() as u32 * font.character_size.width, font.character_size.height)
}

fn lit_pixels(text: &str, font: &MonoFont) -> Vec<Point> {
    let mut ink = Ink(Vec::new());
    let text: String = text.chars().map(latin1).collect();
    let style = MonoTextStyle::new(font, BinaryColor::On);
    match Text::with_baseline(&text, Point::zero(), style, Baseline::Top).draw(&mut ink) {
        Ok(_) => ink.0,
    }
}

/// Letters of Latin Extended-A lose the accent that the fonts do not have.
fn latin1(c: char) -> char {
    const PLAIN: &str = "AaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGgGgGgHhHhIiIiIiIiIiIiJjKkkLlLlLlLlLlNnNnNnnNnOoOoOoOoRrRrRr\
                         SsSsSsSsTtTtTtUuUuUuUuUuUuWwYyYZzZzZzs";
    match u32::from(c).checked_sub(0x100) {
        Some(i) if i < 0x80 => PLAIN.as_bytes().get(i as usize).map_or('?', |&b| char::from(b)),
        _ => match c {
            '\u{2018}' | '\u{2019}' => '\'',
            '\u{2013}' | '\u{2014}' => '-',
            'Ș' => 'S',
            'ș' => 's',
            'Ț' => 'T',
            'ț' => 't',
            other => other,
        },
    }
}

struct Ink(Vec<Point>);

impl Dimensions for Ink {
    fn bounding_box(&self) -> embedded_graphics::primitives::Rectangle {
        embedded_graphics::primitives::Rectangle::new(Point::zero(), Size::new(u32::MAX / 2, u32::MAX / 2))
    }
}

impl DrawTarget for Ink {
    type Color = BinaryColor;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<BinaryColor>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        self.0.extend(pixels.into_iter().filter(|p| p.1.is_on()).map(|p| p.0));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_leaves_ink_inside_its_box_only() {
        let mut image = RgbImage::new(100, 30);
        write(&mut image, "Łódź", 10, 5, 14.0, [255, 0, 0]);
        let inked: Vec<(u32, u32)> =
            image.enumerate_pixels().filter(|(_, _, p)| p.0 == [255, 0, 0]).map(|(x, y, _)| (x, y)).collect();
        assert!(inked.len() > 20);
        assert!(
            inked.iter().all(|&(x, y)| (10..10 + text_size("Łódź", font(14.0)).0).contains(&x) && (5..19).contains(&y))
        );
        // Outside the image nothing happens.
        write(&mut image, "far away", -500, 90, 14.0, [1, 2, 3]);
    }

    #[test]
    fn accents_the_fonts_lack_are_dropped() {
        let plain: String = "ŁŌŠŽĀāĐđİıŒŸșĉ–Ñ".chars().map(latin1).collect();
        assert_eq!(plain, "LOSZAaDdIiOYsc-Ñ");
    }
}
