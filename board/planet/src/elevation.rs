//! Height of the land at 1/6 degree (ETOPO1), bilinear between the nodes; the sea is 0.

use homing_models::LatLon;

use crate::data::{DataError, Sections, unzigzag, words};

const ROWS: usize = 1081;
const COLUMNS: usize = 2160;
/// Nodes are stored as signed square roots, four to the root of a metre: about 1 % of the height.
const ROOTS: f32 = 4.0;
/// Half the window of [`Elevation::relief_m`].
const RELIEF_KM: f64 = 13.0;

/// The grid of heights in metres.
pub(crate) struct Elevation(Vec<f32>);

impl Elevation {
    pub(crate) fn decode(sections: &Sections) -> Result<Self, DataError> {
        let raw = sections.unpack("ELEV")?;
        if raw.len() != 2 * ROWS * COLUMNS {
            return Err(DataError::Damaged("ELEV"));
        }
        let mut roots = vec![0i32; ROWS * COLUMNS];
        let mut residual = words(&raw);
        for row in 0..ROWS {
            let (above, this) = roots.split_at_mut(row * COLUMNS);
            let above = &above[row.saturating_sub(1) * COLUMNS..];
            let (mut left, mut corner) = (0, 0);
            for (column, root) in this[..COLUMNS].iter_mut().enumerate() {
                let up = above.get(column).copied().unwrap_or(0);
                let (low, high) = (left.min(up), left.max(up));
                let predicted = if corner >= high {
                    low
                } else if corner <= low {
                    high
                } else {
                    left + up - corner
                };
                left = predicted + unzigzag(residual.next().unwrap_or(0).into());
                *root = left;
                corner = up;
            }
        }
        let metres = |q: i32| (q as f32 / ROOTS) * (q as f32 / ROOTS).abs();
        Ok(Elevation(roots.into_iter().map(metres).collect()))
    }

    /// Height in metres, bilinear; below 0 only in depressions of the land.
    pub(crate) fn at(&self, p: LatLon) -> f32 {
        let y = (90.0 - p.lat()) * 6.0;
        let x = (p.lon() + 180.0) * 6.0;
        let (row, column) = ((y as usize).min(ROWS - 2), x as usize);
        let (fy, fx) = ((y - row as f64) as f32, (x - column as f64) as f32);
        let node = |r: usize, c: usize| self.0[r * COLUMNS + c % COLUMNS];
        let across = |r: usize| node(r, column) * (1.0 - fx) + node(r, column + 1) * fx;
        across(row) * (1.0 - fy) + across(row + 1) * fy
    }

    /// Highest minus lowest of nine heights up to 13 km away, in metres.
    pub(crate) fn relief(&self, p: LatLon) -> f32 {
        let dlat = RELIEF_KM / 111.195;
        let dlon = dlat / p.lat().to_radians().cos().max(0.05);
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        for i in -1..=1 {
            for j in -1..=1 {
                let h = self.at(LatLon::wrapped(p.lat() + f64::from(i) * dlat, p.lon() + f64::from(j) * dlon));
                (low, high) = (low.min(h), high.max(h));
            }
        }
        high - low
    }
}

#[cfg(test)]
mod tests {
    use crate::{LatLon, Planet};

    fn height(lat: f64, lon: f64) -> f32 {
        Planet::get().elevation_m(LatLon::new(lat, lon).unwrap())
    }

    #[test]
    fn known_heights() {
        assert_eq!(height(0.0, -30.0), 0.0, "the Atlantic");
        assert!((3500.0..4400.0).contains(&height(-16.5, -68.17)), "La Paz / El Alto: {}", height(-16.5, -68.17));
        assert!((4000.0..5500.0).contains(&height(33.0, 88.0)), "Tibet: {}", height(33.0, 88.0));
        assert!((0.0..40.0).contains(&height(52.1, 5.1)), "Utrecht: {}", height(52.1, 5.1));
        assert!((1400.0..2000.0).contains(&height(-26.2, 28.05)), "Johannesburg: {}", height(-26.2, 28.05));
        assert!(height(31.5, 35.5) < -100.0, "the Dead Sea: {}", height(31.5, 35.5));
    }

    #[test]
    fn no_seam_at_the_antimeridian_and_no_panic_at_the_poles() {
        assert!((height(67.0, 180.0) - height(67.0, -180.0)).abs() < 1e-3);
        for lat in [-90.0, 90.0] {
            assert!(height(lat, 180.0).is_finite());
            assert!(Planet::get().relief_m(LatLon::new(lat, 10.0).unwrap()).is_finite());
        }
    }

    #[test]
    fn mountains_have_relief_and_plains_have_none() {
        let relief = |lat, lon| Planet::get().relief_m(LatLon::new(lat, lon).unwrap());
        assert!(relief(46.2, 7.7) > 1000.0, "Valais {}", relief(46.2, 7.7));
        assert!(relief(52.1, 5.1) < 60.0, "Utrecht {}", relief(52.1, 5.1));
    }
}
