//! How densely a position is peopled, from the places around it.
//!
//! Seven tenths of a place's inhabitants live in its *town*: a disc with density `4P/(pi R^2) (1 - d^2/R^2)^3` at
//! distance `d` (the integral over the disc is `P`), radius `R = 3.6 km (P / 10,000)^0.3`: about 400 per km2 in the
//! middle of a village of 1,000, 1,000 in a town of 10,000, 16,000 in a city of ten millions. The rest, and those
//! of the country's inhabitants that no place counts (shared out by the square root of the places' size), live in
//! the *countryside*: spread on a 1/4 degree grid with a binomial kernel (standard deviation a cell) and read
//! bilinearly. Both parts are continuous in the position; the towns' part is twice differentiable.

use homing_models::{LatLon, geo::EARTH_RADIUS_KM};

use crate::gazetteer::Gazetteer;

/// Cells of a degree.
const CELLS: f64 = 4.0;
const ROWS: usize = 720;
const COLUMNS: usize = 1440;
/// Share of a place's inhabitants that live in its town.
const TOWN: f32 = 0.7;
/// Overlapping suburbs are counted more than once; nowhere is denser than this.
const DENSEST_KM2: f32 = 45_000.0;

/// A town's disc.
#[derive(Clone, Copy)]
struct Disc {
    lat: f32,
    lon: f32,
    /// Kilometres a degree of longitude at the town.
    km_per_lon: f32,
    radius2: f32,
    centre_km2: f32,
}

pub(crate) struct Population {
    discs: Vec<Disc>,
    /// Discs that touch each cell: `cells[starts[c]..starts[c + 1]]`.
    starts: Vec<u32>,
    cells: Vec<u32>,
    countryside: Vec<f32>,
}

fn km_per_lat() -> f32 {
    EARTH_RADIUS_KM.to_radians() as f32
}

impl Population {
    /// `inhabitants` of each country of the table.
    pub(crate) fn new(gazetteer: &Gazetteer, inhabitants: &[u32]) -> Self {
        let mut counted = vec![0f64; inhabitants.len()];
        let mut roots = vec![0f64; inhabitants.len()];
        let places = || (0..gazetteer.len() as u32).map(|i| gazetteer.position_and_people(i));
        for (_, people, country) in places() {
            counted[country] += f64::from(people);
            roots[country] += f64::from(people).sqrt();
        }
        let mut discs = Vec::with_capacity(gazetteer.len());
        let mut grid = vec![0f32; ROWS * COLUMNS];
        for (p, people, country) in places() {
            let radius = 3.6 * (people.max(1) as f32 / 10_000.0).powf(0.3);
            discs.push(Disc {
                lat: p.lat() as f32,
                lon: p.lon() as f32,
                km_per_lon: km_per_lat() * (p.lat().to_radians().cos() as f32).max(0.01),
                radius2: radius * radius,
                centre_km2: TOWN * people as f32 * 4.0 / (std::f32::consts::PI * radius * radius),
            });
            let elsewhere = (f64::from(inhabitants[country]) - counted[country]).max(0.0);
            let share = f64::from(people).sqrt() / roots[country].max(1.0);
            let row = (((90.0 - p.lat()) * CELLS) as usize).min(ROWS - 1);
            let column = ((p.lon() + 180.0) * CELLS) as usize % COLUMNS;
            grid[row * COLUMNS + column] += (1.0 - TOWN) * people as f32 + (elsewhere * share) as f32;
        }
        let (starts, cells) = index(&discs);
        Population { discs, starts, cells, countryside: spread(grid) }
    }

    /// Inhabitants per square kilometre.
    pub(crate) fn at(&self, p: LatLon) -> f32 {
        let (lat, lon) = (p.lat() as f32, p.lon() as f32);
        let cell = cell_of(p.lat(), p.lon());
        let mut density = self.countryside(p);
        for &disc in &self.cells[self.starts[cell] as usize..self.starts[cell + 1] as usize] {
            let d = &self.discs[disc as usize];
            let mut dlon = lon - d.lon;
            if dlon.abs() > 180.0 {
                dlon -= 360.0 * dlon.signum();
            }
            let (x, y) = (dlon * d.km_per_lon, (lat - d.lat) * km_per_lat());
            let inside = 1.0 - (x * x + y * y) / d.radius2;
            if inside > 0.0 {
                density += d.centre_km2 * inside * inside * inside;
            }
        }
        density / (1.0 + density / DENSEST_KM2)
    }

    fn countryside(&self, p: LatLon) -> f32 {
        let y = ((90.0 - p.lat()) * CELLS - 0.5).clamp(0.0, ROWS as f64 - 1.001);
        let x = ((p.lon() + 180.0) * CELLS - 0.5).rem_euclid(COLUMNS as f64);
        let (row, column) = (y as usize, x as usize);
        let (fy, fx) = ((y - row as f64) as f32, (x - column as f64) as f32);
        let across = |r: usize| {
            let row = &self.countryside[r * COLUMNS..(r + 1) * COLUMNS];
            row[column % COLUMNS] * (1.0 - fx) + row[(column + 1) % COLUMNS] * fx
        };
        across(row) * (1.0 - fy) + across(row + 1) * fy
    }
}

