//! Pictures of geocells: land in the colour of the cell it belongs to, and each sample a dot in the full colour.

use std::num::NonZero;

use homing_models::LatLon;
use homing_models::geocells::Geocells;
use image::{Rgb, RgbImage};
use kiddo::{ImmutableKdTree, SquaredEuclidean};
use rayon::prelude::*;

use crate::canvas::write;

/// The part of the world that a map shows. A window may reach over the antimeridian.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Northern edge, degrees.
    pub north: f64,
    /// Southern edge, degrees.
    pub south: f64,
    /// Western edge, degrees.
    pub west: f64,
    /// Extent to the east, degrees, up to 360.
    pub width_deg: f64,
}

impl Window {
    /// The inhabited world.
    pub const WORLD: Window = Window { north: 80.0, south: -57.0, west: -180.0, width_deg: 360.0 };
    /// Western Europe, where cells are dense.
    pub const EUROPE: Window = Window { north: 58.0, south: 36.0, west: -10.0, width_deg: 36.0 };
}

const SEA: [u8; 3] = [214, 226, 236];
const LAND: [u8; 3] = [248, 246, 240];
const BORDER: [u8; 3] = [150, 150, 150];

/// Twelve colours that are told apart on the colour of land.
const COLOURS: [[u8; 3]; 12] = [
    [31, 119, 180],
    [214, 39, 40],
    [44, 160, 44],
    [148, 103, 189],
    [255, 127, 14],
    [23, 190, 207],
    [140, 86, 75],
    [227, 119, 194],
    [90, 90, 90],
    [188, 170, 20],
    [10, 60, 120],
    [120, 190, 90],
];

/// A colour index for each cell, such that nearby cells differ.
pub fn colours(geocells: &Geocells) -> Vec<usize> {
    // Neighbours: cells of the nearest samples of other cells would be exact; nearest centroids are as good to the eye.
    const NEAREST: NonZero<usize> = NonZero::new(10).unwrap();
    let units = geocells.centroid_units();
    let Ok(tree) = ImmutableKdTree::<f64, 3>::new_from_slice(units) else { return Vec::new() };
    let mut neighbours = vec![Vec::new(); units.len()];
    for (i, unit) in units.iter().enumerate() {
        for near in tree.query(unit).nearest_n::<SquaredEuclidean<f64>>(NEAREST).execute() {
            let j = near.item as usize;
            if i != j {
                neighbours[i].push(j);
                neighbours[j].push(i);
            }
        }
    }
    let mut chosen = vec![usize::MAX; units.len()];
    for i in 0..units.len() {
        let mut uses = [0; COLOURS.len()];
        neighbours[i].iter().map(|&j| chosen[j]).filter(|&k| k < COLOURS.len()).for_each(|k| uses[k] += 1);
        // Start at another colour each time, so that the whole palette is used.
        let by_use = |k: &usize| (uses[*k], (*k + COLOURS.len() - i % COLOURS.len()) % COLOURS.len());
        chosen[i] = (0..COLOURS.len()).min_by_key(by_use).unwrap_or(0);
    }
    chosen
}

/// Draws a window of the world, `width_px` wide, degrees as plane coordinates stretched for the middle latitude.
///
/// `rings` are closed outlines of land. A point at the centroid of each cell is shown when `centroids` is set.
pub fn draw<'r>(
    geocells: &Geocells,
    rings: impl Iterator<Item = &'r [LatLon]> + Clone,
    window: Window,
    width_px: u32,
    centroids: bool,
) -> RgbImage {
    let middle = f64::midpoint(window.north, window.south).to_radians().cos();
    let scale = f64::from(width_px) / window.width_deg;
    let height_px = ((window.north - window.south) * scale / middle.max(0.5)).round() as u32;
    let mut map = Map { image: RgbImage::from_pixel(width_px, height_px, Rgb(SEA)), window };
    rings.clone().for_each(|ring| map.fill(ring));
    let colours = colours(geocells);
    // A position belongs to the cell of the nearest sample, on either side of a border: this is what a model answers.
    map.tint(|p| COLOURS[colours[geocells.cell_of(p).index()]]);
    rings.for_each(|ring| map.outline(ring));

    let radius = if scale > 20.0 { 2 } else { 1 };
    for site in geocells.sites() {
        map.dot(site.position, radius, COLOURS[colours[site.cell.index()]]);
    }
    if centroids {
        geocells.cells().iter().for_each(|c| map.dot(c.centroid, radius + 1, [0, 0, 0]));
    }
    let text = format!("{} geocells, {} samples", geocells.len(), geocells.sites().len());
    write(&mut map.image, &text, 8, 6, 18.0, [40, 40, 40]);
    map.image
}

