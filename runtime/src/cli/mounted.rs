//! From arguments and configuration to a board that is ready to go, whichever it is.

use std::{path::PathBuf, sync::Arc, sync::atomic::AtomicBool, sync::atomic::Ordering, time::Duration};

use anyhow::Context;
use homing_board::{
    Board,
    host::{self, HostOutput},
    replay, vehicle,
};

use super::RideArgs;
use crate::config::Config;

/// Fixes of a simulated drive where nobody says how many.
pub(super) const SIMULATED_FIXES: u64 = 60;

/// A board, and how it is driven.
pub(super) struct Mounted {
    pub board: Board,
    /// The simulated vehicle.
    pub vehicle: Option<host::Shared>,
    /// After so many fixes it stops.
    pub limit: Option<u64>,
    /// From fix to fix at least.
    pub pace: Option<Duration>,
}

/// The configuration, with what the arguments say over it.
pub(super) fn configured(ride: &RideArgs) -> anyhow::Result<Config> {
    let mut config = ride.config.as_deref().map_or_else(|| Ok(Config::default()), Config::read)?;
    config.host.seed = ride.seed.unwrap_or(config.host.seed);
    Ok(config)
}

/// Opens the configured board, or a recording in its place. `image_px` is the side of the pictures of the model that
/// will look at them; `output` is of the simulated and the recorded vehicle, of one of hardware its link alone.
pub(super) fn mount(
    config: &Config,
    ride: &RideArgs,
    recording: Option<PathBuf>,
    image_px: u32,
    output: &HostOutput,
) -> anyhow::Result<Mounted> {
    if let Some(folder) = recording {
        let (board, panoramas) = replay::board(&folder, output)?;
        let limit = Some(ride.fixes.map_or(panoramas, |fixes| fixes.min(panoramas)));
        return Ok(Mounted { board, vehicle: None, limit, pace: ride.pace });
    }
    let Some(carrier) = config.board.carrier() else {
        let fixes = ride.fixes.unwrap_or(SIMULATED_FIXES);
        let (board, vehicle) = host::board(&config.host, image_px, fixes, output)?;
        let limit = (!ride.forever).then_some(fixes);
        return Ok(Mounted { board, vehicle: Some(vehicle), limit, pace: ride.pace });
    };
    config.line_carries(output.link.as_deref())?;
    let board = vehicle::board(carrier, &config.mounting(), output.link.as_deref())?;
    let pace = ride.pace.or(Some(Duration::from_secs_f64(1.0 / config.rate_hz)));
    Ok(Mounted { board, vehicle: None, limit: ride.fixes, pace })
}

/// Ctrl-C and a service's stop end the drive after the fix in progress; a second one ends it at once.
pub(super) fn stop_on_signal() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}
