//! Plain rectangles in latitude and longitude: the cells that semantic ones are measured against.

use std::collections::BTreeMap;

use super::Group;
use crate::dataset::Sample;

/// Smallest and largest side that is tried, in degrees.
const SIDES_DEG: (f64, f64) = (0.01, 90.0);
/// Halvings of the interval between them, on a logarithmic scale.
const HALVINGS: u32 = 40;

/// Groups samples by the rectangle they lie in. All rectangles have the same side in degrees, chosen so that about
/// `count` of them hold samples.
pub(super) fn rectangles(samples: &[Sample], count: usize) -> Vec<Group> {
    let (mut low, mut high) = (SIDES_DEG.0.ln(), SIDES_DEG.1.ln());
    let mut best: Option<(usize, f64)> = None;
    for _ in 0..HALVINGS {
        let side = ((low + high) / 2.0).exp();
        let found = by_rectangle(samples, side).len();
        if best.is_none_or(|(apart, _)| found.abs_diff(count) < apart) {
            best = Some((found.abs_diff(count), side));
        }
        // Larger rectangles are fewer.
        if found > count { low = side.ln() } else { high = side.ln() }
    }
    let side = best.map_or(SIDES_DEG.1, |(_, side)| side);
    let group = |members| Group { admin1: String::new(), members };
    by_rectangle(samples, side).into_values().map(group).collect()
}

fn by_rectangle(samples: &[Sample], side_deg: f64) -> BTreeMap<(i64, i64), Vec<u32>> {
    let mut found = BTreeMap::<_, Vec<u32>>::new();
    for (i, s) in samples.iter().enumerate() {
        let at = |degrees: f64| (degrees / side_deg).floor() as i64;
        found.entry((at(s.position.lat()), at(s.position.lon()))).or_default().push(i as u32);
    }
    found
}