struct Map {
    image: RgbImage,
    window: Window,
}

impl Map {
    /// Degrees east of the window's western edge, 0..360.
    fn east(&self, p: LatLon) -> f64 {
        (p.lon() - self.window.west).rem_euclid(360.0)
    }

    fn pixel(&self, lat: f64, east: f64) -> (f64, f64) {
        let w = self.window;
        let (width, height) = self.image.dimensions();
        (east / w.width_deg * f64::from(width), (w.north - lat) / (w.north - w.south) * f64::from(height))
    }

    /// The corners of a ring in pixels, unrolled so that no edge jumps by half the world.
    fn corners(&self, ring: &[LatLon]) -> Vec<(f64, f64)> {
        let mut east = ring.first().map_or(0.0, |p| self.east(*p));
        let unrolled = |p: &LatLon| {
            east += (self.east(*p) - east + 180.0).rem_euclid(360.0) - 180.0;
            self.pixel(p.lat(), east)
        };
        ring.iter().map(unrolled).collect()
    }

    /// Copies of a shape that lie a turn of the planet to either side.
    fn turns(&self) -> [f64; 3] {
        let turn = 360.0 / self.window.width_deg * f64::from(self.image.width());
        [-turn, 0.0, turn]
    }

    /// Fills a ring with the colour of land, row by row, by the even-odd rule.
    fn fill(&mut self, ring: &[LatLon]) {
        let corners = self.corners(ring);
        let turns = self.turns();
        let edges = || corners.iter().zip(corners.iter().cycle().skip(1));
        let top = corners.iter().map(|c| c.1).fold(f64::INFINITY, f64::min).max(0.0) as u32;
        let bottom = corners.iter().map(|c| c.1).fold(0.0, f64::max) as u32;
        for y in top..(bottom + 1).min(self.image.height()) {
            let middle = f64::from(y) + 0.5;
            let mut crossings: Vec<f64> = edges()
                .filter(|(a, b)| (a.1 <= middle) != (b.1 <= middle))
                .map(|(a, b)| a.0 + (middle - a.1) / (b.1 - a.1) * (b.0 - a.0))
                .collect();
            crossings.sort_by(f64::total_cmp);
            for (pair, turn) in crossings.chunks_exact(2).flat_map(|pair| turns.map(|turn| (pair, turn))) {
                let from = (pair[0] + turn).round().max(0.0) as u32;
                let to = (pair[1] + turn).round().clamp(0.0, f64::from(self.image.width())) as u32;
                (from..to).for_each(|x| self.image.put_pixel(x, y, Rgb(LAND)));
            }
        }
    }

    /// Colours the land lightly.
    fn tint(&mut self, colour: impl Fn(LatLon) -> [u8; 3] + Sync) {
        let (w, (width, height)) = (self.window, self.image.dimensions());
        let rows = self.image.par_chunks_exact_mut(3 * width as usize);
        rows.enumerate().for_each(|(y, row)| {
            let lat = w.north - (y as f64 + 0.5) / f64::from(height) * (w.north - w.south);
            for (x, pixel) in row.chunks_exact_mut(3).enumerate().filter(|(_, pixel)| **pixel == LAND) {
                let lon = w.west + (x as f64 + 0.5) / f64::from(width) * w.width_deg;
                let full = colour(LatLon::wrapped(lat, lon));
                pixel.iter_mut().zip(full).for_each(|(p, f)| *p = ((3 * u16::from(*p) + 2 * u16::from(f)) / 5) as u8);
            }
        });
    }

