//! NMEA 0183 sentences into fixes: bytes into lines, lines into what they say about one epoch, epochs into a fix.

use std::time::Instant;

use homing_models::LatLon;
use nmea::{
    ParseResult,
    sentences::{FaaMode, FixType, rmc::RmcStatusOfFix},
};

use super::{
    State,
    clock::{Clock, Step, time_apart},
};
use crate::GnssFix;

/// Bytes of a sentence at most: what the parser takes, of receivers that exceed the standard's 82.
const LINE: usize = nmea::SENTENCE_MAX_LEN;
/// Standard deviation of one range measurement of a single-frequency receiver, metres. With the definition
/// HDOP = sqrt(sigma_east^2 + sigma_north^2) / sigma_range (E. Kaplan, C. Hegarty, "Understanding GPS/GNSS", chapter on
/// performance) HDOP times this is the root mean square of the horizontal error. The figure is a habit of the trade, not
/// of any one receiver: those that know better send GST.
const RANGE_M: f32 = 5.0;
/// HDOP from here on is how receivers say that they have none.
const NO_HDOP: f32 = 99.0;
/// A GST of an epoch so near still tells about this one.
const GST_KEEPS_MS: i64 = 2000;

/// Finds sentences in bytes. A sentence begins with its `$`, wherever that comes, and ends with its line.
pub(super) struct Lines {
    line: [u8; LINE],
    len: usize,
    /// Within a sentence.
    open: bool,
}

impl Lines {
    pub(super) fn new() -> Self {
        Lines { line: [0; LINE], len: 0, open: false }
    }

    /// Takes a byte; answers with the sentence that it ends, or with `Err` where one broke off.
    fn push(&mut self, byte: u8) -> Result<Option<&str>, ()> {
        match byte {
            b'$' | b'!' => {
                let broken = self.open;
                (self.open, self.len) = (true, 1);
                self.line[0] = byte;
                if broken { Err(()) } else { Ok(None) }
            }
            _ if !self.open => Ok(None),
            b'\r' | b'\n' => {
                self.open = false;
                let line = std::str::from_utf8(&self.line[..self.len]).map_err(drop)?;
                if checksum_is_right(line) { Ok(Some(line)) } else { Err(()) }
            }
            b' '..=b'~' if self.len < LINE => {
                self.line[self.len] = byte;
                self.len += 1;
                Ok(None)
            }
            _ => {
                self.open = false;
                Err(())
            }
        }
    }
}

/// Checked here and not by the parser alone, because sentences that it does not know also show that the line is sound.
fn checksum_is_right(line: &str) -> bool {
    let Some((body, sum)) = line[1..].split_once('*') else {
        return false;
    };
    let sum = u8::from_str_radix(sum.trim_end(), 16);
    sum.is_ok_and(|s| s == body.bytes().fold(0, |x, b| x ^ b))
}

/// What a sentence says of the quality of its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    /// There is none.
    None,
    /// Not from satellites: dead reckoning, simulated, by hand.
    Estimated,
    /// Valid, in a sentence of before NMEA 2.3, which cannot say that it is dead reckoning.
    Ungraded,
    /// From satellites.
    Fix,
}

impl Grade {
    /// Of a sentence with a status and, from NMEA 2.3 on, a mode. Dead reckoning may come with either status.
    fn of(valid: bool, mode: Option<FaaMode>) -> Self {
        match (valid, mode.map(|m| Grade::from(FixType::from(m)))) {
            (_, Some(Grade::Estimated)) => Grade::Estimated,
            (false, _) => Grade::None,
            (true, graded) => graded.unwrap_or(Grade::Ungraded),
        }
    }
}

impl From<FixType> for Grade {
    fn from(fix: FixType) -> Self {
        match fix {
            FixType::Invalid => Grade::None,
            f if f.is_valid() => Grade::Fix,
            _ => Grade::Estimated,
        }
    }
}

/// A sentence with a position in it.
struct Position {
    /// Milliseconds of the day.
    time: Option<i64>,
    /// Days since 1970.
    day: Option<i64>,
    lat_lon: Option<(f64, f64)>,
    grade: Grade,
}

/// Understands the sentences of one connection.
pub(super) struct Sentences {
    lines: Lines,
    clock: Clock,
    /// Time of the epoch that sentences are of, milliseconds of the day.
    epoch: Option<i64>,
    /// A sentence of this epoch said that it is no fix from satellites; others of it say less, not otherwise.
    vetoed: bool,
    /// This receiver sends sentences that say how good the position is; ungraded ones then wait for those.
    graded: bool,
    hdop: Option<f32>,
    /// Time and standard deviation of the last GST, metres.
    sigma: Option<(i64, f32)>,
}

