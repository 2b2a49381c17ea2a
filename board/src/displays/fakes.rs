//! Displays that are not there: they decode what a driver sends into the picture that would be seen.

use std::{cell::RefCell, io, rc::Rc};

use embedded_graphics::{
    Drawable,
    mono_font::{MonoTextStyle, iso_8859_1::FONT_6X10},
    pixelcolor::{BinaryColor, Rgb565, raw::RawU16},
    prelude::{Pixel, Point},
    text::{Baseline, Text},
};
use embedded_hal::{digital, i2c, spi};

use crate::Screen;

/// A screen with two lines of text, the lower one inverse.
pub fn text(upper: &str, lower: &str) -> Screen {
    let mut screen = Screen::new();
    let line = |at: Point, style, s: &str, screen: &mut Screen| {
        Text::with_baseline(s, at, style, Baseline::Top).draw(screen).unwrap();
    };
    line(Point::new(3, 5), MonoTextStyle::new(&FONT_6X10, BinaryColor::On), upper, &mut screen);
    let mut inverse = MonoTextStyle::new(&FONT_6X10, BinaryColor::Off);
    inverse.background_color = Some(BinaryColor::On);
    line(Point::new(20, 50), inverse, lower, &mut screen);
    screen
}

/// Lights a pixel.
pub fn pixel(screen: &mut Screen, x: i32, y: i32) {
    assert!(!screen.lit(x as u32, y as u32));
    Pixel(Point::new(x, y), BinaryColor::On).draw(screen).unwrap();
}

/// Panics at the first pixel that is seen otherwise than it should.
pub fn assert_pictures_equal(screen: &Screen, seen: impl Fn(u32, u32) -> bool) {
    for y in 0..Screen::HEIGHT {
        for x in 0..Screen::WIDTH {
            assert_eq!(seen(x, y), screen.lit(x, y), "pixel {x}, {y}");
        }
    }
}

/// An error number of the system.
#[derive(Debug)]
pub struct FakeBusError(i32);

impl FakeBusError {
    /// As a board's drivers give it.
    pub fn into_io(self) -> io::Error {
        io::Error::from_raw_os_error(self.0)
    }
}

impl i2c::Error for FakeBusError {
    fn kind(&self) -> i2c::ErrorKind {
        i2c::ErrorKind::Other
    }
}

impl spi::Error for FakeBusError {
    fn kind(&self) -> spi::ErrorKind {
        spi::ErrorKind::Other
    }
}

/// An SSD1306 as its data sheet has it, in horizontal addressing mode. Its memory holds noise at first.
pub struct FakeSsd1306 {
    address: u8,
    memory: [[u8; 128]; 8],
    columns: (u8, u8),
    pages: (u8, u8),
    at: (u8, u8),
    horizontal: bool,
    segments_remapped: bool,
    rows_reversed: bool,
    data_bytes: usize,
    pub on: bool,
    pub errno: Option<i32>,
}

impl FakeSsd1306 {
    pub fn new(address: u8) -> Self {
        FakeSsd1306 {
            address,
            memory: [[0xa5; 128]; 8],
            columns: (0, 127),
            pages: (0, 7),
            at: (0, 0),
            horizontal: false,
            segments_remapped: false,
            rows_reversed: false,
            data_bytes: 0,
            on: false,
            errno: None,
        }
    }

    /// Bytes written to the memory since last asked.
    pub fn data_bytes(&mut self) -> usize {
        std::mem::take(&mut self.data_bytes)
    }

    /// Whether a pixel is lit. Modules are soldered so that both directions are reversed when upright.
    pub fn seen(&self, x: u32, y: u32) -> bool {
        let row = if self.rows_reversed { y } else { 63 - y };
        self.memory[row as usize / 8][x as usize] & 1 << (row % 8) != 0
    }

