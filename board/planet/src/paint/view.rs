//! The pinhole through which a scene is seen: metres around the vehicle to pixels.

use super::canvas::Shading;
use super::colour::blend;
use crate::camera::Camera;
use crate::country::Rgb;
use crate::scene::Scene;

/// Height of the cameras above the road in metres: a roof rack.
pub(crate) const CAMERA_HEIGHT_M: f32 = 2.2;
/// Nothing nearer than this is painted.
pub(crate) const NEAR_M: f32 = 0.6;

/// One camera's geometry and light.
pub(crate) struct View {
    pub size: f32,
    /// Focal length in pixels.
    pub focal: f32,
    /// Row of the horizon.
    pub horizon: f32,
    pub sin: f32,
    pub cos: f32,
    /// Compass direction of the view, radians.
    pub azimuth: f32,
    pub light: Light,
}

/// Light on everything and haze before it.
pub(crate) struct Light {
    pub zenith: Rgb,
    pub haze: Rgb,
    /// Brightness and tint of lit surfaces.
    pub tint: Rgb,
    /// Share of direct sunlight, 0 overcast or night to 1.
    pub direct: f32,
    /// 0 by day to 1 at night.
    pub night: f32,
    /// Distance at which haze takes 63 %.
    pub sight_m: f32,
    pub shading: Shading,
    pub sun_elevation: f32,
    pub cloud: f32,
}

/// A point in front of the camera: metres to the right and metres deep.
#[derive(Clone, Copy)]
pub(crate) struct Spot {
    pub x: f32,
    pub z: f32,
}

impl View {
    pub fn new(scene: &Scene, bearing_deg: f32, camera: &Camera) -> Self {
        let size = camera.size_px as f32;
        let focal = size / 2.0 / (camera.field_of_view_deg.to_radians() / 2.0).tan();
        let bearing = bearing_deg.to_radians();
        let azimuth = scene.heading + bearing;
        View {
            size,
            focal,
            horizon: size * 0.52 + focal * camera.pitch_deg.to_radians().tan(),
            sin: bearing.sin(),
            cos: bearing.cos(),
            azimuth,
            light: Light::new(scene, azimuth),
        }
    }

    /// From metres ahead of and right of the vehicle.
    #[inline]
    pub fn spot(&self, forward: f32, right: f32) -> Spot {
        Spot { x: right * self.cos - forward * self.sin, z: forward * self.cos + right * self.sin }
    }

    /// Pixels per metre at a depth.
    #[inline]
    pub fn per_metre(&self, z: f32) -> f32 {
        self.focal / z
    }

    #[inline]
    pub fn column(&self, spot: Spot) -> f32 {
        self.size * 0.5 + spot.x * self.focal / spot.z
    }

    /// Row of a height above the road at a depth.
    #[inline]
    pub fn row(&self, z: f32, height: f32) -> f32 {
        self.horizon + (CAMERA_HEIGHT_M - height) * self.focal / z
    }

    /// A lit surface at a depth, behind the haze.
    #[inline]
    pub fn lit(&self, colour: Rgb, z: f32) -> Rgb {
        let lit = self.light.on(colour);
        if z < 6.0 && self.light.sight_m > 200.0 {
            return lit;
        }
        blend(lit, self.light.haze, 1.0 - (-z / self.light.sight_m).exp())
    }

    /// A surface that shines by itself (lamps, headlights): no light needed, haze still applies.
    pub fn glowing(&self, colour: Rgb, z: f32) -> Rgb {
        blend(colour, self.light.haze, 0.5 * (1.0 - (-z / self.light.sight_m).exp()))
    }
}

impl Light {
    fn new(scene: &Scene, azimuth: f32) -> Self {
        let (sun, weather) = (scene.sun, scene.weather);
        let cloud = weather.cloud.max(0.9 * weather.fog);
        let night = ((-sun.elevation - 0.02) / 0.12).clamp(0.0, 1.0);
        let warm = (1.0 - (sun.elevation / 0.4).max(0.0)).clamp(0.0, 1.0) * (1.0 - night);
        let grey = 0.7 - 0.12 * weather.rain;
        let zenith = blend(blend([0.27, 0.45, 0.76], [0.34, 0.4, 0.58], warm), [0.9 * grey, 0.93 * grey, grey], cloud);
        let horizon = blend(
            blend([0.71, 0.8, 0.9], [0.94, 0.73, 0.52], warm * (1.0 - cloud)),
            [1.1 * grey, 1.12 * grey, 1.13 * grey],
            cloud,
        );
        let horizon = blend(horizon, [0.85, 0.77, 0.62], 0.25 * scene.biome.dry);
        let dark = [0.03, 0.035, 0.06];
        let direct = (1.0 - cloud) * (1.0 - night);
        let ambient = 0.46 + 0.2 * cloud - 0.1 * weather.rain;
        let brightness = (ambient + direct * (0.22 + 0.5 * sun.elevation.max(0.0).sin())) * (1.0 - 0.8 * night);
        let warmth = warm * direct;
        let fog = weather.fog + 0.25 * weather.rain;
        Light {
            zenith: blend(zenith, dark, 0.93 * night),
            haze: blend(horizon, [0.07, 0.07, 0.1], 0.9 * night),
            tint: [
                brightness * (1.0 + 0.1 * warmth),
                brightness * (1.0 - 0.05 * warmth),
                brightness * (1.0 - 0.22 * warmth),
            ],
            direct,
            night,
            sight_m: if fog > 0.01 { 900.0 / (1.0 + 22.0 * fog) } else { 900.0 },
            shading: Shading { right: (sun.azimuth - azimuth).sin(), up: 0.6, strength: 0.9 * direct },
            sun_elevation: sun.elevation,
            cloud,
        }
    }

    #[inline]
    pub fn on(&self, c: Rgb) -> Rgb {
        [c[0] * self.tint[0], c[1] * self.tint[1], c[2] * self.tint[2]]
    }
}
