//! What can be set about the display, the status lamp and the button.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use crate::BoardError;

/// The chip of a line that is given as a bare number.
const FIRST_CHIP: &str = "/dev/gpiochip0";

/// Which display is mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DisplayKind {
    /// None.
    #[default]
    None,
    /// SSD1306, 128x64, black and white, on I2C.
    Ssd1306,
    /// ST7789, 240x240, colour, on SPI.
    St7789,
}

/// How far the picture is turned clockwise, because the display is mounted turned the other way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rotation {
    /// Not at all.
    #[default]
    Deg0,
    /// A quarter.
    Deg90,
    /// Upside down.
    Deg180,
    /// Three quarters.
    Deg270,
}

impl<'de> Deserialize<'de> for Rotation {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        match i64::deserialize(value)? {
            0 => Ok(Rotation::Deg0),
            90 => Ok(Rotation::Deg90),
            180 => Ok(Rotation::Deg180),
            270 => Ok(Rotation::Deg270),
            other => Err(D::Error::custom(format!("rotation is {other}, need 0, 90, 180 or 270"))),
        }
    }
}

/// A GPIO line: `17`, or `"/dev/gpiochip1:17"` where a board has several chips.
///
/// A bare number is the BCM number on a Raspberry Pi (not the pin's place in the header), and a line of
/// `/dev/gpiochip0` on other boards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The chip's device, where it was named.
    pub chip: Option<PathBuf>,
    /// Number of the line on its chip.
    pub number: u32,
}

impl Line {
    /// The chip's device.
    pub fn chip(&self) -> &Path {
        self.chip.as_deref().unwrap_or(Path::new(FIRST_CHIP))
    }

    /// The same line however it was written.
    fn is(&self, other: &Line) -> bool {
        self.chip() == other.chip() && self.number == other.number
    }
}

impl From<u32> for Line {
    fn from(number: u32) -> Self {
        Line { chip: None, number }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.chip {
            None => write!(f, "{}", self.number),
            Some(chip) => write!(f, "{}:{}", chip.display(), self.number),
        }
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        struct NumberOrText;

        impl Visitor<'_> for NumberOrText {
            type Value = Line;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a GPIO line such as 17 or \"/dev/gpiochip1:17\"")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Line, E> {
                let number = u32::try_from(number).map_err(|_| E::custom(format!("no GPIO line has number {number}")));
                number.map(Line::from)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Line, E> {
                let positive =
                    u64::try_from(number).map_err(|_| E::custom(format!("no GPIO line has number {number}")));
                positive.and_then(|n| self.visit_u64(n))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Line, E> {
                let wrong = || E::custom(format!("{text:?} is no GPIO line; write 17 or \"/dev/gpiochip1:17\""));
                let (chip, number) = text.rsplit_once(':').ok_or_else(wrong)?;
                if !chip.starts_with('/') {
                    return Err(wrong());
                }
                Ok(Line { chip: Some(chip.into()), number: number.parse().map_err(|_| wrong())? })
            }
        }

        value.deserialize_any(NumberOrText)
    }
}

/// The display and its wiring.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DisplaySettings {
    /// `none`, `ssd1306` or `st7789`.
    pub kind: DisplayKind,
    /// I2C bus of an SSD1306. A Raspberry Pi's header has `/dev/i2c-1`, a Jetson Orin's `/dev/i2c-7`.
    pub i2c: PathBuf,
    /// I2C address of an SSD1306: 0x3c, or 0x3d where its board is soldered so.
    #[serde(deserialize_with = "address")]
    pub address: u8,
    /// SPI bus and chip select of an ST7789.
    pub spi: PathBuf,
    /// Line that tells an ST7789 commands from pixels (DC or A0 on its board). It cannot do without.
    pub dc: Option<Line>,
    /// Line that resets the display, where it is wired.
    pub reset: Option<Line>,
    /// Line that switches an ST7789's backlight, where it is wired; lit from the first picture on.
    pub backlight: Option<Line>,
    /// Degrees that the picture is turned clockwise: 0 or 180, and 90 or 270 for the square ST7789.
    pub rotation: Rotation,
}

impl Default for DisplaySettings {
    fn default() -> Self {
        DisplaySettings {
            kind: DisplayKind::None,
            i2c: "/dev/i2c-1".into(),
            address: 0x3c,
            spi: "/dev/spidev0.0".into(),
            dc: None,
            reset: None,
            backlight: None,
            rotation: Rotation::Deg0,
        }
    }
}

impl DisplaySettings {
    /// Checks what a single field cannot show.
    ///
    /// # Errors
    /// In one line, when the settings cannot work on any board.
    pub fn check(&self) -> Result<(), BoardError> {
        let wrong = |words: String| Err(BoardError::Setting(words));
        in_use(self.address).map_err(BoardError::Setting)?;
        let sideways = matches!(self.rotation, Rotation::Deg90 | Rotation::Deg270);
        match self.kind {
            DisplayKind::None => Ok(()),
            DisplayKind::Ssd1306 if sideways => {
                wrong("rotation: an ssd1306 is wider than high, need 0 or 180".to_owned())
            }
            DisplayKind::St7789 if self.dc.is_none() => {
                wrong("dc: an st7789 needs the line its DC pin is wired to".to_owned())
            }
            _ => different([("dc", &self.dc), ("reset", &self.reset), ("backlight", &self.backlight)]),
        }
    }
}

