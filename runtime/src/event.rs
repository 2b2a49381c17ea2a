//! What a run tells beside its fixes: each event has a part of the vehicle that it is about, and one line.

use crate::compare::Change;

/// Whom an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// One of the cameras.
    Camera,
    /// The model: a panorama that it cannot encode or locate.
    Model,
    /// The GNSS receiver.
    Receiver,
    /// The line that sentences go over.
    Line,
    /// The display.
    Display,
    /// Lamp and button.
    Panel,
    /// The comparison with GNSS.
    Verdict,
    /// The time that a stage took.
    Pace,
}

impl Part {
    /// Its name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Part::Camera => "camera",
            Part::Model => "model",
            Part::Receiver => "receiver",
            Part::Line => "line",
            Part::Display => "display",
            Part::Panel => "panel",
            Part::Verdict => "verdict",
            Part::Pace => "pace",
        }
    }
}

/// Something that happened during a run, for the log.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Whom it is about.
    pub part: Part,
    /// The fix in progress, from 1.
    pub fix: u64,
    /// What happened, in one line.
    pub line: &'a str,
    /// The evidence, when the verdict about GNSS has changed.
    pub change: Option<&'a Change>,
}