    fn outline(&mut self, ring: &[LatLon]) {
        let (corners, turns) = (self.corners(ring), self.turns());
        for (a, b) in corners.iter().zip(corners.iter().skip(1)) {
            let steps = (b.0 - a.0).abs().max((b.1 - a.1).abs()).ceil().max(1.0);
            for (i, turn) in (0..=steps as u32).flat_map(|i| turns.map(|turn| (i, turn))) {
                let t = f64::from(i) / steps;
                self.put(a.0 + (b.0 - a.0) * t + turn, a.1 + (b.1 - a.1) * t, BORDER);
            }
        }
    }

    fn dot(&mut self, p: LatLon, radius: i32, colour: [u8; 3]) {
        let (x, y) = self.pixel(p.lat(), self.east(p));
        for (dx, dy) in (-radius..=radius).flat_map(|dx| (-radius..=radius).map(move |dy| (dx, dy))) {
            if dx * dx + dy * dy <= radius * radius {
                self.put(x + f64::from(dx), y + f64::from(dy), colour);
            }
        }
    }

    fn put(&mut self, x: f64, y: f64, colour: [u8; 3]) {
        if x >= 0.0
            && y >= 0.0
            && let Some(pixel) = self.image.get_pixel_mut_checked(x as u32, y as u32)
        {
            *pixel = Rgb(colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use homing_models::CellId;
    use homing_models::geocells::{Cell, LabelledSite};

    use super::*;

    fn at(lat: f64, lon: f64) -> LatLon {
        LatLon::new(lat, lon).unwrap()
    }

    fn grid() -> Geocells {
        let positions: Vec<LatLon> = (0..400).map(|i| at(f64::from(i / 20), 170.0 + f64::from(i % 20) / 2.0)).collect();
        let cell = |p: &LatLon| Cell {
            centroid: *p,
            country: *b"AA",
            place: String::new(),
            admin1: String::new(),
            samples: 1,
        };
        let site = |(i, p): (usize, &LatLon)| LabelledSite { position: *p, cell: CellId(i as u32) };
        let sites = positions.iter().enumerate().map(site).collect();
        Geocells::new(positions.iter().map(cell).collect(), sites).unwrap()
    }

    #[test]
    fn near_cells_have_different_colours() {
        let geocells = grid();
        let colours = colours(&geocells);
        let pairs = (0..400).flat_map(|i| (0..i).map(move |j| (i, j)));
        let close =
            pairs.filter(|&(i, j)| geocells.cells()[i].centroid.distance_km(geocells.cells()[j].centroid) < 112.0);
        assert!(close.into_iter().all(|(i, j)| colours[i] != colours[j]));
    }

    #[test]
    fn land_is_filled_over_the_antimeridian() {
        let land = [at(-10.0, 170.0), at(10.0, 170.0), at(10.0, -170.0), at(-10.0, -170.0), at(-10.0, 170.0)];
        let window = Window { north: 20.0, south: -20.0, west: 160.0, width_deg: 40.0 };
        let one = Geocells::new(vec![grid().cells()[0].clone()], Vec::new()).unwrap();
        let image = draw(&one, [&land[..]].into_iter(), window, 400, false);
        assert_ne!(image.get_pixel(200, image.height() / 2).0, SEA, "180 degrees");
        assert_eq!(image.get_pixel(40, image.height() / 2).0, SEA);
        // The same land seen from the other side of the world map, cut in two.
        let image = draw(&one, [&land[..]].into_iter(), Window::WORLD, 720, false);
        let y = (80.0 / 137.0 * f64::from(image.height())) as u32;
        assert!(image.get_pixel(5, y).0 != SEA && image.get_pixel(714, y).0 != SEA);
        assert_eq!(image.get_pixel(360, y).0, SEA);
    }
}
