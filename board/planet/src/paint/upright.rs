//! Vertical surfaces (walls, fences, signs, the sides of cars) and flat polygons in space, in perspective.

use super::canvas::Canvas;
use super::view::{CAMERA_HEIGHT_M, NEAR_M, Spot, View};
use crate::country::Rgb;

/// Colour and opacity of a point of a surface.
pub(super) type Ink = (Rgb, f32);

/// A vertical rectangle between two places (metres ahead, metres right) from `low` to `high` metres above the road.
pub(super) struct Upright {
    pub from: (f32, f32),
    pub to: (f32, f32),
    pub low: f32,
    pub high: f32,
}

impl Upright {
    /// Paints it with `ink(s, h, m, z)`: `s` metres along from `from`, `h` metres above the road, `m` metres that a pixel
    /// covers there, `z` metres deep. `ink` gives the final colour, light and haze included.
    pub fn paint(&self, view: &View, canvas: &mut Canvas, mut ink: impl FnMut(f32, f32, f32, f32) -> Ink) {
        let (mut a, mut b) = (view.spot(self.from.0, self.from.1), view.spot(self.to.0, self.to.1));
        let length = ((b.x - a.x).powi(2) + (b.z - a.z).powi(2)).sqrt();
        let (mut s_a, mut s_b) = (0.0, length);
        if a.z < NEAR_M && b.z < NEAR_M || length < 1e-3 {
            return;
        }
        let cut = |p: Spot, q: Spot| {
            let t = (NEAR_M - p.z) / (q.z - p.z);
            (Spot { x: p.x + (q.x - p.x) * t, z: NEAR_M }, t)
        };
        if a.z < NEAR_M {
            let (spot, t) = cut(a, b);
            (a, s_a) = (spot, length * t);
        } else if b.z < NEAR_M {
            let (spot, t) = cut(a, b);
            (b, s_b) = (spot, length * t);
        }
        let (mut xa, mut xb) = (view.column(a), view.column(b));
        if xa > xb {
            (xa, xb) = (xb, xa);
            (a, b) = (b, a);
            (s_a, s_b) = (s_b, s_a);
        }
        let first = xa.max(0.0) as usize;
        let last = (xb.min(view.size).ceil().max(0.0)) as usize;
        let (dx, dz) = (b.x - a.x, b.z - a.z);
        for x in first..last.min(canvas.size) {
            let cover = (x as f32 + 1.0).min(xb) - (x as f32).max(xa);
            if cover <= 0.0 {
                continue;
            }
            // The ray through the column's middle meets the wall's foot line at share t of its length.
            let ray = ((x as f32 + 0.5).clamp(xa, xb) - view.size * 0.5) / view.focal;
            let slope = dx - ray * dz;
            let t = if slope.abs() < 1e-6 { 0.5 } else { ((ray * a.z - a.x) / slope).clamp(0.0, 1.0) };
            let z = a.z + t * dz;
            let s = s_a + t * (s_b - s_a);
            let metres = z / view.focal;
            let size = canvas.size;
            let (y0, y1) = (view.row(z, self.high), view.row(z, self.low));
            if !(y1 > 0.0 && y0 < size as f32) {
                continue;
            }
            for y in y0.max(0.0) as usize..(y1.min(size as f32).ceil() as usize) {
                let part = (y as f32 + 1.0).min(y1) - (y as f32).max(y0);
                if part <= 0.0 {
                    continue;
                }
                let height = CAMERA_HEIGHT_M - ((y as f32 + 0.5).clamp(y0, y1) - view.horizon) * metres;
                let (colour, opacity) = ink(s, height, metres, z);
                canvas.mix(x, y, colour, opacity * cover * part);
            }
        }
    }
}

/// A flat polygon given by corners (metres ahead, metres right, metres above the road), in one colour.
pub(super) fn polygon(view: &View, canvas: &mut Canvas, corners: &[(f32, f32, f32)], colour: Rgb) {
    let eye = |&(forward, right, height): &(f32, f32, f32)| (view.spot(forward, right), height);
    let mut points: heapless::Vec<(f32, f32), 12> = heapless::Vec::new();
    for (i, corner) in corners.iter().enumerate() {
        let ((p, ph), (q, qh)) = (eye(corner), eye(&corners[(i + 1) % corners.len()]));
        let mut push = |spot: Spot, h: f32| {
            // At most two points an edge, and no caller has more than five edges.
            let _ = points.push((view.column(spot), view.row(spot.z, h)));
        };
        if p.z >= NEAR_M {
            push(p, ph);
        }
        if (p.z >= NEAR_M) != (q.z >= NEAR_M) {
            let t = (NEAR_M - p.z) / (q.z - p.z);
            push(Spot { x: p.x + (q.x - p.x) * t, z: NEAR_M }, ph + (qh - ph) * t);
        }
    }
    if points.len() >= 3 {
        canvas.polygon(&points, colour);
    }
}
