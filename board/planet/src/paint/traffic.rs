//! Cars: a body and a cabin with wheels, lamps and plates where they belong.

use super::canvas::Canvas;
use super::colour::{blend, scale};
use super::upright::{Upright, polygon};
use super::view::View;
use crate::country::Rgb;
use crate::scene::{Object, Scene};

const GLASS: Rgb = [0.14, 0.17, 0.21];
const TYRE: Rgb = [0.06, 0.06, 0.06];

/// A car that drives our way (`ours`) or towards us.
pub(super) fn car(scene: &Scene, view: &View, object: &Object, paint: Rgb, ours: bool, canvas: &mut Canvas) {
    let (f, r, h) = (object.forward, object.right, object.height);
    let (half_length, half_width) = (2.1, 0.9);
    let bonnet = 0.6 * h;
    let ahead = f > 0.0;
    // We see the tail of what drives away from us and the face of what comes.
    let tail = ours == ahead;
    let end = if ahead { f - half_length } else { f + half_length };
    let near_side = if r > 0.0 { r - half_width } else { r + half_width };
    let beside = r.abs() > half_width;
    let cabin = 1.15;
    let cabin_end = if ahead { f - cabin } else { f + cabin };
    let z = view.spot(f, r).z.max(1.0);

    if beside {
        let side =
            Upright { from: (f - half_length, near_side), to: (f + half_length, near_side), low: 0.12, high: bonnet };
        side.paint(view, canvas, |s, height, _, z| {
            let wheel = |at: f32| ((s - at).powi(2) + (height - 0.3).powi(2)) < 0.1;
            (view.lit(if wheel(0.8) || wheel(3.4) { TYRE } else { scale(paint, 0.92) }, z), 1.0)
        });
    }
    let hood = [
        (f - half_length, r - half_width, bonnet),
        (f + half_length, r - half_width, bonnet),
        (f + half_length, r + half_width, bonnet),
        (f - half_length, r + half_width, bonnet),
    ];
    polygon(view, canvas, &hood, view.lit(scale(paint, 1.05), z));
    let plate = if tail { scene.facts.plate_rear } else { scene.facts.plate_front };
    let plate_half: f32 = if scene.facts.plate_long { 0.34 } else { 0.22 };
    let plate_height: f32 = if scene.facts.plate_long { 0.09 } else { 0.14 };
    let face = Upright { from: (end, r - half_width), to: (end, r + half_width), low: 0.05, high: bonnet };
    face.paint(view, canvas, |s, height, m, z| {
        let x = s - half_width;
        let lamp = x.abs() > 0.52 && (0.55 * bonnet..0.9 * bonnet).contains(&height);
        if lamp {
            let colour = if tail { [0.86, 0.08, 0.06] } else { [0.98, 0.97, 0.86] };
            let lit = blend(view.lit(colour, z), view.glowing(colour, z), if tail { 0.4 } else { 0.6 });
            return (lit, 1.0);
        }
        let at_plate = x.abs() < plate_half.max(0.4 * m) && (height - 0.42).abs() < plate_height.max(0.4 * m);
        let wheel = x.abs() > 0.62 && height < 0.3;
        let grille = !tail && x.abs() < 0.5 && (0.55..0.8).contains(&height);
        let colour = if at_plate {
            plate
        } else if wheel {
            TYRE
        } else if grille {
            [0.1; 3]
        } else {
            paint
        };
        let gap = if height < 0.15 && !wheel { 0.5 } else { 1.0 };
        (view.lit(colour, z), gap)
    });
    if beside {
        let side = Upright { from: (f - cabin, near_side), to: (f + cabin, near_side), low: bonnet, high: h };
        side.paint(view, canvas, |s, height, _, z| {
            let pane = height < h - 0.1 && (0.12..2.18).contains(&s) && (s - 1.15).abs() > 0.06;
            (view.lit(if pane { GLASS } else { paint }, z), 1.0)
        });
    }
    let screen = Upright { from: (cabin_end, r - 0.8), to: (cabin_end, r + 0.8), low: bonnet, high: h };
    screen.paint(view, canvas, |s, height, _, z| {
        let pane = height < h - 0.1 && (0.1..1.5).contains(&s);
        (view.lit(if pane { GLASS } else { scale(paint, 0.95) }, z), 1.0)
    });
}
