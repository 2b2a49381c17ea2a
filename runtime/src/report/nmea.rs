//! NMEA 0183 sentences of an estimated position, in the form that gpsd reads honestly.
//!
//! RMC with status A and mode E, GSA with mode 2 (two dimensions), GST, then one sentence of our own; no GGA.
//! gpsd then reports a two-dimensional dead-reckoning fix; a GGA with quality 6 would become "no fix" or,
//! with satellites, a lie about the height. gpsd takes the horizontal error as HDOP x 19 m, so HDOP carries
//! the 95 per cent radius as far as that goes (1.7 km) and is empty beyond: no error estimate is better than
//! one that saturates. GST carries it always, as a standard deviation.

use std::fmt::Write;

use chrono::{DateTime, Datelike, Timelike, Utc};
use homing_models::LatLon;

use super::Fix;

/// Bytes of a sentence at most, with `$`, checksum and line end.
pub const MAX_SENTENCE: usize = 82;
/// Sentences of one fix at most.
const SENTENCES: usize = 4;
/// Metres of horizontal error that gpsd sees in one unit of HDOP (95 per cent).
const GPSD_UERE_M: f64 = 19.0;
/// Largest HDOP that gpsd accepts.
const MAX_HDOP: f64 = 89.99;
/// Radius of 95 per cent of a round normal distribution, in standard deviations: `sqrt(-2 ln 0.05)`.
const P95_SIGMAS: f64 = 2.447_746_83;

/// The sentences of one fix, each ended by CR LF.
pub type Burst = heapless::String<{ MAX_SENTENCE * SENTENCES }>;

/// The sentences of a fix. Without an estimate they say so, and the time goes on.
pub fn burst(fix: &Fix, model_id: &str) -> Burst {
    let time = DateTime::<Utc>::from(fix.time);
    // Time of day in centiseconds, cut and not rounded, so that it cannot become 24 h or run ahead.
    let clock = time_of_day(time);
    let mut out = Burst::new();
    let date = (time.day(), time.month(), time.year().rem_euclid(100));
    match &fix.tracked {
        Some(t) => {
            let (lat, lon) = (latitude(t.position), longitude(t.position));
            sentence(
                &mut out,
                format_args!("GPRMC,{clock},A,{lat},{lon},,,{:02}{:02}{:02},,,E", date.0, date.1, date.2),
            );
            let p95_m = f64::from(t.radius.p95_km) * 1000.0;
            let hdop = (p95_m / GPSD_UERE_M).max(0.01);
            // All three or none, as parsers want them; 99.99 is how receivers say that they do not know.
            let mut dop = heapless::String::<24>::new();
            let _ = match hdop <= MAX_HDOP {
                true => write!(dop, "{hdop:.2},{hdop:.2},99.99"),
                false => write!(dop, ",,"),
            };
            sentence(&mut out, format_args!("GPGSA,A,2,,,,,,,,,,,,,{dop}"));
            let sigma_m = p95_m / P95_SIGMAS;
            sentence(&mut out, format_args!("GPGST,{clock},,,,,{sigma_m:.1},{sigma_m:.1},"));
            sentence(
                &mut out,
                format_args!(
                    "PHOM,{clock},{:.1},{:.1},{},{},{},{model_id}",
                    t.radius.p50_km,
                    t.radius.p95_km,
                    t.candidate.cell.0,
                    fix.views,
                    fix.comparison.verdict.letter()
                ),
            );
        }
        None => {
            sentence(&mut out, format_args!("GPRMC,{clock},V,,,,,,,{:02}{:02}{:02},,,N", date.0, date.1, date.2));
            sentence(&mut out, format_args!("GPGSA,A,1,,,,,,,,,,,,,,,"));
            let letter = fix.comparison.verdict.letter();
            sentence(&mut out, format_args!("PHOM,{clock},,,,{},{letter},{model_id}", fix.views));
        }
    }
    out
}

/// The checksum of a sentence: exclusive or of the bytes between `$` and `*`.
pub fn checksum(body: &str) -> u8 {
    body.bytes().fold(0, |sum, b| sum ^ b)
}

fn sentence(out: &mut Burst, body: std::fmt::Arguments<'_>) {
    let mut line = heapless::String::<MAX_SENTENCE>::new();
    // A sentence that does not fit is left out whole: half a sentence helps nobody.
    if line.write_fmt(body).is_ok() && line.len() + 6 <= MAX_SENTENCE {
        let sum = checksum(&line);
        let _ = write!(out, "${line}*{sum:02X}\r\n");
    }
}

fn time_of_day(t: DateTime<Utc>) -> heapless::String<9> {
    let mut s = heapless::String::new();
    let _ = write!(s, "{:02}{:02}{:02}.{:02}", t.hour(), t.minute(), t.second(), t.nanosecond() / 10_000_000 % 100);
    s
}

fn latitude(p: LatLon) -> heapless::String<16> {
    let mut s = heapless::String::new();
    let (degrees, minutes) = degrees_minutes(p.lat());
    let _ = write!(s, "{degrees:02}{minutes:07.4},{}", if p.lat() < 0.0 { 'S' } else { 'N' });
    s
}

