//! The ProtoNet refinement: from cell probabilities and an embedding to a position.
//!
//! For each of the K most probable cells the nearest prototype by Euclidean distance gives the logit
//! `-||p - e||`; `s = softmax(logit / T)` over the K cells; the winner is `argmax p * s` (PIGEON, section on
//! intra-geocell refinement; poster, contribution 6). This is the only implementation: the trainer measures
//! with it and the device runs it.

use serde::{Deserialize, Serialize};

use crate::{
    geo::LatLon,
    geocells::{CellId, Geocells},
    likeliest::likeliest,
    prototypes::{Asked, Prototypes},
};

/// Cells that a refinement can consider at most.
pub const MAX_CELLS: usize = 40;

/// What is answered inside the winning cell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guess {
    /// The cluster's centroid.
    Centroid,
    /// The position of the member with the nearest embedding (needs the member section of the prototypes).
    NearestMember,
    /// The mean of the centroids of all clusters in the cell, each weighted by `exp(-||p - e|| / T)` with this T, above
    /// 0: between the nearest cluster where it is much nearer than the others, and the middle of those that are alike.
    Blend(f32),
}

/// The constants of the refinement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefineParams {
    /// Cells considered, 1..=40. Street view 5.
    pub k: usize,
    /// Softmax temperature over the K distances, above 0. Street view 1.6.
    pub temperature: f32,
    /// How far the answer may lie from the most probable cell's centroid; `None` for no limit. Street view 1000.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit_km: Option<f32>,
    /// What is answered inside the winning cell.
    pub guess: Guess,
}

impl RefineParams {
    /// The published constants for street view.
    pub const STREET_VIEW: RefineParams =
        RefineParams { k: 5, temperature: 1.6, limit_km: Some(1000.0), guess: Guess::Centroid };

    /// What is wrong with the constants, if anything.
    pub fn fault(&self) -> Option<String> {
        if !(1..=MAX_CELLS).contains(&self.k) {
            return Some(format!("refine.k is {}, need 1..={MAX_CELLS}", self.k));
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Some(format!("refine.temperature is {}, need a number above 0", self.temperature));
        }
        if let Guess::Blend(t) = self.guess
            && !(t > 0.0 && t.is_finite())
        {
            return Some(format!("refine.guess.blend is {t}, need a number above 0"));
        }
        match self.limit_km {
            Some(km) if km.is_nan() || km <= 0.0 => Some(format!("refine.limit_km is {km}, need a distance above 0")),
            _ => None,
        }
    }
}

/// One cell that the answer could lie in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The cell.
    pub cell: CellId,
    /// The classifier's probability of the cell.
    pub probability: f32,
    /// Probability times refinement score, renormalised over the candidates.
    pub weight: f32,
    /// The guess in this cell: by its clusters, or its centroid.
    pub position: LatLon,
    /// The best cluster; `None` for a cell without any and for an answer beyond the distance limit.
    pub prototype: Option<u32>,
}

/// The K candidates of a panorama, the answer first, the others by falling weight.
pub type Candidates = heapless::Vec<Candidate, MAX_CELLS>;