/// The status lamp and the button.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PanelSettings {
    /// Line of a lamp that lights when the line is high: an LED and its resistor on a Raspberry Pi; lines of a
    /// Jetson's header carry too little current and need a transistor.
    pub lamp: Option<Line>,
    /// Line of a button to ground. The chip's pull-up is used; a Jetson's has none and needs a resistor to 3.3 V.
    pub button: Option<Line>,
}

impl PanelSettings {
    /// Checks what a single field cannot show.
    ///
    /// # Errors
    /// In one line, when the settings cannot work on any board.
    pub fn check(&self) -> Result<(), BoardError> {
        different([("lamp", &self.lamp), ("button", &self.button)])
    }
}

/// One line cannot do two things.
fn different<const N: usize>(lines: [(&str, &Option<Line>); N]) -> Result<(), BoardError> {
    for (i, (name, line)) in lines.iter().enumerate() {
        for (other_name, other) in &lines[..i] {
            if let (Some(line), Some(other)) = (line, other)
                && line.is(other)
            {
                return Err(BoardError::Setting(format!("{name} and {other_name} are both line {line}")));
            }
        }
    }
    Ok(())
}

/// The first and last addresses of a bus are for other purposes than devices.
fn in_use(address: u8) -> Result<(), String> {
    match (0x08..=0x77).contains(&address) {
        true => Ok(()),
        false => Err(format!("address is {address:#04x}, need 0x08..=0x77; an ssd1306 has 0x3c or 0x3d")),
    }
}

fn address<'de, D: Deserializer<'de>>(value: D) -> Result<u8, D::Error> {
    let address = u8::deserialize(value)?;
    in_use(address).map(|()| address).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<DisplaySettings, String> {
        let settings: DisplaySettings = serde_json::from_str(json).map_err(|e| e.to_string())?;
        settings.check().map(|()| settings).map_err(|e| e.to_string())
    }

    #[test]
    fn settings_are_read_and_have_defaults() {
        assert_eq!(read("{}").unwrap(), DisplaySettings::default());
        let s = read(r#"{"kind": "ssd1306", "address": 61, "rotation": 180}"#).unwrap();
        assert_eq!((s.kind, s.address, s.rotation), (DisplayKind::Ssd1306, 0x3d, Rotation::Deg180));
        let s = read(r#"{"kind": "st7789", "dc": 25, "reset": "/dev/gpiochip1:12", "rotation": 90}"#).unwrap();
        assert_eq!(s.dc.unwrap().chip(), Path::new(FIRST_CHIP));
        let reset = s.reset.unwrap();
        assert_eq!((reset.chip(), reset.number), (Path::new("/dev/gpiochip1"), 12));
        let panel: PanelSettings = serde_json::from_str(r#"{"lamp": 17, "button": 27}"#).unwrap();
        panel.check().unwrap();
        assert_eq!(panel.button, Some(Line::from(27)));
    }

    #[test]
    fn what_cannot_work_is_refused_in_one_line() {
        for (json, part) in [
            (r#"{"kind": "ssd1309"}"#, "unknown variant `ssd1309`"),
            (r#"{"colour": 1}"#, "unknown field `colour`"),
            (r#"{"address": 128}"#, "address is 0x80"),
            (r#"{"rotation": 45}"#, "rotation is 45, need 0, 90, 180 or 270"),
            (r#"{"kind": "ssd1306", "rotation": 90}"#, "need 0 or 180"),
            (r#"{"kind": "st7789"}"#, "dc: an st7789 needs the line"),
            (r#"{"dc": -1}"#, "no GPIO line has number -1"),
            (r#"{"dc": 99999999999}"#, "no GPIO line has number 99999999999"),
            (r#"{"dc": "GPIO17"}"#, "\"GPIO17\" is no GPIO line"),
            (r#"{"dc": "gpiochip0:17"}"#, "is no GPIO line"),
            (r#"{"dc": [1]}"#, "a GPIO line such as 17"),
            (r#"{"kind": "st7789", "dc": 25, "reset": "/dev/gpiochip0:25"}"#, "reset and dc are both line"),
        ] {
            let e = read(json).unwrap_err();
            assert!(e.contains(part) && e.lines().count() == 1, "{json}: {e}");
        }
        let panel = PanelSettings { lamp: Some(4.into()), button: Some(4.into()) };
        assert_eq!(panel.check().unwrap_err().to_string(), "button and lamp are both line 4");
        assert!(DisplaySettings { address: 0, ..DisplaySettings::default() }.check().is_err());
    }
}
