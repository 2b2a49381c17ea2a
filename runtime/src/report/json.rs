//! One fix as a line of JSON: the public contract. Absent values are null, never invented.
//!
//! `cells` are those of this panorama: the answer's first, then by falling `p`, [`CELLS`] at most. `p` is the
//! cell's probability after refinement; over all cells considered it adds up to 1. `lat` and `lon` of a cell are
//! its centroid.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike, Timelike, Utc};
use homing_models::{LatLon, Radius};
use serde::{Deserialize, Serialize};

use super::{Fix, Latency};
use crate::{
    compare::Verdict,
    locate::{Estimate, Locator},
};

/// Cells that are told at most.
pub const CELLS: usize = 5;
/// Digits after the point of a coordinate: about a decimetre.
const COORDINATE_DIGITS: i32 = 6;

#[derive(Serialize)]
struct FixLine<'a> {
    time: Time,
    lat: Option<f64>,
    lon: Option<f64>,
    radius_km: Option<Radius>,
    country: Option<&'a str>,
    place: Option<&'a str>,
    cells: heapless::Vec<CellLine, CELLS>,
    prototype: Option<u32>,
    views: usize,
    gnss: GnssLine,
    latency_ms: LatencyLine,
    model: &'a str,
}

#[derive(Serialize)]
struct CellLine {
    id: u32,
    p: f32,
    lat: f64,
    lon: f64,
}

#[derive(Serialize, Deserialize)]
struct GnssLine {
    lat: Option<f64>,
    lon: Option<f64>,
    verdict: Verdict,
    distance_km: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct LatencyLine {
    capture: f64,
    encode: f64,
    locate: f64,
    report: f64,
    total: f64,
}

/// A fix that was written as a line before, as far as a map of the drive needs it.
#[derive(Deserialize)]
pub struct Logged {
    lat: Option<f64>,
    lon: Option<f64>,
    radius_km: Option<Radius>,
    gnss: GnssLine,
    latency_ms: LatencyLine,
}

impl Logged {
    /// Where the fix is, and its radii; `None` without an estimate.
    pub fn position(&self) -> Option<(LatLon, Radius)> {
        Some((LatLon::new(self.lat?, self.lon?).ok()?, self.radius_km?))
    }

    /// What GNSS said.
    pub fn gnss(&self) -> Option<LatLon> {
        LatLon::new(self.gnss.lat?, self.gnss.lon?).ok()
    }

    /// What the comparison said.
    pub fn verdict(&self) -> Verdict {
        self.gnss.verdict
    }

    /// Time of all stages in milliseconds.
    pub fn total_ms(&self) -> f64 {
        self.latency_ms.total
    }
}

/// Writes a fix as one line of JSON with its end in place of what `out` held; its room is used again. `report` in
/// `latency_ms` is the time up to this line.
pub fn line(out: &mut Vec<u8>, fix: &Fix, locator: &Locator, model_id: &str) {
    let tracked = fix.tracked.as_ref();
    let place = tracked.map(|t| locator.place(&t.candidate)).filter(|p| !p.country.is_empty());
    let line = FixLine {
        time: time(fix.time),
        lat: tracked.map(|t| coordinate(t.position.lat())),
        lon: tracked.map(|t| coordinate(t.position.lon())),
        radius_km: tracked.map(|t| t.radius),
        country: place.map(|p| p.country),
        place: place.map(|p| p.town).filter(|t| !t.is_empty()),
        cells: fix.estimate.as_ref().map(|e| cells(e, locator)).unwrap_or_default(),
        prototype: tracked.and_then(|t| t.candidate.prototype),
        views: fix.views,
        gnss: GnssLine {
            lat: fix.gnss.map(|g| coordinate(g.position.lat())),
            lon: fix.gnss.map(|g| coordinate(g.position.lon())),
            verdict: fix.comparison.verdict,
            distance_km: fix.comparison.distance_km.map(|d| round(d, 3)),
        },
        latency_ms: latency(&fix.latency),
        model: model_id,
    };
    out.clear();
    // Strings, numbers and lists of them always have a JSON form, and memory takes all of it.
    let _ = serde_json::to_writer(&mut *out, &line);
    out.push(b'\n');
}

fn cells(estimate: &Estimate, locator: &Locator) -> heapless::Vec<CellLine, CELLS> {
    let line = |c: &homing_models::Candidate| {
        let centroid = locator.geocells().cell(c.cell).centroid;
        CellLine { id: c.cell.0, p: c.weight, lat: coordinate(centroid.lat()), lon: coordinate(centroid.lon()) }
    };
    estimate.candidates.iter().take(CELLS).map(line).collect()
}

fn latency(l: &Latency) -> LatencyLine {
    let ms = |d: std::time::Duration| round(d.as_secs_f64() * 1000.0, 3);
    LatencyLine {
        capture: ms(l.capture),
        encode: ms(l.encode),
        locate: ms(l.locate),
        report: ms(l.report),
        total: ms(l.total()),
    }
}

/// A time in letters.
pub type Time = heapless::String<32>;

/// RFC 3339 in UTC with milliseconds.
pub fn time(t: std::time::SystemTime) -> Time {
    let (t, mut letters) = (DateTime::<Utc>::from(t), Time::new());
    let (year, month, day, hour, minute, second) = (t.year(), t.month(), t.day(), t.hour(), t.minute(), t.second());
    let milliseconds = t.timestamp_subsec_millis();
    // There is room for any year that a clock can say.
    let _ = write!(letters, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z");
    letters
}

fn coordinate(degrees: f64) -> f64 {
    round(degrees, COORDINATE_DIGITS)
}

fn round(value: f64, digits: i32) -> f64 {
    let unit = 10f64.powi(digits);
    (value * unit).round() / unit
}