/// Refines a guess. Allocates nothing.
///
/// When the answer lies farther than the limit from the most probable cell's centroid, that cell comes first
/// instead, with its centroid. A cell without prototypes answers with its centroid and counts as far away as
/// the farthest of the other cells' best prototypes.
///
/// # Panics
/// When `probabilities` are not one per cell or `embedding` has another length than the prototypes.
pub fn refine(
    geocells: &Geocells,
    prototypes: &Prototypes,
    probabilities: &[f32],
    embedding: &[f32],
    params: &RefineParams,
) -> Candidates {
    assert_eq!(probabilities.len(), geocells.len(), "one probability per cell");
    let mut candidates = most_probable(geocells, probabilities, params.k);
    let first_centroid = geocells.cell(candidates[0].cell).centroid;

    let mut distances: heapless::Vec<Option<f32>, MAX_CELLS> = heapless::Vec::new();
    let asked = Asked::new(embedding, prototypes.dims());
    for c in &mut candidates {
        let nearest = prototypes.nearest_to(&asked, c.cell);
        // The capacity of both lists is MAX_CELLS.
        let _ = distances.push(nearest.map(|(d, _)| d));
        if let Some((distance, i)) = nearest {
            c.prototype = Some(i);
            c.position = match params.guess {
                Guess::Centroid => prototypes.get(i).position,
                Guess::NearestMember => {
                    prototypes.nearest_member(i, embedding).unwrap_or_else(|| prototypes.get(i).position)
                }
                Guess::Blend(t) => prototypes.blend(&asked, c.cell, distance, t).unwrap_or(c.position),
            };
        }
    }
    let nearest = distances.iter().flatten().copied().fold(f32::INFINITY, f32::min);
    let farthest = distances.iter().flatten().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    for (c, d) in candidates.iter_mut().zip(&distances) {
        // Shifted by the nearest distance: the softmax stays the same and cannot underflow as a whole.
        let shifted = if nearest.is_finite() { d.unwrap_or(farthest) - nearest } else { 0.0 };
        c.weight = c.probability * (-shifted / params.temperature).exp();
        total += c.weight;
    }
    if total > 0.0 {
        candidates.iter_mut().for_each(|c| c.weight /= total);
    }
    let best_cell = candidates[0];
    // Equal weights keep the order of the probabilities. A stable sort would need memory.
    candidates.sort_unstable_by(|a, b| {
        b.weight.total_cmp(&a.weight).then(b.probability.total_cmp(&a.probability)).then(a.cell.cmp(&b.cell))
    });
    if let Some(limit) = params.limit_km
        && candidates[0].position.distance_km(first_centroid) > f64::from(limit)
        && let Some(at) = candidates.iter().position(|c| c.cell == best_cell.cell)
    {
        candidates[at] = Candidate { position: first_centroid, prototype: None, ..candidates[at] };
        candidates[..=at].rotate_right(1);
    }
    candidates
}

