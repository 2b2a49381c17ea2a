//! The side of the virtual device that runs here: it takes the pictures of the drive, and reads the display.
//!
//! ```text
//! rig record FOLDER SEED PANORAMAS
//! rig read HEX
//! ```
#![forbid(unsafe_code)]

mod drive;
mod screen;

use std::path::Path;

use anyhow::bail;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["record", folder, seed, panoramas] => drive::record(Path::new(folder), seed.parse()?, panoramas.parse()?),
        ["read", hex] => {
            println!("{}", serde_json::to_string(&screen::read(hex)?)?);
            Ok(())
        }
        _ => bail!("usage: rig record FOLDER SEED PANORAMAS, or rig read HEX"),
    }
}
