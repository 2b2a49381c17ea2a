//! Raspberry Pi up to the 5: display, status lamp and button on its header, through rppal, which stays inside.

use std::{fs, io, path::Path};

use rppal::{
    gpio::{self, Gpio, OutputPin},
    i2c::{self, I2c},
    spi::{self, Bus, Mode, SimpleHalSpiDevice, SlaveSelect, Spi},
    system::DeviceInfo,
};

use crate::{
    BoardError, Display,
    displays::{
        DisplayKind, DisplaySettings, Line, Opener, PanelSettings, SPI_HZ, Ssd1306, Ssd1306Parts, St7789, St7789Parts,
        Threaded, gpio_words, i2c_words, spi_words,
    },
    panel::{BlinkingLamp, Button, Lamp, Panel, PolledButton},
};

/// The display of the settings, on a thread of its own. It is opened when the first screen comes, so that one that
/// is missing at start may be plugged in later.
///
/// # Errors
/// When the settings cannot work, or this is not a Raspberry Pi.
pub fn display(settings: &DisplaySettings) -> Result<Option<Box<dyn Display>>, BoardError> {
    settings.check()?;
    let settings = settings.clone();
    let (name, open): (_, Opener) = match settings.kind {
        DisplayKind::None => return Ok(None),
        DisplayKind::Ssd1306 => {
            let bus = i2c_bus(&settings.i2c)?;
            ("display ssd1306", Box::new(move || open_ssd1306(&settings, bus)))
        }
        DisplayKind::St7789 => {
            let bus = spi_bus(&settings.spi)?;
            ("display st7789", Box::new(move || open_st7789(&settings, bus)))
        }
    };
    is_a_raspberry()?;
    Ok(Some(Box::new(Threaded::new(name, open)?)))
}

/// The lamp and the button of the settings.
///
/// # Errors
/// When the settings cannot work, this is not a Raspberry Pi, or a line cannot be had.
pub fn panel(settings: &PanelSettings) -> Result<Panel, BoardError> {
    settings.check()?;
    let mut panel = Panel::default();
    if settings.lamp.is_none() && settings.button.is_none() {
        return Ok(panel);
    }
    is_a_raspberry()?;
    if let Some(line) = &settings.lamp {
        let mut pin = pin(line, "lamp")?.into_output_low();
        let lamp = BlinkingLamp::new(Box::new(move |on| {
            pin.write(on.into());
            Ok(())
        }))?;
        panel.lamp = Some(Box::new(lamp) as Box<dyn Lamp>);
    }
    if let Some(line) = &settings.button {
        let pin = pin(line, "button")?.into_input_pullup();
        panel.button = Some(Box::new(PolledButton::new(Box::new(move || Ok(pin.is_low())))?) as Box<dyn Button>);
    }
    Ok(panel)
}

fn open_ssd1306(settings: &DisplaySettings, bus: u8) -> Result<Box<dyn Display>, BoardError> {
    let i2c = I2c::with_bus(bus).map_err(|e| BoardError::Part {
        part: "display ssd1306".to_owned(),
        cause: i2c_words(&settings.i2c, settings.address, &i2c_error(e)),
    })?;
    Ok(Box::new(Ssd1306::new(Ssd1306Parts {
        i2c,
        bus: settings.i2c.clone(),
        address: settings.address,
        reset: output(settings.reset.as_ref(), "reset of display ssd1306")?,
        rotation: settings.rotation,
        error: i2c_error,
    })))
}

fn open_st7789(settings: &DisplaySettings, (bus, select): (Bus, SlaveSelect)) -> Result<Box<dyn Display>, BoardError> {
    // Boards without chip select need mode 3. The auxiliary buses have only mode 0, which does for all others.
    let spi = Spi::new(bus, select, SPI_HZ, Mode::Mode3)
        .or_else(|e| match e {
            spi::Error::ModeNotSupported(_) => Spi::new(bus, select, SPI_HZ, Mode::Mode0),
            other => Err(other),
        })
        .map_err(|e| BoardError::Part {
            part: "display st7789".to_owned(),
            cause: spi_words(&settings.spi, &spi_error(e)),
        })?;
    let line = |line: &Option<Line>, name: &str| output(line.as_ref(), &format!("{name} of display st7789"));
    let Some(dc) = line(&settings.dc, "dc")? else {
        // Refused by the settings' check.
        return Err(BoardError::Setting("dc: an st7789 needs this line".to_owned()));
    };
    Ok(Box::new(St7789::new(St7789Parts {
        spi: SimpleHalSpiDevice::new(spi),
        bus: settings.spi.clone(),
        dc,
        reset: line(&settings.reset, "reset")?,
        backlight: line(&settings.backlight, "backlight")?,
        rotation: settings.rotation,
        error: spi_error,
    })?))
}

fn output(line: Option<&Line>, part: &str) -> Result<Option<OutputPin>, BoardError> {
    line.map(|line| pin(line, part).map(gpio::Pin::into_output_high)).transpose()
}

fn pin(line: &Line, part: &str) -> Result<gpio::Pin, BoardError> {
    let number = match (&line.chip, u8::try_from(line.number)) {
        (None, Ok(number)) => number,
        _ => {
            let words = format!("{part}: {line} is no GPIO line of a Raspberry Pi; give its BCM number, such as 17");
            return Err(BoardError::Setting(words));
        }
    };
    Gpio::new().and_then(|gpio| gpio.get(number)).map_err(|e| BoardError::Part {
        part: part.to_owned(),
        cause: match e {
            gpio::Error::Io(e) => gpio_words(line, &e),
            gpio::Error::PermissionDenied(_) => gpio_words(line, &io::ErrorKind::PermissionDenied.into()),
            gpio::Error::PinUsed(_) => format!("GPIO line {line} is set for two things"),
            gpio::Error::PinNotAvailable(_) => format!("there is no GPIO line {line}; give the BCM number, 0..=27"),
            other => format!("GPIO line {line}: {other}"),
        },
    })
}

