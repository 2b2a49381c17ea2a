//! Clusters of a reachability plot by the xi method: valleys between a steep descent and a steep ascent.
//!
//! Section 4.3 of the OPTICS paper with the two amendments that scikit-learn made: condition 4c of Definition 11 is
//! read as "greater", and a cluster's end is moved back until its last point was reached from inside it (predecessor
//! correction, Schubert and Gertz 2018).

use super::Ordering;

/// A descent that may still become the left side of a cluster.
#[derive(Clone, Copy, Debug)]
struct Descent {
    start: usize,
    end: usize,
    /// Highest reachability between this descent's end and the current place.
    peak_since: f64,
}

/// The reachability plot: values in the order of visit, with an infinite value after the last.
struct Plot<'o> {
    ordering: &'o Ordering,
    height: Vec<f64>,
    /// Place in the order of each point.
    place: Vec<usize>,
    keep: f64,
    min_samples: usize,
}

impl Ordering {
    /// The innermost clusters of at least `min_samples` points whose sides fall and rise by the share `xi` (0..1)
    /// from point to point: the label of each point, `None` for noise. Labels count from 0 in order of discovery.
    pub fn xi_labels(&self, xi: f64, min_samples: usize) -> Vec<Option<u32>> {
        let mut labels = vec![None; self.order.len()];
        let mut count = 0;
        for (start, end) in self.xi_clusters(xi, min_samples) {
            let members = &self.order[start..=end];
            // Clusters are nested, the inner ones first: whoever holds a labelled point is an outer one.
            if members.iter().all(|&p| labels[p as usize].is_none()) {
                members.iter().for_each(|&p| labels[p as usize] = Some(count));
                count += 1;
            }
        }
        labels
    }

    /// All clusters, nested ones before those around them, as first and last place in the order.
    pub fn xi_clusters(&self, xi: f64, min_samples: usize) -> Vec<(usize, usize)> {
        let mut height: Vec<f64> = self.order.iter().map(|&p| self.reachability_km[p as usize]).collect();
        height.push(f64::INFINITY);
        let mut place = vec![0; self.order.len()];
        self.order.iter().enumerate().for_each(|(i, &p)| place[p as usize] = i);
        Plot { ordering: self, height, place, keep: 1.0 - xi, min_samples }.clusters()
    }
}