fn cell_of(lat: f64, lon: f64) -> usize {
    let row = (((90.0 - lat) * CELLS) as usize).min(ROWS - 1);
    row * COLUMNS + ((lon + 180.0) * CELLS) as usize % COLUMNS
}

/// Lists for each cell the discs that touch it.
fn index(discs: &[Disc]) -> (Vec<u32>, Vec<u32>) {
    let touched = |d: &Disc| {
        let radius = d.radius2.sqrt();
        let (dlat, dlon) = (radius / km_per_lat() * 1.01, radius / d.km_per_lon * 1.05);
        let row = |lat: f32| ((f64::from(90.0 - lat) * CELLS).max(0.0) as usize).min(ROWS - 1);
        let west = (f64::from(d.lon - dlon + 180.0) * CELLS).floor() as i64;
        let east = (f64::from(d.lon + dlon + 180.0) * CELLS).floor() as i64;
        let columns = west..=east.min(west + COLUMNS as i64 - 1);
        (row(d.lat + dlat)..=row(d.lat - dlat))
            .flat_map(move |r| columns.clone().map(move |c| r * COLUMNS + c.rem_euclid(COLUMNS as i64) as usize))
    };
    let mut starts = vec![0u32; ROWS * COLUMNS + 1];
    for d in discs {
        touched(d).for_each(|cell| starts[cell + 1] += 1);
    }
    for cell in 0..ROWS * COLUMNS {
        starts[cell + 1] += starts[cell];
    }
    let mut fill = starts.clone();
    let mut cells = vec![0u32; starts[ROWS * COLUMNS] as usize];
    for (i, d) in discs.iter().enumerate() {
        for cell in touched(d) {
            cells[fill[cell] as usize] = i as u32;
            fill[cell] += 1;
        }
    }
    (starts, cells)
}

/// Blurs a grid of heads with the binomial kernel 1 4 6 4 1 in both directions and divides by the cells' areas.
fn spread(grid: Vec<f32>) -> Vec<f32> {
    const KERNEL: [f32; 5] = [1.0 / 16.0, 4.0 / 16.0, 6.0 / 16.0, 4.0 / 16.0, 1.0 / 16.0];
    let mut across = vec![0f32; grid.len()];
    for (from, to) in grid.chunks_exact(COLUMNS).zip(across.chunks_exact_mut(COLUMNS)) {
        if from.iter().any(|&v| v > 0.0) {
            for (column, value) in to.iter_mut().enumerate() {
                *value = (0..5).map(|k| KERNEL[k] * from[(column + COLUMNS + k - 2) % COLUMNS]).sum();
            }
        }
    }
    let mut out = vec![0f32; grid.len()];
    for row in 0..ROWS {
        let lat = 90.0 - (row as f64 + 0.5) / CELLS;
        let side = EARTH_RADIUS_KM.to_radians() / CELLS;
        let area = (side * side * lat.to_radians().cos()) as f32;
        for (k, weight) in KERNEL.iter().enumerate() {
            let source = (row + k).saturating_sub(2).min(ROWS - 1) * COLUMNS;
            let to = &mut out[row * COLUMNS..(row + 1) * COLUMNS];
            to.iter_mut().zip(&across[source..source + COLUMNS]).for_each(|(t, s)| *t += weight * s / area);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::{LatLon, Planet};

    fn density(lat: f64, lon: f64) -> f32 {
        Planet::get().population_km2(LatLon::new(lat, lon).unwrap())
    }

    #[test]
    fn cities_towns_and_deserts() {
        assert!(density(48.8566, 2.3522) > 8_000.0, "Paris {}", density(48.8566, 2.3522));
        assert!(density(19.076, 72.8777) > 10_000.0, "Mumbai {}", density(19.076, 72.8777));
        assert!((300.0..6_000.0).contains(&density(50.9787, 11.0328)), "Erfurt {}", density(50.9787, 11.0328));
        assert!((15.0..400.0).contains(&density(44.9, 0.55)), "Dordogne {}", density(44.9, 0.55));
        assert!(density(23.5, 10.0) < 2.0, "Sahara {}", density(23.5, 10.0));
    }

    #[test]
    fn smooth_in_the_position() {
        // 20 m steps through Tokyo's outskirts and across the antimeridian near Fiji: no step of 3 %.
        for (lat, lon) in [(35.6, 139.0), (-16.8, 179.9)] {
            let along: Vec<f32> = (0..2000)
                .map(|i| Planet::get().population_km2(LatLon::wrapped(lat, lon + f64::from(i) * 2e-4)))
                .collect();
            assert!(along.windows(2).all(|w| (w[1] - w[0]).abs() <= 0.03 * w[0].max(w[1]) + 0.05));
        }
    }
}