impl Sentences {
    pub(super) fn new() -> Self {
        let (lines, clock) = (Lines::new(), Clock::default());
        Sentences { lines, clock, epoch: None, vetoed: false, graded: false, hdop: None, sigma: None }
    }

    /// Takes bytes that came now. Answers whether there was a sentence in them.
    pub(super) fn push(&mut self, bytes: &[u8], now: Instant, state: &mut State) -> bool {
        let before = state.counters.sentences;
        state.counters.bytes += bytes.len() as u64;
        for byte in bytes {
            match self.lines.push(*byte) {
                Ok(None) => {}
                Ok(Some(line)) => {
                    state.counters.sentences += 1;
                    match understand(line) {
                        Ok(said) => self.hear(said, now, state),
                        Err(()) => state.counters.unreadable += 1,
                    }
                }
                Err(()) => state.counters.garbled += 1,
            }
        }
        state.counters.sentences > before
    }

    fn hear(&mut self, said: ParseResult, now: Instant, state: &mut State) {
        let (time, date, lat_lon, grade) = match said {
            ParseResult::GGA(g) => {
                self.hdop = g.hdop.or(self.hdop);
                let grade = g.fix_type.map_or(Grade::None, Grade::from);
                (g.fix_time, None, g.latitude.zip(g.longitude), grade)
            }
            ParseResult::GNS(g) => {
                self.hdop = g.hdop.or(self.hdop);
                (g.fix_time, None, g.lat.zip(g.lon), FixType::from(g.faa_modes).into())
            }
            ParseResult::RMC(r) => {
                // The navigation status of NMEA 4.1 is no help: receivers without integrity monitoring always send V.
                let valid = r.status_of_fix != RmcStatusOfFix::Invalid;
                (r.fix_time, r.fix_date, r.lat.zip(r.lon), Grade::of(valid, r.faa_mode))
            }
            ParseResult::GLL(g) => (g.fix_time, None, g.latitude.zip(g.longitude), Grade::of(g.valid, g.faa_mode)),
            ParseResult::GSA(g) => {
                self.hdop = g.hdop.or(self.hdop);
                return;
            }
            ParseResult::GST(g) => {
                // Midnight is chrono's default time.
                let time = g.time.map(|t| t.signed_duration_since(Default::default()).num_milliseconds());
                return self.error(time, g.lat_sd.zip(g.long_sd), state);
            }
            _ => return,
        };
        let time = time.map(|t| t.signed_duration_since(Default::default()).num_milliseconds());
        // The first of January 1970 is chrono's default date.
        let day = date.map(|d| d.signed_duration_since(Default::default()).num_days());
        self.position(Position { time, day, lat_lon, grade }, now, state);
    }

    /// A sentence said where the receiver is.
    fn position(&mut self, said: Position, now: Instant, state: &mut State) {
        if said.time != self.epoch || said.time.is_none() {
            (self.epoch, self.vetoed) = (said.time, false);
        }
        self.graded |= said.grade != Grade::Ungraded;
        match said.grade {
            Grade::None | Grade::Estimated => {
                if !std::mem::replace(&mut self.vetoed, true) && said.grade == Grade::Estimated {
                    state.counters.estimated += 1;
                }
                (state.fix, self.hdop) = (None, None);
                return;
            }
            Grade::Ungraded if self.graded => return,
            Grade::Ungraded | Grade::Fix if self.vetoed => return,
            Grade::Ungraded | Grade::Fix => {}
        }
        let position = said.lat_lon.and_then(|(lat, lon)| LatLon::new(lat, lon).ok());
        let Some(position) = position else {
            state.counters.unreadable += 1;
            return;
        };
        let Some(came) = self.came(&said, now, state) else {
            return;
        };
        state.fix = Some((GnssFix { position, accuracy_m: self.accuracy_m() }, came));
    }

    /// When the fix of this sentence came, or `None` for one that is not new. A receiver that repeats its last fix for
    /// ever has none.
    fn came(&mut self, said: &Position, now: Instant, state: &mut State) -> Option<Instant> {
        let step = said.time.map_or(Step::On, |time| self.clock.step(time, said.day, now));
        match step {
            Step::On => {}
            Step::Jumped { by, told } => {
                state.counters.time_jumps += 1;
                if told {
                    state.health.tell(&format!("the time of its fixes jumped by {:+.1} s", by as f64 / 1000.0));
                }
            }
            // Another sentence of the same epoch.
            Step::Same => return state.fix.map(|(_, came)| came),
            Step::Behind => return None,
        }
        state.counters.fixes += 1;
        Some(now)
    }

