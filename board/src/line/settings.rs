//! What can be set about a line, and what a line of that speed carries.

use serde::{Deserialize, Deserializer, de::Error};

use crate::BoardError;

/// The speeds that serial adapters have in common, bits per second.
pub const BAUDS: [u32; 9] = [4800, 9600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 921_600];
/// Bits on the wire for a byte: a start bit, eight of data, a stop bit (8N1).
const BITS_PER_BYTE: f64 = 10.0;
/// Part of a line that may be used: clocks of the two ends differ, and a queue that is served at its arrival rate grows.
const USABLE: f64 = 0.9;

/// How the line is run. Only a serial device has anything to set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LineSettings {
    /// Bits per second of a serial device, one of [`BAUDS`]; 8 data bits, no parity, one stop bit.
    #[serde(deserialize_with = "baud")]
    pub baud: u32,
}

impl Default for LineSettings {
    fn default() -> Self {
        LineSettings { baud: 9600 }
    }
}

impl LineSettings {
    /// The same checks for settings that were not read from a file.
    ///
    /// # Errors
    /// When the speed is none that adapters have.
    pub fn check(&self) -> Result<(), BoardError> {
        one_of_bauds(self.baud).map_err(BoardError::Setting)
    }
}

/// Whether a speed is one of [`BAUDS`].
pub(crate) fn one_of_bauds(baud: u32) -> Result<(), String> {
    match BAUDS.contains(&baud) {
        true => Ok(()),
        false => Err(format!("baud is {baud}, need one of {}", BAUDS.map(|b| b.to_string()).join(", "))),
    }
}

fn baud<'de, D: Deserializer<'de>>(value: D) -> Result<u32, D::Error> {
    let baud = u32::deserialize(value)?;
    one_of_bauds(baud).map(|()| baud).map_err(D::Error::custom)
}

/// Whether a serial line carries bursts of that size at that rate: 10 bits a byte, at most 90 per cent of the line.
///
/// # Errors
/// When it does not, with the numbers and the way out.
pub fn carries(baud: u32, bytes_per_burst: usize, rate_hz: f64) -> Result<(), BoardError> {
    let bits = bytes_per_burst as f64 * BITS_PER_BYTE;
    let carried = |baud: u32| f64::from(baud) * USABLE;
    if bits * rate_hz <= carried(baud) {
        return Ok(());
    }
    let faster = BAUDS.iter().find(|b| bits * rate_hz <= carried(**b));
    let faster = faster.map_or_else(String::new, |b| format!("set baud = {b} at both ends, or "));
    Err(BoardError::Setting(format!(
        "{bytes_per_burst} bytes {rate_hz} times a second need {:.0} bit/s, and {baud} baud carry {:.0} (90 %); \
         {faster}send at most {:.2} times a second",
        bits * rate_hz,
        carried(baud),
        // Cut, not rounded: what is advised must pass.
        (carried(baud) / bits * 100.0).floor() / 100.0
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_the_baud_cannot_carry_is_refused_with_the_numbers() {
        for (baud, hz) in [(4800, 1.0), (9600, 2.0), (38_400, 10.0)] {
            carries(baud, 340, hz).unwrap();
        }
        let e = carries(9600, 340, 4.0).unwrap_err().to_string();
        assert_eq!(
            e,
            "340 bytes 4 times a second need 13600 bit/s, and 9600 baud carry 8640 (90 %); set baud = 19200 at both \
             ends, or send at most 2.54 times a second"
        );
        carries(9600, 340, 2.54).unwrap();
        let e = carries(921_600, 340, 1e4).unwrap_err().to_string();
        assert!(e.contains("(90 %); send at most"), "no adapter is fast enough: {e}");
    }

    #[test]
    fn only_speeds_that_adapters_have() {
        LineSettings::default().check().unwrap();
        let e = LineSettings { baud: 9601 }.check().unwrap_err().to_string();
        assert!(e.starts_with("baud is 9601, need one of 4800, 9600, "), "{e}");
        let read = |json: &str| serde_json::from_str::<LineSettings>(json);
        assert_eq!(read(r#"{"baud":38400}"#).unwrap().baud, 38_400);
        assert_eq!(read("{}").unwrap(), LineSettings::default());
        assert!(read(r#"{"baud":1}"#).unwrap_err().to_string().contains("baud is 1, need one of"));
        assert!(read(r#"{"speed":9600}"#).is_err());
    }
}
