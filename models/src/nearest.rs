//! The nearest of many positions, by a tree over their unit vectors: exact on the sphere.

use kiddo::{ImmutableKdTree, SquaredEuclidean};

use crate::geo::LatLon;

/// Positions that can be asked for their nearest.
pub struct Nearest(ImmutableKdTree<f64, 3>);

impl Nearest {
    /// Of these positions; `None` where there is none.
    pub fn of(positions: impl Iterator<Item = LatLon>) -> Option<Self> {
        let points: Vec<[f64; 3]> = positions.map(|p| p.unit()).collect();
        // It refuses only what is not finite, and more points than u32 counts.
        if points.is_empty() { None } else { ImmutableKdTree::new_from_slice(&points).ok().map(Nearest) }
    }

    /// Which of them is nearest, by its place in their order.
    pub fn to(&self, position: LatLon) -> usize {
        self.0.query(&position.unit()).nearest_one::<SquaredEuclidean<f64>>().execute().item as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_found_over_the_antimeridian_and_at_the_poles() {
        let at = |lat, lon| LatLon::new(lat, lon).unwrap();
        let positions = [at(0.0, 170.0), at(0.0, -100.0), at(89.0, 10.0), at(-60.0, 10.0)];
        let nearest = Nearest::of(positions.into_iter()).unwrap();
        for (position, expected) in
            [(at(1.0, -179.0), 0), (at(0.0, -120.0), 1), (at(88.0, -170.0), 2), (at(-90.0, 0.0), 3)]
        {
            assert_eq!(nearest.to(position), expected, "{position}");
            let by_distance = (0..4)
                .min_by(|&a, &b| positions[a].distance_km(position).total_cmp(&positions[b].distance_km(position)));
            assert_eq!(by_distance, Some(expected));
        }
        assert!(Nearest::of(std::iter::empty()).is_none());
    }
}
