//! `homing run`: the loop, and what a person sees of it.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use homing_board::{
    Board,
    host::{self, HostOutput},
    planet::Planet,
};
use homing_models::{LatLon, figures::median};

use super::{
    PrintError, RunArgs, SIMULATED,
    journal::Journal,
    mounted::{Mounted, SIMULATED_FIXES, configured, mount, stop_on_signal},
    print, service, tell,
};
use crate::{
    Model,
    capture::Panorama,
    config::Config,
    event::Event,
    report::{DriveMap, Fix, MapWords, OutDir, json, save_png},
    store::{self, Store},
    supervise::{DISPLAY_FILE, Files, MAP_FILE, Observer, Supervisor},
};

/// Side of the pictures in the strip of the map.
const PORTRAIT_PX: u32 = 256;

pub(super) fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let mut config = configured(&args.ride)?;
    let dir = args.out.or(config.out.take()).unwrap_or_else(|| PathBuf::from("out"));
    let at_a_desk = args.replay.is_some() || config.board.carrier().is_none();
    let place = config.bundle_place(args.ride.bundle.bundle.as_deref());
    let (model, trial) = store::open(&place, config.threads, &mut tell)?;
    let output = HostOutput {
        display: Some(dir.join(DISPLAY_FILE)),
        link: args.link.or(config.link.take()),
        line: config.line.clone(),
    };
    let claimed = OutDir::claim(&dir).map_err(anyhow::Error::from);
    let ready = claimed
        .and_then(|out| Ok((out, mount(&config, &args.ride, args.replay, model.card.image_px, &output)?)))
        .inspect_err(|_| excused(trial.as_ref()));
    let (out, Mounted { board, vehicle, limit, pace }) = ready?;

    let stop = stop_on_signal()?;
    // A vehicle is not kept waiting at its end: homing map draws its log whenever somebody asks.
    let mut watcher = Watcher::new(limit, vehicle, trial, at_a_desk.then(DriveMap::default));
    watcher.begin(&model, &board, &config, &dir)?;
    // Last of all, so that a start that fails leaves nothing behind.
    let mut files = Some(Files::create(&out)?);
    let title = if model.card.simulated_planet { "a drive on the simulated planet" } else { "a drive" };
    let mut supervisor = Supervisor::new(board, model, config.sentences);
    if let Some(settings) = config.mavlink {
        supervisor.speak_mavlink(settings);
    }
    service::begun();
    let outcome = supervisor.run(limit, pace, &mut files, &stop, &mut watcher);
    service::ends();
    // Whatever ended the drive: what was written is complete and gets its name.
    let finished = files.take().map_or(Ok(()), Files::finish);
    let summary = watcher.summary(&supervisor);
    if let Some(map) = watcher
        .map
        .as_ref()
        .and_then(|map| map.paint(&MapWords { title, way: "driven", errors: "error of each fix" }, &summary))
    {
        save_png(&map, &dir.join(MAP_FILE))?;
    }
    outcome.and(finished)?;
    watcher.end(&summary, &dir);
    Ok(watcher.code())
}

/// The start that ends here does not speak against the model.
fn excused(trial: Option<&Store>) {
    if let Some(Err(e)) = trial.map(Store::excuse) {
        tell(&e.to_string());
    }
}

/// Prints fixes and gathers the summary and the map.
struct Watcher {
    limit: Option<u64>,
    /// The simulated one.
    vehicle: Option<host::Shared>,
    /// The store of the model, until it has come to an estimate.
    trial: Option<Store>,
    /// The system's log, when standard error goes there.
    journal: Option<Journal>,
    /// Of a drive at a desk.
    map: Option<DriveMap>,
    single_km: Vec<f64>,
    country_hits: usize,
    known_countries: usize,
    totals_ms: Vec<f64>,
    fixes: u64,
    started: Instant,
    /// What became of standard output; after an error nothing more is written to it.
    printed: Result<(), PrintError>,
}

/// Fixes whose figures are kept for the summary; a drive without end must not grow without end.
const REMEMBERED: usize = 100_000;

impl Watcher {
    fn new(limit: Option<u64>, vehicle: Option<host::Shared>, trial: Option<Store>, map: Option<DriveMap>) -> Self {
        Watcher {
            limit,
            vehicle,
            trial,
            journal: Journal::of_standard_error(),
            map,
            single_km: Vec::new(),
            country_hits: 0,
            known_countries: 0,
            totals_ms: Vec::new(),
            fixes: 0,
            started: Instant::now(),
            printed: Ok(()),
        }
    }

    /// Says what begins.
    ///
    /// # Errors
    /// When standard output cannot be written from the start; that nobody reads it is no error.
    fn begin(&mut self, model: &Model, board: &Board, config: &Config, dir: &Path) -> Result<(), PrintError> {
        let mut text = format!("homing {}, model {} {}\n", env!("CARGO_PKG_VERSION"), model.card.name, model.card.id);
        if model.card.simulated_planet {
            let _ = writeln!(text, "{SIMULATED}");
        }
        let seed = self.vehicle.as_ref().map_or_else(String::new, |_| format!(", seed {}", config.host.seed));
        let _ = writeln!(text, "board {}{seed}, writing to {}", board.name, dir.display());
        if let Some(link) = &board.link {
            let spoken = config.mavlink.map_or_else(|| "sentences go".to_owned(), |mavlink| format!("{mavlink} goes"));
            let _ = writeln!(text, "{spoken} to {}", link.name());
        } else if config.mavlink.is_some() {
            tell("[mavlink] is set and there is no link to speak it on; name one with link or --link");
        }
        if config.sentences.pose_as_gps {
            tell("sentences.pose_as_gps is set: consumers will take estimates for positions of a receiver");
        }
        text += "\n   #  time (UTC)           latitude   longitude   radius 50/95 %    error  GPS            place\n";
        match print(&text) {
            Err(e) if !e.nobody_reads() => Err(e),
            outcome => {
                self.printed = outcome;
                Ok(())
            }
        }
    }

