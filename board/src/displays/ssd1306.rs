//! SSD1306: 128x64, black and white, on I2C.

use std::{cell::RefCell, io, path::PathBuf, rc::Rc, thread, time::Duration};

use embedded_hal::{
    delay::DelayNs,
    digital::OutputPin,
    i2c::{Error as _, ErrorKind, ErrorType, I2c, Operation},
};
use ssd1306::{
    I2CDisplayInterface,
    mode::{BufferedGraphicsMode, DisplayConfig},
    prelude::{DisplayRotation, DisplaySize128x64, I2CInterface},
};

use super::{IoError, Rotation, i2c_words};
use crate::{BoardError, Display, Screen};

/// Rows that one byte of the display's memory holds.
const PAGE: u32 = 8;

/// What a board opens for an SSD1306.
pub struct Ssd1306Parts<I: I2c, P> {
    /// The bus.
    pub i2c: I,
    /// Its device, for messages.
    pub bus: PathBuf,
    /// The display's address.
    pub address: u8,
    /// The reset line, where it is wired.
    pub reset: Option<P>,
    /// Upright ([`Rotation::Deg0`]) or upside down ([`Rotation::Deg180`]); the others cannot be shown.
    pub rotation: Rotation,
    /// What the system said when the bus fails.
    pub error: IoError<I::Error>,
}

/// Shows screens on an SSD1306. Only what changed since the last screen is sent.
pub struct Ssd1306<I: I2c, P> {
    panel: ssd1306::Ssd1306<I2CInterface<Attentive<I>>, DisplaySize128x64, BufferedGraphicsMode<DisplaySize128x64>>,
    failure: Rc<RefCell<Option<I::Error>>>,
    error: IoError<I::Error>,
    bus: PathBuf,
    address: u8,
    reset: Option<P>,
    /// What is seen; `None` when the display has to be set up anew.
    shown: Option<Screen>,
}

impl<I: I2c, P: OutputPin> Ssd1306<I, P> {
    /// A display that is set up with the first screen.
    pub fn new(parts: Ssd1306Parts<I, P>) -> Self {
        let failure = Rc::new(RefCell::new(None));
        let i2c = Attentive { i2c: parts.i2c, failure: Rc::clone(&failure) };
        let rotation = match parts.rotation {
            Rotation::Deg180 => DisplayRotation::Rotate180,
            _ => DisplayRotation::Rotate0,
        };
        let interface = I2CDisplayInterface::new_custom_address(i2c, parts.address);
        let panel = ssd1306::Ssd1306::new(interface, DisplaySize128x64, rotation).into_buffered_graphics_mode();
        let Ssd1306Parts { bus, address, reset, error, .. } = parts;
        Ssd1306 { panel, failure, error, bus, address, reset, shown: None }
    }

    fn set_up(&mut self) -> Result<(), io::Error> {
        if let Some(reset) = &mut self.reset {
            self.panel.reset(reset, &mut Sleep).map_err(|e| io::Error::other(format!("reset line: {e:?}")))?;
        }
        self.panel.init().map_err(|e| self.said(&e))
    }

    fn send(&mut self, screen: &Screen) -> Result<(), io::Error> {
        let Some(before) = self.shown.take() else {
            // The display's memory holds noise after power-up: init() marks all of it for sending.
            self.set_up()?;
            self.draw(screen, &Screen::new(), 0..Screen::HEIGHT);
            return self.panel.flush().map_err(|e| self.said(&e));
        };
        // The crate sends the one rectangle around all changes. Page by page these are small ones.
        for top in (0..Screen::HEIGHT).step_by(PAGE as usize) {
            self.draw(screen, &before, top..top + PAGE);
            self.panel.flush().map_err(|e| self.said(&e))?;
        }
        Ok(())
    }

    fn draw(&mut self, screen: &Screen, before: &Screen, rows: std::ops::Range<u32>) {
        for y in rows {
            for x in 0..Screen::WIDTH {
                if screen.lit(x, y) != before.lit(x, y) {
                    self.panel.set_pixel(x, y, screen.lit(x, y));
                }
            }
        }
    }

    /// The bus's own error in place of the crate's, which only says that there was one.
    fn said(&self, e: &dyn std::fmt::Debug) -> io::Error {
        self.failure.take().map_or_else(|| io::Error::other(format!("{e:?}")), self.error)
    }
}

