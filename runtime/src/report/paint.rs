//! A small painter with smooth edges: shapes, outlines and text on a picture of red, green, blue.

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use image::RgbImage;

/// A colour, each part 0..1 as in sRGB.
pub type Colour = [f32; 3];

/// `0xrrggbb` as a colour.
pub const fn rgb(hex: u32) -> Colour {
    [(hex >> 16 & 255) as f32 / 255.0, (hex >> 8 & 255) as f32 / 255.0, (hex & 255) as f32 / 255.0]
}

/// Which cut of the typeface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// For text.
    Regular,
    /// For headings and figures.
    Bold,
}

/// A picture being painted.
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Colour>,
    fonts: Option<[FontRef<'static>; 2]>,
}

impl Canvas {
    /// A picture of one colour.
    pub fn new(width: usize, height: usize, ground: Colour) -> Self {
        let font = |bytes| FontRef::try_from_slice(bytes).ok();
        let fonts = font(dejavu::sans::regular()).zip(font(dejavu::sans::bold())).map(|(r, b)| [r, b]);
        Canvas { width, height, pixels: vec![ground; width * height], fonts }
    }

    /// Lays a colour over a pixel; nothing happens outside.
    pub fn blend(&mut self, x: i32, y: i32, colour: Colour, alpha: f32) {
        if x >= 0 && y >= 0 && (x as usize) < self.width && (y as usize) < self.height && alpha > 0.0 {
            let p = &mut self.pixels[y as usize * self.width + x as usize];
            let a = alpha.min(1.0);
            (0..3).for_each(|i| p[i] += (colour[i] - p[i]) * a);
        }
    }

    /// Fills a rectangle.
    pub fn rectangle(&mut self, (x, y): (i32, i32), (width, height): (i32, i32), colour: Colour, alpha: f32) {
        for py in y..y + height {
            (x..x + width).for_each(|px| self.blend(px, py, colour, alpha));
        }
    }

    /// Calls `colour` for each pixel's centre in a rectangle.
    pub fn shade(&mut self, at: (i32, i32), size: (i32, i32), mut colour: impl FnMut(f32, f32) -> Option<Colour>) {
        for y in at.1..at.1 + size.1 {
            for x in at.0..at.0 + size.0 {
                if let Some(c) = colour(x as f32 + 0.5, y as f32 + 0.5) {
                    self.blend(x, y, c, 1.0);
                }
            }
        }
    }

    /// Fills a disc.
    pub fn disc(&mut self, centre: (f32, f32), radius: f32, colour: Colour, alpha: f32) {
        self.distance_shape(centre, radius + 1.0, |d| (radius + 0.5 - d) * alpha.signum(), colour, alpha);
    }

    /// Draws a circle.
    pub fn circle(&mut self, centre: (f32, f32), radius: f32, width: f32, colour: Colour, alpha: f32) {
        self.distance_shape(centre, radius + width, |d| width / 2.0 + 0.5 - (d - radius).abs(), colour, alpha);
    }

    fn distance_shape(
        &mut self,
        (cx, cy): (f32, f32),
        reach: f32,
        cover: impl Fn(f32) -> f32,
        colour: Colour,
        alpha: f32,
    ) {
        let rows = ((cy - reach).max(0.0) as i32)..=((cy + reach).min(self.height as f32) as i32);
        for y in rows {
            for x in ((cx - reach).max(0.0) as i32)..=((cx + reach).min(self.width as f32) as i32) {
                let d = ((x as f32 + 0.5 - cx).powi(2) + (y as f32 + 0.5 - cy).powi(2)).sqrt();
                self.blend(x, y, colour, cover(d).clamp(0.0, 1.0) * alpha);
            }
        }
    }

