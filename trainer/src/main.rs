//! `homing-trainer`: makes models for `homing`.

use std::process::ExitCode;

use clap::Parser;
use homing_trainer::cli::{Arguments, run};
use homing_trainer::commands::SaidElsewhere;

fn main() -> ExitCode {
    // Usage errors leave with 2 inside `parse`.
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<SaidElsewhere>() => ExitCode::FAILURE,
        Err(error) => {
            // One line: what, where, and the way out.
            eprintln!("homing-trainer: {}", homing_models::one_line(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
