//! A directory with a small bundle in it, and the program run there.

// Each program of tests needs some of it.
#![allow(dead_code)]

pub mod tiny;

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

pub struct Place {
    dir: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        tiny::bundle(&dir.path().join("bundle"));
        Place { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut c = Command::new(env!("CARGO_BIN_EXE_homing"));
        c.current_dir(self.path()).args(args);
        c
    }

    /// Runs with `--bundle bundle` added.
    pub fn homing(&self, args: &[&str]) -> Output {
        self.command(args).args(["--bundle", "bundle"]).output().unwrap()
    }

    pub fn picture(&self, name: &str, width: u32, height: u32) {
        let pixel = |x, y| image::Rgb([(x * 5 % 256) as u8, (y * 3 % 256) as u8, 90]);
        image::RgbImage::from_fn(width, height, pixel).save(self.path().join(name)).unwrap();
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Exit code 1 and one line on stderr that has all the words.
pub fn fails(output: &Output, words: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("homing: ") && said.trim_end().lines().count() == 1, "{said}");
    assert!(said.matches("(os error").count() <= 1, "a cause is said once: {said}");
    words.iter().for_each(|w| assert!(said.contains(w), "{w} in {said}"));
}

/// Standard output that is always full.
pub fn full() -> Stdio {
    std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub fn json_lines(path: &Path) -> Vec<serde_json::Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// What a drive leaves.
pub const LEFT_BEHIND: [&str; 4] = ["display.png", "drive.nmea", "drive.png", "fixes.jsonl"];