/// The `k` most probable cells with their centroids, by falling probability; equal ones by cell number.
fn most_probable(geocells: &Geocells, probabilities: &[f32], k: usize) -> Candidates {
    let candidate = |i: usize| {
        let (cell, position) = (CellId(i as u32), geocells.cells()[i].centroid);
        Candidate { cell, probability: probabilities[i], weight: 0.0, position, prototype: None }
    };
    likeliest::<MAX_CELLS>(probabilities, k).into_iter().map(candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        geo::centroid,
        geocells::Cell,
        prototypes::{Cluster, PrototypesWriter},
    };

    fn at(lat: f64, lon: f64) -> LatLon {
        LatLon::new(lat, lon).unwrap()
    }

    fn cells(centroids: &[LatLon]) -> Geocells {
        let cell = |c: &LatLon| Cell { centroid: *c, country: *b"XX", place: "".into(), admin1: "".into(), samples: 1 };
        Geocells::new(centroids.iter().map(cell).collect(), vec![]).unwrap()
    }

    /// (cell, embedding, position)
    fn prototypes(rows: &[(u32, [f32; 2], LatLon)], cells: usize) -> Prototypes {
        let mut w = PrototypesWriter::new(2);
        for (cell, embedding, position) in rows {
            w.push(&Cluster {
                cell: CellId(*cell),
                embedding,
                position: *position,
                place: "",
                spread_km: 1.0,
                members: 2,
                member_rows: vec![(position.destination(90.0, 3.0), embedding), (*position, &[9.0, 9.0])],
            });
        }
        Prototypes::from_bytes(w.encode(cells)).unwrap()
    }

    const PARAMS: RefineParams = RefineParams { k: 2, temperature: 1.0, limit_km: None, guess: Guess::Centroid };

    #[test]
    fn a_near_prototype_overturns_the_classifier() {
        let g = cells(&[at(0.0, 0.0), at(0.0, 5.0), at(50.0, 0.0)]);
        let p = prototypes(
            &[(0, [4.0, 0.0], at(0.1, 0.0)), (1, [3.0, 0.0], at(0.1, 5.0)), (1, [0.0, 0.0], at(0.2, 5.0))],
            3,
        );
        let c = refine(&g, &p, &[0.6, 0.3, 0.1], &[0.0, 0.0], &PARAMS);
        // Distances 4 and 0: weights 0.6 e^-4 against 0.3.
        let w = 0.6 * (-4f32).exp();
        assert_eq!((c.len(), c[0].cell, c[0].prototype, c[0].position), (2, CellId(1), Some(2), p.get(2).position));
        assert!((c[0].weight - 0.3 / (0.3 + w)).abs() < 1e-5 && (c[1].weight - w / (0.3 + w)).abs() < 1e-5);
        let warm = refine(&g, &p, &[0.6, 0.3, 0.1], &[0.0, 0.0], &RefineParams { temperature: 100.0, ..PARAMS });
        assert_eq!(warm[0].cell, CellId(0), "at a high temperature the classifier decides");
    }

    #[test]
    fn beyond_the_limit_the_first_cells_centroid() {
        let g = cells(&[at(0.0, 0.0), at(0.0, 20.0)]);
        let p = prototypes(&[(0, [4.0, 0.0], at(0.1, 0.0)), (1, [0.0, 0.0], at(0.2, 20.0))], 2);
        let run = |km: f32| refine(&g, &p, &[0.6, 0.4], &[0.0, 0.0], &RefineParams { limit_km: Some(km), ..PARAMS });
        let c = run(1000.0);
        assert_eq!((c[0].cell, c[0].position, c[0].prototype), (CellId(0), at(0.0, 0.0), None), "2,224 km is too far");
        assert_eq!((c[1].cell, c[1].prototype), (CellId(1), Some(1)));
        assert_eq!(run(3000.0)[0].cell, CellId(1));
    }

    #[test]
    fn the_nearest_member_is_the_guess_when_asked() {
        let g = cells(&[at(0.0, 0.0)]);
        let p = prototypes(&[(0, [1.0, 0.0], at(1.0, 1.0))], 1);
        let c = refine(&g, &p, &[1.0], &[1.0, 0.1], &RefineParams { guess: Guess::NearestMember, ..PARAMS });
        assert!((c[0].position.distance_km(at(1.0, 1.0)) - 3.0).abs() < 0.01);
    }

    #[test]
    fn a_blend_lies_between_clusters_that_are_alike() {
        let (west, east, far) = (at(10.0, 0.0), at(10.0, 1.0), at(30.0, 0.0));
        let g = cells(&[at(11.0, 0.5)]);
        let p = prototypes(&[(0, [1.0, 0.0], west), (0, [-1.0, 0.0], east), (0, [9.0, 0.0], far)], 1);
        let guess =
            |e: [f32; 2], t| refine(&g, &p, &[1.0], &e, &RefineParams { guess: Guess::Blend(t), ..PARAMS })[0].position;
        let middle = centroid([west, east]).unwrap();
        assert!(guess([0.0, 0.0], 0.3).distance_km(middle) < 0.01, "both are as near, the third has no weight");
        assert!(guess([0.9, 0.0], 0.05).distance_km(west) < 0.01, "the nearest of all, where the others are far");
        // Distances 0.5 and 1.5: e^-0 against e^-1 of the way.
        let way = west.distance_km(guess([0.5, 0.0], 1.0)) / west.distance_km(east);
        assert!((way - 1.0 / (1.0 + 1f64.exp())).abs() < 1e-3, "{way}");
        let all = centroid([west, east, far]).unwrap();
        assert!(guess([0.0, 0.0], 1e6).distance_km(all) < 0.1, "at a high temperature all weigh the same");
    }

    #[test]
    fn cells_without_prototypes_answer_with_their_centroid() {
        let g = cells(&[at(10.0, 10.0), at(20.0, 20.0)]);
        let c = refine(&g, &prototypes(&[], 2), &[0.3, 0.7], &[0.0, 0.0], &PARAMS);
        assert_eq!((c[0].cell, c[0].position, c[0].prototype), (CellId(1), at(20.0, 20.0), None));
        assert!((c[0].weight - 0.7).abs() < 1e-6);
        // One cell with, one without: both count as equally far, so the probabilities decide.
        let c = refine(&g, &prototypes(&[(0, [5.0, 5.0], at(10.1, 10.0))], 2), &[0.3, 0.7], &[0.0, 0.0], &PARAMS);
        assert_eq!(c[0].cell, CellId(1));
    }

    #[test]
    fn far_embeddings_do_not_underflow() {
        let g = cells(&[at(0.0, 0.0), at(0.0, 1.0)]);
        let p = prototypes(&[(0, [4000.0, 0.0], at(0.1, 0.0)), (1, [-4001.0, 0.0], at(0.1, 1.0))], 2);
        let c = refine(&g, &p, &[0.5, 0.5], &[0.0, 0.0], &RefineParams { temperature: 0.1, ..PARAMS });
        assert!(c[0].cell == CellId(0) && c[0].weight > 0.99);
    }

    /// The formula of the method, word for word, with sorting and f64.
    fn transcription(g: &Geocells, p: &Prototypes, prob: &[f32], e: &[f32], r: &RefineParams) -> LatLon {
        let mut order: Vec<usize> = (0..prob.len()).collect();
        order.sort_by(|a, b| prob[*b].total_cmp(&prob[*a]));
        order.truncate(r.k);
        let logit = |j: u32| {
            -p.get(j).embedding().zip(e).map(|(a, b)| (f64::from(a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
        };
        let best: Vec<(u32, f64)> = order
            .iter()
            .map(|&c| p.range(CellId(c as u32)).map(|j| (j, logit(j))).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap())
            .collect();
        let z: f64 = best.iter().map(|(_, l)| (l / f64::from(r.temperature)).exp()).sum();
        let score = |k: usize| f64::from(prob[order[k]]) * (best[k].1 / f64::from(r.temperature)).exp() / z;
        let k = (0..order.len()).max_by(|a, b| score(*a).total_cmp(&score(*b))).unwrap();
        let found = p.get(best[k].0).position;
        let home = g.cells()[order[0]].centroid;
        if r.limit_km.is_some_and(|km| found.distance_km(home) > f64::from(km)) { home } else { found }
    }

    #[test]
    fn agrees_with_a_plain_transcription() {
        let mut state = 7u64;
        let mut chance = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        let mut beyond = 0;
        for _ in 0..300 {
            let n = 12;
            let centroids: Vec<LatLon> =
                (0..n).map(|_| at(f64::from(chance() * 40.0), f64::from(chance() * 40.0))).collect();
            let g = cells(&centroids);
            let rows: Vec<_> = (0..60)
                .map(|i| {
                    let cell = i % n as u32;
                    let position = centroids[cell as usize].destination(f64::from(chance() * 360.0), 40.0);
                    (cell, [chance() * 4.0, chance() * 4.0], position)
                })
                .collect();
            let p = prototypes(&rows, n);
            let mut prob: Vec<f32> = (0..n).map(|_| chance() + 0.01).collect();
            let sum: f32 = prob.iter().sum();
            prob.iter_mut().for_each(|v| *v /= sum);
            let e = [chance() * 4.0, chance() * 4.0];
            let r = RefineParams { k: 5, temperature: 0.4, limit_km: Some(1000.0), guess: Guess::Centroid };
            let c = refine(&g, &p, &prob, &e, &r);
            assert_eq!(c[0].position, transcription(&g, &p, &prob, &e, &r));
            beyond += usize::from(c[0].prototype.is_none());
        }
        assert!((30..270).contains(&beyond), "both branches were met: {beyond} of 300 beyond the limit");
    }
}
