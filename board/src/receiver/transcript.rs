//! What a receiver said, understood without the receiver: a recording, or bytes that none would send.

use std::{sync::Arc, time::Instant};

use super::{ReceiverCounters, Shared, gpsd::Reports, sentences::Sentences};
use crate::GnssFix;

/// Understands bytes as a [`Receiver`](super::Receiver) does, at the times that it is told. It has no thread, and no
/// fix of it grows old.
pub struct Transcript {
    shared: Arc<Shared>,
    words: Words,
}

enum Words {
    Nmea(Sentences),
    Gpsd(Reports),
}

impl Transcript {
    /// Of a receiver on a serial line: NMEA 0183.
    pub fn nmea() -> Self {
        Transcript::of(Words::Nmea(Sentences::new()))
    }

    /// Of gpsd: JSON, a report a line.
    pub fn gpsd() -> Self {
        Transcript::of(Words::Gpsd(Reports::new()))
    }

    fn of(words: Words) -> Self {
        Transcript { shared: Shared::new("GNSS transcript".to_owned()), words }
    }

    /// Takes bytes that came at that time, in pieces of any size. Answers with the fix that stands then.
    pub fn hear(&mut self, bytes: &[u8], at: Instant) -> Option<GnssFix> {
        let mut state = self.shared.lock();
        match &mut self.words {
            Words::Nmea(sentences) => sentences.push(bytes, at, &mut state),
            Words::Gpsd(reports) => reports.push(bytes, at, &mut state),
        };
        state.fix.map(|(fix, _)| fix)
    }

    /// What was heard until now.
    pub fn counters(&self) -> ReceiverCounters {
        self.shared.lock().counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::tests::sentence;

    #[test]
    fn both_tongues_say_the_same_fix() {
        let now = Instant::now();
        let rmc = sentence("GPRMC,120000.00,A,4807.0380,N,01131.0000,E,0.1,,040326,,,A,V");
        let tpv = r#"{"class":"TPV","mode":2,"time":"2026-03-04T12:00:00.000Z","lat":48.1173,"lon":11.51666667}"#;
        let mut nmea = Transcript::nmea();
        let spoken = nmea.hear(rmc.as_bytes(), now).unwrap().position;
        let mut gpsd = Transcript::gpsd();
        let reported = gpsd.hear(format!("{tpv}\r\n").as_bytes(), now).unwrap().position;
        assert!(spoken.distance_km(reported) < 1e-5, "{spoken} and {reported}");
        for counters in [nmea.counters(), gpsd.counters()] {
            assert_eq!((counters.sentences, counters.fixes, counters.garbled), (1, 1, 0));
        }
    }
}
