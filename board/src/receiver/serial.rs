//! A receiver on a serial device, as long as the vehicle lives: opened by its path, read, and opened again.

use std::{
    io::{self, Read},
    time::Instant,
};

use serialport::{ClearBuffer, SerialPort};

use super::{Pace, Shared, sentences::Sentences};
use crate::line::{Backoff, Refusal, refusal};

/// Bytes without a sentence that look like a wrong baud: more than a broken sentence and its neighbour have.
const MANY: u64 = 200;

pub(super) fn run(path: &str, baud: u32, shared: &Shared, pace: Pace) {
    let mut backoff = Backoff::new(pace.reconnect);
    loop {
        let refused = match serialport::new(path, baud).timeout(pace.glance()).open() {
            Ok(port) => match listen(port, baud, shared, pace, &mut backoff) {
                None => return,
                Some(e) => Refusal { kind: e.kind(), cause: format!("lost ({e}); read again when it is back") },
            },
            Err(e) => Refusal { cause: refusal(&e).cause + ", or read it through gpsd", ..refusal(&e) },
        };
        shared.lock().lost(refused);
        if shared.pause(backoff.pause()) {
            return;
        }
    }
}

/// Reads until the receiver is lost, or `None` when reading shall end.
fn listen(
    mut port: Box<dyn SerialPort>,
    baud: u32,
    shared: &Shared,
    pace: Pace,
    backoff: &mut Backoff,
) -> Option<io::Error> {
    // What lies in the system's buffer is older than it looks, or was read at another baud. If that cannot be thrown
    // away it costs a garbled sentence.
    let _ = port.clear(ClearBuffer::Input);
    let mut sentences = Sentences::new();
    let mut hearing = Hearing::new();
    let mut bytes = [0; 1024];
    while !shared.stopping() {
        let came = match port.read(&mut bytes) {
            // End of file: the device is gone. Reading on would answer so at once, for ever.
            Ok(0) => return Some(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => n,
            Err(e) if matches!(e.kind(), io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) => 0,
            Err(e) => return Some(e),
        };
        let now = Instant::now();
        let mut state = shared.lock();
        let understood = sentences.push(&bytes[..came], now, &mut state);
        if understood {
            backoff.reset();
            state.health.found();
        }
        if let Some(trouble) = hearing.hear(came, understood, now, pace) {
            state.health.fail(match trouble {
                Trouble::Mute => format!("bytes but no sentences: is baud = {baud} right, and does it send NMEA?"),
                Trouble::Silent => "not a byte: has it power, and is it the right device?".to_owned(),
            });
        }
    }
    None
}

/// What can be wrong with a receiver that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Bytes come, and none makes a sentence.
    Mute,
    /// No bytes come.
    Silent,
}

/// Notices a receiver that says nothing, and says so once until it speaks.
struct Hearing {
    sentence: Instant,
    byte: Instant,
    bytes: u64,
    told: Option<Trouble>,
}

impl Hearing {
    fn new() -> Self {
        let now = Instant::now();
        Hearing { sentence: now, byte: now, bytes: 0, told: None }
    }