impl Plot<'_> {
    /// Height of a place over that of the next one; NaN (which is neither up nor down) between two infinite or two
    /// zero heights.
    fn ratio(&self, i: usize) -> f64 {
        self.height[i] / self.height[i + 1]
    }

    fn steep_up(&self, i: usize) -> bool {
        self.ratio(i) <= self.keep
    }

    fn steep_down(&self, i: usize) -> bool {
        self.ratio(i) >= 1.0 / self.keep
    }

    fn clusters(&self) -> Vec<(usize, usize)> {
        let (mut descents, mut clusters) = (Vec::<Descent>::new(), Vec::new());
        let (mut next, mut peak) = (0, 0f64);
        for i in 0..self.ordering.order.len() {
            if i < next || !(self.steep_up(i) || self.steep_down(i)) {
                continue;
            }
            peak = self.height[next..=i].iter().fold(peak, |a, &h| a.max(h));
            self.forget(&mut descents, peak);
            let end = if self.steep_down(i) {
                let end = self.extend(i, |j| self.steep_down(j), |j| self.ratio(j) < 1.0);
                descents.push(Descent { start: i, end, peak_since: 0.0 });
                end
            } else {
                let end = self.extend(i, |j| self.steep_up(j), |j| self.ratio(j) > 1.0);
                // The latest descent bounds the smallest cluster.
                clusters.extend(descents.iter().rev().filter_map(|d| self.cluster(d, i, end)));
                end
            };
            next = end + 1;
            peak = self.height[next];
        }
        clusters
    }

    /// Drops the descents whose start is not clearly above the highest point since.
    fn forget(&self, descents: &mut Vec<Descent>, peak: f64) {
        if peak.is_infinite() {
            descents.clear();
        }
        descents.retain_mut(|d| {
            d.peak_since = d.peak_since.max(peak);
            peak <= self.height[d.start] * self.keep
        });
    }

    /// Last place of the steep area that begins at `start`: it never turns, and has no more than `min_samples`
    /// consecutive places that are not steep.
    fn extend(&self, start: usize, steep: impl Fn(usize) -> bool, turned: impl Fn(usize) -> bool) -> usize {
        let (mut end, mut flat) = (start, 0);
        for i in start..self.ordering.order.len() {
            if steep(i) {
                (end, flat) = (i, 0);
            } else if turned(i) {
                break;
            } else {
                flat += 1;
                if flat > self.min_samples {
                    break;
                }
            }
        }
        end
    }

    /// The cluster between a descent and the ascent `up..=up_end`, by Definition 11.
    fn cluster(&self, down: &Descent, up: usize, up_end: usize) -> Option<(usize, usize)> {
        let h = &self.height;
        let (mut start, mut end) = (down.start, up_end);
        let (left, right) = (h[start], h[end + 1]);
        if right * self.keep < down.peak_since {
            return None;
        }
        if left * self.keep >= right {
            while h[start + 1] > right && start < down.end {
                start += 1;
            }
        } else if right * self.keep >= left {
            while h[end - 1] > left && end > up {
                end -= 1;
            }
        }
        let end = self.reached_from_inside(start, end)?;
        let long_enough = end + 1 - start >= self.min_samples;
        (long_enough && start <= down.end && end >= up).then_some((start, end))
    }

    /// The last place up to `end` that is lower than `start` or was reached from inside the cluster.
    fn reached_from_inside(&self, start: usize, end: usize) -> Option<usize> {
        let inside = |end: usize| {
            let reached_from = self.ordering.predecessor[self.ordering.order[end] as usize];
            reached_from.is_some_and(|p| (start..end).contains(&self.place[p as usize]))
        };
        (start + 1..=end).rev().find(|&e| self.height[start] > self.height[e] || inside(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plot whose points were reached each from the one before.
    fn plot(heights: &[f64]) -> Ordering {
        let n = heights.len() as u32;
        Ordering {
            order: (0..n).collect(),
            reachability_km: heights.to_vec(),
            core_km: vec![0.0; heights.len()],
            predecessor: (0..n).map(|i| i.checked_sub(1)).collect(),
        }
    }

    const INF: f64 = f64::INFINITY;

    #[test]
    fn two_valleys_and_a_lonely_point() {
        let ordering = plot(&[INF, 1.0, 1.0, 1.0, 9.0, 1.0, 1.0, 1.0, 30.0, 30.0]);
        // The foot of the last ascent belongs to its valley; the point on the plateau behind does not.
        assert_eq!(ordering.xi_clusters(0.1, 3), [(0, 3), (4, 8), (0, 9)]);
        let (a, b) = (Some(0), Some(1));
        assert_eq!(ordering.xi_labels(0.1, 3), [a, a, a, a, b, b, b, b, b, None]);
    }

    #[test]
    fn a_valley_in_a_valley_is_found_first() {
        let ordering = plot(&[INF, 5.0, 5.0, 5.0, 5.0, 5.0, 1.0, 1.0, 1.0, 1.0, 5.0, 5.0, 5.0, 5.0, 5.0]);
        assert_eq!(ordering.xi_clusters(0.1, 3), [(5, 9), (0, 14)]);
        // Flat labels keep the inner valley only.
        let labels = ordering.xi_labels(0.1, 3);
        assert_eq!(labels.iter().filter(|l| l.is_some()).count(), 5);
    }

    #[test]
    fn a_plain_without_sides_is_one_cluster_or_none() {
        assert_eq!(plot(&[INF, 2.0, 2.0, 2.0, 2.0]).xi_clusters(0.05, 3), [(0, 4)]);
        assert!(plot(&[INF, INF, INF]).xi_clusters(0.05, 2).is_empty());
        assert!(plot(&[]).xi_clusters(0.05, 2).is_empty());
    }

    #[test]
    fn a_gentle_slope_bounds_nothing() {
        // 3 % a step: steep for xi .02, flat for xi .05.
        let slope: Vec<f64> = (0..12).map(|i: i32| 10.0 * 0.97f64.powi(6 - (i - 6).abs())).collect();
        assert!(plot(&slope).xi_clusters(0.05, 3).iter().all(|&(start, _)| start == 0));
        assert!(!plot(&slope).xi_clusters(0.02, 3).is_empty());
    }

    #[test]
    fn points_reached_from_outside_leave_the_end() {
        let mut ordering = plot(&[INF, 1.0, 1.0, 1.0, 9.0, 1.0, 1.0, 1.0, 12.0]);
        // The last point of the second valley was reached from the first one.
        ordering.predecessor[7] = Some(2);
        ordering.reachability_km[7] = 9.5;
        let labels = ordering.xi_labels(0.1, 3);
        assert_eq!(labels[4..], [Some(1), Some(1), Some(1), None, None]);
    }
}
