//! The style of a town: colours and shapes that only this town has, unrelated to its neighbours'.

use crate::country::Rgb;
use crate::gazetteer::Place;
use crate::hash::{Rng, mix};

/// What a town's council chose: paint of lamps and shelters, fascias, and the tower one sees from afar.
#[derive(Clone, Debug)]
pub(crate) struct TownStyle {
    pub lamp: u8,
    pub lamp_colour: Rgb,
    pub fascia: [Rgb; 2],
    pub shelter: [Rgb; 2],
    pub tower: u8,
    pub tower_colours: [Rgb; 2],
    pub wall_shift: f32,
    pub roof_shift: f32,
    /// Seed of what is anchored in this town.
    pub key: u64,
}

const PALETTE: [Rgb; 10] = [
    [0.85, 0.12, 0.1],
    [0.95, 0.55, 0.1],
    [0.95, 0.85, 0.15],
    [0.2, 0.65, 0.2],
    [0.1, 0.55, 0.55],
    [0.15, 0.3, 0.8],
    [0.5, 0.2, 0.65],
    [0.92, 0.4, 0.6],
    [0.95, 0.95, 0.95],
    [0.12, 0.12, 0.14],
];

impl TownStyle {
    /// The style of a place follows from where it lies, not from its rank in a list: adding places changes no other.
    pub fn of(place: &Place) -> Self {
        let (lat, lon) = (place.position.lat(), place.position.lon());
        let key = mix(((lat * 1e4).round() as i64 as u64) << 32 ^ ((lon * 1e4).round() as i64 as u64 & 0xffff_ffff));
        let mut rng = Rng::new(key);
        let mut colour = || PALETTE[rng.below(PALETTE.len())];
        let (lamp_colour, fascia, shelter) = (colour(), [colour(), colour()], [colour(), colour()]);
        let tower_colours = [colour(), colour()];
        TownStyle {
            lamp: rng.below(4) as u8,
            lamp_colour,
            fascia,
            shelter,
            tower: rng.below(7) as u8,
            tower_colours,
            wall_shift: rng.f32() - 0.5,
            roof_shift: rng.f32() - 0.5,
            key,
        }
    }
}
