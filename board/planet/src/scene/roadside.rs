//! What stands beside the road and drives on it.
//!
//! Fixed things live in *slots*: equal pieces of the road's length, each with a hash of its own. Whether a slot is
//! filled depends on a threshold that the slot keeps, so density may change slowly along the road while every single
//! house, tree and post stays where it is.

use super::{Scene, TownStyle};
use crate::country::{Bollard, Rgb};
use crate::field::Fields;
use crate::hash::{Rng, fold, mix};
use crate::paint::colour::{blend, hsv, ramp, scale};
use crate::roads::OnRoad;

/// Objects farther along the road than this are not placed.
const SIGHT_M: f32 = 95.0;

/// Something that stands or drives near the vehicle. The reference point is the middle of its foot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object {
    /// Metres ahead of the camera.
    pub forward: f32,
    /// Metres to the right of the camera.
    pub right: f32,
    pub height: f32,
    pub seed: u32,
    pub thing: Thing,
}

impl Object {
    pub fn distance2(&self) -> f32 {
        self.forward * self.forward + self.right * self.right
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Thing {
    Tree {
        kind: TreeKind,
        tone: f32,
    },
    Bush,
    House(House),
    Pole,
    Lamp,
    Bollard(Bollard),
    /// A traffic sign; traffic that drives `facing` (+1 our way, -1 towards us) reads it, the others see its back.
    Sign {
        face: SignFace,
        facing: f32,
    },
    Shelter,
    Tower,
    Car {
        paint: Rgb,
        ours: bool,
    },
}

/// Order of [`super::Biome::kinds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TreeKind {
    Broadleaf,
    Conifer,
    Palm,
    Cactus,
    Acacia,
    Birch,
}

const TREE_KINDS: [TreeKind; 6] =
    [TreeKind::Broadleaf, TreeKind::Conifer, TreeKind::Palm, TreeKind::Cactus, TreeKind::Acacia, TreeKind::Birch];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum SignFace {
    Guide,
    Warning,
    Limit,
    Stop,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct House {
    /// Along the road, metres.
    pub length: f32,
    /// Away from the road, metres.
    pub depth: f32,
    pub storeys: f32,
    /// Height of the ridge over the eaves as a share of the depth; 0 is a flat roof.
    pub pitch: f32,
    pub wall: Rgb,
    pub roof: Rgb,
    /// A shop on the ground floor with a fascia of this colour.
    pub shop: Option<Rgb>,
}

/// Fills the scene's objects.
pub(super) fn place(scene: &mut Scene, on: &OnRoad, fields: &Fields) {
    let mut roadside = Roadside { scene, key: on.key };
    roadside.houses(fields);
    roadside.trees(fields);
    roadside.poles_and_lamps();
    roadside.posts_and_signs();
    roadside.landmarks();
    roadside.traffic();
}

struct Roadside<'a> {
    scene: &'a mut Scene,
    key: u64,
}

impl Roadside<'_> {
    /// Calls `fill` for each slot of length `pitch` in sight; canonical `u` of the slot's middle and a generator of its own.
    fn slots(&mut self, kind: u64, pitch: f32, mut fill: impl FnMut(&mut Self, f32, &mut Rng)) {
        let key = fold(self.key, kind);
        let along = self.scene.road.along;
        let (first, last) = (((along - SIGHT_M) / pitch).floor() as i64, ((along + SIGHT_M) / pitch).ceil() as i64);
        for slot in first..=last {
            let mut rng = Rng::new(fold(key, slot as u64));
            fill(self, (slot as f32 + 0.5) * pitch, &mut rng);
        }
    }

    /// Adds an object at canonical road coordinates (`v` metres right of the centre line of growing `u`).
    fn add(&mut self, u: f32, v: f32, height: f32, seed: u32, thing: Thing) {
        let road = &self.scene.road;
        let forward = (u - road.along) * road.direction;
        let right = v * road.direction - road.lane;
        self.scene.objects.push(Object { forward, right, height, seed, thing });
    }

    /// +1 when traffic that drives along +u keeps to +v.
    fn side(&self) -> f32 {
        if self.scene.facts.left { -1.0 } else { 1.0 }
    }

