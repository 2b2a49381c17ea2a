//! The same log through a real gpsd and straight from a serial line: both receivers say the same positions, while GNSS
//! is dragged off, jumps, is lost and comes back, between noise and half lines, and when its time jumps back.

// A failed expectation is what a test is for.
#![allow(clippy::unwrap_used)]

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use homing_board::{
    Gnss, Link,
    line::PtyLink,
    receiver::{Receiver, ReceiverSettings},
};
use homing_models::LatLon;

/// Both receivers are this near to what was sent, degrees: the last digit of NMEA is a sixth of it.
const SAME_DEG: f64 = 1e-5;

/// gpsd on a free local port, ended with the test.
struct Gpsd {
    child: Child,
    port: u16,
}

impl Gpsd {
    fn start(device: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let program = ["/usr/sbin/gpsd", "/usr/bin/gpsd"].into_iter().find(|p| Path::new(p).exists());
        let program = program.expect("gpsd is missing: run tests/run once, it installs Debian's package");
        let child = Command::new(program)
            .args(["-N", "-n", "-b", "-S", &port.to_string()])
            .arg(device)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Gpsd { child, port }
    }
}

impl Drop for Gpsd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the made-up receiver sends in one second.
#[derive(Clone, Copy, Debug)]
enum Said {
    /// A fix from satellites.
    Fix(LatLon),
    /// A position by dead reckoning.
    Estimate(LatLon),
    /// That it has none.
    Lost,
}

/// A made-up receiver that writes its log to a gpsd and to a serial line, each read by one of ours.
struct Bench {
    lines: [PtyLink; 2],
    receivers: [Receiver; 2],
    /// Of the next sentences, seconds of the day.
    second: u32,
    _gpsd: Gpsd,
}

impl Bench {
    fn start() -> Self {
        let lines = [PtyLink::open().unwrap(), PtyLink::open().unwrap()];
        let gpsd = Gpsd::start(lines[0].other_end());
        let sources = [format!("gpsd://127.0.0.1:{}", gpsd.port), lines[1].other_end().display().to_string()];
        // A stale fix would hide one that never came: here fixes go only when the receiver takes them back.
        let settings = |source| ReceiverSettings { source, stale_s: 60.0, ..ReceiverSettings::default() };
        let receivers = sources.map(|source| Receiver::open(&settings(source)).unwrap());
        let mut bench = Bench { lines, receivers, second: 12 * 3600, _gpsd: gpsd };
        // What lay in the lines when they were opened is thrown away, and gpsd learns the order of the sentences.
        let end = Instant::now() + Duration::from_secs(30);
        let mut heard = [false; 2];
        while heard != [true; 2] {
            assert!(Instant::now() < end, "no first fix: gpsd {}, serial line {}", heard[0], heard[1]);
            bench.send(Said::Fix(truth(0)), b"");
            std::thread::sleep(Duration::from_millis(50));
            // That gpsd does not answer yet is no news here.
            heard = bench.receivers.each_mut().map(|r| matches!(r.latest(), Ok(Some(_))));
        }
        bench
    }

    /// Writes the sentences of a second, behind whatever else is on the line.
    fn send(&mut self, said: Said, noise: &[u8]) {
        let bytes = [noise, sentences(self.second, said).as_bytes()].concat();
        self.lines.iter_mut().for_each(|line| line.send(&bytes).unwrap());
        self.second += 1;
    }

