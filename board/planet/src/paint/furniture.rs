//! What a road administration and a town put up: poles, lamps, posts, signs, shelters, towers.

use super::canvas::{Canvas, Shading};
use super::colour::{blend, scale};
use super::lettering;
use super::upright::Upright;
use super::view::View;
use crate::country::{Bollard, PoleKind, Rgb, Warning};
use crate::scene::{Object, Scene, SignFace};

const STEEL: Rgb = [0.48, 0.49, 0.51];
const RED: Rgb = [0.85, 0.1, 0.09];

pub(super) fn pole(scene: &Scene, view: &View, object: &Object, canvas: &mut Canvas) {
    let spot = view.spot(object.forward, object.right);
    let (k, x) = (view.per_metre(spot.z), view.column(spot));
    let row = |h: f32| view.row(spot.z, h);
    let wood = view.lit([0.4, 0.29, 0.2], spot.z);
    let concrete = view.lit([0.66, 0.65, 0.61], spot.z);
    let top = object.height;
    let mut bar = |half: f32, low: f32, high: f32, c: Rgb| {
        canvas.rect(x - half * k, row(high), x + half * k, row(low).max(row(high) + 0.6), c, 1.0);
    };
    match scene.facts.pole {
        PoleKind::WoodCrossbar => bar(1.0, top - 0.6, top - 0.4, wood),
        PoleKind::WoodDouble => {
            bar(0.85, top - 0.4, top - 0.2, wood);
            bar(0.7, top - 1.2, top - 1.0, wood);
        }
        PoleKind::Concrete => bar(0.3, top - 2.0, top - 1.0, view.lit([0.6, 0.6, 0.6], spot.z)),
        PoleKind::SteelLattice => {
            bar(0.5, top - 2.6, top - 2.4, concrete);
            bar(0.9, top - 0.3, top - 0.1, concrete);
        }
        PoleKind::Bracket => canvas.rect(x, row(top), x + 1.3 * k, row(top - 0.2), concrete, 1.0),
    }
    let (half, colour) = match scene.facts.pole {
        PoleKind::WoodCrossbar | PoleKind::WoodDouble => (0.14, wood),
        PoleKind::Concrete | PoleKind::Bracket => (0.17, concrete),
        PoleKind::SteelLattice => (0.26, blend(concrete, view.light.haze, 0.35)),
    };
    canvas.bar(x, half * k, row(top), row(0.0), colour);
}

pub(super) fn lamp(scene: &Scene, view: &View, object: &Object, canvas: &mut Canvas) {
    let spot = view.spot(object.forward, object.right);
    let (k, x, top, foot) =
        (view.per_metre(spot.z), view.column(spot), view.row(spot.z, object.height), view.row(spot.z, 0.0));
    canvas.bar(x, 0.1 * k, top, foot, view.lit([0.32, 0.33, 0.35], spot.z));
    let paint = view.lit(scene.town.lamp_colour, spot.z);
    let paint = blend(paint, view.glowing([1.0, 0.9, 0.62], spot.z), view.light.night);
    match scene.town.lamp {
        0 => canvas.disc((x, top), 0.5 * k, paint),
        1 => canvas.rect(x - 0.9 * k, top - 0.25 * k, x + 0.9 * k, top + 0.25 * k, paint, 1.0),
        // A banner in the town's colour.
        2 => canvas.rect(x, top + 0.3 * k, x + 0.9 * k, top + 2.8 * k, paint, 1.0),
        _ => {
            canvas.disc((x - 0.7 * k, top), 0.38 * k, paint);
            canvas.disc((x + 0.7 * k, top), 0.38 * k, paint);
        }
    }
}

pub(super) fn bollard(view: &View, object: &Object, post: &Bollard, canvas: &mut Canvas) {
    let spot = view.spot(object.forward, object.right);
    let (k, x) = (view.per_metre(spot.z), view.column(spot));
    let half = if post.slim { 0.07 } else { 0.13 } * k;
    let row = |share: f32| view.row(spot.z, share * object.height);
    canvas.bar(x, half, row(1.0), row(0.0), view.lit(post.body, spot.z));
    canvas.bar(x, half, row(0.85), row(0.58), view.lit(post.band, spot.z));
}

