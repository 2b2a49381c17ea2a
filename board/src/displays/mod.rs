//! Small displays of real vehicles: the drivers that boards share, and what keeps a slow one from delaying a fix.
//!
//! A driver is generic over the traits of `embedded-hal`, so that every board and the tests use the same one. Boards
//! never hand out a bare driver but a [`Threaded`] one.

mod settings;
mod threaded;

#[cfg(any(feature = "raspberry", feature = "jetson"))]
mod bus;
#[cfg(all(test, any(feature = "raspberry", feature = "jetson")))]
mod fakes;
#[cfg(any(feature = "raspberry", feature = "jetson"))]
mod ssd1306;
#[cfg(any(feature = "raspberry", feature = "jetson"))]
mod st7789;

pub use settings::{DisplayKind, DisplaySettings, Line, PanelSettings, Rotation};
pub use threaded::{Opener, Threaded};

#[cfg(any(feature = "raspberry", feature = "jetson"))]
pub use self::ssd1306::{Ssd1306, Ssd1306Parts};
#[cfg(any(feature = "raspberry", feature = "jetson"))]
pub use self::st7789::{SPI_HZ, St7789, St7789Parts};
#[cfg(any(feature = "raspberry", feature = "jetson"))]
pub(crate) use bus::gpio_words;
#[cfg(any(feature = "raspberry", feature = "jetson"))]
pub use bus::{IoError, i2c_words, spi_words};