fn i2c_error(e: i2c::Error) -> io::Error {
    match e {
        i2c::Error::Io(e) => e,
        other => io::Error::other(other.to_string()),
    }
}

fn spi_error(e: spi::Error) -> io::Error {
    match e {
        spi::Error::Io(e) => e,
        other => io::Error::other(other.to_string()),
    }
}

/// Number of the bus in `/dev/i2c-1`.
fn i2c_bus(path: &Path) -> Result<u8, BoardError> {
    let number = path.to_str().and_then(|p| p.strip_prefix("/dev/i2c-")).and_then(|n| n.parse().ok());
    number.ok_or_else(|| {
        BoardError::Setting(format!("i2c: {} is no I2C bus of a Raspberry Pi, need /dev/i2c-1", path.display()))
    })
}

/// Bus and chip select in `/dev/spidev0.1`.
fn spi_bus(path: &Path) -> Result<(Bus, SlaveSelect), BoardError> {
    const BUSES: [Bus; 7] = [Bus::Spi0, Bus::Spi1, Bus::Spi2, Bus::Spi3, Bus::Spi4, Bus::Spi5, Bus::Spi6];
    const SELECTS: [SlaveSelect; 3] = [SlaveSelect::Ss0, SlaveSelect::Ss1, SlaveSelect::Ss2];
    let numbers = path.to_str().and_then(|p| p.strip_prefix("/dev/spidev")).and_then(|n| n.split_once('.'));
    let known = numbers.and_then(|(bus, select)| {
        let (bus, select): (usize, usize) = (bus.parse().ok()?, select.parse().ok()?);
        Some((*BUSES.get(bus)?, *SELECTS.get(select)?))
    });
    known.ok_or_else(|| {
        BoardError::Setting(format!("spi: {} is no SPI bus of a Raspberry Pi, need /dev/spidev0.0", path.display()))
    })
}

/// rppal knows the boards up to the Raspberry Pi 5.
fn is_a_raspberry() -> Result<(), BoardError> {
    if DeviceInfo::new().is_ok() {
        return Ok(());
    }
    let model = fs::read_to_string("/proc/device-tree/model").unwrap_or_default();
    let model = match model.trim_matches(['\0', '\n', ' ']) {
        "" => "no device tree names it",
        model => model,
    };
    let words = format!("this is not a Raspberry Pi: {model}; the board \"jetson\" drives the same parts on any Linux");
    Err(BoardError::Setting(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<T>(outcome: Result<T, BoardError>) -> String {
        outcome.err().unwrap().to_string()
    }

    #[test]
    fn displays_elsewhere_are_refused_in_one_line() {
        if DeviceInfo::new().is_ok() {
            return;
        }
        let ssd1306 = DisplaySettings { kind: DisplayKind::Ssd1306, ..DisplaySettings::default() };
        let st7789 = DisplaySettings { kind: DisplayKind::St7789, dc: Some(25.into()), ..DisplaySettings::default() };
        let lamp = PanelSettings { lamp: Some(17.into()), button: None };
        let button = PanelSettings { lamp: None, button: Some(27.into()) };
        for e in [words(display(&ssd1306)), words(display(&st7789)), words(panel(&lamp)), words(panel(&button))] {
            assert!(e.starts_with("this is not a Raspberry Pi: ") && e.lines().count() == 1, "{e}");
        }
        // The lines themselves fail in words as well.
        let e = words(pin(&Line::from(17), "lamp"));
        assert!(e.starts_with("lamp: GPIO line 17: Unknown"), "{e}");
        assert!(words(open_ssd1306(&ssd1306, 250)).contains("there is no I2C bus"));
        assert!(words(open_st7789(&st7789, (Bus::Spi6, SlaveSelect::Ss2))).contains("there is no SPI bus"));
    }

    #[test]
    fn displays_that_are_not_there_are_no_error() {
        assert!(display(&DisplaySettings::default()).unwrap().is_none());
        let panel = panel(&PanelSettings::default()).unwrap();
        assert!(panel.lamp.is_none() && panel.button.is_none());
    }

    #[test]
    fn displays_have_buses_of_a_raspberry() {
        assert_eq!(i2c_bus(Path::new("/dev/i2c-1")).unwrap(), 1);
        assert_eq!(spi_bus(Path::new("/dev/spidev0.1")).unwrap(), (Bus::Spi0, SlaveSelect::Ss1));
        for path in ["/dev/i2c", "/dev/i2c-999", "/dev/i2c-1/", "i2c-1"] {
            assert!(words(i2c_bus(Path::new(path))).contains("need /dev/i2c-1"));
        }
        for path in ["/dev/spidev0", "/dev/spidev9.0", "/dev/spidev0.9", "/dev/spidev0.0.0"] {
            assert!(words(spi_bus(Path::new(path))).contains("need /dev/spidev0.0"));
        }
        let elsewhere = Line { chip: Some("/dev/gpiochip1".into()), number: 3 };
        for line in [elsewhere, Line::from(300)] {
            assert!(words(pin(&line, "lamp")).contains("give its BCM number"));
        }
    }
}
