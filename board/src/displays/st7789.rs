//! ST7789: 240x240, colour, on SPI.

use std::{io, ops::Range, path::PathBuf};

use embedded_graphics::pixelcolor::{Rgb565, RgbColor};
use embedded_hal::{delay::DelayNs, digital::OutputPin, spi::SpiDevice};
use mipidsi::{
    Builder, InitError, NoResetPin,
    interface::{Interface, InterfaceKind},
    models::ST7789,
    options::{ColorInversion, Orientation},
};

use super::{IoError, Rotation, spi_words, ssd1306::Sleep};
use crate::{BoardError, Display, Screen};

/// Clock of the bus. The chip takes 62 MHz; wires of a hand's length half of it.
pub const SPI_HZ: u32 = 32_000_000;

/// Pixels of a row and rows of the display.
const SIDE: u16 = 240;
/// A pixel of the screen is 15/8 pixels wide, which fills a row, and `TALL` high: letters are read from a seat.
const WIDE: (u32, u32) = (15, 8);
const TALL: u16 = 3;
/// Dark rows above and below.
const TOP: u16 = (SIDE - Screen::HEIGHT as u16 * TALL) / 2;
/// Bytes handed to the kernel at once; it takes 4096.
const CHUNK: usize = 4096;

/// Colours of dark and lit pixels, red, green and blue of 0..=255.
const DARK: [u32; 3] = [6, 9, 14];
const LIT: [u32; 3] = [178, 226, 255];

/// What a board opens for an ST7789.
pub struct St7789Parts<S: SpiDevice, P> {
    /// The bus, mode 3 or 0, at [`SPI_HZ`].
    pub spi: S,
    /// Its device, for messages.
    pub bus: PathBuf,
    /// The line that tells commands from data.
    pub dc: P,
    /// The reset line, where it is wired.
    pub reset: Option<P>,
    /// The line that switches the backlight, where it is wired.
    pub backlight: Option<P>,
    /// How far the picture is turned.
    pub rotation: Rotation,
    /// What the system said when the bus fails.
    pub error: IoError<S::Error>,
}

/// Shows screens on an ST7789, magnified. Only rows that changed since the last screen are sent.
pub struct St7789<S: SpiDevice, P: OutputPin> {
    panel: mipidsi::Display<Wires<S, P>, ST7789, NoResetPin>,
    bus: PathBuf,
    /// Held, because the chip is reset while the line is low.
    _reset: Option<P>,
    backlight: Option<P>,
    /// What is seen; `None` when everything has to be sent.
    shown: Option<Screen>,
}

impl<S: SpiDevice, P: OutputPin> St7789<S, P> {
    /// Sets a display up, which takes 0.3 s.
    ///
    /// # Errors
    /// When the bus or a line fails.
    pub fn new(parts: St7789Parts<S, P>) -> Result<Self, BoardError> {
        let St7789Parts { spi, bus, dc, mut reset, mut backlight, rotation, error } = parts;
        let set_up = || -> Result<_, io::Error> {
            if let Some(backlight) = &mut backlight {
                // Noise in the memory should not be seen.
                backlight.set_low().map_err(|e| line("backlight", &e))?;
            }
            if let Some(reset) = &mut reset {
                reset.set_low().map_err(|e| line("reset", &e))?;
                Sleep.delay_ms(1);
                reset.set_high().map_err(|e| line("reset", &e))?;
                Sleep.delay_ms(120);
            }
            let turned = match rotation {
                Rotation::Deg0 => mipidsi::options::Rotation::Deg0,
                Rotation::Deg90 => mipidsi::options::Rotation::Deg90,
                Rotation::Deg180 => mipidsi::options::Rotation::Deg180,
                Rotation::Deg270 => mipidsi::options::Rotation::Deg270,
            };
            let wires = Wires { spi, dc, error, buffer: Vec::with_capacity(CHUNK) };
            let builder = Builder::new(ST7789, wires)
                .display_size(SIDE, SIDE)
                .orientation(Orientation::new().rotate(turned))
                // The panels sold with this chip are normally black.
                .invert_colors(ColorInversion::Inverted);
            builder.init(&mut Sleep).map_err(|e| match e {
                InitError::Interface(e) => e,
                other => io::Error::other(format!("{other:?}")),
            })
        };
        match set_up() {
            Ok(panel) => Ok(St7789 { panel, bus, _reset: reset, backlight, shown: None }),
            Err(e) => Err(failed(&bus, &e)),
        }
    }

