//! MAVLink 2 for an autopilot: the estimated position, a heartbeat, and a text when the verdict changes.
//!
//! We are a component of the vehicle's system, as a companion computer is, and speak to its autopilot. The position is
//! the command MAV_CMD_EXTERNAL_POSITION_ESTIMATE (43003), as COMMAND_INT in the frame MAV_FRAME_GLOBAL. ArduPilot (EKF3)
//! and PX4 (EKF2) take it while they go by dead reckoning and refuse it otherwise. Their acknowledgement is not read: the
//! next fix comes anyway. ArduPilot jumps to each position that it takes, and its accuracy becomes the standard deviation
//! of the filter's north and east; so the accuracy is that of one axis of a round normal distribution, the 95 per cent
//! radius divided by `sqrt(-2 ln 0.05)` = 2.45, as in the sentence GST. That jump is also why an estimate that is wider
//! than [`MavlinkSettings::widest_km`] is not sent, nor one while the verdict is that vision is unsure.
//!
//! The height is never known: NaN.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use homing_models::LatLon;
use mavlink::{
    MAVLinkV2MessageRaw, MavHeader, MessageData,
    dialects::common::{
        COMMAND_INT_DATA, HEARTBEAT_DATA, MavAutopilot, MavCmd, MavFrame, MavModeFlag, MavSeverity, MavState, MavType,
        STATUSTEXT_DATA,
    },
};

pub use super::settings::MavlinkSettings;
use super::{Fix, nmea::P95_SIGMAS, settings::AUTOPILOT};
use crate::compare::Verdict;

/// Between two heartbeats; after some five seconds without one a component is taken for lost.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Our time begins anew after so many seconds, as the command's definition asks: a 32 bit float then tells 15 us apart.
const WRAP_S: f64 = 250.0;
/// Start marker, header and checksum of a frame without signature.
const FRAMING: usize = 12;
/// The version that a heartbeat names, of the messages and not of the framing.
const MESSAGES: u8 = 3;
/// Characters of a status text.
const TEXT: usize = 50;

/// Bytes of the longest burst: a heartbeat, a position and a text.
pub const LONGEST_BURST: usize =
    3 * FRAMING + HEARTBEAT_DATA::ENCODED_LEN + COMMAND_INT_DATA::ENCODED_LEN + STATUSTEXT_DATA::ENCODED_LEN;

/// Frames that are sent together; empty when there is nothing to say.
pub type Frames = heapless::Vec<u8, LONGEST_BURST>;

/// Our component: its frames are numbered, and its time begins with it.
#[derive(Debug)]
pub struct Component {
    settings: MavlinkSettings,
    sequence: u8,
    began: Instant,
    beat: Option<Instant>,
}

impl Component {
    /// A component that has said nothing yet.
    pub fn new(settings: MavlinkSettings) -> Self {
        Component { settings, sequence: 0, began: Instant::now(), beat: None }
    }

    /// The heartbeat, when one is due.
    pub fn heartbeat(&mut self) -> Frames {
        let mut out = Frames::new();
        if self.beat.is_none_or(|beat| beat.elapsed() >= HEARTBEAT) {
            self.beat = Some(Instant::now());
            let alive = HEARTBEAT_DATA {
                custom_mode: 0,
                mavtype: MavType::MAV_TYPE_ONBOARD_CONTROLLER,
                autopilot: MavAutopilot::MAV_AUTOPILOT_INVALID,
                base_mode: MavModeFlag::empty(),
                system_status: MavState::MAV_STATE_ACTIVE,
                mavlink_version: MESSAGES,
            };
            self.frame(&mut out, &alive);
        }
        out
    }

    /// What is sent of a fix, with the heartbeat when one is due. Without an estimate, or with one that is too vague, there
    /// is no position in it.
    pub fn burst(&mut self, fix: &Fix) -> Frames {
        let mut out = self.heartbeat();
        let sure = fix.comparison.verdict != Verdict::VisionUnsure;
        if let Some(t) = fix.tracked.filter(|t| sure && t.radius.p95_km <= self.settings.widest_km) {
            let position = self.estimate(t.position, t.radius.p95_km, fix.latency.total());
            self.frame(&mut out, &position);
        }
        if let Some(change) = fix.comparison.change {
            self.frame(&mut out, &status(change.from, change.to));
        }
        out
    }

