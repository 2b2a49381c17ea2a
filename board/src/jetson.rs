//! Jetson and any other Linux board: display, status lamp and button through the kernel's own interfaces.

use std::{fmt, io};

use embedded_hal::digital;
use gpiocdev::{
    Request,
    line::{Bias, Value},
};
use linux_embedded_hal::{
    I2CError, I2cdev, SPIError, SpidevDevice,
    i2cdev::linux::LinuxI2CError,
    spidev::{SpiModeFlags, SpidevOptions},
};

use crate::{
    BoardError, Display,
    displays::{
        DisplayKind, DisplaySettings, Line, Opener, PanelSettings, SPI_HZ, Ssd1306, Ssd1306Parts, St7789, St7789Parts,
        Threaded, gpio_words, i2c_words, spi_words,
    },
    panel::{BlinkingLamp, Button, Lamp, Panel, PolledButton},
};

/// Who holds a line, for `gpioinfo`.
const CONSUMER: &str = "homing";

/// The display of the settings, on a thread of its own. It is opened when the first screen comes, so that one that
/// is missing at start may be plugged in later.
///
/// # Errors
/// When the settings cannot work.
pub fn display(settings: &DisplaySettings) -> Result<Option<Box<dyn Display>>, BoardError> {
    settings.check()?;
    let settings = settings.clone();
    let (name, open): (_, Opener) = match settings.kind {
        DisplayKind::None => return Ok(None),
        DisplayKind::Ssd1306 => ("display ssd1306", Box::new(move || open_ssd1306(&settings))),
        DisplayKind::St7789 => ("display st7789", Box::new(move || open_st7789(&settings))),
    };
    Ok(Some(Box::new(Threaded::new(name, open)?)))
}

/// The lamp and the button of the settings.
///
/// # Errors
/// When the settings cannot work or a line cannot be had.
pub fn panel(settings: &PanelSettings) -> Result<Panel, BoardError> {
    settings.check()?;
    let mut panel = Panel::default();
    if let Some(line) = settings.lamp.clone() {
        let request = output(&line, "lamp", Value::Inactive)?.0;
        let lamp = BlinkingLamp::new(Box::new(move |on| {
            request.set_lone_value(on.into()).map_err(|e| gpio_words(&line, &gpio_error(e)))
        }))?;
        panel.lamp = Some(Box::new(lamp) as Box<dyn Lamp>);
    }
    if let Some(line) = settings.button.clone() {
        let mut builder = Request::builder();
        builder.on_chip(line.chip()).with_line(line.number).with_consumer(CONSUMER);
        let request = builder.as_input().as_active_low().with_bias(Bias::PullUp).request();
        let request = request.map_err(|e| not_had("button", &line, e))?;
        let button = PolledButton::new(Box::new(move || {
            let value = request.lone_value().map_err(|e| gpio_words(&line, &gpio_error(e)))?;
            Ok(value == Value::Active)
        }))?;
        panel.button = Some(Box::new(button) as Box<dyn Button>);
    }
    Ok(panel)
}

fn open_ssd1306(settings: &DisplaySettings) -> Result<Box<dyn Display>, BoardError> {
    let i2c = I2cdev::new(&settings.i2c).map_err(|e| BoardError::Part {
        part: "display ssd1306".to_owned(),
        cause: i2c_words(&settings.i2c, settings.address, &e.into()),
    })?;
    Ok(Box::new(Ssd1306::new(Ssd1306Parts {
        i2c,
        bus: settings.i2c.clone(),
        address: settings.address,
        reset: held_high(settings.reset.as_ref(), "reset of display ssd1306")?,
        rotation: settings.rotation,
        error: i2c_error,
    })))
}

fn open_st7789(settings: &DisplaySettings) -> Result<Box<dyn Display>, BoardError> {
    let spi = open_spi(settings)
        .map_err(|e| BoardError::Part { part: "display st7789".to_owned(), cause: spi_words(&settings.spi, &e) })?;
    let line = |line: &Option<Line>, name: &str| held_high(line.as_ref(), &format!("{name} of display st7789"));
    let Some(dc) = line(&settings.dc, "dc")? else {
        // Refused by the settings' check.
        return Err(BoardError::Setting("dc: an st7789 needs this line".to_owned()));
    };
    Ok(Box::new(St7789::new(St7789Parts {
        spi,
        bus: settings.spi.clone(),
        dc,
        reset: line(&settings.reset, "reset")?,
        backlight: line(&settings.backlight, "backlight")?,
        rotation: settings.rotation,
        error: spi_error,
    })?))
}

fn open_spi(settings: &DisplaySettings) -> io::Result<SpidevDevice> {
    let mut spi = SpidevDevice::open(&settings.spi).map_err(spi_error)?;
    let options = |mode| SpidevOptions::new().bits_per_word(8).max_speed_hz(SPI_HZ).mode(mode).build();
    // Boards without chip select need mode 3. Some buses have only mode 0, which does for all others.
    spi.configure(&options(SpiModeFlags::SPI_MODE_3)).or_else(|e| match e.kind() {
        io::ErrorKind::InvalidInput => spi.configure(&options(SpiModeFlags::SPI_MODE_0)),
        _ => Err(e),
    })?;
    Ok(spi)
}

