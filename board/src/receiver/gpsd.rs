//! A receiver behind gpsd: JSON over TCP, as gpsd_json(5) describes it.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use homing_models::LatLon;
use serde::Deserialize;

use super::{Pace, Shared, State};
use crate::{
    GnssFix,
    line::{Backoff, Refusal, dial},
};

/// Asks for reports.
const WATCH: &[u8] = b"?WATCH={\"enable\":true,\"json\":true}\n";
/// Asks for anything: a gpsd without a receiver is silent, and so is one that is gone without a word.
const ASK: &[u8] = b"?VERSION;\n";
/// Silence after which is asked.
const ASK_AFTER: Duration = Duration::from_secs(10);
/// Silence after which gpsd is gone.
const GONE_AFTER: Duration = Duration::from_secs(25);
/// Bytes of a report at most; gpsd's own limit is 10,240.
const REPORT: usize = 16 << 10;

/// The part of gpsd's reports that matters. `Deserialize` skips the rest.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Report {
    class: String,
    device: Option<String>,
    /// 2 and 3 for fixes of so many dimensions.
    mode: u8,
    /// 5 dead reckoning, 6 satellites with dead reckoning, 7 surveyed time, 8 simulated; less and 9 are satellites.
    status: u8,
    /// Of the fix; text is enough to see that it moves.
    time: Option<String>,
    lat: Option<f64>,
    lon: Option<f64>,
    /// Estimated horizontal error, metres. gpsd means 95 per cent and calls the certainty unknown.
    eph: Option<f32>,
    /// The same eastwards,
    epx: Option<f32>,
    /// and northwards, for gpsds that have no `eph`.
    epy: Option<f32>,
    /// What gpsd reads, in the report DEVICES.
    devices: Option<Vec<serde::de::IgnoredAny>>,
    /// What an ERROR is about.
    message: Option<String>,
}

impl Report {
    fn accuracy_m(&self) -> Option<f32> {
        let both = self.epx.zip(self.epy).map(|(x, y)| x.hypot(y));
        self.eph.or(both).filter(|m| m.is_finite() && *m > 0.0)
    }

    /// A fix that is not of satellites alone. With dead reckoning in it a position goes on where satellites fail, and
    /// would be held against the cameras' as if they had not.
    fn is_estimate(&self) -> bool {
        matches!(self.status, 5..=8)
    }
}

pub(super) fn run(address: &str, shared: &Shared, pace: Pace) {
    let mut backoff = Backoff::new(pace.reconnect);
    while !shared.stopping() {
        let refused = match dial(address) {
            Ok(stream) => match listen(stream, shared, pace, &mut backoff) {
                Ok(()) => return,
                Err(e) => {
                    Refusal { kind: e.kind(), cause: format!("gpsd is gone ({e}); called again until it answers") }
                }
            },
            Err(e) => {
                let cause = format!("gpsd does not answer ({e}); start it, or correct the address");
                Refusal { kind: e.kind(), cause }
            }
        };
        shared.lock().lost(refused);
        shared.pause(backoff.pause());
    }
}

