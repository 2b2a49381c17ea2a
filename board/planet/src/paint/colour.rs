//! Colour arithmetic, three channels 0..1.

use crate::country::Rgb;

/// `a` at 0, `b` at 1.
#[inline]
pub(crate) fn blend(a: Rgb, b: Rgb, t: f32) -> Rgb {
    let t = t.clamp(0.0, 1.0);
    [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t]
}

#[inline]
pub(crate) fn scale(a: Rgb, k: f32) -> Rgb {
    [a[0] * k, a[1] * k, a[2] * k]
}

/// Hue (turns), saturation and value.
pub(crate) fn hsv(hue: f32, saturation: f32, value: f32) -> Rgb {
    let h = hue.rem_euclid(1.0) * 6.0;
    [5.0, 3.0, 1.0].map(|n| {
        let q = (n + h) % 6.0;
        value - value * saturation * q.min(4.0 - q).clamp(0.0, 1.0)
    })
}

/// A piecewise linear gradient through equally spaced stops.
pub(crate) fn gradient(stops: &[Rgb], t: f32) -> Rgb {
    let last = stops.len() - 1;
    let q = t.clamp(0.0, 1.0) * last as f32;
    let i = (q as usize).min(last.saturating_sub(1));
    blend(stops[i], stops[(i + 1).min(last)], q - i as f32)
}

/// 0 below `low`, 1 above `high`, smooth between.
pub(crate) fn ramp(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}
