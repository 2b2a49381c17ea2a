//! NMEA 0183 sentences of an estimated position, in the form that a consumer reads honestly.
//!
//! An estimate is quality 6 and mode E in NMEA's own words, and consumers disagree about those, so that there is a
//! [`Profile`] for each. gpsd's: RMC with status A and mode E, GSA with mode 2 (two dimensions), GST; no GGA, of which
//! gpsd would make "no fix" or, with satellites, a lie about the height. gpsd takes the horizontal error as HDOP x 19 m,
//! so that HDOP carries the 95 per cent radius as far as that goes (1.7 km) and is empty beyond: no error estimate is
//! better than one that saturates. The others: RMC, GGA, GSA, GST, VTG, ZDA. GST carries the error always, as a standard
//! deviation; a sentence of our own, `$PHOM`, carries radius, geocell, views, verdict and model. Speed and course are
//! never known and stay empty.

use std::fmt::Write;

use chrono::{DateTime, Datelike, Timelike, Utc};
use homing_models::LatLon;

pub use super::settings::{Profile, SentenceSettings};
use super::{
    Fix,
    settings::{MAX_SENTENCE, SENTENCES},
};

/// Metres of horizontal error that gpsd sees in one unit of HDOP (95 per cent).
const GPSD_UERE_M: f64 = 19.0;
/// Largest HDOP that gpsd accepts.
const MAX_HDOP: f64 = 89.99;
/// Radius of 95 per cent of a round normal distribution, in standard deviations: `sqrt(-2 ln 0.05)`.
pub(super) const P95_SIGMAS: f64 = 2.447_746_83;

/// The sentences of one fix, each ended by CR LF.
pub type Burst = heapless::String<{ MAX_SENTENCE * SENTENCES }>;

