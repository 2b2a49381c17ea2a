//! Smooth random fields over the globe: what makes one region look unlike the next.
//!
//! Value noise on a lattice in three dimensions, sampled on the sphere, so that there is no seam and no pole. Ten
//! *regional* fields (lattice 250-400 km, three of them 700-1,200 km) colour what every view shows; each place adds a
//! *local* deviation of half a regional standard deviation, which is what keeps a single look from giving the position
//! away. Two *continental* fields (1,500 km) shape the buildings.

use homing_models::geo::{EARTH_RADIUS_KM, LatLon};

use crate::hash::{fold, unit};

/// How many regional fields there are.
pub const REGIONAL: usize = 10;

/// Names and lattice constants (km) of the regional fields, in the order of [`Fields::regional`].
pub const REGIONAL_FIELDS: [(&str, f64); REGIONAL] = [
    ("soil hue", 700.0),
    ("soil tone", 300.0),
    ("verge hue", 300.0),
    ("shoulder hue", 400.0),
    ("wall hue", 900.0),
    ("asphalt tone", 250.0),
    ("kerb hue", 250.0),
    ("fence hue", 300.0),
    ("foliage hue", 1200.0),
    ("ridge hue", 300.0),
];

/// Lattice of the local deviation in km: two sites of a town deviate almost independently.
const LOCAL_KM: f64 = 0.8;
/// The local deviation's share of a regional field's standard deviation (see the difficulty calibration).
const LOCAL_SHARE: f32 = 0.5;

/// The fields at one position, each roughly uniform in 0..1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fields {
    /// Without the local deviation: the truth that a test regresses from pixels.
    pub regional: [f32; REGIONAL],
    /// With the local deviation: what the pictures are painted with.
    pub local: [f32; REGIONAL],
    /// Continental: how tall houses are.
    pub storeys: f32,
    /// Continental: how modern windows and facades are.
    pub modern: f32,
}

impl Fields {
    /// The fields at a position.
    pub fn at(position: LatLon) -> Self {
        let p = position.unit();
        let mut regional = [0.0; REGIONAL];
        let mut local = [0.0; REGIONAL];
        for (i, (_, km)) in REGIONAL_FIELDS.iter().enumerate() {
            let seed = 1020 + i as u64;
            let value = (fractal(p, *km, seed) - 0.5) * 1.9 + 0.5;
            // Both have a standard deviation near 0.25 before the share is taken.
            let deviation = (noise3(scaled(p, LOCAL_KM), seed ^ 0x5107) - 0.5) * 1.5;
            regional[i] = value.clamp(0.0, 1.0);
            local[i] = (value + LOCAL_SHARE * deviation).clamp(0.0, 1.0);
        }
        let continental = |seed| ((fractal(p, 1500.0, seed) - 0.5) * 2.2 + 0.5).clamp(0.0, 1.0);
        Fields { regional, local, storeys: continental(2001), modern: continental(2002) }
    }
}

fn scaled(p: [f64; 3], km: f64) -> [f64; 3] {
    p.map(|c| c * EARTH_RADIUS_KM / km)
}

/// Two octaves of value noise with lattice constant `km`, mean one half.
fn fractal(p: [f64; 3], km: f64, seed: u64) -> f32 {
    0.72 * noise3(scaled(p, km), seed) + 0.28 * noise3(scaled(p, km / 2.7), seed ^ 77)
}

/// Value noise in 0..1: hashed corners, smoothly interpolated.
pub fn noise3(p: [f64; 3], seed: u64) -> f32 {
    let cell = p.map(f64::floor);
    let t = [0, 1, 2].map(|i| {
        let t = (p[i] - cell[i]) as f32;
        t * t * (3.0 - 2.0 * t)
    });
    let corner = |dx: i64, dy: i64, dz: i64| {
        let key = fold(fold(seed, (cell[0] as i64 + dx) as u64), (cell[1] as i64 + dy) as u64);
        unit(fold(key, (cell[2] as i64 + dz) as u64))
    };
    let lerp = |a: f32, b: f32, t: f32| a + (b - a) * t;
    let edge = |dy, dz| lerp(corner(0, dy, dz), corner(1, dy, dz), t[0]);
    lerp(lerp(edge(0, 0), edge(1, 0), t[1]), lerp(edge(0, 1), edge(1, 1), t[1]), t[2])
}

/// Value noise in 0..1 in the plane, for textures: fast, 32-bit.
#[inline]
pub fn noise2(x: f32, y: f32, seed: u32) -> f32 {
    let (i, j) = (x.floor(), y.floor());
    let (u, v) = (x - i, y - j);
    let (u, v) = (u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v));
    let (i, j) = (i as i32, j as i32);
    let (a, b) = (grain(i, j, seed), grain(i + 1, j, seed));
    let (c, d) = (grain(i, j + 1, seed), grain(i + 1, j + 1, seed));
    let (top, bottom) = (a + (b - a) * u, c + (d - c) * u);
    top + (bottom - top) * v
}

/// A hash of a lattice point in 0..1: fast, 32-bit, for textures only.
#[inline]
pub fn grain(x: i32, y: i32, seed: u32) -> f32 {
    let mut h =
        (x as u32).wrapping_mul(0x8da6_b343) ^ (y as u32).wrapping_mul(0xd816_3841) ^ seed.wrapping_mul(0x9e37_79b1);
    h ^= h >> 15;
    h = h.wrapping_mul(0x2c1b_3c6d);
    h ^= h >> 12;
    (h.wrapping_mul(0x297a_2d39) >> 8) as f32 / 16_777_216.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lat: f64, lon: f64) -> LatLon {
        LatLon::new(lat, lon).unwrap()
    }

    #[test]
    fn fields_are_smooth_varied_and_seamless() {
        let mut sums = [(0.0f64, 0.0f64); REGIONAL];
        let n = 4000;
        for i in 0..n {
            // Far apart, so that the values are independent.
            let p = at(-60.0 + 120.0 * (i % 50) as f64 / 50.0, -180.0 + 4.5 * (i / 50) as f64);
            for (sum, v) in sums.iter_mut().zip(Fields::at(p).regional) {
                *sum = (sum.0 + v as f64, sum.1 + (v as f64).powi(2));
            }
        }
        for (i, (s, q)) in sums.iter().enumerate() {
            let (mean, n) = (s / n as f64, n as f64);
            let sigma = (q / n - mean * mean).sqrt();
            assert!((mean - 0.5).abs() < 0.05 && (0.22..0.28).contains(&sigma), "field {i}: {mean} {sigma}");
        }
        let (a, b) = (Fields::at(at(10.0, 179.9999)).regional, Fields::at(at(10.0, -179.9999)).regional);
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.01), "no seam at the antimeridian");
    }

    #[test]
    fn local_deviation_is_half_a_regional_sigma() {
        let mut squares = 0.0;
        let n = 3000;
        for i in 0..n {
            let f = Fields::at(at(0.013 * i as f64, 10.0 + 0.017 * i as f64));
            squares += (0..REGIONAL).map(|k| (f.local[k] - f.regional[k]).powi(2)).sum::<f32>() / REGIONAL as f32;
        }
        let sigma = (squares / n as f32).sqrt();
        assert!((0.1..0.14).contains(&sigma), "local sigma {sigma}");
    }
}