    /// A GST told the standard deviations north and east.
    fn error(&mut self, time: Option<i64>, sigmas: Option<(f32, f32)>, state: &mut State) {
        let sigma = sigmas.map(|(north, east)| north.hypot(east)).filter(|s| s.is_finite() && *s > 0.0);
        self.sigma = time.zip(sigma);
        if time.is_some() && time == self.epoch {
            let accuracy_m = self.accuracy_m();
            if let Some((fix, _)) = &mut state.fix {
                fix.accuracy_m = accuracy_m;
            }
        }
    }

    /// Root mean square of the horizontal error, metres: from GST where there is one, else from HDOP.
    fn accuracy_m(&self) -> Option<f32> {
        let near = |time: i64| self.epoch.is_some_and(|epoch| time_apart(epoch, time).abs() <= GST_KEEPS_MS);
        let told = self.sigma.filter(|(time, _)| near(*time)).map(|(_, sigma)| sigma);
        let hdop = self.hdop.filter(|h| *h > 0.0 && *h < NO_HDOP);
        told.or(hdop.map(|h| h * RANGE_M))
    }
}

/// What a sentence says, when it is of a kind that matters here; `Err` when such a one makes no sense.
fn understand(line: &str) -> Result<ParseResult, ()> {
    match line.get(3..6) {
        Some("GGA" | "GNS" | "RMC" | "GLL" | "GSA" | "GST") if line.starts_with('$') => {
            nmea::parse_str(line).map_err(drop)
        }
        _ => Ok(ParseResult::Unsupported(nmea::SentenceType::TXT)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::receiver::{Shared, tests::sentence};

    /// A receiver's sentences against what it is then taken to say.
    struct Bench {
        sentences: Sentences,
        shared: std::sync::Arc<Shared>,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Bench { sentences: Sentences::new(), shared: Shared::new("GNSS x".to_owned()), now: Instant::now() }
        }

        fn hear(&mut self, bodies: &[&str]) -> Option<GnssFix> {
            let text: String = bodies.iter().map(|b| sentence(b)).collect();
            self.raw(text.as_bytes())
        }

        fn raw(&mut self, bytes: &[u8]) -> Option<GnssFix> {
            let mut state = self.shared.lock();
            self.sentences.push(bytes, self.now, &mut state);
            state.fix.map(|(fix, _)| fix)
        }

        fn counters(&self) -> crate::receiver::ReceiverCounters {
            self.shared.lock().counters
        }

        fn wait(&mut self, s: f64) {
            self.now += Duration::from_secs_f64(s);
        }
    }

    const RMC: &str = "GPRMC,120000.00,A,4807.0380,N,01131.0000,E,0.1,,040326,,,A,V";
    const GGA: &str = "GPGGA,120000.00,4807.0380,N,01131.0000,E,1,08,0.9,545.4,M,46.9,M,,";

    #[test]
    fn a_fix_with_the_accuracy_of_gst_else_of_hdop() {
        let mut bench = Bench::new();
        let fix = bench.hear(&[GGA]).unwrap();
        assert!((fix.position.lat() - 48.1173).abs() < 1e-6 && (fix.position.lon() - 11.516_667).abs() < 1e-6);
        assert!((fix.accuracy_m.unwrap() - 4.5).abs() < 1e-6);
        let fix = bench.hear(&["GPGST,120000.00,9,9,9,0,3.0,4.0,9"]).unwrap();
        assert_eq!(fix.accuracy_m, Some(5.0));
        bench.wait(1.0);
        let fix = bench.hear(&[&GGA.replace("120000", "120001")]).unwrap();
        assert_eq!(fix.accuracy_m, Some(5.0), "until the next GST comes");
        bench.wait(5.0);
        let fix = bench.hear(&[&GGA.replace("120000", "120006").replace(",0.9,", ",99.99,")]).unwrap();
        assert_eq!(fix.accuracy_m, None);
        let fix = Bench::new().hear(&[RMC, "GPGSA,A,3,1,2,3,4,,,,,,,,,2.0,1.0,1.7"]).unwrap();
        assert_eq!(fix.accuracy_m, None, "RMC has none, and GSA came after it");
    }

    #[test]
    fn no_fix_and_dead_reckoning_are_none_whatever_the_other_sentences_say() {
        for (bodies, estimated) in [
            ([RMC.replace(",A,48", ",V,48"), GGA.to_owned()], 0),
            ([RMC.to_owned(), GGA.replace("E,1,", "E,0,")], 0),
            ([RMC.to_owned(), GGA.replace("E,1,", "E,6,")], 1),
            ([RMC.replace(",A,V", ",E,V"), GGA.to_owned()], 1),
            ([RMC.replace(",A,V", ",S,V"), GGA.replace("E,1,", "E,8,")], 1),
            ([RMC.replace(",A,V", ",N,V"), GGA.replace("E,1,", "E,0,")], 0),
            (["GNGNS,120000.00,4807.0380,N,01131.0000,E,EE,08,0.9,,,,,V".to_owned(), RMC.to_owned()], 1),
            (["GPGLL,4807.0380,N,01131.0000,E,120000.00,V,E".to_owned(), RMC.to_owned()], 1),
            (["GPRMC,120000.00,V,,,,,,,040326,,,N".to_owned(), "GPGGA,120000.00,,,,,0,00,,,M,,M,,".to_owned()], 0),
        ] {
            for order in [[0, 1], [1, 0]] {
                let mut bench = Bench::new();
                let heard = bench.hear(&[&bodies[order[0]], &bodies[order[1]]]);
                assert_eq!(heard, None, "{bodies:?}");
                assert_eq!(bench.counters().estimated, estimated, "{bodies:?}");
                bench.wait(1.0);
                assert!(bench.hear(&[&RMC.replace("120000", "120001")]).is_some(), "the next epoch is its own");
            }
        }
    }

    #[test]
    fn old_sentences_wait_for_those_that_know_of_dead_reckoning() {
        let old = "GPRMC,120000.00,A,4807.0380,N,01131.0000,E,0.1,,040326,,";
        assert!(Bench::new().hear(&[old]).is_some(), "there is nothing better");
        let mut bench = Bench::new();
        bench.hear(&[old, GGA]);
        bench.wait(1.0);
        let next = |s: &str| s.replace("120000", "120001");
        bench.hear(&[&next(old)]);
        assert_eq!(bench.counters().fixes, 1, "its GGA has not come");
        assert!(bench.hear(&[&next(GGA).replace("E,1,", "E,6,")]).is_none());
    }

    #[test]
    fn noise_half_lines_and_wrong_checksums_cost_only_themselves() {
        let mut bench = Bench::new();
        let good = sentence(RMC);
        let wrong = good.replace("4807", "4907");
        let long = format!("$GPTXT,{}*00\r\n", "x".repeat(200));
        let mut bytes = b"\xb5\x62\x01\x07\x00\xff,0*5A\r\n".to_vec();
        for part in [wrong.as_bytes(), &good.as_bytes()[..20], long.as_bytes(), b"$\r\n$*\r\n$GPGGA,\x80\r\n"] {
            bytes.extend(part);
        }
        assert!(bench.raw(&bytes).is_none());
        assert_eq!((bench.counters().sentences, bench.counters().garbled), (0, 6));
        // One byte at a time, without the carriage return, after half a sentence.
        let bytes = format!("$GPRMC,12{}", good.replace('\r', ""));
        for byte in bytes.as_bytes() {
            bench.raw(&[*byte]);
        }
        assert!(bench.raw(b"").is_some());
        assert_eq!(bench.counters().garbled, 7);
        // What the parser does not know or take is whole all the same.
        bench.hear(&["PUBX,00", "GPGGA,120000.00,4807.0380,N,01131.0000,E,9,08,0.9,,M,,M,,", "GPRMC,x"]);
        assert_eq!((bench.counters().sentences, bench.counters().unreadable), (4, 2));
        let impossible = RMC.replace("120000", "120001").replace("4807.0380", "9907.0380");
        bench.wait(1.0);
        bench.hear(&[&impossible]);
        assert_eq!(bench.counters().unreadable, 3);
    }

    #[test]
    fn a_receiver_that_repeats_itself_does_not_renew_its_fix() {
        let mut bench = Bench::new();
        bench.hear(&[RMC, GGA]);
        let came = bench.shared.lock().fix.unwrap().1;
        for _ in 0..5 {
            bench.wait(1.0);
            bench.hear(&[RMC, GGA]);
        }
        assert_eq!(bench.shared.lock().fix.unwrap().1, came);
        assert_eq!((bench.counters().fixes, bench.counters().time_jumps), (1, 0));
    }

    #[test]
    fn a_jump_of_the_time_is_counted_and_told() {
        let mut bench = Bench::new();
        bench.hear(&[RMC]);
        bench.wait(1.0);
        assert!(bench.hear(&[&RMC.replace("120000", "131501")]).is_some());
        assert_eq!(bench.counters().time_jumps, 1);
        assert_eq!(bench.shared.lock().health.news().unwrap(), "GNSS x: the time of its fixes jumped by +4500.0 s");
        bench.wait(1.0);
        bench.hear(&[&RMC.replace("120000", "131502")]);
        assert_eq!(bench.counters().time_jumps, 1);
    }
}