/// A sign seen from the front by the traffic it faces, as a grey back by the rest, edge-on hardly at all.
pub(super) fn sign(scene: &Scene, view: &View, object: &Object, face: SignFace, facing: f32, canvas: &mut Canvas) {
    let spot = view.spot(object.forward, object.right);
    if spot.z < 1.5 {
        return;
    }
    let (k, x) = (view.per_metre(spot.z), view.column(spot));
    canvas.bar(x, 0.06 * k, view.row(spot.z, object.height), view.row(spot.z, 0.0), view.lit(STEEL, spot.z));
    // The board's front looks against the driving direction of its readers.
    let front = object.forward * facing > 0.0;
    let (half, low, high) = match face {
        SignFace::Guide => (1.8, object.height - 1.2, object.height + 0.2),
        _ => (0.52, object.height - 0.95, object.height + 0.09),
    };
    let facts = &scene.facts;
    let script = facts.script;
    let board =
        Upright { from: (object.forward, object.right - half), to: (object.forward, object.right + half), low, high };
    // Seen from ahead, `right` runs to the left: lettering must still run from left to right.
    let mirrored = board_runs_left(view, &board);
    board.paint(view, canvas, |s, h, m, z| {
        let s = if mirrored { 2.0 * half - s } else { s };
        let (x, y) = (s / half - 1.0, 1.0 - 2.0 * (h - low) / (high - low));
        let (colour, opacity) = match face {
            SignFace::Guide => {
                let letter = 0.5;
                let line = (h - low - 0.12) / 0.6;
                let ink = lettering::ink(
                    script,
                    (s - 0.2) / (0.62 * letter),
                    1.0 - (line.fract() * 1.2),
                    m / (0.62 * letter),
                    object.seed ^ line as u32,
                );
                let rim = x.abs() > 0.95 || y.abs() > 0.9;
                let ink = if rim {
                    1.0
                } else if s > 2.0 * half - 0.25 {
                    0.0
                } else {
                    ink
                };
                (blend(facts.guide_sign.ground, facts.guide_sign.letters, ink), 1.0)
            }
            SignFace::Warning => warning(facts.warning, x, y),
            SignFace::Limit => {
                let r = (x * x + y * y).sqrt();
                let digit = y.abs() < 0.35 && (x.abs() - 0.25).abs() < 0.14;
                (
                    if r > 0.72 {
                        RED
                    } else if digit {
                        [0.08; 3]
                    } else {
                        [0.95; 3]
                    },
                    inside(1.0 - r),
                )
            }
            SignFace::Stop => {
                let r = x.abs().max(y.abs()).max((x.abs() + y.abs()) * 0.72);
                let band = y.abs() < 0.22 && x.abs() < 0.72;
                (if r > 0.88 || band { [0.95; 3] } else { RED }, inside(1.0 - r))
            }
        };
        (view.lit(if front { colour } else { STEEL }, z), opacity)
    });
}

fn board_runs_left(view: &View, board: &Upright) -> bool {
    let (a, b) = (view.spot(board.from.0, board.from.1), view.spot(board.to.0, board.to.1));
    a.x > b.x
}

fn inside(distance: f32) -> f32 {
    if distance >= 0.0 { 1.0 } else { 0.0 }
}

/// Warning signs: `x` and `y` from -1 to 1 over the board, `y` downwards.
fn warning(kind: Warning, x: f32, y: f32) -> (Rgb, f32) {
    let symbol = x.abs() < 0.13 && (-0.2..0.45).contains(&y);
    match kind {
        Warning::YellowDiamond => {
            let d = x.abs() + y.abs();
            (if symbol || d > 0.88 { [0.06; 3] } else { [0.98, 0.76, 0.06] }, inside(1.0 - d))
        }
        Warning::WhiteTriangle | Warning::YellowTriangle => {
            let edge = (0.5 * (y + 1.0) - x.abs()).min(1.0 - y);
            let ground = if kind == Warning::WhiteTriangle { [0.95, 0.95, 0.95] } else { [0.98, 0.8, 0.1] };
            (
                if symbol {
                    [0.06; 3]
                } else if edge < 0.2 {
                    RED
                } else {
                    ground
                },
                inside(edge),
            )
        }
    }
}

