//! Country outlines: which country a position lies in, exactly on the outlines of the data file.
//!
//! Even-odd rule along a parallel. Edges are kept in bands of 1/4 degree of latitude, sorted by their eastern
//! end, so that a look-up reads only the edges of one band that lie east of the position.

use homing_models::{LatLon, geo::EARTH_RADIUS_KM};

use crate::country::CountryId;
use crate::data::{DataError, Numbers, Sections};

/// Coordinates are whole 1e-4 degrees.
const DEGREE: f64 = 10_000.0;
const BANDS: usize = 720;
/// Positions at sea belong to the nearest outline up to this far away.
const SHORE_KM: f64 = 20.0;

/// One closed line of a country's outline: land, or (by the even-odd rule) a hole in it.
pub struct Ring {
    /// Whose outline it is.
    pub country: CountryId,
    /// The corners; the last one repeats the first.
    pub points: Vec<LatLon>,
}

/// An edge of an outline, west to east, in 1e-4 degrees.
#[derive(Clone, Copy)]
struct Edge {
    west: i32,
    west_lat: i32,
    east: i32,
    east_lat: i32,
    country: u16,
}

pub(crate) struct Outlines {
    rings: Vec<Ring>,
    edges: Vec<Edge>,
    /// Where each band begins in `edges`; one more entry than bands.
    bands: Vec<u32>,
}

fn band_of(lat: f64) -> usize {
    (((lat + 90.0) * 4.0).max(0.0) as usize).min(BANDS - 1)
}

impl Outlines {
    pub(crate) fn decode(sections: &Sections, countries: usize) -> Result<Self, DataError> {
        let raw = sections.unpack("ARCS")?;
        let mut numbers = Numbers::of("ARCS", &raw);
        let mut arcs: Vec<Vec<[i32; 2]>> = Vec::new();
        while !numbers.at_end() {
            let count = numbers.unsigned()?;
            let (mut x, mut y) = (0i32, 0i32);
            let mut arc = Vec::new();
            for _ in 0..count {
                x = x.wrapping_add(numbers.signed()?);
                y = y.wrapping_add(numbers.signed()?);
                arc.push([x, y]);
            }
            arcs.push(arc);
        }
        let raw = sections.unpack("RING")?;
        let mut numbers = Numbers::of("RING", &raw);
        let damaged = DataError::Damaged("RING");
        let (mut rings, mut edges) = (Vec::new(), Vec::new());
        let mut corners: Vec<[i32; 2]> = Vec::new();
        while !numbers.at_end() {
            let country = numbers.unsigned()?;
            if country as usize >= countries {
                return Err(damaged);
            }
            corners.clear();
            for _ in 0..numbers.unsigned()? {
                let reference = numbers.signed()?;
                let backwards = reference < 0;
                let index = if backwards { !reference } else { reference };
                let Some(arc) = arcs.get(index as usize) else {
                    return Err(damaged);
                };
                let skip = usize::from(!corners.is_empty());
                if backwards {
                    corners.extend(arc.iter().rev().skip(skip));
                } else {
                    corners.extend(arc.iter().skip(skip));
                }
            }
            for pair in corners.windows(2) {
                let (a, b) = if pair[0][0] <= pair[1][0] { (pair[0], pair[1]) } else { (pair[1], pair[0]) };
                edges.push(Edge { west: a[0], west_lat: a[1], east: b[0], east_lat: b[1], country: country as u16 });
            }
            let points = corners.iter().map(|&[x, y]| LatLon::wrapped(f64::from(y) / DEGREE, f64::from(x) / DEGREE));
            rings.push(Ring { country: CountryId(country as u16), points: points.collect() });
        }
        let (edges, bands) = banded(&edges);
        Ok(Outlines { rings, edges, bands })
    }

    pub(crate) fn rings(&self) -> &[Ring] {
        &self.rings
    }

    /// The country whose outline contains the position.
    pub(crate) fn inside(&self, p: LatLon) -> Option<CountryId> {
        let (x, y) = (p.lon() * DEGREE, p.lat() * DEGREE);
        let band = self.band(band_of(p.lat()));
        // Countries crossed an odd number of times, one bit each.
        let mut odd = [0u64; 5];
        for e in &band[band.partition_point(|e| f64::from(e.east) < x)..] {
            let (y0, y1) = (f64::from(e.west_lat), f64::from(e.east_lat));
            if (y0 > y) == (y1 > y) {
                continue;
            }
            let (x0, x1) = (f64::from(e.west), f64::from(e.east));
            if x0 > x || x0 + (y - y0) / (y1 - y0) * (x1 - x0) > x {
                odd[usize::from(e.country) / 64] ^= 1 << (e.country % 64);
            }
        }
        let word = odd.iter().position(|&w| w != 0)?;
        Some(CountryId((word * 64) as u16 + odd[word].trailing_zeros() as u16))
    }