impl<I: I2c, P: OutputPin> Display for Ssd1306<I, P> {
    fn show(&mut self, screen: &Screen) -> Result<(), BoardError> {
        // `shown` is empty while it is sent: after an error nobody knows what is seen.
        self.send(screen).map_err(|e| BoardError::Part {
            part: "display ssd1306".to_owned(),
            cause: i2c_words(&self.bus, self.address, &e),
        })?;
        self.shown = Some(screen.clone());
        Ok(())
    }
}

/// A bus that remembers why it failed.
struct Attentive<I: I2c> {
    i2c: I,
    failure: Rc<RefCell<Option<I::Error>>>,
}

impl<I: I2c> ErrorType for Attentive<I> {
    type Error = ErrorKind;
}

impl<I: I2c> I2c for Attentive<I> {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
        self.i2c.transaction(address, operations).map_err(|e| {
            let kind = e.kind();
            self.failure.replace(Some(e));
            kind
        })
    }
}

/// Waits by sleeping: displays have a thread of their own.
pub(super) struct Sleep;

impl DelayNs for Sleep {
    fn delay_ns(&mut self, ns: u32) {
        thread::sleep(Duration::from_nanos(ns.into()));
    }

    fn delay_us(&mut self, us: u32) {
        thread::sleep(Duration::from_micros(us.into()));
    }

    fn delay_ms(&mut self, ms: u32) {
        thread::sleep(Duration::from_millis(ms.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fakes::{FakeBusError, FakeI2c, FakePin, FakeSsd1306, assert_pictures_equal, pixel, text},
        *,
    };

    fn open(rotation: Rotation) -> (Ssd1306<FakeI2c, FakePin>, Rc<RefCell<FakeSsd1306>>) {
        let chip = Rc::new(RefCell::new(FakeSsd1306::new(0x3c)));
        let parts = Ssd1306Parts {
            i2c: FakeI2c(Rc::clone(&chip)),
            bus: "/dev/i2c-1".into(),
            address: 0x3c,
            reset: None,
            rotation,
            error: FakeBusError::into_io,
        };
        (Ssd1306::new(parts), chip)
    }

    #[test]
    fn every_pixel_arrives() {
        let (mut display, chip) = open(Rotation::Deg0);
        // Each one against the one before, so that pixels go on and off.
        for screen in [text("Reykjavik", "64.147 N"), text("", "no view"), text("Ushuaia", "54.8 S"), Screen::new()] {
            display.show(&screen).unwrap();
            assert!(chip.borrow().on);
            assert_pictures_equal(&screen, |x, y| chip.borrow().seen(x, y));
        }
    }

    #[test]
    fn upside_down_is_upside_down() {
        let (mut display, chip) = open(Rotation::Deg180);
        for screen in [text("Reykjavik", "64.147 N"), text("Ushuaia", "54.8 S")] {
            display.show(&screen).unwrap();
            assert_pictures_equal(&screen, |x, y| chip.borrow().seen(127 - x, 63 - y));
        }
    }

    #[test]
    fn only_what_changed_is_sent() {
        let (mut display, chip) = open(Rotation::Deg0);
        let mut screen = text("Reykjavik", "64.147 N");
        display.show(&screen).unwrap();
        assert_eq!(chip.borrow_mut().data_bytes(), 1024, "all of the memory, which held noise");
        display.show(&screen).unwrap();
        assert_eq!(chip.borrow_mut().data_bytes(), 0);
        // Two far corners: a rectangle around both would be the whole screen.
        pixel(&mut screen, 1, 1);
        pixel(&mut screen, 126, 62);
        display.show(&screen).unwrap();
        assert_eq!(chip.borrow_mut().data_bytes(), 2);
        assert_pictures_equal(&screen, |x, y| chip.borrow().seen(x, y));
    }

    #[test]
    fn an_error_says_why_and_the_next_screen_is_whole() {
        let (mut display, chip) = open(Rotation::Deg0);
        display.show(&text("a", "b")).unwrap();
        chip.borrow_mut().errno = Some(121);
        let e = display.show(&text("c", "d")).unwrap_err().to_string();
        assert!(e.starts_with("display ssd1306: nothing answers at address 0x3c of /dev/i2c-1"), "{e}");
        // Plugged in again: its memory is noise.
        *chip.borrow_mut() = FakeSsd1306::new(0x3c);
        display.show(&text("c", "d")).unwrap();
        assert!(chip.borrow().on);
        assert_pictures_equal(&text("c", "d"), |x, y| chip.borrow().seen(x, y));
        // Another address answers as nothing does.
        *chip.borrow_mut() = FakeSsd1306::new(0x3d);
        assert!(display.show(&text("e", "f")).unwrap_err().to_string().contains("nothing answers"));
    }
}
