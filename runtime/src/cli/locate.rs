//! `homing locate`.

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
    time::{Instant, SystemTime},
};

use anyhow::bail;

use super::{LocateArgs, SIMULATED, load, print};
use crate::{
    Model,
    capture::Panorama,
    compare::Compare,
    config::Config,
    encode::Embeddings,
    locate::TaskValue,
    pictures,
    report::{Fix, Latency, json},
    track::Tracked,
};

pub(super) fn run(args: LocateArgs) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let paths = pictures::named(&args.images)?;
    let frames = paths.iter().map(|p| homing_models::pictures::read(p)).collect::<Result<Vec<_>, _>>()?;
    let capture = started.elapsed();
    let mut model = load(&Config::default(), args.bundle.bundle.as_deref())?;

    let started = Instant::now();
    let panorama = Panorama::of(SystemTime::now(), frames);
    let mut embeddings = Embeddings::default();
    model.encoder.encode(&panorama, &mut embeddings)?;
    let encode = started.elapsed();
    let started = Instant::now();
    let Some(estimate) = model.locator.locate(&embeddings)? else { bail!("no picture to locate; name one to four") };
    // One panorama has no track: position, place and radius are those of its own answer.
    let candidate = estimate.candidates[0];
    let tracked = Tracked { position: candidate.position, radius: estimate.radius, candidate, support: 1 };
    let fix = Fix {
        number: 1,
        time: panorama.time,
        truth: None,
        views: embeddings.views(),
        comparison: Compare::new().push(None, Some(&tracked)),
        tracked: Some(tracked),
        estimate: Some(estimate),
        gnss: None,
        latency: Latency { capture, encode, locate: started.elapsed(), ..Latency::default() },
    };
    match args.json {
        true => {
            // The object itself has no room for a remark, so it goes beside it.
            if model.card.simulated_planet {
                let _ = writeln!(io::stderr(), "homing: {SIMULATED}");
            }
            let mut line = Vec::new();
            json::line(&mut line, &fix, &model.locator, &model.card.id);
            print(&String::from_utf8_lossy(&line))?;
        }
        false => {
            let mut said = String::new();
            text(&mut said, &fix, &model)?;
            print(&said)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn text(out: &mut impl fmt::Write, fix: &Fix, model: &Model) -> fmt::Result {
    let (Some(tracked), Some(estimate)) = (&fix.tracked, &fix.estimate) else {
        return Ok(());
    };
    let views = if fix.views == 1 { "view" } else { "views" };
    writeln!(out, "{}", model.locator.place(&tracked.candidate))?;
    writeln!(out, "  position   {}  from {} {views}", tracked.position, fix.views)?;
    writeln!(
        out,
        "  radius     {:.0} km holds 50 %, {:.0} km holds 95 %",
        tracked.radius.p50_km, tracked.radius.p95_km
    )?;
    writeln!(out, "  cells")?;
    for c in estimate.candidates.iter().take(json::CELLS) {
        let place = model.locator.place(c);
        writeln!(out, "    {:5.1} %  {:5}  {}  {place}", 100.0 * c.weight, c.cell.0, c.position)?;
    }
    let mut tasks = estimate.tasks.iter();
    for (r, value) in model.card.tasks.regressions.iter().zip(&mut tasks) {
        if let TaskValue::Quantity(v) = value {
            writeln!(out, "  {:28} {v:.1} {}", r.name, r.unit)?;
        }
    }
    for (c, value) in model.card.tasks.classifications.iter().zip(tasks) {
        if let TaskValue::Class(class) = value {
            writeln!(out, "  {:28} {}", c.name, c.classes.get(*class).map_or("?", String::as_str))?;
        }
    }
    let ms = |d: std::time::Duration| d.as_secs_f64() * 1000.0;
    writeln!(out, "  time       {:.0} ms (encode {:.0} ms)", ms(fix.latency.total()), ms(fix.latency.encode))?;
    writeln!(out, "  model      {} {}", model.card.name, model.card.id)?;
    if model.card.simulated_planet {
        writeln!(out, "  note       {SIMULATED}")?;
    }
    Ok(())
}