    fn send(&mut self, screen: &Screen) -> Result<(), io::Error> {
        let before = self.shown.take();
        if before.is_none() {
            let all = usize::from(SIDE) * usize::from(SIDE);
            self.panel.set_pixels(0, 0, SIDE - 1, SIDE - 1, std::iter::repeat_n(blend(0), all))?;
        }
        for rows in changed_rows(before.as_ref(), screen) {
            let (first, end) = (TOP + rows.start as u16 * TALL, TOP + rows.end as u16 * TALL);
            let pixels = (first..end).flat_map(|py| {
                let y = u32::from((py - TOP) / TALL);
                (0..u32::from(SIDE)).map(move |px| blend(eighths(screen, px, y)))
            });
            self.panel.set_pixels(0, first, SIDE - 1, end - 1, pixels)?;
        }
        if before.is_none()
            && let Some(backlight) = &mut self.backlight
        {
            backlight.set_high().map_err(|e| line("backlight", &e))?;
        }
        Ok(())
    }
}

impl<S: SpiDevice, P: OutputPin> Display for St7789<S, P> {
    fn show(&mut self, screen: &Screen) -> Result<(), BoardError> {
        // `shown` is empty while it is sent: after an error nobody knows what is seen.
        self.send(screen).map_err(|e| failed(&self.bus, &e))?;
        self.shown = Some(screen.clone());
        Ok(())
    }
}

fn failed(bus: &std::path::Path, e: &io::Error) -> BoardError {
    BoardError::Part { part: "display st7789".to_owned(), cause: spi_words(bus, e) }
}

fn line(name: &str, e: &dyn std::fmt::Debug) -> io::Error {
    io::Error::other(format!("{name} line: {e:?}"))
}

/// Runs of rows that differ.
fn changed_rows(before: Option<&Screen>, now: &Screen) -> Vec<Range<u32>> {
    let changed = |y: u32| before.is_none_or(|b| (0..Screen::WIDTH).any(|x| b.lit(x, y) != now.lit(x, y)));
    let mut runs: Vec<Range<u32>> = Vec::new();
    for y in (0..Screen::HEIGHT).filter(|y| changed(*y)) {
        match runs.last_mut() {
            Some(run) if run.end == y => run.end += 1,
            _ => runs.push(y..y + 1),
        }
    }
    runs
}

/// How many eighths of a display's pixel are lit. It covers at most two of the screen's, which are mixed: strokes of
/// letters would be of two widths otherwise.
fn eighths(screen: &Screen, px: u32, y: u32) -> u32 {
    let (x, offset) = (px * WIDE.1 / WIDE.0, px * WIDE.1 % WIDE.0);
    let right = (offset + WIDE.1).saturating_sub(WIDE.0);
    u32::from(screen.lit(x, y)) * (WIDE.1 - right) + u32::from(screen.lit(x + 1, y)) * right
}

/// The colour of so many lit eighths.
fn blend(lit: u32) -> Rgb565 {
    let mixed = |i: usize, most: u8| ((DARK[i] * (8 - lit) + LIT[i] * lit) * u32::from(most) / (8 * 255)) as u8;
    Rgb565::new(mixed(0, Rgb565::MAX_R), mixed(1, Rgb565::MAX_G), mixed(2, Rgb565::MAX_B))
}