    fn houses(&mut self, fields: &Fields) {
        let urban = self.scene.urban;
        let filled = (0.03 + 1.15 * (urban - 0.12).max(0.0)).min(0.93);
        let tall = if urban > 0.72 { (urban - 0.7) / 0.3 } else { 0.0 };
        for (side, kind) in [(-1.0f32, 11), (1.0, 12)] {
            self.slots(kind, 17.0, |this, u, rng| {
                let (there, set_back, storey, length, depth) = (rng.f32(), rng.f32(), rng.f32(), rng.f32(), rng.f32());
                let (tone, hue, flat, shop, seed) =
                    (rng.normal(), rng.normal(), rng.f32(), rng.f32(), rng.u64() as u32);
                if there > filled {
                    return;
                }
                let scene = &this.scene;
                let (look, facts) = (&scene.look, &scene.facts);
                let storeys = (0.8
                    + 0.8 * fields.storeys
                    + 1.2 * urban
                    + tall * (2.0 + 7.0 * storey * (0.4 + fields.modern))
                    + 0.9 * (storey - 0.5))
                    .round()
                    .max(1.0);
                let gap = 3.0
                    + set_back
                        * if urban > 0.6 {
                            2.0
                        } else if urban > 0.3 {
                            7.0
                        } else {
                            13.0
                        };
                let pitch = if flat < if facts.roof_pitch < 0.3 { 0.8 } else { 0.1 } + 0.35 * tall {
                    0.0
                } else {
                    facts.roof_pitch * (0.6 + 0.5 * fields.storeys)
                };
                let wall = scale(blend(look.wall, hsv(0.1 + 0.04 * hue, 0.12, 0.86), 0.12), 0.95 + 0.06 * tone);
                let roof = scale(look.roof, 0.97 + 0.08 * hue);
                let front = scene.road.half_width + gap;
                let shop = (urban > 0.45 && shop < 0.6).then(|| scene.town.fascia[usize::from(seed % 5 == 0)]);
                let house = House {
                    length: 8.0 + 7.0 * length + 2.0 * urban,
                    depth: 7.0 + 6.0 * depth,
                    storeys,
                    pitch,
                    wall,
                    roof,
                    shop,
                };
                let v = side * (front + house.depth / 2.0);
                this.add(u, v, storeys * 3.1, seed, Thing::House(house));
            });
        }
    }

    fn trees(&mut self, fields: &Fields) {
        let (urban, half_width) = (self.scene.urban, self.scene.road.half_width);
        let biome = self.scene.biome.clone();
        let density = (biome.tree_cover * (0.6 + 0.8 * fields.local[8]) * (1.1 - 0.8 * urban)).clamp(0.0, 1.0);
        // The foliage field also shifts the mix of kinds: round crowns against pointed and slender ones.
        let lean = fields.local[8] - 0.5;
        let weights: [f32; 6] =
            std::array::from_fn(|i| biome.kinds[i] * (1.0 + 1.2 * if i % 2 == 0 { lean } else { -lean }));
        let total: f32 = weights.iter().sum();
        // Bands of growing distance and falling detail: beside the road, behind the houses, the wood's edge.
        for (band, (near, far, pitch, share)) in
            [(3.0, 7.0, 9.0, 0.55), (7.0, 22.0, 6.0, 0.6), (22.0, 60.0, 6.0, 0.75)].into_iter().enumerate()
        {
            for (side, kind) in [(-1.0f32, 21), (1.0, 31)] {
                self.slots(kind + band as u64, pitch, |this, u, rng| {
                    let (there, across, along, pick) = (rng.f32(), rng.f32(), rng.f32(), rng.f32());
                    let (size, tone, seed) = (rng.f32(), rng.f32(), rng.u64() as u32);
                    if there > density * share || total <= 0.0 {
                        return;
                    }
                    let mut left = pick * total;
                    let kind = TREE_KINDS[weights
                        .iter()
                        .position(|w| {
                            left -= w;
                            left < 0.0
                        })
                        .unwrap_or(0)];
                    let (low, high) = match kind {
                        TreeKind::Broadleaf => (5.0, 13.0),
                        TreeKind::Conifer => (7.0, 20.0),
                        TreeKind::Palm => (6.0, 13.0),
                        TreeKind::Cactus => (1.2, 4.5),
                        TreeKind::Acacia => (4.0, 8.0),
                        TreeKind::Birch => (7.0, 14.0),
                    };
                    let v = side * (half_width + near + across * (far - near));
                    let height = low + size * (high - low);
                    this.add(u + (along - 0.5) * pitch, v, height, seed, Thing::Tree { kind, tone });
                });
            }
        }
        let bushes = 0.12 + 0.3 * biome.tree_cover + 0.1 * biome.dry;
        for (side, kind) in [(-1.0f32, 41), (1.0, 42)] {
            self.slots(kind, 7.0, |this, u, rng| {
                if rng.f32() < bushes * (1.1 - 0.7 * urban) {
                    let v = side * (half_width + 3.0 + 20.0 * rng.f32() * rng.f32());
                    let height = rng.range(0.4, 1.3);
                    this.add(u, v, height, rng.u64() as u32, Thing::Bush);
                }
            });
        }
    }

    fn poles_and_lamps(&mut self) {
        let (urban, half_width) = (self.scene.urban, self.scene.road.half_width);
        let mut rng = Rng::new(fold(self.key, 50));
        let (poles, side, spacing, lamps) =
            (rng.chance(0.6), rng.chance(0.5), 26.0 + 8.0 * (rng.f32() - 0.5), rng.chance(0.85));
        if poles {
            let v = if side { 1.0 } else { -1.0 } * (half_width + 1.6);
            self.slots(51, spacing, |this, u, _| this.add(u, v, 8.5, 1, Thing::Pole));
        }
        if lamps && urban > 0.33 {
            for (side, kind) in [(-1.0f32, 52), (1.0, 53)] {
                self.slots(kind, 25.0, |this, u, _| {
                    this.add(u + 6.0 * side, side * (half_width + 0.9), 5.5, 3, Thing::Lamp);
                });
            }
        }
    }