pub(super) fn shelter(scene: &Scene, view: &View, object: &Object, canvas: &mut Canvas) {
    let [roof, panel] = scene.town.shelter;
    let (f, r) = (object.forward, object.right);
    let wall = Upright { from: (f - 1.9, r), to: (f + 1.9, r), low: 0.0, high: object.height };
    wall.paint(view, canvas, |s, h, _, z| {
        if h > 0.82 * object.height {
            (view.lit(roof, z), 1.0)
        } else if !(0.2..3.6).contains(&s) || (0.3..1.2).contains(&h) {
            (view.lit(panel, z), 1.0)
        } else {
            (view.lit([0.6, 0.68, 0.72], z), 0.35)
        }
    });
    let side = Upright {
        from: (f - 1.9 * f.signum(), r),
        to: (f - 1.9 * f.signum(), r - 1.1 * (r + scene.road.lane).signum()),
        low: 0.0,
        high: object.height,
    };
    side.paint(view, canvas, |_, h, _, z| {
        (
            view.lit(if h > 0.82 * object.height { roof } else { panel }, z),
            if h > 0.3 * object.height { 1.0 } else { 0.0 },
        )
    });
}

/// The town's tower: seven shapes in two colours, seen above the roofs.
pub(super) fn tower(scene: &Scene, view: &View, object: &Object, canvas: &mut Canvas) {
    let spot = view.spot(object.forward, object.right);
    let (k, x) = (view.per_metre(spot.z), view.column(spot));
    let (foot, top) = (view.row(spot.z, 0.0), view.row(spot.z, object.height));
    let tall = foot - top;
    let paint = |c: Rgb| view.lit(c, spot.z);
    let (a, b) = (paint(scene.town.tower_colours[0]), paint(scene.town.tower_colours[1]));
    let w = 4.0 * k;
    match scene.town.tower {
        0 => {
            canvas.rect(x - w, top, x + w, foot, a, 1.0);
            canvas.cone(x, top - 2.0 * w, top, 1.2 * w, b, 0.0, 0);
        }
        1 => {
            canvas.rect(x - 0.6 * w, top, x + 0.6 * w, foot, a, 1.0);
            canvas.ellipse((x, top), (1.6 * w, 1.2 * w), b, 1.0, 0.0, 0, view.light.shading);
        }
        2 => {
            for i in 0..5 {
                let y = foot - tall * i as f32 / 5.0;
                canvas.rect(x - 0.8 * w, y - tall / 5.0, x + 0.8 * w, y, if i % 2 == 0 { a } else { b }, 1.0);
            }
        }
        3 => {
            for side in [-1.1, 1.1] {
                canvas.rect(x + (side - 0.5) * w, top + 0.2 * tall, x + (side + 0.5) * w, foot, a, 1.0);
                canvas.cone(x + side * w, top, top + 0.2 * tall, 0.6 * w, b, 0.0, 0);
            }
        }
        4 => {
            canvas.rect(x - w, top + 0.2 * tall, x + w, foot, a, 1.0);
            canvas.ellipse((x, top + 0.2 * tall), (1.3 * w, 1.3 * w), b, 1.0, 0.0, 0, Shading::FLAT);
        }
        5 => {
            canvas.cone(x, top, foot, 1.8 * w, a, 0.0, 0);
            canvas.rect(x - 1.3 * w, foot - 0.5 * tall, x + 1.3 * w, foot - 0.42 * tall, b, 1.0);
        }
        _ => {
            canvas.rect(x - 0.3 * w, top, x + 0.3 * w, foot, a, 1.0);
            canvas.rect(x - 1.5 * w, top, x + 1.5 * w, top + 0.15 * tall, scale(b, 1.0), 1.0);
        }
    }
}