/// The sentences of a fix. Without an estimate they say so, and the time goes on.
pub fn burst(fix: &Fix, model_id: &str, settings: SentenceSettings) -> Burst {
    let SentenceSettings { profile, pose_as_gps } = settings;
    let time = DateTime::<Utc>::from(fix.time);
    // Time of day in centiseconds, cut and not rounded, so that it cannot become 24 h or run ahead.
    let clock = time_of_day(time);
    let mut date = heapless::String::<6>::new();
    let _ = write!(date, "{:02}{:02}{:02}", time.day(), time.month(), time.year().rem_euclid(100));
    let (mode, quality) = match (&fix.tracked, pose_as_gps) {
        (None, _) => ('N', 0),
        (Some(_), true) => ('A', 1),
        (Some(_), false) => ('E', 6),
    };
    let position = fix.tracked.as_ref().map(|t| position(t.position));
    let position = position.as_deref().unwrap_or(",,,");
    let p95_m = fix.tracked.as_ref().map(|t| f64::from(t.radius.p95_km) * 1000.0);
    // How a consumer gets the error from HDOP is its own affair; who does not know it leaves it empty.
    let hdop = match profile {
        Profile::Ros => p95_m.map(|_| 1.0),
        Profile::Gpsd | Profile::Px4 | Profile::Plotter => p95_m.map(|m| (m / GPSD_UERE_M).max(0.01)),
    };
    let hdop = hdop.filter(|h| *h <= MAX_HDOP);
    let (mut alone, mut dop) = (heapless::String::<8>::new(), heapless::String::<24>::new());
    // All three or none, as parsers want them; 99.99 is how receivers say that they do not know.
    let _ = match hdop {
        Some(h) => write!(alone, "{h:.2}").and_then(|()| write!(dop, "{h:.2},{h:.2},99.99")),
        None => write!(dop, ",,"),
    };

    let mut out = Burst::new();
    let status = if fix.tracked.is_some() { 'A' } else { 'V' };
    sentence(&mut out, format_args!("GPRMC,{clock},{status},{position},,,{date},,,{mode}"));
    if profile != Profile::Gpsd {
        sentence(&mut out, format_args!("GPGGA,{clock},{position},{quality},00,{alone},,M,,M,,"));
    }
    let dimensions = if fix.tracked.is_some() { 2 } else { 1 };
    sentence(&mut out, format_args!("GPGSA,A,{dimensions},,,,,,,,,,,,,{dop}"));
    if let Some(p95_m) = p95_m {
        let sigma_m = p95_m / P95_SIGMAS;
        sentence(&mut out, format_args!("GPGST,{clock},,,,,{sigma_m:.1},{sigma_m:.1},"));
    }
    if profile != Profile::Gpsd {
        sentence(&mut out, format_args!("GPVTG,,T,,M,,N,,K,{mode}"));
        let (day, month, year) = (time.day(), time.month(), time.year());
        sentence(&mut out, format_args!("GPZDA,{clock},{day:02},{month:02},{year:04},00,00"));
    }
    let mut ours = heapless::String::<40>::new();
    let _ = match &fix.tracked {
        Some(t) => write!(ours, "{:.1},{:.1},{}", t.radius.p50_km, t.radius.p95_km, t.candidate.cell.0),
        None => write!(ours, ",,"),
    };
    let letter = fix.comparison.verdict.letter();
    sentence(&mut out, format_args!("PHOM,{clock},{ours},{},{letter},{model_id}", fix.views));
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

/// Latitude and longitude as RMC and GGA have them.
fn position(p: LatLon) -> heapless::String<40> {
    let mut s = heapless::String::new();
    let _ = write!(s, "{},{}", latitude(p), longitude(p));
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

    fn gpsd(fix: &Fix, model_id: &str) -> Burst {
        burst(fix, model_id, SentenceSettings::default())
    }

    fn lines(burst: &Burst) -> Vec<&str> {
        burst.split_terminator("\r\n").collect()
    }

    #[test]
    fn the_sentences_of_a_fix() {
        let b = gpsd(&fix(-33.856_784, 151.215_297, 240.0), "0123456789ab");
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
            let b = gpsd(&fix(lat, lon, 1.0), "0123456789ab");
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
        let hdop = |p95_km: f32| lines(&gpsd(&fix(1.0, 1.0, p95_km), "m"))[1].to_owned();
        assert!(hdop(1.7).contains(",89.47,89.47,99.99*"));
        assert!(hdop(1.72).contains(",,,*"), "never saturated");
    }

    #[test]
    fn no_estimate_is_said_and_the_time_goes_on() {
        let mut f = fix(1.0, 1.0, 1.0);
        f.tracked = None;
        let b = gpsd(&f, "0123456789ab");
        assert!(lines(&b)[0].starts_with("$GPRMC,091959.99,V,,,,,,,040326,,,N*"));
        assert!(lines(&b)[1].starts_with("$GPGSA,A,1,"));
        assert_eq!(lines(&b).len(), 3);
    }

    #[test]
    fn the_other_profiles_keep_the_rules_that_their_consumers_state() {
        let commas = |line: &str| line.matches(',').count();
        for profile in [Profile::Px4, Profile::Ros, Profile::Plotter] {
            let settings = SentenceSettings { profile, pose_as_gps: false };
            let b = burst(&fix(-33.856_784, 151.215_297, 1.0), "0123456789ab", settings);
            let kinds: Vec<&str> = lines(&b).iter().map(|l| l[1..].split(',').next().unwrap()).collect();
            assert_eq!(kinds, ["GPRMC", "GPGGA", "GPGSA", "GPGST", "GPVTG", "GPZDA", "PHOM"]);
            // PX4 counts: GGA at least 14, RMC 11, GSA 17; exactly 8 of GST and 6 of ZDA.
            let of = |kind: usize| commas(lines(&b)[kind]);
            assert!(of(0) >= 11 && of(1) >= 14 && of(2) >= 17, "{b}");
            assert_eq!((of(3), of(5)), (8, 6));
            assert!(b.len() <= settings.longest_burst());
            let hdop = if profile == Profile::Ros { "1.00" } else { "52.63" };
            let gga = format!("$GPGGA,091959.99,3351.4070,S,15112.9178,E,6,00,{hdop},,M,,M,,*");
            assert!(lines(&b)[1].starts_with(&gga), "{b}");
            assert!(lines(&b)[4].starts_with("$GPVTG,,T,,M,,N,,K,E*"), "speed and course are not known: {b}");
            assert!(lines(&b)[5].starts_with("$GPZDA,091959.99,04,03,2026,00,00*"), "{b}");
        }
    }

    #[test]
    fn posing_as_gps_and_having_no_estimate() {
        let posing = SentenceSettings { profile: Profile::Px4, pose_as_gps: true };
        let b = burst(&fix(1.0, 1.0, 240.0), "m", posing);
        assert!(lines(&b)[0].contains(",,,A*") && lines(&b)[1].contains(",E,1,00,,,M,"), "{b}");
        let mut none = fix(1.0, 1.0, 1.0);
        none.tracked = None;
        let b = burst(&none, "m", posing);
        assert!(lines(&b)[0].contains(",V,,,,,,,040326,,,N*"), "{b}");
        assert!(lines(&b)[1].starts_with("$GPGGA,091959.99,,,,,0,00,,,M,,M,,*"), "{b}");
        assert!(!b.contains("GPGST") && b.contains("$GPVTG,,T,,M,,N,,K,N*"), "{b}");
    }

    #[test]
    fn the_longest_values_fit() {
        let mut f = fix(-89.999_999_9, -179.999_999_9, 20_015.1);
        f.tracked.as_mut().unwrap().candidate.cell = CellId(u32::MAX);
        let b = gpsd(&f, "0123456789ab");
        assert_eq!(lines(&b).len(), 4);
        assert!(lines(&b).iter().all(|l| l.len() + 2 <= MAX_SENTENCE));
    }
}
