//! What the four winds bring to each place: moisture from the sea, less what fell on the way, and how much of the
//! way led over land. Computed once from outlines and elevation on a grid of 1/2 degree.

use homing_models::{LatLon, geo::EARTH_RADIUS_KM};

use crate::elevation::Elevation;
use crate::outline::Outlines;

const ROWS: usize = 360;
const COLUMNS: usize = 720;
const CELLS: f64 = 2.0;
/// Over the sea, dry air takes up moisture on this length.
const RECHARGE_KM: f32 = 350.0;
/// Over land it loses it on this length ...
const LOSS_KM: f32 = 1500.0;
/// ... down to what plants and soil give back ...
const RECYCLED: f32 = 0.42;
/// ... and on climbing this height.
const LOSS_M: f32 = 2600.0;
/// Length over which the way over land is remembered.
const MEMORY_KM: f32 = 800.0;

/// What arrives at a place with the winds from the west, east, south and north, in this order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Winds {
    /// Moisture, 0 dry .. 1 as over the open sea.
    pub(crate) moisture: [f32; 4],
    /// Share of land on the way, 0..1, fading over 800 km.
    pub(crate) land: [f32; 4],
}

pub(crate) struct WindMap(Vec<Winds>);

impl WindMap {
    pub(crate) fn new(outlines: &Outlines, elevation: &Elevation) -> Self {
        let mut land = vec![false; ROWS * COLUMNS];
        for (row, spans) in outlines.land_spans(ROWS).iter().enumerate() {
            for span in spans.chunks_exact(2) {
                let column = |lon: f32| (((f64::from(lon) + 180.0) * CELLS + 0.5) as usize).min(COLUMNS);
                land[row * COLUMNS + column(span[0])..row * COLUMNS + column(span[1])].fill(true);
            }
        }
        let centre = |row: usize, column: usize| {
            let lat = 90.0 - (row as f64 + 0.5) / CELLS;
            LatLon::wrapped(lat, (column as f64 + 0.5) / CELLS - 180.0)
        };
        let height: Vec<f32> = (0..ROWS * COLUMNS)
            .map(|i| if land[i] { elevation.at(centre(i / COLUMNS, i % COLUMNS)).max(0.0) } else { 0.0 })
            .collect();
        let mut map = vec![Winds { moisture: [0.5; 4], land: [0.5; 4] }; ROWS * COLUMNS];
        let side = (EARTH_RADIUS_KM.to_radians() / CELLS) as f32;
        let mut blow = |wind: usize, cells: &mut dyn Iterator<Item = usize>, km: f32| {
            let step = Step {
                recharge: 1.0 - (-km / RECHARGE_KM).exp(),
                loss: (-km / LOSS_KM).exp(),
                fade: (-km / MEMORY_KM).exp(),
            };
            let mut air = Air { moisture: 0.7, land: 0.5, height: 0.0 };
            for cell in cells {
                air.pass(&step, land[cell], height[cell]);
                map[cell].moisture[wind] = air.moisture;
                map[cell].land[wind] = air.land;
            }
        };
        for row in 0..ROWS {
            let lat = 90.0 - (row as f64 + 0.5) / CELLS;
            let km = side * lat.to_radians().cos() as f32;
            // Twice around the Earth, so that the beginning does not matter.
            let cell = |i: usize| row * COLUMNS + i % COLUMNS;
            blow(0, &mut (0..2 * COLUMNS).map(cell), km);
            blow(1, &mut (0..2 * COLUMNS).rev().map(cell), km);
        }
        for column in 0..COLUMNS {
            blow(2, &mut (0..ROWS).rev().map(|row| row * COLUMNS + column), side);
            blow(3, &mut (0..ROWS).map(|row| row * COLUMNS + column), side);
        }
        WindMap(map)
    }

    /// Bilinear between the cells' centres.
    pub(crate) fn at(&self, p: LatLon) -> Winds {
        let y = ((90.0 - p.lat()) * CELLS - 0.5).clamp(0.0, ROWS as f64 - 1.001);
        let x = ((p.lon() + 180.0) * CELLS - 0.5).rem_euclid(COLUMNS as f64);
        let (row, column) = (y as usize, x as usize);
        let (fy, fx) = ((y - row as f64) as f32, (x - column as f64) as f32);
        let mut out = Winds { moisture: [0.0; 4], land: [0.0; 4] };
        for (r, c, weight) in [
            (row, column, (1.0 - fy) * (1.0 - fx)),
            (row, column + 1, (1.0 - fy) * fx),
            (row + 1, column, fy * (1.0 - fx)),
            (row + 1, column + 1, fy * fx),
        ] {
            let cell = &self.0[r * COLUMNS + c % COLUMNS];
            for wind in 0..4 {
                out.moisture[wind] += weight * cell.moisture[wind];
                out.land[wind] += weight * cell.land[wind];
            }
        }
        out
    }
}

/// How the air changes on its way through one cell.
struct Step {
    recharge: f32,
    loss: f32,
    fade: f32,
}

struct Air {
    moisture: f32,
    land: f32,
    height: f32,
}

impl Air {
    fn pass(&mut self, step: &Step, land: bool, height: f32) {
        if land {
            self.moisture = RECYCLED + (self.moisture - RECYCLED) * step.loss;
            self.moisture *= (-(height - self.height).max(0.0) / LOSS_M).exp();
        } else {
            self.moisture += (1.0 - self.moisture) * step.recharge;
        }
        self.height = height;
        self.land = self.land * step.fade + if land { 1.0 - step.fade } else { 0.0 };
    }
}
