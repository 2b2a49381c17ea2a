//! Positions on the sphere and the great-circle arithmetic between them.
//!
//! Everything is computed on a sphere of the mean Earth radius, as the poster's Equation 1 does; nothing
//! treats degrees as plane coordinates, so the poles and the antimeridian need no special case.

use std::fmt;

use geo::{Bearing, Destination, Distance, Haversine, Point};
use serde::{Deserialize, Serialize};

/// Mean Earth radius in kilometres (IUGG), the radius of every distance in this project.
pub const EARTH_RADIUS_KM: f64 = 6371.0088;

/// A position in degrees, latitude first. Always finite and in range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Degrees", into = "Degrees")]
pub struct LatLon {
    lat: f64,
    lon: f64,
}

/// The coordinates given are no position on Earth.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("latitude {lat}, longitude {lon} is not on Earth: need -90..=90 and -180..=180 degrees")]
pub struct OutOfRange {
    /// The latitude that was given, in degrees.
    pub lat: f64,
    /// The longitude that was given, in degrees.
    pub lon: f64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Degrees {
    lat: f64,
    lon: f64,
}

impl TryFrom<Degrees> for LatLon {
    type Error = OutOfRange;
    fn try_from(d: Degrees) -> Result<Self, OutOfRange> {
        LatLon::new(d.lat, d.lon)
    }
}

impl From<LatLon> for Degrees {
    fn from(p: LatLon) -> Self {
        Degrees { lat: p.lat, lon: p.lon }
    }
}

impl LatLon {
    /// A position from outside: refuses NaN, infinities and anything beyond +-90 / +-180 degrees.
    pub fn new(lat: f64, lon: f64) -> Result<Self, OutOfRange> {
        if lat.abs() <= 90.0 && lon.abs() <= 180.0 { Ok(LatLon { lat, lon }) } else { Err(OutOfRange { lat, lon }) }
    }

    /// A position from our own finite arithmetic: clamps the latitude, wraps the longitude.
    ///
    /// # Panics
    /// In debug builds, when a coordinate is not finite.
    pub fn wrapped(lat: f64, lon: f64) -> Self {
        debug_assert!(lat.is_finite() && lon.is_finite());
        let lon = if lon.abs() <= 180.0 { lon } else { (lon + 180.0).rem_euclid(360.0) - 180.0 };
        LatLon { lat: lat.clamp(-90.0, 90.0), lon }
    }

    /// Latitude in degrees, north positive.
    pub fn lat(self) -> f64 {
        self.lat
    }

    /// Longitude in degrees, east positive.
    pub fn lon(self) -> f64 {
        self.lon
    }

    /// The point on the unit sphere: x towards (0, 0), y towards (0, 90 E), z towards the north pole.
    pub fn unit(self) -> [f64; 3] {
        let (sin_lat, cos_lat) = self.lat.to_radians().sin_cos();
        let (sin_lon, cos_lon) = self.lon.to_radians().sin_cos();
        [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat]
    }

    /// The position below a vector of any length but zero (`None` for zero or a non-finite vector).
    pub fn from_unit([x, y, z]: [f64; 3]) -> Option<Self> {
        let length = (x * x + y * y + z * z).sqrt();
        (length > 1e-12 && length.is_finite())
            .then(|| LatLon::wrapped((z / length).asin().to_degrees(), y.atan2(x).to_degrees()))
    }

    /// Great-circle distance in kilometres (haversine, poster Equation 1).
    pub fn distance_km(self, other: Self) -> f64 {
        Haversine.distance(Point::from(self), Point::from(other)) / 1000.0
    }

    /// Initial great-circle bearing towards `other`, 0..360 degrees clockwise from north.
    pub fn bearing_deg(self, other: Self) -> f64 {
        Haversine.bearing(Point::from(self), Point::from(other)).rem_euclid(360.0)
    }

    /// The position `distance_km` away in the direction `bearing_deg` (clockwise from north).
    pub fn destination(self, bearing_deg: f64, distance_km: f64) -> Self {
        let p = Haversine.destination(Point::from(self), bearing_deg, distance_km * 1000.0);
        LatLon::wrapped(p.y(), p.x())
    }
}

impl From<LatLon> for Point {
    fn from(p: LatLon) -> Self {
        Point::new(p.lon, p.lat)
    }
}

impl fmt::Display for LatLon {
    /// `48.85661 N 2.35222 E`: five decimals, about a metre.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ns, ew) = (if self.lat < 0.0 { 'S' } else { 'N' }, if self.lon < 0.0 { 'W' } else { 'E' });
        write!(f, "{:.5} {ns} {:.5} {ew}", self.lat.abs(), self.lon.abs())
    }
}

/// The mean of positions on the unit sphere; `None` when there are none or they cancel out.
pub fn centroid(positions: impl IntoIterator<Item = LatLon>) -> Option<LatLon> {
    let mut sum = [0.0; 3];
    for p in positions {
        let u = p.unit();
        (0..3).for_each(|i| sum[i] += u[i]);
    }
    LatLon::from_unit(sum)
}

/// Great-circle distance in kilometres between two unit vectors, by their chord: exact for short distances.
pub fn unit_distance_km(a: [f64; 3], b: [f64; 3]) -> f64 {
    let chord = ((a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2) + (a[2] - b[2]).powi(2)).sqrt();
    2.0 * EARTH_RADIUS_KM * (chord / 2.0).min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lat: f64, lon: f64) -> LatLon {
        LatLon::new(lat, lon).unwrap()
    }

    #[test]
    fn known_distances() {
        // Quarter meridian of the mean sphere, and Paris-London by haversine.
        assert!((at(0.0, 0.0).distance_km(at(90.0, 0.0)) - EARTH_RADIUS_KM * std::f64::consts::FRAC_PI_2).abs() < 1e-6);
        assert!((at(48.8566, 2.3522).distance_km(at(51.5074, -0.1278)) - 343.56).abs() < 0.05);
    }

    #[test]
    fn the_antimeridian_and_the_poles_are_ordinary_places() {
        assert!((at(0.0, 179.9).distance_km(at(0.0, -179.9)) - 22.239).abs() < 0.01);
        let c = centroid([at(10.0, 179.0), at(10.0, -179.0)]).unwrap();
        assert!((c.lon().abs() - 180.0).abs() < 1e-9);
        assert!((centroid([at(89.0, 0.0), at(89.0, 180.0)]).unwrap().lat() - 90.0).abs() < 1e-9);
        assert_eq!(centroid([at(0.0, 0.0), at(0.0, 180.0)]), None);
    }

    #[test]
    fn chord_and_haversine_agree() {
        for (a, b) in [(at(1.0, 2.0), at(1.0001, 2.0001)), (at(-70.0, 170.0), at(60.0, -20.0))] {
            assert!((unit_distance_km(a.unit(), b.unit()) - a.distance_km(b)).abs() < 1e-6);
        }
    }

    #[test]
    fn what_is_not_on_earth_is_refused() {
        for (lat, lon) in [(90.1, 0.0), (0.0, 180.1), (f64::NAN, 0.0), (0.0, f64::INFINITY)] {
            assert!(LatLon::new(lat, lon).is_err());
        }
    }
}
