//! When a picture is taken: the date, the hour, the weather and the passing traffic. All that is not fixed to the ground.

use std::f32::consts::{PI, TAU};

use homing_models::LatLon;

use crate::Planet;
use crate::hash::{Rng, fold};

/// What the sky does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// Cloud cover, 0 clear to 1 overcast.
    pub cloud: f32,
    /// Fog, 0 none to 1 some tens of metres of sight.
    pub fog: f32,
    /// Rain, 0 none to 1 heavy.
    pub rain: f32,
    /// Share of the ground under snow, 0 to 1.
    pub snow: f32,
}

/// A moment at a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Day of the year, 0 to 365 (0 is the first of January).
    pub day: f32,
    /// Local solar time in hours, 0 to 24.
    pub hour: f32,
    /// The weather.
    pub weather: Weather,
    /// What the traffic and the camera's noise are drawn from.
    pub seed: u64,
}

/// Where the sun stands, in radians.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sun {
    /// Above the horizon.
    pub elevation: f32,
    /// Clockwise from north.
    pub azimuth: f32,
}

impl Moment {
    /// A moment as pictures are usually taken: any season, mostly by day, in the climate's own weather.
    pub fn draw(planet: &Planet, position: LatLon, rng: &mut Rng) -> Self {
        let day = rng.range(0.0, 365.0);
        // One picture in fifty at any hour of the clock, the rest around noon.
        let hour = if rng.chance(0.02) { rng.range(0.0, 24.0) } else { (12.0 + 2.2 * rng.normal()).clamp(5.0, 19.5) };
        Moment::weathered(planet, position, day, hour, rng.u64())
    }

    /// A given day and hour (local solar time), with weather drawn from the climate by `seed`.
    pub fn weathered(planet: &Planet, position: LatLon, day: f32, hour: f32, seed: u64) -> Self {
        let mut rng = Rng::new(fold(seed, 0x7ea7));
        let climate = planet.climate(position);
        let month = month_of(day);
        let wet = (climate.precipitation_mm_day[month] / 4.0).clamp(0.0, 1.0);
        let cold = climate.temperature_c[month] + 3.0 * rng.normal();
        let cloud = (0.15 + 0.55 * wet.sqrt() + 0.3 * rng.normal()).clamp(0.0, 1.0);
        let rain = if cloud > 0.6 && rng.chance(0.35 * wet) { rng.range(0.2, 1.0) } else { 0.0 };
        let fog = if rng.chance(0.05) { rng.range(0.2, 0.7) } else { 0.0 };
        let snow =
            if cold < -1.0 && rng.chance((0.2 + wet) * ((-cold) / 8.0).min(1.0)) { rng.range(0.4, 1.0) } else { 0.0 };
        Moment { day, hour, weather: Weather { cloud, fog, rain, snow }, seed }
    }

    /// Month, 0 (January) to 11.
    pub fn month(&self) -> usize {
        month_of(self.day)
    }

    /// The sun's place in the sky (declination by the cosine rule, within a degree; no equation of time).
    pub fn sun(&self, position: LatLon) -> Sun {
        let declination = -0.4091 * ((self.day + 10.0) / 365.0 * TAU).cos();
        let hour_angle = (self.hour - 12.0) * PI / 12.0;
        let (sin_lat, cos_lat) = (position.lat() as f32).to_radians().sin_cos();
        let (sin_d, cos_d) = declination.sin_cos();
        let elevation = (sin_lat * sin_d + cos_lat * cos_d * hour_angle.cos()).clamp(-1.0, 1.0).asin();
        let azimuth = (-hour_angle.sin() * cos_d).atan2(sin_d * cos_lat - cos_d * sin_lat * hour_angle.cos());
        Sun { elevation, azimuth: azimuth.rem_euclid(TAU) }
    }

    /// How far into summer the hemisphere is: +1 midsummer, -1 midwinter.
    pub fn season(&self, position: LatLon) -> f32 {
        -((self.day + 10.0) / 365.0 * TAU).cos() * position.lat().signum() as f32
    }

    /// How far the leaves have turned, 0 to 1: at its height in mid-October in the north, mid-April in the south.
    pub fn autumn(&self, position: LatLon) -> f32 {
        let height = if position.lat() >= 0.0 { 288.0 } else { 106.0 };
        (1.0 - (self.day - height).abs() / 32.0).max(0.0)
    }
}

fn month_of(day: f32) -> usize {
    ((day / 365.0 * 12.0) as usize).min(11)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: f32, hour: f32) -> Moment {
        Moment { day, hour, weather: Weather { cloud: 0.0, fog: 0.0, rain: 0.0, snow: 0.0 }, seed: 1 }
    }

    #[test]
    fn the_sun_stands_where_it_should() {
        let quito = LatLon::new(0.0, -78.5).unwrap();
        let equinox = at(80.0, 12.0).sun(quito);
        assert!(equinox.elevation.to_degrees() > 88.0);
        // Midsummer noon in Oslo (59.9 N): 90 - 59.9 + 23.4 degrees, due south.
        let oslo = LatLon::new(59.9, 10.7).unwrap();
        let noon = at(172.0, 12.0).sun(oslo);
        assert!((noon.elevation.to_degrees() - 53.5).abs() < 1.0 && (noon.azimuth.to_degrees() - 180.0).abs() < 1.0);
        // Morning sun in the east; the southern hemisphere's noon sun in the north.
        assert!((60.0..120.0).contains(&at(80.0, 7.0).sun(quito).azimuth.to_degrees()));
        let sydney = at(10.0, 12.0).sun(LatLon::new(-33.9, 151.2).unwrap());
        assert!(sydney.azimuth.to_degrees() < 5.0 || sydney.azimuth.to_degrees() > 355.0);
        assert!(at(355.0, 0.0).sun(oslo).elevation < 0.0, "night at midnight");
    }

    #[test]
    fn seasons_swap_hemispheres() {
        let (north, south) = (LatLon::new(45.0, 0.0).unwrap(), LatLon::new(-45.0, 0.0).unwrap());
        assert!(at(172.0, 12.0).season(north) > 0.95 && at(172.0, 12.0).season(south) < -0.95);
    }
}
