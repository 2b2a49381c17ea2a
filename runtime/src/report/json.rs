//! One fix as a line of JSON: the public contract. Absent values are null, never invented.
//!
//! `cells` are those of this panorama: the answer's first, then by falling `p`, [`CELLS`] at most. `p` is the
//! cell's probability after refinement; over all cells considered it adds up to 1. `lat` and `lon` of a cell are
//! its centroid.

use chrono::{DateTime, SecondsFormat, Utc};
use homing_models::Radius;
use serde::Serialize;

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
    time: String,
    lat: Option<f64>,
    lon: Option<f64>,
    radius_km: Option<Radius>,
    country: Option<&'a str>,
    place: Option<&'a str>,
    cells: Vec<CellLine>,
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

#[derive(Serialize)]
struct GnssLine {
    lat: Option<f64>,
    lon: Option<f64>,
    verdict: Verdict,
    distance_km: Option<f64>,
}

#[derive(Serialize)]
struct LatencyLine {
    capture: f64,
    encode: f64,
    locate: f64,
    report: f64,
    total: f64,
}

/// A fix as one line of JSON, without the line end. `report` in `latency_ms` is the time up to this line.
pub fn line(fix: &Fix, locator: &Locator, model_id: &str) -> String {
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
    // Strings, numbers and lists of them always have a JSON form.
    serde_json::to_string(&line).unwrap_or_default()
}

fn cells(estimate: &Estimate, locator: &Locator) -> Vec<CellLine> {
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

/// RFC 3339 in UTC with milliseconds.
pub fn time(t: std::time::SystemTime) -> String {
    DateTime::<Utc>::from(t).to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn coordinate(degrees: f64) -> f64 {
    round(degrees, COORDINATE_DIGITS)
}

fn round(value: f64, digits: i32) -> f64 {
    let unit = 10f64.powi(digits);
    (value * unit).round() / unit
}
