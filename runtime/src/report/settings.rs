//! What can be set about the sentences and frames that go over the link, checked while it is read. It needs nothing of
//! how they are made.

use serde::{Deserialize, Deserializer, de::Error};

/// Bytes of a sentence at most, with `$`, checksum and line end.
pub const MAX_SENTENCE: usize = 82;
/// Sentences of one fix at most.
pub(super) const SENTENCES: usize = 7;
/// Bytes of the longest burst of MAVLink: a heartbeat, a position and a text.
pub const LONGEST_BURST: usize = 131;
/// The autopilot's component id, MAV_COMP_ID_AUTOPILOT1.
pub(super) const AUTOPILOT: u8 = 1;
/// Our component id unless another is set, MAV_COMP_ID_ONBOARD_COMPUTER.
const ONBOARD_COMPUTER: u8 = 191;
/// An autopilot jumps to what it is told: by default not farther than that it could be called navigation.
pub(super) const WIDEST_KM: f32 = 500.0;
/// Beyond this 95 per cent radius the cameras cannot say anything about GNSS, nor about the position.
pub const UNSURE_P95_KM: f32 = 4000.0;

/// Whom the sentences are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// gpsd: a two-dimensional dead-reckoning fix.
    #[default]
    Gpsd,
    /// PX4's GPS driver: takes the error from GST.
    Px4,
    /// ROS's nmea_navsat_driver, with its parameter `useRMC`: without it quality 6 is "no fix" there. It multiplies
    /// GST's error by HDOP, which is therefore 1.
    Ros,
    /// Plotters, old ones too: the talker is GP.
    Plotter,
}

/// How sentences are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SentenceSettings {
    /// Whom they are for.
    pub profile: Profile,
    /// Mode A and quality 1 in place of E and 6: for consumers that take nothing else. They then believe that a receiver
    /// with the accuracy of a receiver speaks.
    pub pose_as_gps: bool,
}

impl SentenceSettings {
    /// Bytes of the longest burst.
    pub fn longest_burst(self) -> usize {
        let sentences = if self.profile == Profile::Gpsd { 4 } else { SENTENCES };
        MAX_SENTENCE * sentences
    }
}

/// Who speaks MAVLink, and what is said.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MavlinkSettings {
    /// Id of the vehicle's system, ours and its autopilot's, 1..=255.
    #[serde(deserialize_with = "system")]
    pub system: u8,
    /// Our component of it, 2..=255; 1 is the autopilot.
    #[serde(deserialize_with = "component")]
    pub component: u8,
    /// The widest 95 per cent radius of a position that is sent, kilometres, 0.01..=[`UNSURE_P95_KM`].
    #[serde(deserialize_with = "widest_km")]
    pub widest_km: f32,
}

impl Default for MavlinkSettings {
    fn default() -> Self {
        MavlinkSettings { system: 1, component: ONBOARD_COMPUTER, widest_km: WIDEST_KM }
    }
}

impl std::fmt::Display for MavlinkSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MAVLink 2 as component {} of system {}", self.component, self.system)
    }
}

fn system<'de, D: Deserializer<'de>>(value: D) -> Result<u8, D::Error> {
    id("system", 1, value)
}

fn component<'de, D: Deserializer<'de>>(value: D) -> Result<u8, D::Error> {
    id("component", AUTOPILOT + 1, value)
}

fn id<'de, D: Deserializer<'de>>(name: &str, least: u8, value: D) -> Result<u8, D::Error> {
    let given = i64::deserialize(value)?;
    let id = u8::try_from(given).ok().filter(|id| *id >= least);
    id.ok_or_else(|| D::Error::custom(format!("{name} is {given}, need {least}..=255")))
}

fn widest_km<'de, D: Deserializer<'de>>(value: D) -> Result<f32, D::Error> {
    match f32::deserialize(value)? {
        km if (0.01..=UNSURE_P95_KM).contains(&km) => Ok(km),
        other => Err(D::Error::custom(format!("widest_km is {other}, need 0.01..={UNSURE_P95_KM}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_settings_are_refused() {
        let read = |toml: &str| toml::from_str::<MavlinkSettings>(toml).map_err(|e| e.message().to_owned());
        assert_eq!(read("").unwrap(), MavlinkSettings::default());
        assert_eq!(read("system = 255\ncomponent = 197").unwrap().component, 197);
        assert_eq!(read("system = 0").unwrap_err(), "system is 0, need 1..=255");
        assert_eq!(read("component = 1").unwrap_err(), "component is 1, need 2..=255");
        assert_eq!(read("component = 300").unwrap_err(), "component is 300, need 2..=255");
        assert_eq!(read("widest_km = 5000").unwrap_err(), "widest_km is 5000, need 0.01..=4000");
        assert!(read("widest_km = nan").is_err());
    }
}
