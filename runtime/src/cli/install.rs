//! `homing install`: another model for a vehicle, and the way back.

use std::{path::Path, process::ExitCode};

use anyhow::Context;

use super::{InstallArgs, print, tell};
use crate::{
    config::PACKAGED,
    store::{Store, TRIALS},
};

pub(super) fn run(args: InstallArgs) -> anyhow::Result<ExitCode> {
    let dir = &args.store;
    let Some(source) = &args.source else {
        let store = Store::at(dir).with_context(|| format!("there is no store of bundles at {}", dir.display()))?;
        let back = store.back()?;
        print(&format!("{} is the current bundle again; the program takes it at its next start\n", back.display()))?;
        return Ok(ExitCode::SUCCESS);
    };
    let model = Store::install(dir, source, Path::new(PACKAGED), &mut tell)?;
    print(&format!(
        "{} {} is the current bundle in {}; the program takes it at its next start, and the one before it again when \
         {TRIALS} starts come to no estimate\n",
        model.card.name,
        model.card.id,
        dir.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}