    fn command(&mut self, bytes: &[u8]) {
        match *bytes {
            [0x20, mode] => self.horizontal = mode == 0,
            [0x21, first, last] => (self.columns, self.at.0) = ((first, last), first),
            [0x22, first, last] => (self.pages, self.at.1) = ((first, last), first),
            [0xa0 | 0xa1] => self.segments_remapped = bytes[0] == 0xa1,
            [0xc0 | 0xc8] => self.rows_reversed = bytes[0] == 0xc8,
            [0xae | 0xaf] => self.on = bytes[0] == 0xaf,
            [0xa8, 63] | [0xda, 0x12] | [0xd3, 0] | [0x8d, 0x14] => {}
            [0x81 | 0xd5 | 0xd9 | 0xdb, _] | [0x40] | [0xa4] | [0xa6] | [0x2e] => {}
            _ => panic!("no command of a 128x64 SSD1306: {bytes:02x?}"),
        }
    }

    fn data(&mut self, byte: u8) {
        assert!(self.horizontal);
        self.data_bytes += 1;
        let (column, page) = self.at;
        // Remapping takes effect when data is written, not when it is shown.
        let segment = if self.segments_remapped { column } else { 127 - column };
        self.memory[usize::from(page)][usize::from(segment)] = byte;
        self.at.0 += 1;
        if column == self.columns.1 {
            self.at = (self.columns.0, if page == self.pages.1 { self.pages.0 } else { page + 1 });
        }
    }
}

/// The bus of a [`FakeSsd1306`].
pub struct FakeI2c(pub Rc<RefCell<FakeSsd1306>>);

impl i2c::ErrorType for FakeI2c {
    type Error = FakeBusError;
}

impl i2c::I2c for FakeI2c {
    fn transaction(&mut self, address: u8, operations: &mut [i2c::Operation<'_>]) -> Result<(), FakeBusError> {
        let mut chip = self.0.borrow_mut();
        if let Some(errno) = chip.errno {
            return Err(FakeBusError(errno));
        }
        if address != chip.address {
            return Err(FakeBusError(6));
        }
        for operation in operations {
            match operation {
                i2c::Operation::Write([0x00, command @ ..]) => chip.command(command),
                i2c::Operation::Write([0x40, data @ ..]) => data.iter().for_each(|b| chip.data(*b)),
                other => panic!("unexpected {other:?}"),
            }
        }
        Ok(())
    }
}

/// An ST7789 as its data sheet has it; 240x240 of its 240x320 pixels are seen. Its memory holds noise at first.
pub struct FakeSt7789 {
    memory: Vec<u16>,
    command: u8,
    arguments: Vec<u8>,
    columns: (u16, u16),
    rows: (u16, u16),
    at: (u16, u16),
    order: u8,
    awake: bool,
    on: bool,
    inverted: bool,
    sixteen_bits: bool,
    pixel_bytes: usize,
    data_follows: bool,
    in_reset: bool,
    pub backlight: bool,
    pub errno: Option<i32>,
}

impl FakeSt7789 {
    pub fn new() -> Self {
        FakeSt7789 {
            memory: vec![0xa5a5; 240 * 320],
            command: 0,
            arguments: Vec::new(),
            columns: (0, 239),
            rows: (0, 319),
            at: (0, 0),
            order: 0,
            awake: false,
            on: false,
            inverted: false,
            sixteen_bits: false,
            pixel_bytes: 0,
            data_follows: false,
            in_reset: false,
            backlight: false,
            errno: None,
        }
    }

    /// Bytes of pixels since last asked.
    pub fn pixel_bytes(&mut self) -> usize {
        std::mem::take(&mut self.pixel_bytes)
    }

    /// Whether the memory is seen in its right colours.
    pub fn ready(&self) -> bool {
        self.awake && self.on && self.inverted && self.sixteen_bits && !self.in_reset
    }

    /// The colour of a pixel.
    pub fn seen(&self, x: u16, y: u16) -> Rgb565 {
        RawU16::new(self.memory[usize::from(y) * 240 + usize::from(x)]).into()
    }

