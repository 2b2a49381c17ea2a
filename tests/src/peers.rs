//! Programs in Python that do what ours do, run side by side with them.
//!
//! `tests/run` installs them into `.peers/venv`. A missing peer fails the test: a comparison that silently did not
//! happen would be worth nothing.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs `tests/peers/SCRIPT ARGUMENTS...` with JSON on its standard input and reads JSON from its output.
///
/// # Panics
/// When the peers are not installed, or the script fails; its error output is on ours.
pub fn run(script: &str, arguments: &[&Path], input: &Value) -> Value {
    let python = root().join(".peers/venv/bin/python");
    assert!(python.exists(), "{} is missing: run tests/run once, it installs the peers", python.display());
    let mut child = Command::new(python)
        .arg(root().join("tests/peers").join(script))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the peer's Python starts");
    let text = input.to_string();
    let mut stdin = child.stdin.take().expect("its input is piped");
    // A peer that fails early closes its input; what it says on leaving is the better message.
    let written = stdin.write_all(text.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("the peer's output is piped");
    assert!(output.status.success(), "peer {script} failed: {} {written:?}", output.status);
    serde_json::from_slice(&output.stdout).expect("the peer answers with JSON")
}