    fn hear(&mut self, bytes: usize, sentence: bool, now: Instant, pace: Pace) -> Option<Trouble> {
        if bytes > 0 {
            self.byte = now;
            self.bytes += bytes as u64;
        }
        if sentence {
            (self.sentence, self.bytes, self.told) = (now, 0, None);
        }
        let mute = self.bytes >= MANY && now.saturating_duration_since(self.sentence) >= pace.mute;
        let silent = now.saturating_duration_since(self.byte) >= pace.silent;
        let trouble = match (mute, silent) {
            (_, true) => Trouble::Silent,
            (true, false) => Trouble::Mute,
            (false, false) => return None,
        };
        (self.told.replace(trouble) != Some(trouble)).then_some(trouble)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{
        Gnss,
        line::testing::{Pty, wait_until},
        receiver::{
            Receiver,
            tests::{failure_of, fix_of, open, sentence},
        },
    };

    fn at(path: &Path) -> Receiver {
        open(path.to_str().unwrap())
    }

    /// Sentences of fixes, of which no two have the same time.
    struct Satellites(u32);

    impl Satellites {
        fn next(&mut self) -> String {
            self.0 += 1;
            let clock = format!("12{:02}{:02}.{:02}", self.0 / 6000, self.0 / 100 % 60, self.0 % 100);
            sentence(&format!("GPGGA,{clock},4807.0380,N,01131.0000,E,1,08,0.9,545.4,M,46.9,M,,"))
        }
    }

    #[test]
    fn fixes_come_through_noise() {
        let mut pty = Pty::open();
        let mut receiver = at(&pty.path);
        let mut satellites = Satellites(0);
        let fix = fix_of(&mut receiver, || {
            pty.write(b"\xffnoise $GPGGA,half\x00*12\r\n");
            pty.write(satellites.next().as_bytes());
        });
        assert!((fix.position.lat() - 48.1173).abs() < 1e-6);
        assert!((fix.accuracy_m.unwrap() - 4.5).abs() < 1e-6);
        // Opening may have thrown away the noise that was there before.
        wait_until("noise is counted", || {
            pty.write(b"\xffnoise $GPGGA,half\x00*12\r\n");
            let counters = receiver.counters();
            counters.garbled > 0 && counters.sentences > 0 && counters.bytes > 0
        });
        let lost = sentence("GPGGA,130000,,,,,0,00,,,M,,M,,");
        wait_until("no fix", || {
            pty.write(lost.as_bytes());
            receiver.latest().unwrap().is_none()
        });
    }

    #[test]
    fn a_wrong_baud_is_said_in_words_and_once() {
        let mut pty = Pty::open();
        let mut receiver = at(&pty.path);
        let noise = |pty: &mut Pty| pty.write(&[0xe6, 0x98, 0x00, b'$', 0x86, 0xff, 0x78, b'\n']);
        let e = failure_of(&mut receiver, || noise(&mut pty));
        assert!(e.contains(": bytes but no sentences: is baud = 9600 right"), "{e}");
        for _ in 0..100 {
            noise(&mut pty);
            assert_eq!(receiver.latest().unwrap(), None);
        }
        let mut satellites = Satellites(0);
        fix_of(&mut receiver, || pty.write(satellites.next().as_bytes()));
    }

    #[test]
    fn silence_is_told() {
        let pty = Pty::open();
        let e = failure_of(&mut at(&pty.path), || {});
        assert!(e.contains("not a byte"), "{e}");
    }

    #[test]
    fn unplugged_and_back_under_the_same_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("receiver");
        let mut receiver = at(&path);
        let e = failure_of(&mut receiver, || {});
        assert!(e.starts_with(&format!("GNSS {}: cannot open it", path.display())), "{e}");
        assert!(e.contains("plug it in"), "{e}");
        let mut satellites = Satellites(0);
        for _ in 0..2 {
            let mut pty = Pty::open();
            std::os::unix::fs::symlink(&pty.path, &path).unwrap();
            fix_of(&mut receiver, || pty.write(satellites.next().as_bytes()));
            assert_eq!(receiver.news().unwrap(), format!("GNSS {}: back", path.display()));
            assert_eq!(receiver.news(), None);
            std::fs::remove_file(&path).unwrap();
            drop(pty);
            let e = failure_of(&mut receiver, || {});
            assert!(e.contains("read again when it is back"), "{e}");
            assert_eq!(receiver.latest().unwrap(), None, "told once, and the fix went with it");
        }
        assert_eq!(receiver.counters().losses, 3);
    }

    #[test]
    fn a_device_that_is_held_is_named_and_free_when_the_receiver_is_dropped() {
        let mut pty = Pty::open();
        let mut first = at(&pty.path);
        let mut satellites = Satellites(0);
        fix_of(&mut first, || pty.write(satellites.next().as_bytes()));
        let mut second = at(&pty.path);
        let e = failure_of(&mut second, || {});
        assert!(e.contains("end the other program") && e.contains("gpsd"), "{e}");
        drop(first);
        fix_of(&mut second, || pty.write(satellites.next().as_bytes()));
    }
}
