//! A scene: what stands around a vehicle at one place and moment, ready to be painted from any bearing.
//!
//! Everything fixed to the ground follows from the position alone (fields, climate, country, town, road slots);
//! only light, weather, season, traffic and the camera's noise follow from the [`Moment`].

mod biome;
mod roadside;
#[cfg(test)]
mod tests;
mod town;

use homing_models::LatLon;

pub(crate) use biome::Biome;
pub(crate) use roadside::{House, Object, SignFace, Thing, TreeKind};
pub(crate) use town::TownStyle;

use crate::Planet;
use crate::country::{Facts, Rgb};
use crate::field::Fields;
use crate::hash::{Rng, fold, mix, unit};
use crate::moment::{Moment, Sun, Weather};
use crate::paint::colour::{blend, gradient, hsv, scale};
use crate::roads::OnRoad;

/// A place at a moment, as seen from the roof of a vehicle on the road there.
///
/// Lengths are metres; *forward* is along the vehicle's heading, *right* to its right-hand side.
#[derive(Clone, Debug)]
pub struct Scene {
    pub(crate) heading: f32,
    pub(crate) sun: Sun,
    pub(crate) weather: Weather,
    pub(crate) look: Look,
    pub(crate) road: Road,
    pub(crate) facts: Facts,
    pub(crate) biome: Biome,
    pub(crate) town: TownStyle,
    /// Nearest first.
    pub(crate) objects: Vec<Object>,
    /// Hash of the tile, for the distant terrain.
    pub(crate) terrain: u32,
    /// Height of hills against the horizon, 0 flat to about 1.6.
    pub(crate) relief: f32,
    /// The distant mountains carry snow.
    pub(crate) alpine: bool,
    /// 0 wilderness to 1 city centre.
    pub(crate) urban: f32,
    /// +1 midsummer, -1 midwinter.
    pub(crate) season: f32,
    pub(crate) moment_seed: u64,
}

/// Colours that the regional fields, the climate and the season decide.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub ground: Rgb,
    pub soil: Rgb,
    pub verge: Rgb,
    /// The strip of local stone between the asphalt and the verge.
    pub shoulder: Rgb,
    pub leaf: Rgb,
    pub asphalt: Rgb,
    pub kerb: Rgb,
    pub fence: Rgb,
    pub ridge: Rgb,
    pub roof: Rgb,
    pub wall: Rgb,
    pub modern: f32,
}

/// The road under the vehicle.
#[derive(Clone, Debug)]
pub(crate) struct Road {
    pub half_width: f32,
    pub paved: bool,
    /// How far right of the centre line the vehicle drives (negative: left-hand traffic).
    pub lane: f32,
    /// Canonical metres along the road under the vehicle, kept small for f32.
    pub along: f32,
    /// +1 when the vehicle drives towards growing `along`.
    pub direction: f32,
    pub double_line: bool,
    pub arrows: bool,
    pub kerbs: bool,
    /// A fence on the side of negative / positive canonical `v`, and how far from the centre line.
    pub fences: [bool; 2],
    pub fence_offset: f32,
}

impl Planet {
    /// The scene around the road point nearest to `position`, for a vehicle heading about `heading_deg` (it follows
    /// the road in the better aligned direction).
    pub fn scene(&self, position: LatLon, heading_deg: f64, moment: &Moment) -> Scene {
        let on = OnRoad::nearest(position, heading_deg);
        let position = on.position();
        let place = self.nearest_place(position);
        let country = self.country_at(position).unwrap_or(place.country);
        let facts = self.country(country).facts.clone();
        let fields = Fields::at(position);
        let climate = self.climate(position);
        let season = moment.season(position);
        let biome = Biome::of(&climate, moment.month());
        let town = TownStyle::of(&place);
        let relief_m = self.relief_m(position);
        let elevation_m = self.elevation_m(position);
        // Streets differ in how built-up they are, so that a town has green and dense roads.
        let urban = urbanity(self.population_km2(position)) + 0.12 * (unit(fold(on.key, 3)) - 0.5);
        let urban = urban.clamp(0.02, 1.0);
        let weather = moment.weather;
        let look = Look::new(&fields, &biome, &town, &facts, &weather, moment.autumn(position));
        let road = Road::new(&on, &facts, urban);
        let mut scene = Scene {
            heading: on.heading_deg().to_radians() as f32,
            sun: moment.sun(position),
            weather,
            look,
            road,
            facts,
            biome,
            town,
            objects: Vec::with_capacity(160),
            terrain: mix(on.tile_key()) as u32,
            relief: (relief_m / 900.0).clamp(0.0, 1.6),
            alpine: elevation_m + relief_m > 2600.0 || (weather.snow > 0.3 && relief_m > 200.0),
            urban,
            season,
            moment_seed: moment.seed,
        };
        roadside::place(&mut scene, &on, &fields);
        scene.objects.sort_by(|a, b| a.distance2().total_cmp(&b.distance2()));
        scene
    }
}

