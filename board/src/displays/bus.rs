//! Errors of buses and lines in words: what it means, and the way out.

use std::{fmt, io, path::Path};

use rustix::io::Errno;

use super::Line;

/// Turns the error of a bus or line into what the system said.
pub type IoError<E> = fn(E) -> io::Error;

/// What an error of an I2C bus means for the device at `address`.
pub fn i2c_words(bus: &Path, address: u8, e: &io::Error) -> String {
    let bus = bus.display();
    match (e.kind(), Errno::from_io_error(e)) {
        (io::ErrorKind::NotFound, _) => format!(
            "there is no I2C bus {bus}; enable it (Raspberry Pi: raspi-config, Interface Options; elsewhere the device \
             tree, on a Jetson jetson-io.py) or set i2c to one of ls /dev/i2c-*"
        ),
        (io::ErrorKind::PermissionDenied, _) => denied(&bus, "i2c"),
        (_, Some(Errno::REMOTEIO | Errno::NXIO)) => format!(
            "nothing answers at address {address:#04x} of {bus}; check the wires and the supply, and look for the \
             address with i2cdetect -y"
        ),
        (_, Some(Errno::BUSY)) => {
            format!("a driver of the kernel already has address {address:#04x} of {bus}; remove the display's overlay")
        }
        (_, Some(Errno::TIMEDOUT | Errno::IO | Errno::AGAIN)) => {
            format!("{bus} is disturbed ({e}); check the wires, shorten them or lower the bus's speed")
        }
        _ => format!("{bus}, address {address:#04x}: {e}"),
    }
}

/// What an error of an SPI bus means. Nothing answers on SPI: a display that is not there gives no error.
pub fn spi_words(bus: &Path, e: &io::Error) -> String {
    let bus = bus.display();
    match e.kind() {
        io::ErrorKind::NotFound => format!(
            "there is no SPI bus {bus}; enable it (Raspberry Pi: raspi-config, Interface Options; elsewhere the device \
             tree, on a Jetson jetson-io.py) or set spi to one of ls /dev/spidev*"
        ),
        io::ErrorKind::PermissionDenied => denied(&bus, "spi"),
        _ => format!("{bus}: {e}"),
    }
}

/// What an error of a GPIO line means.
pub(crate) fn gpio_words(line: &Line, e: &io::Error) -> String {
    match (e.kind(), Errno::from_io_error(e)) {
        (io::ErrorKind::NotFound, _) => {
            format!("line {line}: there is no GPIO chip {}; see gpiodetect", line.chip().display())
        }
        (io::ErrorKind::PermissionDenied, _) => denied(&format!("GPIO line {line}"), "gpio"),
        (_, Some(Errno::BUSY)) => format!("GPIO line {line} is in use by another program; see gpioinfo"),
        (_, Some(Errno::INVAL)) => format!("there is no GPIO line {line}; see gpioinfo"),
        _ => format!("GPIO line {line}: {e}; see gpioinfo"),
    }
}

fn denied(what: &dyn fmt::Display, group: &str) -> String {
    format!("{what} may not be used by this user; add it to the group {group} (usermod -aG {group} USER, log in anew)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_way_out() {
        let errno = |e: Errno| io::Error::from_raw_os_error(e.raw_os_error());
        let i2c = |e| i2c_words(Path::new("/dev/i2c-1"), 0x3c, &errno(e));
        assert!(i2c(Errno::NOENT).contains("no I2C bus /dev/i2c-1; enable it (Raspberry Pi: raspi-config"));
        assert!(i2c(Errno::ACCESS).contains("add it to the group i2c"));
        for e in [Errno::REMOTEIO, Errno::NXIO] {
            assert!(i2c(e).contains("nothing answers at address 0x3c of /dev/i2c-1"));
        }
        assert!(i2c(Errno::BUSY).contains("overlay"));
        assert!(i2c(Errno::TIMEDOUT).contains("disturbed"));
        assert!(i2c(Errno::OPNOTSUPP).contains("/dev/i2c-1, address 0x3c"));
        let spi = |e| spi_words(Path::new("/dev/spidev0.0"), &errno(e));
        assert!(spi(Errno::NOENT).contains("no SPI bus /dev/spidev0.0"));
        assert!(spi(Errno::PERM).contains("group spi"));
        assert!(spi(Errno::INVAL).contains("/dev/spidev0.0"));
        let gpio = |e| gpio_words(&Line::from(17), &errno(e));
        assert!(gpio(Errno::NOENT).contains("no GPIO chip /dev/gpiochip0"));
        assert!(gpio(Errno::ACCESS).contains("group gpio"));
        assert!(gpio(Errno::BUSY).contains("in use by another program"));
        assert!(gpio(Errno::INVAL).contains("no GPIO line 17"));
        assert!(gpio_words(&Line::from(17), &io::Error::other("odd")).contains("odd"));
    }
}