/// The bus and the line beside it. The crate's own would need a buffer that lives forever, and makes empty
/// transfers, which some drivers of the kernel do not take.
struct Wires<S: SpiDevice, P> {
    spi: S,
    dc: P,
    error: IoError<S::Error>,
    buffer: Vec<u8>,
}

impl<S: SpiDevice, P: OutputPin> Wires<S, P> {
    fn flush(&mut self) -> Result<(), io::Error> {
        let sent = if self.buffer.is_empty() { Ok(()) } else { self.spi.write(&self.buffer).map_err(self.error) };
        self.buffer.clear();
        sent
    }
}

impl<S: SpiDevice, P: OutputPin> Interface for Wires<S, P> {
    type Word = u8;
    type Error = io::Error;

    const KIND: InterfaceKind = InterfaceKind::Serial4Line;

    fn send_command(&mut self, command: u8, args: &[u8]) -> Result<(), io::Error> {
        self.dc.set_low().map_err(|e| line("dc", &e))?;
        self.spi.write(&[command]).map_err(self.error)?;
        self.dc.set_high().map_err(|e| line("dc", &e))?;
        if args.is_empty() { Ok(()) } else { self.spi.write(args).map_err(self.error) }
    }

    fn send_pixels<const N: usize>(&mut self, pixels: impl IntoIterator<Item = [u8; N]>) -> Result<(), io::Error> {
        for pixel in pixels {
            if self.buffer.len() + N > CHUNK {
                self.flush()?;
            }
            self.buffer.extend_from_slice(&pixel);
        }
        self.flush()
    }

