//! `homing record`: what the cameras see and GNSS says, kept for another day.

use std::{fmt::Write as _, process::ExitCode, sync::atomic::Ordering, time::Instant};

use homing_board::{cameras::recorded::Recorder, host::HostOutput};

use super::{
    PrintError, RecordArgs,
    mounted::{configured, mount, stop_on_signal},
    print, tell,
};
use crate::{
    capture::{Capture, Panorama},
    report::json,
    store::bundle_at,
    supervise::sleep_unless,
};

pub(super) fn run(args: RecordArgs) -> anyhow::Result<ExitCode> {
    let config = configured(&args.ride)?;
    // Only simulated pictures are made for a model.
    let image_px = match config.board.carrier() {
        None => bundle_at(&config.bundle_dir(args.ride.bundle.bundle.as_deref()), &mut tell)?.manifest.image.size,
        Some(_) => 0,
    };
    let mounted = mount(&config, &args.ride, None, image_px, &HostOutput::default())?;
    let (mut clock, mut gnss) = (mounted.board.clock, mounted.board.gnss);
    let mut capture = Capture::new(mounted.board.cameras);
    let stop = stop_on_signal()?;
    let mut recorder = Recorder::open(&args.folder)?;
    let mut panorama = Panorama::default();
    let mut printed = print(&format!(
        "board {}, recording into {}\n\n   #  time (UTC)           views  GNSS\n",
        mounted.board.name,
        args.folder.display()
    ));
    let (mut made, mut pictures) = (0, 0);
    while mounted.limit.is_none_or(|n| made < n) && !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        capture.take(clock.next_epoch(), &mut panorama, tell);
        let fix = gnss.as_mut().and_then(|gnss| {
            let latest = gnss.latest();
            std::iter::from_fn(|| gnss.news()).for_each(|news| tell(&news));
            latest.unwrap_or_else(|e| {
                tell(&e.to_string());
                None
            })
        });
        let number = recorder.add(panorama.time, std::array::from_fn(|camera| panorama.view(camera)), fix)?;
        made += 1;
        pictures += panorama.views().count();
        let position = fix.map_or_else(|| "no fix".to_owned(), |fix| fix.position.to_string());
        let (time, views) = (json::time(panorama.time), panorama.views().count());
        let line = format!("{number:4}  {} {}  {views:5}  {position}\n", &time[..10], &time[11..19]);
        // A vehicle does not stop because nobody reads.
        printed = printed.and_then(|()| print(&line));
        if let Some(pause) = mounted.pace.and_then(|pace| pace.checked_sub(begun.elapsed())) {
            sleep_unless(&stop, pause);
        }
    }
    let mut text = format!("\n{made} panoramas, {pictures} pictures in {}\n", args.folder.display());
    for (name, said) in capture.summaries() {
        let _ = writeln!(text, "{name:28} {said}");
    }
    match printed.and_then(|()| print(&text)) {
        Err(e) if !e.nobody_reads() => Err(e.into()),
        Ok(()) | Err(PrintError(_)) => Ok(ExitCode::SUCCESS),
    }
}
