//! What a drive says to an autopilot, read back by pymavlink.

use std::{fs, path::Path};

use homing_tests::{homing, peers};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Radius of 95 per cent of a round normal distribution in standard deviations of one axis.
const P95_SIGMAS: f64 = 2.447_746_83;
/// The 95 per cent radius beyond which vision is unsure, kilometres.
const UNSURE_KM: f64 = 4000.0;

/// A drive whose link speaks MAVLink: its directory, the fixes, and the messages that pymavlink read.
struct Spoken {
    dir: TempDir,
    fixes: Vec<Value>,
    messages: Vec<Value>,
}

impl Spoken {
    /// Drives with these settings beside an empty `[mavlink]`, which they end in.
    fn drive(settings: &str, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("homing.toml"), settings).unwrap();
        let output = homing()
            .args(["run", "--config"])
            .arg(at("homing.toml"))
            .arg("--link")
            .arg(at("line"))
            .arg("--out")
            .arg(at("out"))
            .args(arguments)
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{err}");
        assert!(out.contains(" of system ") && out.contains(" goes to "), "{out}");
        let lines = fs::read_to_string(at("out/fixes.jsonl")).unwrap();
        let fixes = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let messages = read(&at("line"));
        Spoken { dir, fixes, messages }
    }

    fn of(&self, kind: &str) -> Vec<&Value> {
        self.messages.iter().filter(|m| m["mavpackettype"] == kind).collect()
    }
}

/// Every byte of a line, as messages that pymavlink takes.
fn read(line: &Path) -> Vec<Value> {
    let read = peers::run("mavlink_read.py", &[line], &json!(null));
    let messages = read.as_array().unwrap().clone();
    let number = |m: &Value| m["sequence"].as_u64().unwrap();
    assert!(messages.iter().all(|m| m["mavpackettype"] != "BAD_DATA"), "{messages:#?}");
    assert_eq!(messages.iter().map(|m| m["bytes"].as_u64().unwrap()).sum::<u64>(), fs::metadata(line).unwrap().len());
    assert!(messages.windows(2).all(|m| number(&m[1]) == (number(&m[0]) + 1) % 256), "no gap: {messages:#?}");
    messages
}

fn p95_km(fix: &Value) -> f64 {
    fix["radius_km"]["p95"].as_f64().unwrap()
}

/// The fixes that vision is sure of and that are no wider than that.
fn no_wider_than(widest_km: f64, fixes: &[Value]) -> Vec<&Value> {
    fixes.iter().filter(|f| f["gnss"]["verdict"] != "vision unsure" && p95_km(f) <= widest_km).collect()
}

/// The position commands are these fixes.
fn same_positions(commands: &[&Value], fixes: &[&Value]) {
    assert_eq!(commands.len(), fixes.len());
    for (command, fix) in commands.iter().zip(fixes) {
        for (theirs, ours) in [("x", "lat"), ("y", "lon")] {
            let degrees = command[theirs].as_f64().unwrap() / 1e7;
            assert!((degrees - fix[ours].as_f64().unwrap()).abs() < 1e-6, "{command} {fix}");
        }
        let sigma_m = p95_km(fix) * 1000.0 / P95_SIGMAS;
        assert!((command["param3"].as_f64().unwrap() / sigma_m - 1.0).abs() < 1e-4, "{command} {fix}");
        // From the panorama to the sending: the stages before the report.
        let ms = |stage: &str| fix["latency_ms"][stage].as_f64().unwrap();
        let before = ms("capture") + ms("encode") + ms("locate");
        assert!((command["param2"].as_f64().unwrap() * 1000.0 - before).abs() < 0.01, "{command} {fix}");
    }
}