/// 0 at empty land, about 0.2 in a village, 0.5 in a town, 0.9 in a metropolis.
fn urbanity(population_km2: f32) -> f32 {
    (population_km2.max(0.0) / 40.0).ln_1p() / 6.4
}

impl Look {
    fn new(fields: &Fields, biome: &Biome, town: &TownStyle, facts: &Facts, weather: &Weather, autumn: f32) -> Self {
        let f = &fields.local;
        let white = [0.9, 0.92, 0.96];
        let soil = blend(biome.soil, hsv(0.2 * f[0], 0.75 - 0.25 * f[1], 0.15 + 0.7 * f[1]), 0.92);
        let verge = blend(biome.grass, hsv(0.1 + 0.3 * f[2], 0.66, 0.34 + 0.24 * f[2]), 0.88);
        // Beyond the verge lie fields, more of them ploughed than green.
        let ground = blend(biome.grass, soil, 0.75 + 0.2 * biome.dry);
        let leaf = blend(biome.leaf, hsv(0.12 + 0.3 * f[8], 0.66, 0.3 + 0.14 * f[8]), 0.85);
        let autumn = biome.seasonal * autumn;
        let wall_hue = (f[4] + 0.1 * town.wall_shift).clamp(0.0, 1.0);
        let wall = gradient(
            &[[0.86, 0.5, 0.45], [0.93, 0.8, 0.5], [0.6, 0.8, 0.58], [0.5, 0.66, 0.9], [0.75, 0.6, 0.85]],
            wall_hue,
        );
        let roof = gradient(
            &[[0.7, 0.2, 0.1], [0.66, 0.45, 0.22], [0.42, 0.4, 0.4], [0.22, 0.4, 0.55], [0.2, 0.45, 0.32]],
            0.5 + town.roof_shift,
        );
        Look {
            ground: blend(ground, white, 0.7 * weather.snow),
            soil: blend(soil, white, 0.5 * weather.snow),
            // Verges are trodden and ploughed: snow covers them less, and their colour stays a cue.
            verge: blend(verge, white, 0.3 * weather.snow),
            shoulder: gradient(
                &[[0.88, 0.84, 0.76], [0.82, 0.64, 0.34], [0.7, 0.34, 0.24], [0.44, 0.3, 0.42], [0.3, 0.42, 0.56]],
                f[3],
            ),
            leaf: blend(leaf, [0.66, 0.36, 0.1], 0.45 * autumn),
            // Dark and bluish basalt to light and reddish granite.
            asphalt: scale([0.88 + 0.26 * f[5], 1.0, 1.14 - 0.3 * f[5]], 0.14 + 0.42 * f[5]),
            kerb: gradient(
                &[[0.92, 0.92, 0.9], [0.95, 0.8, 0.15], [0.85, 0.2, 0.12], [0.3, 0.25, 0.5], [0.2, 0.5, 0.85]],
                f[6],
            ),
            fence: gradient(
                &[[0.93, 0.92, 0.88], [0.75, 0.55, 0.3], [0.4, 0.25, 0.14], [0.2, 0.38, 0.26], [0.32, 0.36, 0.42]],
                f[7],
            ),
            ridge: gradient(
                &[[0.3, 0.38, 0.66], [0.54, 0.34, 0.58], [0.68, 0.48, 0.32], [0.44, 0.54, 0.24], [0.14, 0.38, 0.32]],
                f[9],
            ),
            roof: blend(facts.roof, roof, 0.7),
            wall: blend(facts.wall, wall, 0.8),
            modern: fields.modern,
        }
    }
}

impl Road {
    fn new(on: &OnRoad, facts: &Facts, urban: f32) -> Self {
        let mut rng = Rng::new(fold(on.key, 7));
        let paved = rng.chance(0.86 + 0.2 * urban);
        let half_width = if urban > 0.6 { rng.range(3.2, 5.4) } else { rng.range(2.8, 3.8) };
        let side = if facts.left { -1.0 } else { 1.0 };
        let fence_chance = 0.55 - 0.25 * urban;
        Road {
            half_width,
            paved,
            lane: side * half_width * 0.5,
            along: on.u as f32,
            direction: if on.forward { 1.0 } else { -1.0 },
            double_line: rng.chance(0.33),
            arrows: paved && rng.chance(0.5),
            kerbs: paved && rng.chance(0.6),
            fences: [rng.chance(fence_chance), rng.chance(fence_chance)],
            fence_offset: half_width + rng.range(1.9, 2.6),
        }
    }
}
