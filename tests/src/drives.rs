//! Drives of the real program with the bundle that comes along.

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::peers::root;

/// A finished drive.
pub struct Drive {
    /// Its output directory.
    pub out: TempDir,
    /// What it printed.
    pub output: Output,
    /// The lines of `fixes.jsonl`.
    pub fixes: Vec<Value>,
}

/// The program on the vehicle, to be run at the root of the repository.
pub fn homing() -> Command {
    program("homing")
}

/// A program of the workspace, to be run at the root of the repository.
///
/// # Panics
/// When it was not built; cargo builds all programs before the tests of the whole workspace.
pub fn program(name: &str) -> Command {
    let mut path = std::env::current_exe().expect("a test knows where it is");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.push(name);
    assert!(path.exists(), "{} is missing: run the tests of the whole workspace", path.display());
    let mut command = Command::new(path);
    command.current_dir(root());
    command
}

/// Drives `fixes` fixes into a directory of its own.
///
/// # Panics
/// When the drive fails.
pub fn drive(fixes: u32) -> Drive {
    let out = tempfile::tempdir().expect("a temporary directory");
    let output = homing()
        .args(["run", "--fixes", &fixes.to_string(), "--out"])
        .arg(out.path())
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = std::fs::read_to_string(out.path().join("fixes.jsonl")).expect("JSON lines of the drive");
    let fixes = lines.lines().map(|l| serde_json::from_str(l).expect("each line is JSON")).collect();
    Drive { out, output, fixes }
}