    fn estimate(&self, position: LatLon, p95_km: f32, processing: Duration) -> COMMAND_INT_DATA {
        let e7 = |degrees: f64| (degrees * 1e7).round() as i32;
        COMMAND_INT_DATA {
            param1: wrapped(self.began.elapsed()),
            param2: processing.as_secs_f32(),
            param3: (f64::from(p95_km) * 1000.0 / P95_SIGMAS) as f32,
            param4: 0.0,
            x: e7(position.lat()),
            y: e7(position.lon()),
            z: f32::NAN,
            command: MavCmd::MAV_CMD_EXTERNAL_POSITION_ESTIMATE,
            target_system: self.settings.system,
            target_component: AUTOPILOT,
            frame: MavFrame::MAV_FRAME_GLOBAL,
            current: 0,
            autocontinue: 0,
        }
    }

    fn frame(&mut self, out: &mut Frames, data: &impl MessageData) {
        let MavlinkSettings { system, component, .. } = self.settings;
        let header = MavHeader { system_id: system.into(), component_id: component, sequence: self.sequence };
        let mut raw = MAVLinkV2MessageRaw::new();
        raw.serialize_message_data(header, data);
        self.sequence = self.sequence.wrapping_add(1);
        // There is room: a burst has each kind of frame once.
        let _ = out.extend_from_slice(raw.raw_bytes());
    }
}

/// Seconds of our own time, as a 32 bit float can carry them.
fn wrapped(since: Duration) -> f32 {
    (since.as_secs_f64() % WRAP_S) as f32
}

