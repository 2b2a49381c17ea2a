//! Roads: every piece of land has some, and everything along them is a function of where it stands.
//!
//! The globe is cut into tiles of about 22 km. Inside a tile the ground is taken as flat (metres east and north of the
//! tile's centre); parallel straight roads run through it at a hashed angle. A point is given in *road coordinates*: `u`
//! metres along the road and `v` metres to its right. Whatever stands by the road is drawn from a hash of tile, road and
//! slot of `u`, so a vehicle that passes twice passes the same houses.

use homing_models::geo::{EARTH_RADIUS_KM, LatLon};

use crate::hash::{fold, mix, unit};

/// Height of a tile in degrees.
const TILE_DEG: f64 = 0.2;
const METRES_PER_DEG: f64 = EARTH_RADIUS_KM * 1000.0 * std::f64::consts::PI / 180.0;

/// A tile and its local frame.
#[derive(Clone, Copy, Debug)]
struct Tile {
    key: u64,
    centre: (f64, f64),
    metres_per_lon: f64,
    /// Direction of the roads, radians clockwise from north.
    direction: f64,
    /// Distance between neighbouring roads in metres.
    spacing: f64,
}

impl Tile {
    fn at(position: LatLon) -> Self {
        let rows = (180.0 / TILE_DEG) as i64;
        let row = (((position.lat() + 90.0) / TILE_DEG).floor() as i64).clamp(0, rows - 1);
        let lat = -90.0 + (row as f64 + 0.5) * TILE_DEG;
        let columns = (360.0 * lat.to_radians().cos() / TILE_DEG).round().max(1.0);
        let column = ((position.lon() + 180.0) / 360.0 * columns).floor().rem_euclid(columns);
        let lon = -180.0 + (column + 0.5) * 360.0 / columns;
        let key = fold(mix(row as u64), column as u64);
        Tile {
            key,
            centre: (lat, lon),
            metres_per_lon: METRES_PER_DEG * lat.to_radians().cos(),
            direction: unit(fold(key, 1)) as f64 * std::f64::consts::TAU,
            spacing: 140.0 + 120.0 * unit(fold(key, 2)) as f64,
        }
    }

    /// Road coordinates relative to the tile's centre.
    fn to_road(self, position: LatLon) -> (f64, f64) {
        let mut dlon = position.lon() - self.centre.1;
        if dlon.abs() > 180.0 {
            dlon -= 360.0 * dlon.signum();
        }
        let (east, north) = (dlon * self.metres_per_lon, (position.lat() - self.centre.0) * METRES_PER_DEG);
        let (sin, cos) = self.direction.sin_cos();
        (east * sin + north * cos, east * cos - north * sin)
    }

    fn to_position(self, (u, v): (f64, f64)) -> LatLon {
        let (sin, cos) = self.direction.sin_cos();
        let (east, north) = (u * sin + v * cos, u * cos - v * sin);
        LatLon::wrapped(self.centre.0 + north / METRES_PER_DEG, self.centre.1 + east / self.metres_per_lon)
    }
}

/// A place on a road: which road, how far along it, and which way the vehicle looks.
#[derive(Clone, Copy, Debug)]
pub struct OnRoad {
    tile: Tile,
    /// Hash that names the road; the key of everything beside it.
    pub key: u64,
    /// Metres along the road from the tile's middle.
    pub u: f64,
    /// Where the road runs: metres to the right of the tile's centre.
    v: f64,
    /// True when the vehicle drives towards growing `u`.
    pub forward: bool,
}

impl OnRoad {
    /// The nearest road, driven in whichever of its two directions is closer to `heading_deg`.
    pub fn nearest(position: LatLon, heading_deg: f64) -> Self {
        let tile = Tile::at(position);
        let (u, v) = tile.to_road(position);
        let nearest = (v / tile.spacing).round();
        let other_side = nearest + (v / tile.spacing - nearest).signum();
        // At a tile's border the nearest road may already lie in the next tile: then the road on the other side.
        let inside = |index: &f64| Tile::at(tile.to_position((u, index * tile.spacing))).key == tile.key;
        let index = [nearest, other_side].into_iter().find(inside).unwrap_or(nearest);
        let key = fold(tile.key, 16 + (index as i64 + 4096) as u64);
        let forward = (heading_deg.to_radians() - tile.direction).cos() >= 0.0;
        OnRoad { tile, key, u, v: index * tile.spacing, forward }
    }

    /// The position on the road's centre line.
    pub fn position(&self) -> LatLon {
        self.tile.to_position((self.u, self.v))
    }

    /// The vehicle's heading, 0..360 degrees clockwise from north.
    pub fn heading_deg(&self) -> f64 {
        let along = self.tile.direction.to_degrees();
        (if self.forward { along } else { along + 180.0 }).rem_euclid(360.0)
    }

    /// Hash of the tile: what the distant terrain is drawn from.
    pub fn tile_key(&self) -> u64 {
        self.tile.key
    }
}

/// The nearest point on a road and the heading (degrees) of the road's first direction there.
pub fn snap(position: LatLon) -> (LatLon, f64) {
    let on = OnRoad::nearest(position, Tile::at(position).direction.to_degrees());
    (on.position(), on.heading_deg())
}

/// Drives `metres` on along the road network: straight on, and onto the best aligned road where a road ends.
pub fn ahead(position: LatLon, heading_deg: f64, metres: f64) -> (LatLon, f64) {
    let mut on = OnRoad::nearest(position, heading_deg);
    let mut left = metres;
    while left > 0.0 {
        let step = left.min(500.0);
        on.u += if on.forward { step } else { -step };
        on = OnRoad::nearest(on.position(), on.heading_deg());
        left -= step;
    }
    (on.position(), on.heading_deg())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somewhere() -> Vec<LatLon> {
        [(48.2, 16.37), (-33.9, 151.2), (64.1, -21.9), (0.1, 179.95), (-0.01, -179.99), (1.3, 103.8)]
            .map(|(a, b)| LatLon::new(a, b).unwrap())
            .to_vec()
    }

    #[test]
    fn snapping_is_near_and_settles() {
        for p in somewhere() {
            let (a, heading) = snap(p);
            assert!(p.distance_km(a) < 0.27, "{p} to {a}");
            let (b, again) = snap(a);
            assert!(a.distance_km(b) < 1e-6 && (heading - again).abs() < 1e-9);
        }
    }

    #[test]
    fn driving_five_metres_moves_five_metres_along_the_same_road() {
        for p in somewhere() {
            let (a, heading) = snap(p);
            let (b, after) = ahead(a, heading, 5.0);
            assert!((a.distance_km(b) * 1000.0 - 5.0).abs() < 0.05, "{p}");
            assert_eq!(OnRoad::nearest(a, heading).key, OnRoad::nearest(b, after).key);
            assert!((a.bearing_deg(b) - heading + 540.0).rem_euclid(360.0) - 180.0 < 1.0);
        }
    }
}
