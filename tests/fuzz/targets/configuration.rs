//! The configuration file. Its types are compiled from their source, because the crate that holds them needs the whole
//! inference engine, which takes long to build for this.
#![no_main]
#![allow(dead_code)]

use std::path::Path;

#[path = "../../../runtime/src/config.rs"]
mod config;

#[path = "../../../runtime/src/report/settings.rs"]
mod settings;
mod report {
    pub(crate) use crate::settings;
}

/// In place of the store of bundles, which needs the models.
mod store {
    pub const PLACE: &str = "/var/lib/homing/bundles";

    pub fn resolve(path: std::path::PathBuf) -> std::path::PathBuf {
        path
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match config::Config::parse(text, Path::new("homing.toml")) {
        Ok(config) => {
            assert!((1..=4).contains(&config.threads) && (0.1..=10.0).contains(&config.rate_hz));
            one_line(config.line_carries(Some("/dev/ttyUSB0")));
            // Settings that were read pass their own checks; cameras and parts may still contradict each other.
            let mounting = config.mounting();
            mounting.line.check().expect("a line that was read");
            mounting.gnss.iter().for_each(|gnss| gnss.check().expect("a receiver that was read"));
            one_line(mounting.cameras.check());
            one_line(mounting.display.check());
            one_line(mounting.panel.check());
        }
        Err(e) => one_line::<config::ConfigError>(Err(e)),
    }
});

/// A fault is said in one line.
fn one_line<E: std::fmt::Display>(checked: Result<(), E>) {
    if let Err(fault) = checked {
        let fault = fault.to_string();
        assert!(!fault.contains('\n'), "{fault}");
    }
}