    fn byte(&mut self, byte: u8) {
        assert!(!self.in_reset);
        if !self.data_follows {
            self.command = byte;
            self.arguments.clear();
            match byte {
                0x01 => self.order = 0,
                0x11 => self.awake = true,
                0x13 | 0x2a | 0x2b | 0x36 | 0x3a => {}
                0x20 | 0x21 => self.inverted = byte == 0x21,
                0x28 | 0x29 => self.on = byte == 0x29,
                0x2c => self.at = (self.columns.0, self.rows.0),
                _ => panic!("unexpected command {byte:#04x}"),
            }
            return;
        }
        self.arguments.push(byte);
        match (self.command, &self.arguments[..]) {
            (0x2a, &[a, b, c, d]) => self.columns = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
            (0x2b, &[a, b, c, d]) => self.rows = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
            (0x36, &[order]) => self.order = order,
            (0x3a, &[format]) => self.sixteen_bits = format & 7 == 5,
            (0x2c, &[high, low]) => {
                self.arguments.clear();
                self.pixel(u16::from_be_bytes([high, low]));
            }
            (0x2a | 0x2b, few) if few.len() < 4 => {}
            (0x2c, _) => {}
            (command, arguments) => panic!("unexpected arguments of {command:#04x}: {arguments:02x?}"),
        }
    }

    fn pixel(&mut self, colour: u16) {
        self.pixel_bytes += 2;
        let (mut x, mut y) = self.at;
        assert!(x <= self.columns.1 && y <= self.rows.1, "more pixels than the window has");
        self.at = if x == self.columns.1 { (self.columns.0, y + 1) } else { (x + 1, y) };
        // The bits MV, MX and MY: exchange columns and rows, then mirror.
        if self.order & 0x20 != 0 {
            (x, y) = (y, x);
        }
        if self.order & 0x40 != 0 {
            x = 239 - x;
        }
        if self.order & 0x80 != 0 {
            y = 319 - y;
        }
        self.memory[usize::from(y) * 240 + usize::from(x)] = colour;
    }
}

/// The bus of a [`FakeSt7789`].
pub struct FakeSpi(pub Rc<RefCell<FakeSt7789>>);

impl spi::ErrorType for FakeSpi {
    type Error = FakeBusError;
}

impl spi::SpiDevice for FakeSpi {
    fn transaction(&mut self, operations: &mut [spi::Operation<'_, u8>]) -> Result<(), FakeBusError> {
        let mut chip = self.0.borrow_mut();
        if let Some(errno) = chip.errno {
            return Err(FakeBusError(errno));
        }
        for operation in operations {
            match operation {
                spi::Operation::Write(bytes) => {
                    assert!((1..=4096).contains(&bytes.len()), "the kernel takes 1 to 4096 bytes");
                    bytes.iter().for_each(|b| chip.byte(*b));
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        Ok(())
    }
}

/// What a line of a [`FakeSt7789`] is for.
#[derive(Clone, Copy)]
pub enum FakePinRole {
    Dc,
    Reset,
    Backlight,
}

/// A line of a [`FakeSt7789`].
pub struct FakePin(pub Rc<RefCell<FakeSt7789>>, pub FakePinRole);

impl FakePin {
    fn set(&mut self, high: bool) {
        let mut chip = self.0.borrow_mut();
        match self.1 {
            FakePinRole::Dc => chip.data_follows = high,
            FakePinRole::Reset => chip.in_reset = !high,
            FakePinRole::Backlight => chip.backlight = high,
        }
    }
}

impl digital::ErrorType for FakePin {
    type Error = std::convert::Infallible;
}

impl digital::OutputPin for FakePin {
    fn set_low(&mut self) -> Result<(), Self::Error> {
        self.set(false);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Self::Error> {
        self.set(true);
        Ok(())
    }
}
