//! A real gpsd reads our sentences from a pseudo-terminal and reports a dead-reckoning fix at our position.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use homing_board::Link;
use homing_board::host::PtyLink;
use homing_models::LatLon;
use homing_tests::drive;
use serde_json::Value;

/// gpsd on a free local port, ended with the test.
struct Gpsd {
    child: Child,
    port: u16,
}

impl Gpsd {
    fn start(device: &std::path::Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let program = ["/usr/sbin/gpsd", "/usr/bin/gpsd"].into_iter().find(|p| std::path::Path::new(p).exists());
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

    fn connect(&self) -> TcpStream {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(stream) => return stream,
                Err(e) if Instant::now() > until => panic!("gpsd does not answer: {e}"),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

impl Drop for Gpsd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn gpsd_reports_dead_reckoning_at_our_position() {
    let run = drive(12);
    let mut link = PtyLink::open().unwrap();
    let gpsd = Gpsd::start(link.other_end());
    let mut client = gpsd.connect();
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    client.write_all(b"?WATCH={\"enable\":true,\"json\":true};\n").unwrap();
    let mut reader = BufReader::new(client);

    // The very bytes of a drive, fix by fix, at a pace that a line of 38400 baud carries.
    let nmea = std::fs::read_to_string(run.out.path().join("drive.nmea")).unwrap();
    let bursts: Vec<String> = nmea.split_inclusive("\r\n").fold(Vec::new(), |mut bursts, line| {
        if line.starts_with("$GPRMC") {
            bursts.push(String::new());
        }
        bursts.last_mut().expect("a burst begins with RMC").push_str(line);
        bursts
    });
    assert_eq!(bursts.len(), 12);
    let mut reports: Vec<Value> = Vec::new();
    let mut listen = |reports: &mut Vec<Value>| {
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|n| n > 0) {
            let report: Value = serde_json::from_str(&line).unwrap();
            if report["class"] == "TPV" {
                reports.push(report);
            }
            line.clear();
        }
    };
    for burst in &bursts {
        link.send(burst.as_bytes()).unwrap();
        listen(&mut reports);
    }
    let until = Instant::now() + Duration::from_secs(10);
    while reports.iter().filter(|r| r["mode"] == 2).count() < 6 && Instant::now() < until {
        listen(&mut reports);
    }

    let fixes: Vec<&Value> = reports.iter().filter(|r| r["mode"] == 2).collect();
    assert!(fixes.len() >= 6, "gpsd reported {reports:#?}");
    for report in &fixes {
        assert_eq!(report["status"], 5, "dead reckoning: {report}");
        let at = LatLon::new(report["lat"].as_f64().unwrap(), report["lon"].as_f64().unwrap()).unwrap();
        let ours = run.fixes.iter().filter_map(|f| Some(LatLon::new(f["lat"].as_f64()?, f["lon"].as_f64()?).unwrap()));
        let nearest_m = ours.map(|p| p.distance_km(at) * 1000.0).fold(f64::MAX, f64::min);
        assert!(nearest_m < 1.0, "gpsd says {at}, {nearest_m} m from any of our fixes");
    }
    let mut times: Vec<&str> = fixes.iter().map(|r| r["time"].as_str().unwrap()).collect();
    times.dedup();
    assert!(times.is_sorted(), "the time rises: {times:?}");
}