    fn send_repeated_pixel<const N: usize>(&mut self, pixel: [u8; N], count: u32) -> Result<(), io::Error> {
        self.send_pixels((0..count).map(|_| pixel))
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::{
        super::fakes::{FakeBusError, FakePin, FakePinRole, FakeSpi, FakeSt7789, assert_pictures_equal, pixel, text},
        *,
    };

    type Fake = Rc<RefCell<FakeSt7789>>;

    fn open_on(chip: &Fake, rotation: Rotation) -> Result<St7789<FakeSpi, FakePin>, BoardError> {
        let pin = |role| FakePin(Rc::clone(chip), role);
        St7789::new(St7789Parts {
            spi: FakeSpi(Rc::clone(chip)),
            bus: "/dev/spidev0.0".into(),
            dc: pin(FakePinRole::Dc),
            reset: Some(pin(FakePinRole::Reset)),
            backlight: Some(pin(FakePinRole::Backlight)),
            rotation,
            error: FakeBusError::into_io,
        })
    }

    fn open(rotation: Rotation) -> (St7789<FakeSpi, FakePin>, Fake) {
        let chip = Rc::new(RefCell::new(FakeSt7789::new()));
        (open_on(&chip, rotation).unwrap(), chip)
    }

    /// Where a point of the upright picture is seen on a turned one.
    fn turned(rotation: Rotation, x: u16, y: u16) -> (u16, u16) {
        match rotation {
            Rotation::Deg0 => (x, y),
            Rotation::Deg90 => (SIDE - 1 - y, x),
            Rotation::Deg180 => (SIDE - 1 - x, SIDE - 1 - y),
            Rotation::Deg270 => (y, SIDE - 1 - x),
        }
    }

    /// A pixel of the screen is lit when the middle of its magnified one is bright.
    fn lit(chip: &Fake, rotation: Rotation, x: u32, y: u32) -> bool {
        let middle = ((2 * x + 1) * WIDE.0 / (2 * WIDE.1)) as u16;
        let (px, py) = turned(rotation, middle, TOP + y as u16 * TALL + 1);
        chip.borrow().seen(px, py).g() > Rgb565::MAX_G / 2
    }

    #[test]
    fn every_pixel_arrives_however_it_is_turned() {
        for rotation in [Rotation::Deg0, Rotation::Deg90, Rotation::Deg180, Rotation::Deg270] {
            let (mut display, chip) = open(rotation);
            assert!(!chip.borrow().backlight, "noise is not lit");
            for screen in [text("Reykjavik", "64.147 N"), text("", "no view"), text("Ushuaia", "54.8 S")] {
                display.show(&screen).unwrap();
                assert!(chip.borrow().backlight && chip.borrow().ready(), "{rotation:?}");
                assert_pictures_equal(&screen, |x, y| lit(&chip, rotation, x, y));
            }
            // Nothing of the memory's noise is left around it.
            for x in 0..SIDE {
                for y in (0..TOP).chain(SIDE - TOP..SIDE) {
                    let (px, py) = turned(rotation, x, y);
                    assert_eq!(chip.borrow().seen(px, py), blend(0), "{rotation:?} {x} {y}");
                }
            }
        }
    }

    /// What a person sees, kept as a picture to look at: `st7789.png` beside this file.
    #[test]
    fn the_picture_is_the_one_that_was_looked_at() {
        let (mut display, chip) = open(Rotation::Deg0);
        display.show(&text("Reykjavik, IS", "64.147 N")).unwrap();
        let side = u32::from(SIDE);
        let seen = image::RgbImage::from_fn(side, side, |x, y| {
            let colour = chip.borrow().seen(x as u16, y as u16);
            let part = |value: u8, most: u8| (u32::from(value) * 255 / u32::from(most)) as u8;
            image::Rgb([
                part(colour.r(), Rgb565::MAX_R),
                part(colour.g(), Rgb565::MAX_G),
                part(colour.b(), Rgb565::MAX_B),
            ])
        });
        let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/displays/st7789.png");
        if image::open(&golden).ok().is_none_or(|golden| golden.to_rgb8() != seen) {
            let drawn = std::env::temp_dir().join("st7789.png");
            seen.save(&drawn).unwrap();
            panic!("{} is another picture than {}: look at it", drawn.display(), golden.display());
        }
    }

    #[test]
    fn a_lit_column_is_as_bright_wherever_it_is() {
        for x in 0..Screen::WIDTH {
            let mut screen = Screen::new();
            pixel(&mut screen, x as i32, 0);
            assert_eq!((0..u32::from(SIDE)).map(|px| eighths(&screen, px, 0)).sum::<u32>(), WIDE.0, "column {x}");
        }
        assert_eq!(blend(8), Rgb565::new(21, 55, 31));
    }

    #[test]
    fn only_rows_that_changed_are_sent() {
        let (mut display, chip) = open(Rotation::Deg0);
        let mut screen = text("Reykjavik", "64.147 N");
        display.show(&screen).unwrap();
        let row = usize::from(SIDE) * 2;
        assert_eq!(chip.borrow_mut().pixel_bytes(), row * usize::from(SIDE) + row * 64 * usize::from(TALL));
        display.show(&screen).unwrap();
        assert_eq!(chip.borrow_mut().pixel_bytes(), 0);
        pixel(&mut screen, 1, 1);
        pixel(&mut screen, 126, 62);
        display.show(&screen).unwrap();
        assert_eq!(chip.borrow_mut().pixel_bytes(), 2 * row * usize::from(TALL));
        assert_pictures_equal(&screen, |x, y| lit(&chip, Rotation::Deg0, x, y));
    }

    #[test]
    fn an_error_says_why_and_the_next_screen_is_whole() {
        let (mut display, chip) = open(Rotation::Deg0);
        display.show(&text("a", "b")).unwrap();
        chip.borrow_mut().errno = Some(5);
        let e = display.show(&text("c", "d")).unwrap_err().to_string();
        assert!(e.starts_with("display st7789: /dev/spidev0.0: "), "{e}");
        let e = open_on(&chip, Rotation::Deg0).err().unwrap().to_string();
        assert!(e.starts_with("display st7789: /dev/spidev0.0: "), "{e}");
        chip.borrow_mut().errno = None;
        display.show(&text("c", "d")).unwrap();
        assert_pictures_equal(&text("c", "d"), |x, y| lit(&chip, Rotation::Deg0, x, y));
    }
}
