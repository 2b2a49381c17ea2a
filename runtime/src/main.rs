//! `homing`: see `homing --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    homing::cli::main()
}