    /// Sends, and waits until both receivers say it.
    fn both_say(&mut self, said: Said, noise: &[u8]) {
        self.send(said, noise);
        let end = Instant::now() + Duration::from_secs(20);
        let mut heard = [None; 2];
        while !heard.iter().all(|h| *h == Some(true)) {
            let positions = self.receivers.each_mut().map(|r| r.latest().unwrap().map(|fix| fix.position));
            heard = positions.map(|position| match (said, position) {
                (Said::Fix(sent), Some(got)) => Some(same(sent, got)),
                (Said::Lost | Said::Estimate(_), None) => Some(true),
                _ => Some(false),
            });
            assert!(Instant::now() < end, "{said:?} at second {}; gpsd and serial line say {positions:?}", self.second);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn same(a: LatLon, b: LatLon) -> bool {
    (a.lat() - b.lat()).abs() < SAME_DEG && (a.lon() - b.lon()).abs() < SAME_DEG
}

/// Where the vehicle is after so many seconds of driving: no two places are the same.
fn truth(second: u32) -> LatLon {
    LatLon::new(48.1, 11.5).unwrap().destination(80.0, 0.05 * f64::from(second))
}

/// RMC and GGA of a second of the day.
fn sentences(second: u32, said: Said) -> String {
    let clock = format!("{:02}{:02}{:02}.00", second / 3600, second / 60 % 60, second % 60);
    let (status, mode, quality, satellites) = match said {
        Said::Fix(_) => ('A', 'A', 1, "08"),
        // With fewer satellites gpsd would take it for no fix at all, and there would be nothing to refuse.
        Said::Estimate(_) => ('A', 'E', 6, "08"),
        Said::Lost => ('V', 'N', 0, "00"),
    };
    let position = match said {
        Said::Fix(p) | Said::Estimate(p) => {
            let (lat, lon) = (degrees_minutes(p.lat()), degrees_minutes(p.lon()));
            let (north, east) = (if p.lat() < 0.0 { 'S' } else { 'N' }, if p.lon() < 0.0 { 'W' } else { 'E' });
            format!("{:02}{:07.4},{north},{:03}{:07.4},{east}", lat.0, lat.1, lon.0, lon.1)
        }
        Said::Lost => ",,,".to_owned(),
    };
    let rmc = format!("GPRMC,{clock},{status},{position},,,040326,,,{mode}");
    let gga = format!("GPGGA,{clock},{position},{quality},{satellites},0.9,545.4,M,46.9,M,,");
    [rmc, gga].map(|body| format!("${body}*{:02X}\r\n", body.bytes().fold(0, |x, b| x ^ b))).concat()
}

/// Degrees and minutes, rounded before they are split, so that there are no 60 minutes.
fn degrees_minutes(coordinate: f64) -> (u32, f64) {
    let parts = (coordinate.abs() * 600_000.0).round();
    ((parts / 600_000.0) as u32, parts % 600_000.0 / 10_000.0)
}

#[test]
fn gpsd_and_a_serial_line_say_the_same_of_a_bad_day() {
    let mut bench = Bench::start();
    let mut drive = 1..;
    let mut next = || truth(drive.next().unwrap());
    for _ in 0..5 {
        bench.both_say(Said::Fix(next()), b"");
    }
    // Dragged off by a kilometre more each second, until it is 200 km away; each fix is a little wrong only.
    for km in 1..=200 {
        bench.both_say(Said::Fix(next().destination(200.0, f64::from(km))), b"");
    }
    // It jumps back, and away again, over the equator and the antimeridian.
    bench.both_say(Said::Fix(next()), b"");
    bench.both_say(Said::Fix(LatLon::new(-16.75, -179.99).unwrap()), b"");
    bench.both_say(Said::Fix(next()), b"");
    // It is lost and comes back, three times. A loss is of one second, because the log runs faster than time does, and
    // several seconds without a fix would be a jump of its time.
    for _ in 0..3 {
        bench.both_say(Said::Lost, b"");
        for _ in 0..3 {
            bench.both_say(Said::Fix(next()), b"");
        }
    }
    // Half lines, wrong checksums, noise of a bad contact.
    let whole = sentences(1, Said::Fix(LatLon::new(1.0, 2.0).unwrap()));
    let wrong = whole.replace(",N,", ",S,");
    let noises: [&[u8]; 5] =
        [&whole.as_bytes()[..30], wrong.as_bytes(), b"\x80\x00\xfe\xf0", b"\r\n\r\n$", b"$$GPGGA,*\r\n"];
    for noise in noises.repeat(3) {
        bench.both_say(Said::Fix(next()), noise);
    }
    // Dead reckoning is no GNSS, and goes when the satellites are back.
    bench.both_say(Said::Estimate(next()), b"");
    bench.both_say(Said::Fix(next()), b"");
    // Its time jumps back by an hour, and forth again.
    for jump in [-3600, 3600] {
        bench.second = bench.second.checked_add_signed(jump).unwrap();
        for _ in 0..3 {
            bench.both_say(Said::Fix(next()), b"");
        }
    }

    let [gpsd, serial] = bench.receivers.each_ref().map(Receiver::counters);
    assert!(gpsd.fixes >= 230 && serial.fixes >= 230, "{gpsd}; {serial}");
    assert!(gpsd.estimated > 0 && serial.estimated == 1, "{gpsd}; {serial}");
    assert!(gpsd.losses <= 1 && serial.losses == 0, "gpsd may be waited for once; {gpsd}; {serial}");
    assert_eq!((serial.time_jumps, gpsd.garbled, gpsd.unreadable), (2, 0, 0), "{gpsd}; {serial}");
    // Of each round of noise the half line, both wrong sentences, the lone dollar and the two of the last.
    assert_eq!(serial.garbled, 3 * 6, "{serial}");
}