/// The change of the verdict, for the people at the ground station.
fn status(from: Verdict, to: Verdict) -> STATUSTEXT_DATA {
    let mut words = heapless::String::<TEXT>::new();
    let _ = write!(words, "homing on GPS: {}, was {}", to.words(), from.words());
    let severity = match to {
        Verdict::Disagree => MavSeverity::MAV_SEVERITY_WARNING,
        Verdict::Agree | Verdict::GpsAbsent | Verdict::VisionUnsure => MavSeverity::MAV_SEVERITY_NOTICE,
    };
    STATUSTEXT_DATA { severity, text: words.as_str().into() }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use homing_models::{Candidate, CellId, Radius};
    use mavlink::{MavlinkReader, MavlinkVersion, dialects::common::MavMessage};

    use super::{
        super::settings::{LONGEST_BURST as STATED, UNSURE_P95_KM, WIDEST_KM},
        *,
    };
    use crate::{
        compare::{Change, Comparison},
        report::Latency,
        track::Tracked,
    };

    fn fix(p95_km: f32) -> Fix {
        let position = LatLon::new(-33.856_784, 151.215_297).unwrap();
        let candidate = Candidate { cell: CellId(7), probability: 1.0, weight: 1.0, position, prototype: None };
        Fix {
            number: 1,
            time: SystemTime::UNIX_EPOCH,
            truth: None,
            views: 4,
            estimate: None,
            tracked: Some(Tracked { position, radius: Radius { p50_km: p95_km / 4.0, p95_km }, candidate, support: 1 }),
            gnss: None,
            comparison: Comparison { verdict: Verdict::GpsAbsent, distance_km: None, change: None },
            latency: Latency { encode: Duration::from_millis(250), ..Latency::default() },
        }
    }

    /// The frames, each read back by the crate's own reader: sequence number and message.
    fn read(frames: &[u8]) -> Vec<(u8, MavMessage)> {
        let (mut rest, mut out) = (frames, Vec::new());
        while !rest.is_empty() {
            let (frame, others) = rest.split_at(usize::from(rest[1]) + FRAMING);
            let (header, message) = MavlinkReader::new(frame).read_message::<MavMessage>(MavlinkVersion::V2).unwrap();
            assert_eq!((header.system_id, header.component_id), (1, 191));
            out.push((header.sequence, message));
            rest = others;
        }
        out
    }

    #[test]
    fn a_fix_is_a_heartbeat_and_a_position() {
        let mut component = Component::new(MavlinkSettings::default());
        let frames = read(&component.burst(&fix(240.0)));
        let [(0, MavMessage::HEARTBEAT(beat)), (1, MavMessage::COMMAND_INT(c))] = &frames[..] else {
            panic!("{frames:?}");
        };
        assert_eq!(beat.mavtype, MavType::MAV_TYPE_ONBOARD_CONTROLLER);
        assert_eq!(beat.autopilot, MavAutopilot::MAV_AUTOPILOT_INVALID);
        assert_eq!((c.command as u32, c.target_system, c.target_component), (43003, 1, 1));
        assert_eq!(c.frame, MavFrame::MAV_FRAME_GLOBAL);
        assert_eq!((c.x, c.y), (-338_567_840, 1_512_152_970));
        assert!(c.z.is_nan() && c.param1 < 10.0 && c.param2 == 0.25, "{c:?}");
        assert!((c.param3 - 98_049.4).abs() < 0.1, "what GST says of the same radius: {}", c.param3);
    }

    #[test]
    fn no_estimate_or_a_vague_one_is_no_position() {
        let mut component = Component::new(MavlinkSettings { widest_km: 100.0, ..MavlinkSettings::default() });
        let kinds = |frames: Frames| read(&frames).len();
        assert_eq!(kinds(component.burst(&Fix { tracked: None, ..fix(1.0) })), 1, "the heartbeat alone");
        assert_eq!(kinds(component.burst(&Fix { tracked: None, ..fix(1.0) })), 0, "it is not due again yet");
        assert_eq!(kinds(component.burst(&fix(100.1))), 0);
        assert_eq!(kinds(component.burst(&fix(100.0))), 1);
        let mut unsure = fix(1.0);
        unsure.comparison.verdict = Verdict::VisionUnsure;
        assert_eq!(kinds(component.burst(&unsure)), 0);
        let mut component = Component::new(MavlinkSettings::default());
        component.heartbeat();
        assert_eq!(kinds(component.burst(&fix(WIDEST_KM + 1.0))), 0, "whatever the verdict says without GPS");
    }

    #[test]
    fn a_change_of_verdict_is_said_and_the_longest_burst_is_as_long_as_stated() {
        let mut component = Component::new(MavlinkSettings { widest_km: UNSURE_P95_KM, ..MavlinkSettings::default() });
        let mut changed = fix(UNSURE_P95_KM);
        let (from, to) = (Verdict::VisionUnsure, Verdict::Disagree);
        let change = Change { from, to, distance_km: None, p95_km: None, fixes: 3 };
        changed.comparison = Comparison { verdict: to, distance_km: None, change: Some(change) };
        let burst = component.burst(&changed);
        let frames = read(&burst);
        let [_, _, (2, MavMessage::STATUSTEXT(said))] = &frames[..] else { panic!("{frames:?}") };
        assert_eq!(said.text.to_str().unwrap(), "homing on GPS: disagree, was vision unsure");
        assert_eq!(said.severity, MavSeverity::MAV_SEVERITY_WARNING);
        // Zeroes at a payload's end are not sent: three fields of the command, and what the text leaves free.
        assert_eq!(burst.len() + 3 + (TEXT - said.text.to_str().unwrap().len()), LONGEST_BURST);
        assert_eq!(LONGEST_BURST, STATED);
        let longest = status(Verdict::VisionUnsure, Verdict::VisionUnsure);
        assert!(longest.text.to_str().unwrap().ends_with(", was vision unsure"), "it fits");
    }

    #[test]
    fn numbers_rise_by_one_and_begin_anew() {
        let mut component = Component::new(MavlinkSettings::default());
        let numbers: Vec<u8> = (0..300).flat_map(|_| read(&component.burst(&fix(1.0)))).map(|(n, _)| n).collect();
        assert!(numbers.len() > 300 && numbers.windows(2).all(|n| n[1] == n[0].wrapping_add(1)));
    }

    #[test]
    fn time_begins_anew_before_a_float_becomes_coarse() {
        assert_eq!(wrapped(Duration::from_millis(249_500)), 249.5);
        assert_eq!(wrapped(Duration::from_millis(250_500)), 0.5);
        assert_eq!(wrapped(Duration::from_secs(100 * 365 * 86_400) + Duration::from_millis(250)), 0.25);
    }
}