/// A line of the kernel as drivers want it.
struct OutputLine(Request);

fn held_high(line: Option<&Line>, part: &str) -> Result<Option<OutputLine>, BoardError> {
    line.map(|line| output(line, part, Value::Active)).transpose()
}

fn output(line: &Line, part: &str, value: Value) -> Result<OutputLine, BoardError> {
    let mut builder = Request::builder();
    builder.on_chip(line.chip()).with_line(line.number).with_consumer(CONSUMER);
    builder.as_output(value).request().map(OutputLine).map_err(|e| not_had(part, line, e))
}

fn not_had(part: &str, line: &Line, e: gpiocdev::Error) -> BoardError {
    BoardError::Part { part: part.to_owned(), cause: gpio_words(line, &gpio_error(e)) }
}

impl digital::ErrorType for OutputLine {
    type Error = LineError;
}

impl digital::OutputPin for OutputLine {
    fn set_low(&mut self) -> Result<(), LineError> {
        self.0.set_lone_value(Value::Inactive).map(drop).map_err(LineError)
    }

    fn set_high(&mut self) -> Result<(), LineError> {
        self.0.set_lone_value(Value::Active).map(drop).map_err(LineError)
    }
}

/// Why a line was not switched.
struct LineError(gpiocdev::Error);

impl fmt::Debug for LineError {
    /// In words: drivers put it into their messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl digital::Error for LineError {
    fn kind(&self) -> digital::ErrorKind {
        digital::ErrorKind::Other
    }
}

fn i2c_error(e: I2CError) -> io::Error {
    let number = match e.inner() {
        LinuxI2CError::Errno(number) => Some(*number),
        LinuxI2CError::Io(e) => e.raw_os_error(),
    };
    number.map_or_else(|| io::Error::other(e.to_string()), io::Error::from_raw_os_error)
}

fn spi_error(e: SPIError) -> io::Error {
    let number = e.inner().raw_os_error();
    number.map_or_else(|| io::Error::other(e.to_string()), io::Error::from_raw_os_error)
}

fn gpio_error(e: gpiocdev::Error) -> io::Error {
    match e {
        gpiocdev::Error::Os(number) => io::Error::from_raw_os_error(number.0),
        other => io::Error::other(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::PathBuf,
        thread,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::Screen;

    /// The error of a display that is shown screens until there is one.
    fn told(settings: &DisplaySettings) -> String {
        let mut display = display(settings).unwrap().unwrap();
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < Duration::from_secs(20));
            if let Err(e) = display.show(&Screen::new()) {
                return e.to_string();
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn displays_on_buses_that_are_not_there_say_so() {
        let dir = tempfile::tempdir().unwrap();
        let (i2c, spi) = (dir.path().join("i2c-1"), dir.path().join("spidev0.0"));
        let ssd1306 = DisplaySettings { kind: DisplayKind::Ssd1306, i2c: i2c.clone(), ..DisplaySettings::default() };
        let e = told(&ssd1306);
        assert!(e.starts_with(&format!("display ssd1306: there is no I2C bus {}; enable it", i2c.display())), "{e}");
        let st7789 = DisplaySettings {
            kind: DisplayKind::St7789,
            spi: spi.clone(),
            dc: Some(25.into()),
            ..DisplaySettings::default()
        };
        let e = told(&st7789);
        assert!(e.starts_with(&format!("display st7789: there is no SPI bus {}; enable it", spi.display())), "{e}");
        // A file that is no bus.
        std::fs::write(&i2c, "").unwrap();
        std::fs::write(&spi, "").unwrap();
        assert!(told(&ssd1306).contains("Inappropriate ioctl"));
        assert!(told(&st7789).contains("Inappropriate ioctl"));
    }

    #[test]
    fn displays_have_lines_that_fail_in_words() {
        let line = |chip: PathBuf| Some(Line { chip: Some(chip), number: 3 });
        let dir = tempfile::tempdir().unwrap();
        let lamp = PanelSettings { lamp: line(dir.path().join("gpiochip9")), button: None };
        let e = panel(&lamp).err().unwrap().to_string();
        assert!(e.starts_with("lamp: line ") && e.contains("there is no GPIO chip"), "{e}");
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let e = panel(&PanelSettings { lamp: None, button: line(file) }).err().unwrap().to_string();
        assert!(e.starts_with("button: GPIO line ") && e.contains("is not a character device"), "{e}");
    }

    #[test]
    fn displays_that_are_not_there_are_no_error() {
        assert!(display(&DisplaySettings::default()).unwrap().is_none());
        let panel = panel(&PanelSettings::default()).unwrap();
        assert!(panel.lamp.is_none() && panel.button.is_none());
        assert!(display(&DisplaySettings { kind: DisplayKind::St7789, ..DisplaySettings::default() }).is_err());
    }
}