    fn posts_and_signs(&mut self) {
        let (urban, half_width, paved) = (self.scene.urban, self.scene.road.half_width, self.scene.road.paved);
        let keep = self.side();
        if let Some(post) = self.scene.facts.bollard
            && paved
            && urban < 0.6
            && Rng::new(fold(self.key, 60)).chance(0.4)
        {
            for side in [-1.0f32, 1.0] {
                self.slots(61, 13.0, |this, u, _| {
                    this.add(u, side * (half_width + 0.6), 1.25, 2, Thing::Bollard(post));
                });
            }
        }
        // One candidate a slot and driving direction; signs stand on the side their readers drive on.
        for (direction, kind) in [(1.0f32, 62), (-1.0, 63)] {
            self.slots(kind, 22.0, |this, u, rng| {
                if rng.f32() > 0.42 + 0.12 * urban {
                    return;
                }
                let face = match rng.below(8) {
                    0..4 => SignFace::Guide,
                    4 | 5 => SignFace::Warning,
                    6 => SignFace::Limit,
                    _ => SignFace::Stop,
                };
                let height = if face == SignFace::Guide { rng.range(2.8, 3.5) } else { rng.range(2.2, 2.8) };
                let u = u + rng.range(-8.0, 8.0);
                let v = direction * keep * (half_width + 1.2);
                let facing = direction * this.scene.road.direction;
                this.add(u, v, height, rng.u64() as u32, Thing::Sign { face, facing });
            });
        }
        for (side, kind) in [(-1.0f32, 64), (1.0, 65)] {
            self.slots(kind, 90.0, |this, u, rng| {
                if rng.f32() < 0.1 + 0.35 * urban {
                    let u = u + rng.range(-30.0, 30.0);
                    this.add(u, side * (half_width + 1.9), 2.6, rng.u64() as u32, Thing::Shelter);
                }
            });
        }
    }

    /// Towers in the town's colours, one to a piece of road, near enough to be seen from everywhere in town.
    fn landmarks(&mut self) {
        let chance = ramp(0.1, 0.5, self.scene.urban) * 0.8 + 0.1;
        let key = self.scene.town.key;
        self.slots(70, 150.0, |this, u, rng| {
            if rng.f32() > chance {
                return;
            }
            let side = if rng.chance(0.5) { 1.0 } else { -1.0 };
            let away = rng.range(26.0, 70.0);
            let height = 24.0 + 3.0 * (mix(key) % 7) as f32 + rng.range(0.0, 8.0);
            let u = u + rng.range(-50.0, 50.0);
            this.add(u, side * away, height, 5, Thing::Tower);
        });
    }

    /// Cars of this very moment: a few drive, in towns some are parked.
    fn traffic(&mut self) {
        let scene = &self.scene;
        let mut rng = Rng::new(fold(scene.moment_seed, 0xca7));
        let (half_width, lane, urban) = (scene.road.half_width, scene.road.lane, scene.urban);
        let taxi = scene.facts.taxi;
        let count = (0.7 + rng.f32() * (2.0 + 3.5 * urban)) as usize;
        for _ in 0..count {
            let ours = rng.chance(0.5);
            let parked = rng.chance(0.45 * urban);
            let middle = if ours { lane } else { -lane };
            let across = if parked { middle.signum() * (half_width - 0.4) } else { middle };
            let distance = 6.5 + 32.0 * rng.f32().powf(1.5);
            let forward = if rng.chance(0.5) { distance } else { -distance };
            let taken = |o: &Object| {
                matches!(o.thing, Thing::Car { .. })
                    && (o.forward - forward).abs() < 5.5
                    && (o.right + lane - across).abs() < 1.9
            };
            if self.scene.objects.iter().any(taken) {
                continue;
            }
            let grey = 0.15 + 0.7 * rng.f32();
            let paint = match rng.f32() {
                p if p < 0.06 + 0.2 * urban => taxi,
                p if p < 0.72 => [grey, grey, grey],
                _ => hsv(rng.f32(), 0.7, 0.6),
            };
            let (height, seed) = (rng.range(1.45, 1.9), rng.u64() as u32);
            self.scene.objects.push(Object {
                forward,
                right: across - lane,
                height,
                seed,
                thing: Thing::Car { paint, ours },
            });
        }
    }
}

impl TownStyle {
    /// A sign board's or fascia's lettering is drawn from the town, so that a town's shops repeat.
    pub(crate) fn lettering(&self, seed: u32) -> u32 {
        (self.key as u32).wrapping_add(seed % 7)
    }
}
