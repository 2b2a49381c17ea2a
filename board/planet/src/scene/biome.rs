//! What grows: trees, grass and soil as continuous functions of the climate, so that no border runs through a field.

use crate::climate::Climate;
use crate::country::Rgb;
use crate::paint::colour::{blend, ramp};

/// Vegetation of a place in a month.
#[derive(Clone, Debug)]
pub(crate) struct Biome {
    /// Share of the ground under trees, 0..1.
    pub tree_cover: f32,
    /// Relative frequency of [`super::TreeKind`]s in their order.
    pub kinds: [f32; 6],
    pub grass: Rgb,
    pub soil: Rgb,
    pub leaf: Rgb,
    /// 0 humid to 1 desert.
    pub dry: f32,
    /// How far broadleaved trees follow the seasons, 0 (tropics) to 1.
    pub seasonal: f32,
}

impl Biome {
    /// From twelve months of climate; the grass follows the given month (0 January).
    pub fn of(climate: &Climate, month: usize) -> Self {
        let mean = |v: &[f32; 12]| v.iter().sum::<f32>() / 12.0;
        let warm = climate.temperature_c.iter().copied().fold(f32::MIN, f32::max);
        let cold = climate.temperature_c.iter().copied().fold(f32::MAX, f32::min);
        let (temperature, rain_mm_day) = (mean(&climate.temperature_c), mean(&climate.precipitation_mm_day));
        // Koeppen's dryness threshold (20 mm per degree and year, winter and summer rain alike) as a ratio.
        let moisture = rain_mm_day * 365.0 / (20.0 * (temperature + 7.0).max(3.0) + 140.0);
        let dry = 1.0 - ramp(0.35, 1.25, moisture);
        let growth = ramp(7.0, 13.0, warm);
        let tree_cover = (ramp(0.4, 1.7, moisture) * growth * 0.95).max(0.03 * growth);
        let tropical = ramp(15.0, 20.0, cold);
        let boreal = 1.0 - ramp(2.0, 11.0, temperature);
        let humid = 1.0 - dry;
        let kinds = [
            (1.0 - 0.85 * boreal) * (0.25 + 0.75 * humid) * (1.0 - 0.4 * tropical),
            (0.12 + 0.9 * boreal) * (1.0 - tropical) * (1.0 - 0.7 * dry) * if warm > 30.0 { 0.2 } else { 1.0 },
            tropical * (0.25 + 0.5 * humid),
            dry * dry * 1.2 + 0.02,
            ramp(12.0, 18.0, cold) * dry * 0.9,
            boreal * (1.0 - tropical) * (1.0 - dry) * 0.45,
        ];
        let now = climate.temperature_c[month];
        let rain_now = climate.precipitation_mm_day[month];
        let parched = (dry * 0.9 + 0.35 * (1.0 - ramp(0.4, 2.0, rain_now)) * ramp(12.0, 24.0, now)).clamp(0.0, 1.0);
        let dormant = 0.5 * (1.0 - ramp(-2.0, 9.0, now));
        let green = blend([0.3, 0.5, 0.17], [0.17, 0.42, 0.12], ramp(1.5, 6.0, rain_now));
        let straw = blend([0.62, 0.56, 0.3], [0.77, 0.66, 0.46], ramp(0.6, 1.0, dry));
        let grass = blend(blend(green, straw, parched), [0.47, 0.43, 0.3], dormant);
        let laterite = [0.6, 0.3, 0.16];
        let loam = [0.42, 0.32, 0.22];
        let sand = [0.72, 0.55, 0.37];
        let soil = blend(blend(loam, laterite, tropical * 0.8), sand, dry);
        let leaf = blend(blend([0.16, 0.38, 0.12], [0.1, 0.28, 0.14], boreal), [0.4, 0.42, 0.22], dry * 0.8);
        let seasonal = (1.0 - ramp(3.0, 12.0, cold)) * (1.0 - 0.6 * dry);
        Biome { tree_cover, kinds, grass, soil, leaf, dry, seasonal }
    }
}
