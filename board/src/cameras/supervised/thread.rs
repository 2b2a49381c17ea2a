//! The thread of one camera: open, read, and after any failure close, pause and open again.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::PoisonError,
    time::Instant,
};

use super::{
    Plan,
    watch::{Shared, Stage},
};
use homing_models::panic_line;

use crate::cameras::{
    device::{Fault, Source, Stream},
    lock,
    pixels::Layout,
};

/// Damaged frames in a row after which the camera is opened anew.
const MAX_DAMAGED: u32 = 30;
/// Frames of one turn on a shared bus: the first are taken before the exposure has settled.
const TURN_FRAMES: u32 = 5;

/// Runs until the camera is dropped.
pub(super) fn run(mut source: impl Source, shared: &Shared, plan: &Plan) {
    let mut pause = plan.pauses.0;
    while !stopped(shared) {
        lock(&shared.state).enter(Stage::Turn);
        let turn = match &plan.bus {
            None => None,
            Some(bus) => match bus.turn(|| stopped(shared)) {
                None => break,
                turn => turn,
            },
        };
        lock(&shared.state).enter(Stage::Opening);
        let mut good = 0;
        let outcome = session(&mut source, shared, plan, &mut good);
        drop(turn);
        if good > 0 {
            pause = plan.pauses.0;
        }
        if let Err(fault) = outcome {
            failed(&fault, shared, pause);
            pause = (2 * pause).min(plan.pauses.1);
        }
    }
    lock(&shared.state).ended = true;
    shared.changed.notify_all();
}

fn stopped(shared: &Shared) -> bool {
    lock(&shared.state).stop
}

/// Notes a failure and leaves the camera alone for a while.
fn failed(fault: &Fault, shared: &Shared, pause: std::time::Duration) {
    let words = fault.in_words(&shared.path);
    let until = Instant::now() + pause;
    let mut state = lock(&shared.state);
    state.statistics.timeouts += u64::from(matches!(fault, Fault::TimedOut));
    if state.fault.as_ref() != Some(&words) {
        state.tell(words.clone());
    }
    state.fault = Some(words);
    state.enter(Stage::Pausing(until));
    while !state.stop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            state.statistics.rebuilds += 1;
            return;
        }
        state = shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Opens the camera and reads it until it fails, its turn is over or it shall stop. Counts good frames.
///
/// The layer below panics where a driver answers what it does not know. Reading and closing are caught apart, because
/// a stream that panicked in closing while another panic unwinds would end the program.
fn session(source: &mut impl Source, shared: &Shared, plan: &Plan, good: &mut u32) -> Result<(), Fault> {
    let mut stream = catch_unwind(AssertUnwindSafe(|| source.open())).unwrap_or_else(|panic| Err(died(&*panic)))?;
    let read = catch_unwind(AssertUnwindSafe(|| read(&mut *stream, shared, plan, good)));
    // What goes wrong in closing a camera that is given up tells nothing new.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(stream)));
    read.unwrap_or_else(|panic| Err(died(&*panic)))
}

fn died(panic: &(dyn Any + Send)) -> Fault {
    let text = panic_line(panic);
    Fault::Unusable(format!("answers what no camera should ({text}); unplug it and plug it in again"))
}

fn read(stream: &mut dyn Stream, shared: &Shared, plan: &Plan, good: &mut u32) -> Result<(), Fault> {
    let layout = stream.layout();
    opened(layout, shared, plan);
    loop {
        let shot = stream.next()?;
        let sound = !shot.damaged && layout.may_be_whole(shot.bytes);
        let mut state = lock(&shared.state);
        state.since = Instant::now();
        state.statistics.frames += 1;
        if sound {
            (*good, state.damaged) = (*good + 1, 0);
            if plan.bus.is_none() || *good >= TURN_FRAMES {
                state.keep(&shot, layout);
                shared.changed.notify_all();
            }
            if state.fault.take().is_some() {
                let again = format!("{} gives pictures again ({})", shared.path.display(), state.statistics);
                state.tell(again);
            }
        } else {
            state.damaged += 1;
            state.statistics.corrupt += 1;
            state.damage = if shot.damaged { "so the driver says" } else { "they are not whole" }.to_owned();
        }
        if state.damaged >= MAX_DAMAGED || state.undecodable >= MAX_DAMAGED {
            (state.damaged, state.undecodable) = (0, 0);
            return Err(Fault::Unusable(
                "gives only damaged pictures; check its cable, hub and power supply, or lower width and height".into(),
            ));
        }
        if state.stop || (plan.bus.is_some() && *good >= TURN_FRAMES) {
            return Ok(());
        }
    }
}

/// Tells once what the driver made of what was asked for.
fn opened(layout: Layout, shared: &Shared, plan: &Plan) {
    let mut state = lock(&shared.state);
    state.enter(Stage::Streaming);
    let (width, height, format) = plan.asked;
    let differs = (layout.width, layout.height, layout.format) != plan.asked;
    if differs && state.told_layout != Some(layout) {
        let asked = Layout { width, height, format, stride: 0 };
        state.tell(format!("{} gives {layout} instead of {asked}, and that is used", shared.path.display()));
    }
    state.told_layout = Some(layout);
}