fn longitude(p: LatLon) -> heapless::String<16> {
    let mut s = heapless::String::new();
    let (degrees, minutes) = degrees_minutes(p.lon());
    let _ = write!(s, "{degrees:03}{minutes:07.4},{}", if p.lon() < 0.0 { 'W' } else { 'E' });
    s
}

/// Whole degrees and minutes; rounded to the digits written before they are split, so that 60 cannot appear.
fn degrees_minutes(coordinate: f64) -> (u32, f64) {
    let ten_thousandths = (coordinate.abs() * 600_000.0).round() as u64;
    ((ten_thousandths / 600_000) as u32, (ten_thousandths % 600_000) as f64 / 10_000.0)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use homing_models::{Candidate, CellId, Radius};
    use nmea::ParseResult;

    use super::*;
    use crate::{
        compare::{Comparison, Verdict},
        report::Latency,
        track::Tracked,
    };

    fn fix(lat: f64, lon: f64, p95_km: f32) -> Fix {
        let position = LatLon::new(lat, lon).unwrap();
        let candidate = Candidate { cell: CellId(1234), probability: 1.0, weight: 1.0, position, prototype: None };
        Fix {
            number: 1,
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_772_615_999_999),
            truth: None,
            views: 4,
            estimate: None,
            tracked: Some(Tracked { position, radius: Radius { p50_km: p95_km / 4.0, p95_km }, candidate, support: 1 }),
            gnss: None,
            comparison: Comparison { verdict: Verdict::Disagree, distance_km: None, change: None },
            latency: Latency::default(),
        }
    }

    fn lines(burst: &Burst) -> Vec<&str> {
        burst.split_terminator("\r\n").collect()
    }

    #[test]
    fn the_sentences_of_a_fix() {
        let b = burst(&fix(-33.856_784, 151.215_297, 240.0), "0123456789ab");
        assert_eq!(
            lines(&b),
            [
                "$GPRMC,091959.99,A,3351.4070,S,15112.9178,E,,,040326,,,E*4F",
                "$GPGSA,A,2,,,,,,,,,,,,,,,*1D",
                "$GPGST,091959.99,,,,,98049.4,98049.4,*74",
                "$PHOM,091959.99,60.0,240.0,1234,4,D,0123456789ab*53",
            ]
        );
    }

    #[test]
    fn read_back_by_the_nmea_crate() {
        for (lat, lon) in [(0.0, 0.0), (-89.999_999_9, 179.999_999_9), (52.52, -0.000_01), (59.999_999_99, 13.4)] {
            let b = burst(&fix(lat, lon, 1.0), "0123456789ab");
            let mut modes = Vec::new();
            for line in lines(&b) {
                assert!(line.len() + 2 <= MAX_SENTENCE && line.starts_with('$'), "{line}");
                let (body, sum) = line[1..].split_once('*').unwrap();
                assert_eq!(format!("{:02X}", checksum(body)), sum);
                match nmea::parse_str(line) {
                    Ok(ParseResult::RMC(r)) => {
                        assert!((r.lat.unwrap() - lat).abs() < 1e-6 && (r.lon.unwrap() - lon).abs() < 1e-6);
                        assert_eq!(r.fix_date.unwrap().to_string(), "2026-03-04");
                        modes.push(r.status_of_fix == nmea::sentences::rmc::RmcStatusOfFix::Autonomous);
                    }
                    Ok(ParseResult::GSA(g)) => {
                        assert_eq!(format!("{:?}", g.mode2), "Fix2D");
                        assert!((g.hdop.unwrap() - 1000.0 / 19.0).abs() < 0.01);
                    }
                    Ok(ParseResult::GST(g)) => {
                        assert!((g.lat_sd.unwrap() - 408.5).abs() < 0.1)
                    }
                    Ok(other) => panic!("{other:?}"),
                    Err(_) => assert!(line.starts_with("$PHOM,"), "{line}"),
                }
            }
            assert_eq!(modes, [true], "one RMC with status A");
        }
    }

    #[test]
    fn a_radius_beyond_what_hdop_can_say_leaves_it_empty() {
        let hdop = |p95_km: f32| lines(&burst(&fix(1.0, 1.0, p95_km), "m"))[1].to_owned();
        assert!(hdop(1.7).contains(",89.47,89.47,99.99*"));
        assert!(hdop(1.72).contains(",,,*"), "never saturated");
    }

    #[test]
    fn no_estimate_is_said_and_the_time_goes_on() {
        let mut f = fix(1.0, 1.0, 1.0);
        f.tracked = None;
        let b = burst(&f, "0123456789ab");
        assert!(lines(&b)[0].starts_with("$GPRMC,091959.99,V,,,,,,,040326,,,N*"));
        assert!(lines(&b)[1].starts_with("$GPGSA,A,1,"));
        assert_eq!(lines(&b).len(), 3);
    }

    #[test]
    fn the_longest_values_fit() {
        let mut f = fix(-89.999_999_9, -179.999_999_9, 20_015.1);
        f.tracked.as_mut().unwrap().candidate.cell = CellId(u32::MAX);
        let b = burst(&f, "0123456789ab");
        assert_eq!(lines(&b).len(), 4);
        assert!(lines(&b).iter().all(|l| l.len() + 2 <= MAX_SENTENCE));
    }
}
