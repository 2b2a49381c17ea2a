//! A serial device: opened by its path, at its baud, and again when an adapter was unplugged.

use std::{
    io::{self, Write},
    time::Duration,
};

use serialport::SerialPort;

use super::{ReconnectSettings, Reconnecting, Refusal, reconnect::Wire};

/// How long a write waits for room.
const PATIENCE: Duration = Duration::from_millis(200);
/// Bytes written at once. The system's write waits until it has taken all it was given, whatever the patience; this
/// little it takes at once where it said that there is room.
const CHUNK: usize = 64;

impl Reconnecting {
    /// A serial device, 8N1.
    pub fn serial(path: &str, baud: u32, pace: ReconnectSettings) -> Self {
        let (name, path) = (format!("{path}, {baud} baud"), path.to_owned());
        // A serial line whose other end does not read is not lost: nothing is gained by opening it again.
        Reconnecting::start(name, pace, Duration::MAX, Box::new(move || open(&path, baud)))
    }
}

fn open(path: &str, baud: u32) -> Result<Wire, Refusal> {
    let port = serialport::new(path, baud).timeout(PATIENCE).open().map_err(|e| refusal(&e))?;
    Ok(Box::new(Port(port)))
}

/// Why a serial device could not be opened, in words for a person.
pub(crate) fn refusal(e: &serialport::Error) -> Refusal {
    use serialport::ErrorKind;
    let (kind, words) = match e.kind {
        ErrorKind::Io(io::ErrorKind::NotFound) => (io::ErrorKind::NotFound, "plug it in or correct the path"),
        ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
            (io::ErrorKind::PermissionDenied, "add the user to the device's group, often dialout")
        }
        // That it is taken already; serialport has no other kind for it.
        ErrorKind::NoDevice => (io::ErrorKind::ResourceBusy, "end the other program that holds it"),
        ErrorKind::Io(kind) => (kind, "look whether it is a serial device"),
        _ => (io::ErrorKind::Other, "look whether it is a serial device"),
    };
    Refusal { kind, cause: format!("cannot open it ({e}); {words}") }
}

struct Port(Box<dyn SerialPort>);

impl Write for Port {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(CHUNK)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{
        Link,
        line::testing::{Pty, burst, wait_until, whole_bursts},
    };

    const FAST: ReconnectSettings =
        ReconnectSettings { first: Duration::from_millis(1), longest: Duration::from_millis(4) };

    fn line(path: &std::path::Path) -> Reconnecting {
        Reconnecting::serial(path.to_str().unwrap(), 9600, FAST)
    }

    #[test]
    fn bursts_arrive_whole_and_in_order() {
        let mut pty = Pty::open();
        let mut link = line(&pty.path);
        let mut got = Vec::new();
        let mut number = 0;
        wait_until("five bursts", || {
            link.send(&burst(number)).unwrap();
            number += 1;
            pty.read(&mut got);
            got.len() > 5 * burst(0).len()
        });
        drop(link);
        pty.read(&mut got);
        let numbers = whole_bursts(&got);
        assert!(numbers.is_sorted() && numbers.len() >= 5);
        assert_eq!(*numbers.last().unwrap(), number - 1, "what waited at the end was sent");
    }

    #[test]
    fn unplugged_and_back_under_the_same_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("adapter");
        let mut pty = Pty::open();
        std::os::unix::fs::symlink(&pty.path, &path).unwrap();
        let mut link = line(&path);
        let (mut got, mut number) = (Vec::new(), 0);
        let mut failures = Vec::new();
        let mut send = |failures: &mut Vec<String>, link: &mut Reconnecting| {
            failures.extend(link.send(&burst(number)).err().map(|e| e.to_string()));
            number += 1;
        };
        wait_until("a first burst", || {
            send(&mut failures, &mut link);
            pty.read(&mut got);
            !got.is_empty()
        });
        std::fs::remove_file(&path).unwrap();
        drop(pty);
        wait_until("the loss is told", || {
            send(&mut failures, &mut link);
            !failures.is_empty()
        });
        for _ in 0..20 {
            send(&mut failures, &mut link);
        }
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert!(failures[0].contains("opened again when it is there"), "{failures:?}");

        let mut pty = Pty::open();
        std::os::unix::fs::symlink(&pty.path, &path).unwrap();
        got.clear();
        let mut back = None;
        wait_until("it is back", || {
            send(&mut failures, &mut link);
            pty.read(&mut got);
            back = back.take().or(link.news());
            back.is_some()
        });
        assert_eq!(back.unwrap(), format!("line {}, 9600 baud: back", path.display()));
        drop(link);
        pty.read(&mut got);
        assert!(!whole_bursts(&got).is_empty());
        assert_eq!(failures.len(), 1, "{failures:?}");
    }

    #[test]
    fn a_consumer_that_does_not_read_holds_up_nobody_and_gets_whole_bursts_later() {
        let mut pty = Pty::open();
        let mut link = line(&pty.path);
        let dropped = |link: &Reconnecting| !link.summary().unwrap().contains(" 0 dropped");
        let mut number = 0;
        wait_until("the line is full", || {
            let began = Instant::now();
            link.send(&burst(number)).unwrap();
            number += 1;
            assert!(began.elapsed() < Duration::from_millis(500));
            dropped(&link) && number > 500
        });
        let mut got = Vec::new();
        wait_until("the newest comes through", || {
            pty.read(&mut got);
            let text = String::from_utf8_lossy(&got);
            text.contains(&format!(",{},second*00\r\n", number - 1))
        });
        assert!(whole_bursts(&got).len() < number, "some were dropped");
    }

    #[test]
    fn refusals_say_what_to_do() {
        let e = serialport::new("/dev/no-such-adapter", 9600).open().err().unwrap();
        let refused = refusal(&e);
        assert_eq!(refused.kind, io::ErrorKind::NotFound);
        assert!(refused.cause.ends_with("plug it in or correct the path"), "{}", refused.cause);
        let busy = refusal(&serialport::Error::new(serialport::ErrorKind::NoDevice, "busy"));
        assert!(busy.cause.contains("the other program"), "{}", busy.cause);
    }
}