    /// The country that contains the position, or else the one with the nearest outline within 20 km.
    pub(crate) fn country_at(&self, p: LatLon) -> Option<CountryId> {
        self.inside(p).or_else(|| self.nearest(p, SHORE_KM))
    }

    /// The country with the nearest outline up to `limit_km` away.
    fn nearest(&self, p: LatLon, limit_km: f64) -> Option<CountryId> {
        let km_per_lat = EARTH_RADIUS_KM.to_radians() / DEGREE;
        let km_per_lon = km_per_lat * p.lat().to_radians().cos().max(1e-3);
        let mut best = (limit_km, None);
        for turn in [0.0, -360.0, 360.0] {
            let (x, y) = ((p.lon() + turn) * DEGREE, p.lat() * DEGREE);
            let reach = limit_km / km_per_lon;
            if x + reach < -180.0 * DEGREE || x - reach > 180.0 * DEGREE {
                continue;
            }
            let span = limit_km / (km_per_lat * DEGREE);
            for b in band_of(p.lat() - span)..=band_of(p.lat() + span) {
                let band = self.band(b);
                for e in &band[band.partition_point(|e| f64::from(e.east) < x - reach)..] {
                    if f64::from(e.west) > x + reach {
                        continue;
                    }
                    // Distance to the segment on the plane that touches the Earth here: exact enough for 20 km.
                    let a = [(f64::from(e.west) - x) * km_per_lon, (f64::from(e.west_lat) - y) * km_per_lat];
                    let d = [f64::from(e.east - e.west) * km_per_lon, f64::from(e.east_lat - e.west_lat) * km_per_lat];
                    let length2 = d[0] * d[0] + d[1] * d[1];
                    let t = if length2 > 0.0 { (-(a[0] * d[0] + a[1] * d[1]) / length2).clamp(0.0, 1.0) } else { 0.0 };
                    let km = (a[0] + t * d[0]).hypot(a[1] + t * d[1]);
                    if km < best.0 {
                        best = (km, Some(CountryId(e.country)));
                    }
                }
            }
        }
        best.1
    }

    fn band(&self, band: usize) -> &[Edge] {
        &self.edges[self.bands[band] as usize..self.bands[band + 1] as usize]
    }

    /// Where each parallel of a grid with `rows` rows (centres, north first) enters and leaves land: sorted
    /// longitudes in degrees, two by two.
    pub(crate) fn land_spans(&self, rows: usize) -> Vec<Vec<f32>> {
        (0..rows)
            .map(|row| {
                let lat = 90.0 - (row as f64 + 0.5) * 180.0 / rows as f64;
                let y = lat * DEGREE;
                let mut spans: Vec<(f32, u16)> = Vec::new();
                for e in self.band(band_of(lat)) {
                    let (y0, y1) = (f64::from(e.west_lat), f64::from(e.east_lat));
                    if (y0 > y) != (y1 > y) {
                        let x = f64::from(e.west) + (y - y0) / (y1 - y0) * f64::from(e.east - e.west);
                        spans.push(((x / DEGREE) as f32, e.country));
                    }
                }
                // Country by country, so that a shared border opens one span where it closes another.
                spans.sort_by(|a, b| a.1.cmp(&b.1).then(a.0.total_cmp(&b.0)));
                spans.into_iter().map(|s| s.0).collect()
            })
            .collect()
    }
}

/// Sorts edges into bands (an edge may be in several) and inside a band by their eastern end.
fn banded(edges: &[Edge]) -> (Vec<Edge>, Vec<u32>) {
    let span = |e: &Edge| {
        let (low, high) = (e.west_lat.min(e.east_lat), e.west_lat.max(e.east_lat));
        band_of(f64::from(low) / DEGREE)..=band_of(f64::from(high) / DEGREE)
    };
    let mut starts = vec![0u32; BANDS + 1];
    for e in edges {
        span(e).for_each(|b| starts[b + 1] += 1);
    }
    for b in 0..BANDS {
        starts[b + 1] += starts[b];
    }
    let mut fill = starts.clone();
    let mut sorted = vec![Edge { west: 0, west_lat: 0, east: 0, east_lat: 0, country: 0 }; starts[BANDS] as usize];
    for e in edges {
        for b in span(e) {
            sorted[fill[b] as usize] = *e;
            fill[b] += 1;
        }
    }
    for b in 0..BANDS {
        sorted[starts[b] as usize..starts[b + 1] as usize].sort_unstable_by_key(|e| e.east);
    }
    (sorted, starts)
}