/// Reads until gpsd is gone, or reading shall end.
fn listen(mut stream: TcpStream, shared: &Shared, pace: Pace, backoff: &mut Backoff) -> io::Result<()> {
    stream.set_read_timeout(Some(pace.glance()))?;
    stream.set_write_timeout(Some(GONE_AFTER))?;
    stream.write_all(WATCH)?;
    let mut reports = Reports::new();
    let mut bytes = [0; 4096];
    let (mut heard, mut asked) = (Instant::now(), false);
    while !shared.stopping() {
        match stream.read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                (heard, asked) = (Instant::now(), false);
                let mut state = shared.lock();
                if reports.push(&bytes[..n], heard, &mut state) {
                    backoff.reset();
                    state.health.found();
                }
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
                if heard.elapsed() >= GONE_AFTER {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "it says nothing"));
                }
                if heard.elapsed() >= ASK_AFTER && !std::mem::replace(&mut asked, true) {
                    stream.write_all(ASK)?;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Understands the reports of one connection.
pub(super) struct Reports {
    line: Vec<u8>,
    /// The line is longer than any report; its rest is skipped.
    too_long: bool,
    /// The device that the fix is of, and the fix's time.
    of: (Option<String>, Option<String>),
    /// That gpsd has no receiver was told.
    told: bool,
}

impl Reports {
    pub(super) fn new() -> Self {
        Reports { line: Vec::new(), too_long: false, of: (None, None), told: false }
    }

    /// Takes bytes that came now. Answers whether there was a report in them.
    pub(super) fn push(&mut self, bytes: &[u8], now: Instant, state: &mut State) -> bool {
        let before = state.counters.sentences;
        state.counters.bytes += bytes.len() as u64;
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    match (std::mem::take(&mut self.too_long), serde_json::from_slice::<Report>(&line)) {
                        (false, Ok(report)) => {
                            state.counters.sentences += 1;
                            self.hear(report, now, state);
                        }
                        _ => state.counters.garbled += 1,
                    }
                }
                _ if self.line.len() < REPORT => self.line.push(*byte),
                _ => self.too_long = true,
            }
        }
        state.counters.sentences > before
    }

    fn hear(&mut self, report: Report, now: Instant, state: &mut State) {
        match report.class.as_str() {
            "TPV" => self.fix(report, now, state),
            "DEVICES" => {
                let none = report.devices.as_ref().is_some_and(Vec::is_empty);
                if none && !std::mem::replace(&mut self.told, true) {
                    state.health.fail("gpsd has no receiver; plug one in or name it in gpsd's DEVICES".to_owned());
                }
            }
            "ERROR" => {
                state.counters.unreadable += 1;
                state.health.tell(&format!("gpsd says {:?}", report.message.unwrap_or_default()));
            }
            _ => {}
        }
    }

    fn fix(&mut self, report: Report, now: Instant, state: &mut State) {
        let none = report.mode < 2;
        if none || report.is_estimate() {
            state.counters.estimated += u64::from(!none);
            // Of several devices each speaks for itself: one without satellites takes away no other's fix.
            if report.device == self.of.0 {
                state.fix = None;
            }
            return;
        }
        let position = report.lat.zip(report.lon).and_then(|(lat, lon)| LatLon::new(lat, lon).ok());
        let Some(position) = position else {
            state.counters.unreadable += 1;
            return;
        };
        let fix = GnssFix { position, accuracy_m: report.accuracy_m() };
        let of = (report.device, report.time);
        let came = match of.1.is_some() && of == self.of {
            // gpsd repeats a fix when it learns more about it; a fix that is repeated for ever grows old.
            true => state.fix.map(|(_, came)| came),
            false => Some(now),
        };
        state.counters.fixes += u64::from(came == Some(now));
        state.fix = came.map(|came| (fix, came));
        self.of = of;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        net::TcpListener,
    };

    use super::*;
    use crate::{
        Gnss,
        line::testing::wait_until,
        receiver::tests::{failure_of, fix_of, open},
    };

    /// A gpsd that says what the test tells it to.
    struct Gpsd {
        listener: TcpListener,
        client: Option<TcpStream>,
    }

    impl Gpsd {
        fn start() -> Self {
            Gpsd { listener: TcpListener::bind("127.0.0.1:0").unwrap(), client: None }
        }

        fn source(&self) -> String {
            format!("gpsd://{}", self.listener.local_addr().unwrap())
        }

        /// Waits for the client's wish.
        fn accept(&mut self) {
            let (stream, _) = self.listener.accept().unwrap();
            let mut wish = String::new();
            BufReader::new(&stream).read_line(&mut wish).unwrap();
            assert_eq!(wish.as_bytes(), WATCH);
            self.client = Some(stream);
        }

        fn say(&mut self, text: &str) {
            let client = self.client.as_mut().unwrap();
            client.write_all(text.as_bytes()).unwrap();
            client.write_all(b"\r\n").unwrap();
        }
    }

    fn tpv(more: &str) -> String {
        format!(
            r#"{{"class":"TPV","device":"/dev/ttyACM0","mode":3,"time":"2026-03-04T12:00:00.000Z","leapseconds":18,"lat":48.1,"lon":-11.5,"altHAE":590.5,{more}"epv":5.0}}"#
        )
    }

    #[test]
    fn fixes_with_gpsds_own_error() {
        let mut gpsd = Gpsd::start();
        let mut receiver = open(&gpsd.source());
        gpsd.accept();
        gpsd.say(r#"{"class":"VERSION","release":"3.25","rev":"3.25","proto_major":3,"proto_minor":15}"#);
        gpsd.say(r#"{"class":"DEVICES","devices":[{"class":"DEVICE","path":"/dev/ttyACM0"}]}"#);
        gpsd.say("no JSON");
        gpsd.say(&"x".repeat(3 * REPORT));
        gpsd.say(&tpv(r#""status":1,"eph":7.5,"epx":3,"epy":4,"#));
        let fix = fix_of(&mut receiver, || {});
        assert_eq!((fix.position.lat(), fix.position.lon(), fix.accuracy_m), (48.1, -11.5, Some(7.5)));
        gpsd.say(&tpv(r#""epx":3,"epy":4,"#).replace("12:00:00", "12:00:01"));
        wait_until("the next", || receiver.latest().unwrap().unwrap().accuracy_m == Some(5.0));
        gpsd.say(r#"{"class":"TPV","device":"/dev/ttyACM0","mode":1}"#);
        wait_until("no fix", || receiver.latest().unwrap().is_none());
        let counters = receiver.counters();
        assert_eq!((counters.sentences, counters.garbled, counters.fixes), (5, 2, 2));
    }

    #[test]
    fn dead_reckoning_and_simulations_are_no_fix_and_take_away_no_other_devices() {
        let shared = Shared::new("GNSS x".to_owned());
        let mut state = shared.lock();
        let mut reports = Reports::new();
        let mut hear = |text: &str, state: &mut State| {
            reports.push(format!("{text}\n").as_bytes(), Instant::now(), state);
            state.fix.is_some()
        };
        assert!(hear(&tpv(r#""status":1,"#), &mut state));
        for status in 5..=8 {
            let estimate = tpv(&format!(r#""status":{status},"#));
            assert!(hear(&estimate.replace("ACM0", "S9"), &mut state));
            assert!(!hear(&estimate, &mut state));
            let again = tpv("").replace("12:00:00", &format!("12:00:0{status}"));
            assert!(hear(&again, &mut state), "an older gpsd says no status");
        }
        assert_eq!(state.counters.estimated, 8);
        assert!(hear(&tpv(r#""status":9,"#), &mut state), "P(Y) is satellites");
        assert!(!hear(&tpv("").replace(r#""mode":3"#, r#""mode":0"#), &mut state));
        assert!(!hear(&tpv("").replace("48.1", "98.1"), &mut state));
        assert_eq!(state.counters.unreadable, 1);
    }

    #[test]
    fn a_repeated_fix_is_not_renewed() {
        let shared = Shared::new("GNSS x".to_owned());
        let mut state = shared.lock();
        let mut reports = Reports::new();
        let start = Instant::now();
        for s in 0..3 {
            reports.push(format!("{}\n", tpv("")).as_bytes(), start + Duration::from_secs(s), &mut state);
            assert_eq!(state.fix.unwrap().1, start);
        }
        assert_eq!(state.counters.fixes, 1);
    }

    #[test]
    fn gpsd_may_be_absent_go_and_come_back() {
        let mut gpsd = Gpsd::start();
        let place = gpsd.listener.local_addr().unwrap();
        let source = gpsd.source();
        let mut receiver = open(&source);
        gpsd.accept();
        gpsd.say(r#"{"class":"DEVICES","devices":[]}"#);
        assert!(failure_of(&mut receiver, || {}).contains("gpsd has no receiver"));
        gpsd.say(r#"{"class":"ERROR","message":"Unrecognized request"}"#);
        let mut news = None;
        wait_until("gpsd's words", || {
            news = news.take().or(receiver.news());
            news.is_some()
        });
        assert_eq!(news.unwrap(), format!("GNSS {source}: gpsd says \"Unrecognized request\""));
        drop(gpsd);
        let e = failure_of(&mut receiver, || {});
        assert!(e.starts_with(&format!("GNSS {source}: gpsd is gone")), "{e}");
        let mut gpsd = Gpsd { listener: TcpListener::bind(place).unwrap(), client: None };
        gpsd.accept();
        gpsd.say(&tpv(""));
        fix_of(&mut receiver, || {});
        assert_eq!(receiver.news().unwrap(), format!("GNSS {source}: back"));
        assert_eq!(receiver.counters().losses, 1);
    }
}
