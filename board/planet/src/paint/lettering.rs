//! Lettering that looks like a script from a moving car: not to be read, but told apart by its strokes.

use crate::country::Script;
use crate::field::grain;

/// How the strokes of a script are laid out.
#[derive(Clone, Copy)]
enum Strokes {
    /// Stems with bars: Latin and its kin.
    Stems,
    /// Paired stems with crossbars.
    Paired,
    /// Dense squares of horizontals and verticals.
    Square,
    /// Squares with open, slanting strokes between.
    Mixed,
    /// A ring, a stem and a bar.
    Blocks,
    /// A joined base line with dots.
    Joined,
    /// Square letters hanging from a bar at the upper right.
    Hooks,
    /// A head line with letters hanging from it.
    Headline,
    /// Rings and loops.
    Rings,
    /// Tall loops with stems.
    Loops,
}

fn strokes(script: Script) -> Strokes {
    use Script::*;
    match script {
        Latin | Greek | Armenian => Strokes::Stems,
        Cyrillic | Ethiopic => Strokes::Paired,
        Han => Strokes::Square,
        Kana => Strokes::Mixed,
        Hangul => Strokes::Blocks,
        Arabic | Thaana => Strokes::Joined,
        Hebrew => Strokes::Hooks,
        Devanagari | Bengali | Tibetan => Strokes::Headline,
        Tamil | Sinhala | Burmese | Georgian => Strokes::Rings,
        Thai | Lao | Khmer => Strokes::Loops,
    }
}

/// How much ink lies at a point of a line of writing: `x` in letter widths, `y` from 0 (top of the line) to 1 (bottom).
///
/// `letters_per_px` tells how coarse the picture is: below half a letter a pixel the strokes run into a grey.
pub(super) fn ink(script: Script, x: f32, y: f32, letters_per_px: f32, seed: u32) -> f32 {
    if !(0.0..1.0).contains(&y) || x < 0.0 {
        return 0.0;
    }
    let strokes = strokes(script);
    if letters_per_px > 0.7 {
        return match strokes {
            Strokes::Square | Strokes::Mixed | Strokes::Blocks => 0.5,
            Strokes::Joined => {
                if y > 0.55 && y < 0.8 {
                    0.8
                } else {
                    0.15
                }
            }
            Strokes::Headline => {
                if y < 0.3 {
                    0.8
                } else {
                    0.35
                }
            }
            _ => 0.4,
        };
    }
    let letter = x.floor() as i32;
    let fx = x - x.floor();
    let chance = |k: i32, p: f32| grain(letter, k, seed) < p;
    let ring = |cx: f32, cy: f32, r: f32| {
        let d = ((fx - cx).powi(2) + (y - cy).powi(2)).sqrt();
        d < r && d > 0.5 * r
    };
    let hit = match strokes {
        Strokes::Stems => {
            !chance(9, 0.14)
                && (fx < 0.24 && y > 0.05
                    || chance(1, 0.6) && y < 0.2 && fx < 0.75
                    || chance(2, 0.5) && y > 0.8 && fx < 0.75
                    || chance(3, 0.5) && (0.4..0.6).contains(&y) && fx < 0.7
                    || chance(4, 0.4) && (0.52..0.75).contains(&fx))
        }
        Strokes::Paired => {
            !chance(9, 0.12)
                && (fx < 0.22
                    || (0.58..0.8).contains(&fx)
                    || fx < 0.8 && if chance(1, 0.65) { (0.4..0.6).contains(&y) } else { y < 0.2 })
        }
        Strokes::Square => {
            fx < 0.9
                && ((0..3).any(|k| chance(k, 0.8) && (y - 0.12 - 0.36 * k as f32).abs() < 0.08)
                    || (fx - 0.25 - 0.4 * grain(letter, 5, seed)).abs() < 0.08
                    || chance(7, 0.5) && fx < 0.12)
        }
        Strokes::Mixed => {
            if chance(8, 0.35) {
                fx < 0.9 && ((y - 0.3).abs() < 0.08 || (y - 0.75).abs() < 0.08 || (fx - 0.45).abs() < 0.08)
            } else {
                (fx - 0.75 * y).abs() < 0.1 || ring(0.55, 0.65, 0.28)
            }
        }
        Strokes::Blocks => {
            ring(0.3, 0.3, 0.27) || (fx - 0.74).abs() < 0.07 && y < 0.62 || (y - 0.8).abs() < 0.08 && fx < 0.85
        }
        Strokes::Joined => {
            (0.58..0.76).contains(&y)
                || chance(1, 0.4) && fx < 0.17 && y < 0.7
                || chance(2, 0.5)
                    && (fx - 0.5).abs() < 0.12
                    && (y - if chance(3, 0.5) { 0.3 } else { 0.92 }).abs() < 0.08
        }
        Strokes::Hooks => {
            fx < 0.8 && (y < 0.22 || fx > 0.58 || chance(1, 0.4) && y > 0.78 || chance(2, 0.3) && fx < 0.2)
        }
        Strokes::Headline => y < 0.16 || (fx - 0.58).abs() < 0.08 || chance(1, 0.7) && ring(0.28, 0.55, 0.24),
        Strokes::Rings => {
            ring(0.4, 0.5, if chance(1, 0.5) { 0.4 } else { 0.3 }) || chance(2, 0.4) && (fx - 0.85).abs() < 0.07
        }
        Strokes::Loops => {
            ring(0.22, 0.24, 0.2)
                || (fx - 0.18).abs() < 0.08 && y > 0.25
                || (fx - 0.68).abs() < 0.08 && y > 0.15
                || chance(1, 0.5) && y < 0.1 && fx < 0.6
        }
    };
    if hit { 0.95 } else { 0.0 }
}