    /// Prints as long as that works. The drive goes on without: a vehicle must not stop because nobody reads.
    fn print(&mut self, text: &str) {
        if self.printed.is_err() {
            return;
        }
        self.printed = print(text);
        if let Some(e) = self.printed.as_ref().err().filter(|e| !e.nobody_reads()) {
            let _ = writeln!(io::stderr(), "homing: {e}; the drive goes on without");
        }
    }

    fn code(&self) -> ExitCode {
        match &self.printed {
            Err(e) if !e.nobody_reads() => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        }
    }

    fn summary(&self, supervisor: &Supervisor) -> Vec<(String, String)> {
        let row = |name: &str, value: String| (name.to_owned(), value);
        let mut rows = vec![row("fixes", self.fixes.to_string())];
        if let Some(km) = self.map.as_ref().and_then(DriveMap::median_error_km) {
            rows.push(row("median error", kilometres(km)));
        }
        if !self.single_km.is_empty() {
            rows.push(row("median of single panoramas", kilometres(median(self.single_km.clone()))));
        }
        if self.known_countries > 0 {
            rows.push(row("in the right country", format!("{} of {}", self.country_hits, self.known_countries)));
        }
        if !self.totals_ms.is_empty() {
            rows.push(row("time per fix (median)", format!("{:.1} ms", median(self.totals_ms.clone()))));
        }
        let lost: u64 = supervisor.cameras().iter().map(|c| c.failures).sum();
        if lost > 0 {
            rows.push(row("pictures that did not come", lost.to_string()));
        }
        rows.extend(supervisor.summaries());
        rows
    }

    fn end(&mut self, summary: &[(String, String)], dir: &Path) {
        let mut text = String::from("\n");
        for (name, value) in summary {
            let _ = writeln!(text, "{name:28} {value}");
        }
        let _ = writeln!(text, "{:28} {:.1} s", "whole drive", self.started.elapsed().as_secs_f64());
        let names = std::fs::read_dir(dir).into_iter().flatten().filter_map(|e| e.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|n| !n.ends_with(".partial")).collect();
        names.sort();
        let _ = writeln!(text, "{:28} {}/{{{}}}", "written", dir.display(), names.join(","));
        self.print(&text);
    }
}

impl Observer for Watcher {
    fn fix(&mut self, fix: &Fix, panorama: &Panorama, model: &Model) {
        self.fixes += 1;
        // A whole fix: either the model has come to an estimate, or it had nothing to look at, or it is not well.
        if let Some(store) = self.trial.take_if(|_| fix.estimate.is_some() || self.fixes == 1 && fix.views == 0) {
            let noted = if fix.estimate.is_some() { store.prove() } else { store.excuse() };
            noted.unwrap_or_else(|e| tell(&e.to_string()));
        }
        let place = fix.tracked.as_ref().map(|t| model.locator.place(&t.candidate));
        if self.totals_ms.len() < REMEMBERED {
            if let Some(map) = &mut self.map {
                map.push(fix);
            }
            self.totals_ms.push(fix.latency.total().as_secs_f64() * 1000.0);
            if let (Some(estimate), Some(truth)) = (&fix.estimate, fix.truth) {
                self.single_km.push(estimate.position().distance_km(truth));
            }
            if let (Some(tracked), Some(truth)) = (&fix.tracked, fix.truth) {
                self.known_countries += 1;
                self.country_hits += usize::from(same_country(tracked.position, truth));
            }
        }
        let portrait_at = DriveMap::portrait_at(fix.number, self.limit.unwrap_or(SIMULATED_FIXES));
        if let Some(map) = self.map.as_mut().filter(|_| portrait_at) {
            let place = place.map_or_else(String::new, |p| p.to_string());
            let off = fix.error_km().map_or_else(String::new, |km| format!(", {} off", kilometres(km)));
            let caption = format!("{}  guess: {place}{off}", &json::time(fix.time)[11..16]);
            match self.vehicle.as_ref().map(|vehicle| host::portrait(vehicle, PORTRAIT_PX)) {
                Some(Ok(frames)) => map.portrait(caption, frames.iter()),
                Some(Err(_)) | None => map.portrait(caption, panorama.views()),
            }
        }
        let time = json::time(fix.time);
        let mut text = format!("{:4}  {} {}  ", fix.number, &time[..10], &time[11..19]);
        match &fix.tracked {
            Some(t) => {
                let radius = format!("{:.0}/{:.0} km", t.radius.p50_km, t.radius.p95_km);
                let error = fix.error_km().map(kilometres).unwrap_or_default();
                let (lat, lon) = (t.position.lat(), t.position.lon());
                let _ = write!(text, "{lat:9.4}  {lon:10.4}  {radius:>15}  {error:>7}  ");
            }
            None => text += "                                        no view  ",
        }
        let place = place.map_or_else(String::new, |p| p.to_string());
        service::moved(fix, &place);
        let _ = writeln!(text, "{:13}  {place}", fix.comparison.verdict.words());
        self.print(&text);
    }

    fn told(&mut self, event: Event<'_>) {
        if !self.journal.as_mut().is_some_and(|journal| journal.takes(&event)) {
            tell(event.line);
        }
    }
}

fn same_country(a: LatLon, b: LatLon) -> bool {
    let planet = Planet::get();
    planet.country_at(a).is_some_and(|c| planet.country_at(b) == Some(c))
}

fn kilometres(km: f64) -> String {
    if km < 9.95 { format!("{km:.1} km") } else { format!("{km:.0} km") }
}