    /// Draws a line through points; where it crosses itself it stays as clear as elsewhere.
    pub fn line(&mut self, points: &[(f32, f32)], width: f32, colour: Colour, alpha: f32) {
        let reach = width / 2.0 + 1.0;
        let low = |f: fn(&(f32, f32)) -> f32, most: usize| {
            let (min, max) = points.iter().map(f).fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(v), b.max(v)));
            (((min - reach).max(0.0)) as usize, (max + reach).clamp(0.0, most as f32 - 1.0) as usize)
        };
        if points.len() < 2 {
            return;
        }
        let ((x0, x1), (y0, y1)) = (low(|p| p.0, self.width), low(|p| p.1, self.height));
        if x0 > x1 || y0 > y1 {
            return;
        }
        let columns = x1 - x0 + 1;
        let mut mask = vec![0f32; columns * (y1 - y0 + 1)];
        for pair in points.windows(2) {
            let ((ax, ay), (bx, by)) = (pair[0], pair[1]);
            let (dx, dy) = (bx - ax, by - ay);
            let length2 = (dx * dx + dy * dy).max(1e-9);
            let rows =
                ((ay.min(by) - reach).max(y0 as f32) as usize)..=((ay.max(by) + reach).clamp(0.0, y1 as f32) as usize);
            for y in rows {
                let from = (ax.min(bx) - reach).max(x0 as f32) as usize;
                for x in from..=((ax.max(bx) + reach).clamp(0.0, x1 as f32) as usize) {
                    let (px, py) = (x as f32 + 0.5 - ax, y as f32 + 0.5 - ay);
                    let t = ((px * dx + py * dy) / length2).clamp(0.0, 1.0);
                    let d = ((px - t * dx).powi(2) + (py - t * dy).powi(2)).sqrt();
                    let cover = (width / 2.0 + 0.5 - d).clamp(0.0, 1.0);
                    if let Some(m) = mask.get_mut((y.max(y0) - y0) * columns + x - x0) {
                        *m = m.max(cover);
                    }
                }
            }
        }
        for (i, m) in mask.into_iter().enumerate() {
            self.blend((x0 + i % columns) as i32, (y0 + i / columns) as i32, colour, m * alpha);
        }
    }

    /// Puts a picture with its top left corner at `at`.
    pub fn picture(&mut self, at: (i32, i32), picture: &RgbImage) {
        for (x, y, p) in picture.enumerate_pixels() {
            self.blend(at.0 + x as i32, at.1 + y as i32, p.0.map(|v| f32::from(v) / 255.0), 1.0);
        }
    }

    /// Width of a text in pixels.
    pub fn text_width(&self, text: &str, size: f32, weight: Weight) -> f32 {
        let Some(fonts) = &self.fonts else { return 0.0 };
        let font = fonts[weight as usize].as_scaled(PxScale::from(size));
        text.chars().map(|c| font.h_advance(font.glyph_id(c))).sum()
    }

    /// Writes text whose line begins at `at`, on the base line.
    pub fn text(&mut self, at: (f32, f32), text: &str, size: f32, weight: Weight, colour: Colour, alpha: f32) {
        let Some(fonts) = &self.fonts else { return };
        let font = fonts[weight as usize].clone();
        let scaled = font.as_scaled(PxScale::from(size));
        let mut x = at.0;
        for c in text.chars() {
            let id = scaled.glyph_id(c);
            let glyph = id.with_scale_and_position(PxScale::from(size), point(x, at.1));
            if let Some(outline) = font.outline_glyph(glyph) {
                let corner = outline.px_bounds().min;
                outline.draw(|gx, gy, cover| {
                    self.blend(corner.x as i32 + gx as i32, corner.y as i32 + gy as i32, colour, cover * alpha);
                });
            }
            x += scaled.h_advance(id);
        }
    }

    /// Text with a dark rim, readable on any ground.
    pub fn label(&mut self, at: (f32, f32), text: &str, size: f32, weight: Weight, colour: Colour) {
        for (dx, dy) in [(-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0), (1.0, 1.0), (-1.0, 1.0)] {
            self.text((at.0 + dx, at.1 + dy), text, size, weight, rgb(0x0a1018), 0.5);
        }
        self.text(at, text, size, weight, colour, 1.0);
    }

    /// The finished picture in eight bits.
    pub fn finish(&self) -> RgbImage {
        RgbImage::from_fn(self.width as u32, self.height as u32, |x, y| {
            let p = self.pixels[y as usize * self.width + x as usize];
            image::Rgb(p.map(|v| (v.clamp(0.0, 1.0) * 255.0 + 0.5) as u8))
        })
    }
}

/// How much of each pixel of a `width` x `height` field lies inside closed rings, by the even-odd rule.
pub fn coverage(rings: &[Vec<(f32, f32)>], width: usize, height: usize) -> Vec<f32> {
    const SUB: usize = 4; // lines per row of pixels
    let mut crossings: Vec<Vec<f32>> = vec![Vec::new(); height * SUB];
    for ring in rings {
        for pair in ring.windows(2) {
            let ((x0, y0), (x1, y1)) = if pair[0].1 <= pair[1].1 { (pair[0], pair[1]) } else { (pair[1], pair[0]) };
            let line = |y: f32| ((y * SUB as f32 - 0.5).ceil().max(0.0) as usize).min(height * SUB);
            for (i, row) in crossings[line(y0)..line(y1)].iter_mut().enumerate() {
                let y = (line(y0) + i) as f32 / SUB as f32 + 0.5 / SUB as f32;
                row.push(x0 + (x1 - x0) * (y - y0) / (y1 - y0));
            }
        }
    }
    let mut cover = vec![0f32; width * height];
    for (i, row) in crossings.iter_mut().enumerate() {
        row.sort_by(f32::total_cmp);
        let pixels = &mut cover[i / SUB * width..][..width];
        for inside in row.chunks_exact(2) {
            let (from, to) = (inside[0].clamp(0.0, width as f32), inside[1].clamp(0.0, width as f32));
            for (x, pixel) in pixels.iter_mut().enumerate().take(to.ceil() as usize).skip(from as usize) {
                *pixel += (to.min(x as f32 + 1.0) - from.max(x as f32)).max(0.0) / SUB as f32;
            }
        }
    }
    cover
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_is_area_and_holes_count_out() {
        let square = |a: f32, b: f32| vec![(a, a), (b, a), (b, b), (a, b), (a, a)];
        let area = |rings: &[Vec<(f32, f32)>]| coverage(rings, 12, 12).iter().sum::<f32>();
        assert!((area(&[square(1.25, 9.5)]) - 8.25 * 8.25).abs() < 1e-3);
        assert!((area(&[square(1.0, 9.0), square(3.0, 6.0)]) - (64.0 - 9.0)).abs() < 1e-3);
        assert!((area(&[square(-5.0, 20.0)]) - 144.0).abs() < 1e-3, "clipped");
    }

    #[test]
    fn shapes_stay_inside_the_picture() {
        let mut c = Canvas::new(20, 10, [0.0; 3]);
        c.disc((-3.0, 5.0), 40.0, [1.0; 3], 0.5);
        c.line(&[(-50.0, -50.0), (70.0, 60.0)], 3.0, [1.0; 3], 1.0);
        c.line(&[(-50.0, -50.0), (-70.0, -60.0)], 3.0, [1.0; 3], 1.0);
        c.label((-5.0, 9.0), "Ŧ homing", 12.0, Weight::Bold, [1.0; 3]);
        assert!(c.text_width("homing", 12.0, Weight::Bold) > c.text_width("homing", 12.0, Weight::Regular));
        assert_eq!(c.finish().dimensions(), (20, 10));
    }
}