#[test]
fn pymavlink_reads_every_sure_fix_as_an_external_position_estimate() {
    let run = Spoken::drive("[mavlink]\nwidest_km = 4000.0\n", &["--fixes", "40"]);
    let commands = run.of("COMMAND_INT");
    let sure = no_wider_than(UNSURE_KM, &run.fixes);
    assert!(sure.len() >= 20 && sure.len() < run.fixes.len(), "the drive has both: {}", sure.len());
    same_positions(&commands, &sure);
    let mut last = -1.0;
    for c in &commands {
        assert_eq!((&c["command"], &c["frame"]), (&43003.into(), &0.into()), "{c}");
        assert_eq!((&c["target_system"], &c["target_component"]), (&1.into(), &1.into()), "{c}");
        assert_eq!((&c["system"], &c["component"]), (&1.into(), &191.into()), "{c}");
        assert!(c["z"].is_null(), "the height is not known: {c}");
        let sent = c["param1"].as_f64().unwrap();
        assert!(sent > last && sent < 250.0, "{c}");
        last = sent;
    }
    // MAV_TYPE_ONBOARD_CONTROLLER, MAV_AUTOPILOT_INVALID.
    let beats = run.of("HEARTBEAT");
    assert!(!beats.is_empty() && beats.iter().all(|b| b["type"] == 18 && b["autopilot"] == 8), "{beats:?}");
    assert_eq!(run.messages[0]["mavpackettype"], "HEARTBEAT");

    // The receiver of the simulated drive is jammed, then spoofed; each verdict that changes is said.
    let mut verdicts: Vec<&str> = run.fixes.iter().map(|f| f["gnss"]["verdict"].as_str().unwrap()).collect();
    verdicts.dedup();
    let said: Vec<&str> = run.of("STATUSTEXT").iter().map(|m| m["text"].as_str().unwrap()).collect();
    let changes: Vec<String> = verdicts.windows(2).map(|v| format!("homing on GPS: {}, was {}", v[1], v[0])).collect();
    assert!(!changes.is_empty() && said == changes, "{said:?} {changes:?}");

    let sentences = fs::read_to_string(run.dir.path().join("out/drive.nmea")).unwrap();
    assert_eq!(sentences.matches("$GPRMC,").count(), 40, "the file keeps its sentences");
}

#[test]
fn an_estimate_wider_than_asked_for_is_not_sent() {
    let run = Spoken::drive("[mavlink]\nwidest_km = 4000.0\n", &["--fixes", "30"]);
    let sure = no_wider_than(UNSURE_KM, &run.fixes);
    let mut radii: Vec<f64> = sure.iter().map(|f| p95_km(f)).collect();
    radii.sort_by(f64::total_cmp);
    let widest_km = radii[radii.len() / 2];
    let settings = format!("[mavlink]\nsystem = 7\ncomponent = 197\nwidest_km = {widest_km}\n");
    let run = Spoken::drive(&settings, &["--fixes", "30"]);
    let narrow = no_wider_than(widest_km, &run.fixes);
    assert!(!narrow.is_empty() && narrow.len() < sure.len(), "{radii:?}");
    same_positions(&run.of("COMMAND_INT"), &narrow);
    let ids = |m: &Value| (m["system"] == 7, m["component"] == 197);
    assert!(run.messages.iter().all(|m| ids(m) == (true, true)), "{:?}", run.messages);
    assert!(run.of("COMMAND_INT").iter().all(|c| c["target_system"] == 7 && c["target_component"] == 1));
}

#[test]
fn without_an_estimate_there_is_the_heartbeat_alone() {
    let blind = "[host]\ngnss = \"denied\"\ndead_cameras = [\"front\", \"right\", \"back\", \"left\"]\n[mavlink]\n";
    let run = Spoken::drive(blind, &["--fixes", "2", "--pace", "2.5"]);
    assert!(run.fixes.iter().all(|f| f["lat"].is_null()));
    let beats = run.of("HEARTBEAT").len();
    assert_eq!(beats, run.messages.len(), "{:?}", run.messages);
    assert!((3..=6).contains(&beats), "{beats} in five seconds, whatever the pace of the fixes");
}
