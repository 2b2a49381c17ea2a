//! A square picture in floating point, and the few shapes the painters need. Pixel (0, 0) is the upper left corner;
//! shapes outside the picture are cut, edges are smoothed by coverage.

use super::colour::{blend, scale};
use crate::country::Rgb;
use crate::field::grain;

pub(crate) struct Canvas {
    pub size: usize,
    pub pixels: Vec<Rgb>,
}

/// How round things are lit: the light's direction on the screen and its strength.
#[derive(Clone, Copy)]
pub(crate) struct Shading {
    pub right: f32,
    pub up: f32,
    pub strength: f32,
}

impl Shading {
    pub const FLAT: Shading = Shading { right: 0.0, up: 0.0, strength: 0.0 };
}

impl Canvas {
    pub fn new(size: usize) -> Self {
        Canvas { size, pixels: vec![[0.0; 3]; size * size] }
    }

    /// Lays a colour over one pixel.
    #[inline]
    pub fn mix(&mut self, x: usize, y: usize, colour: Rgb, cover: f32) {
        if cover > 0.004 {
            let pixel = &mut self.pixels[y * self.size + x];
            *pixel = blend(*pixel, colour, cover);
        }
    }

    /// First and one-past-last pixel that the interval touches, or `None` outside.
    #[inline]
    fn touched(&self, low: f32, high: f32) -> Option<(usize, usize)> {
        let s = self.size as f32;
        // Written so that a NaN counts as outside.
        (high > 0.0 && low < s && high > low).then(|| (low.max(0.0) as usize, high.min(s).ceil() as usize))
    }

    pub fn rect(&mut self, x0: f32, y0: f32, x1: f32, y1: f32, colour: Rgb, opacity: f32) {
        let (Some((xa, xb)), Some((ya, yb))) = (self.touched(x0, x1), self.touched(y0, y1)) else { return };
        for y in ya..yb {
            let cover_y = (y as f32 + 1.0).min(y1) - (y as f32).max(y0);
            for x in xa..xb {
                let cover_x = (x as f32 + 1.0).min(x1) - (x as f32).max(x0);
                self.mix(x, y, colour, opacity * cover_x * cover_y);
            }
        }
    }

    /// A vertical bar of the given centre and half width, at least a hair wide so that thin posts do not vanish.
    pub fn bar(&mut self, x: f32, half: f32, y0: f32, y1: f32, colour: Rgb) {
        let half = half.max(0.22);
        self.rect(x - half, y0, x + half, y1, colour, 1.0);
    }

    /// An ellipse with a rough rim, lit like a ball; `roughness` 0 is smooth.
    #[allow(clippy::too_many_arguments)]
    pub fn ellipse(
        &mut self,
        (cx, cy): (f32, f32),
        (rx, ry): (f32, f32),
        colour: Rgb,
        opacity: f32,
        roughness: f32,
        seed: u32,
        light: Shading,
    ) {
        let (Some((xa, xb)), Some((ya, yb))) =
            (self.touched(cx - rx - 1.0, cx + rx + 1.0), self.touched(cy - ry - 1.0, cy + ry + 1.0))
        else {
            return;
        };
        let rim = rx.min(ry).max(0.3);
        // Leaves keep their size on the tree: the grain follows the ellipse and not the pixels.
        let (gx, gy) = ((7.0 / rx).min(1.0), (7.0 / ry).min(1.0));
        for y in ya..yb {
            for x in xa..xb {
                let (dx, dy) = (x as f32 + 0.5 - cx, y as f32 + 0.5 - cy);
                let (u, v) = (dx / rx, dy / ry);
                let mut distance = (u * u + v * v).sqrt();
                if distance > 1.0 + 0.5 * roughness + 1.0 / rim {
                    continue;
                }
                let mut tone = 1.0 + 0.35 * light.strength * (u * light.right - v * light.up).clamp(-1.0, 1.0);
                if roughness > 0.0 {
                    let n = grain((dx * gx).floor() as i32, (dy * gy).floor() as i32, seed) - 0.5;
                    distance += roughness * n;
                    tone += 0.6 * roughness * n;
                }
                let cover = ((1.0 - distance) * rim + 0.5).clamp(0.0, 1.0);
                self.mix(x, y, scale(colour, tone), cover * opacity);
            }
        }
    }

    /// A disc without shading.
    pub fn disc(&mut self, centre: (f32, f32), radius: f32, colour: Rgb) {
        self.ellipse(centre, (radius, radius), colour, 1.0, 0.0, 0, Shading::FLAT);
    }

    /// A symmetric triangle that stands on its base, ragged like a conifer when `roughness` is above 0.
    #[allow(clippy::too_many_arguments)]
    pub fn cone(&mut self, cx: f32, top: f32, base: f32, half: f32, colour: Rgb, roughness: f32, seed: u32) {
        let Some((ya, yb)) = self.touched(top, base) else { return };
        for y in ya..yb {
            let t = ((y as f32 + 0.5 - top) / (base - top)).clamp(0.0, 1.0);
            let ragged = 1.0 - 0.5 * roughness * grain(y as i32, 0, seed);
            let tone = 1.0 - 0.4 * roughness * grain(y as i32 / 2, 3, seed);
            let w = half * t * ragged;
            self.rect(cx - w, y as f32, cx + w, y as f32 + 1.0, scale(colour, tone), 1.0);
        }
    }

    /// A filled convex polygon; two scan lines a pixel row keep slanting edges smooth.
    pub fn polygon(&mut self, corners: &[(f32, f32)], colour: Rgb) {
        let (mut top, mut bottom) = (f32::MAX, f32::MIN);
        for &(_, y) in corners {
            top = top.min(y);
            bottom = bottom.max(y);
        }
        let Some((ya, yb)) = self.touched(top, bottom) else { return };
        let span = |at: f32| {
            let (mut left, mut right) = (f32::MAX, f32::MIN);
            for i in 0..corners.len() {
                let ((x0, y0), (x1, y1)) = (corners[i], corners[(i + 1) % corners.len()]);
                if (y0 <= at) != (y1 <= at) {
                    let x = x0 + (x1 - x0) * (at - y0) / (y1 - y0);
                    left = left.min(x);
                    right = right.max(x);
                }
            }
            (left, right)
        };
        for y in ya..yb {
            let (upper, lower) = (span(y as f32 + 0.25), span(y as f32 + 0.75));
            let Some((xa, xb)) = self.touched(upper.0.min(lower.0), upper.1.max(lower.1)) else { continue };
            for x in xa..xb {
                let part = |(l, r): (f32, f32)| ((x as f32 + 1.0).min(r) - (x as f32).max(l)).max(0.0);
                self.mix(x, y, colour, 0.5 * (part(upper) + part(lower)));
            }
        }
    }
}
