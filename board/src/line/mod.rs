//! Lines out: how sentences leave the vehicle.
//!
//! A line is named by one string: `pty` for a new pseudo-terminal, `tcp://host:port` for a consumer that is called,
//! `tcp-listen://address:port` for consumers that call, a serial device, else a named pipe or file. [`open`] makes the
//! [`Link`], and whatever it is, sending never waits: serial lines and TCP have a thread and a short queue of their own,
//! of which the oldest bursts go first. A burst is the unit of everything: it is sent whole, dropped whole, and after a
//! loss the line begins again with one.

mod file;
mod health;
mod listen;
mod pty;
mod queue;
mod reconnect;
mod serial;
mod settings;
mod tcp;
#[cfg(test)]
pub(crate) mod testing;

use std::{io, net::TcpListener, path::Path};

use rustix::{
    fs::{Access, access},
    termios::isatty,
};

pub use file::FileLink;
pub(crate) use health::Health;
pub use listen::ListenLink;
pub use pty::PtyLink;
pub(crate) use reconnect::{Backoff, Refusal};
pub use reconnect::{ReconnectSettings, Reconnecting};
pub(crate) use serial::refusal;
pub(crate) use settings::one_of_bauds;
pub use settings::{BAUDS, LineSettings, carries};
pub(crate) use tcp::{address, dial};

use crate::{BoardError, Link};

/// The name of a line that is a new pseudo-terminal.
pub const PTY: &str = "pty";
/// What the name of a TCP line begins with when we call the consumer.
const TCP: &str = "tcp://";
/// What it begins with when consumers call us.
const TCP_LISTEN: &str = "tcp-listen://";

/// What a line's name means.
enum Place<'a> {
    Pty,
    Call(String),
    Listen(String),
    Serial(&'a str),
    File(&'a Path),
}

impl<'a> Place<'a> {
    fn of(link: &'a str) -> Result<Self, BoardError> {
        let tcp = |rest| address(rest, None).map_err(|e| BoardError::Setting(format!("link {link}: {e}")));
        if link == PTY {
            return Ok(Place::Pty);
        }
        if let Some(rest) = link.strip_prefix(TCP_LISTEN) {
            return tcp(rest).map(Place::Listen);
        }
        if let Some(rest) = link.strip_prefix(TCP) {
            return tcp(rest).map(Place::Call);
        }
        if let Some((scheme, _)) = link.split_once("://") {
            return Err(BoardError::Setting(format!(
                "link {link}: no {scheme}; use {TCP}, {TCP_LISTEN}, {PTY} or a path"
            )));
        }
        let path = Path::new(link);
        match is_serial(path) {
            Ok(true) => Ok(Place::Serial(link)),
            Ok(false) => Ok(Place::File(path)),
            Err(source) => Err(BoardError::Write { path: path.to_owned(), source }),
        }
    }
}

/// Whether a path is a serial device. One below /dev that is not there is an adapter that is not plugged in: a file
/// made in its place would take the sentences and keep the adapter from ever being found. Memory files are below
/// /dev too.
fn is_serial(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::metadata(path) {
        Ok(m) if m.file_type().is_char_device() => file::options(path).open(path).map(isatty),
        Ok(_) => Ok(false),
        Err(e) => {
            let device = path.starts_with("/dev") && !path.starts_with("/dev/shm");
            Ok(e.kind() == io::ErrorKind::NotFound && device)
        }
    }
}

/// Opens the line of that name. A serial device or a TCP consumer that is not there is waited for by the line's own
/// thread, and the first [`Link::send`] says so.
///
/// # Errors
/// When the name means nothing, a setting is impossible, or the file or our own end of the line cannot be opened.
pub fn open(link: &str, settings: &LineSettings) -> Result<Box<dyn Link>, BoardError> {
    settings.check()?;
    let pace = ReconnectSettings::default();
    Ok(match Place::of(link)? {
        Place::Pty => Box::new(PtyLink::open()?),
        Place::Call(address) => Box::new(Reconnecting::tcp(address, pace)),
        Place::Listen(address) => Box::new(ListenLink::open(&address)?),
        Place::Serial(path) => Box::new(Reconnecting::serial(path, settings.baud, pace)),
        Place::File(path) => Box::new(FileLink::open(path)?),
    })
}

/// Whether a line could be opened, without making anything; answers with what it is.
///
/// # Errors
/// When it could not.
pub fn try_link(link: &str) -> Result<String, BoardError> {
    let refused = |source| BoardError::Write { path: link.into(), source };
    match Place::of(link)? {
        Place::Pty => PtyLink::open().map(|pty| pty.name()),
        // Consumers come and go: that one does not answer now is worth a word and no error.
        Place::Call(address) => Ok(match dial(&address) {
            Ok(_) => format!("{link}, which answers"),
            Err(e) => format!("{link}, which does not answer yet ({e})"),
        }),
        Place::Listen(address) => TcpListener::bind(&address).map(|_| link.to_owned()).map_err(refused),
        Place::Serial(path) => match Path::new(path).exists() {
            true => Ok(format!("{path}, a serial line")),
            false => Err(BoardError::Setting(format!("{path} is not there; plug it in or correct the path"))),
        },
        Place::File(path) => match file::options(path).open(path) {
            Ok(_) => Ok(link.to_owned()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let may = access(folder, Access::WRITE_OK | Access::EXEC_OK);
                may.map(|()| format!("{link}, a file that is not there yet")).map_err(|e| refused(e.into()))
            }
            Err(e) => Err(refused(e)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trying_a_line_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        assert!(try_link(&at("line")).unwrap().contains("not there yet"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(try_link(&at("no/line")).unwrap_err().to_string().contains("no/line"));
        std::fs::write(at("line"), "kept").unwrap();
        assert_eq!(try_link(&at("line")).unwrap(), at("line"));
        assert_eq!(std::fs::read_to_string(at("line")).unwrap(), "kept");
        assert!(try_link(PTY).unwrap().starts_with("/dev/"));
        assert!(try_link("tcp-listen://127.0.0.1:0").is_ok());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(try_link(&format!("tcp://127.0.0.1:{port}")).unwrap().ends_with("which answers"));
        assert!(try_link(&format!("tcp-listen://127.0.0.1:{port}")).is_err(), "it is taken");
        drop(listener);
        assert!(try_link(&format!("tcp://127.0.0.1:{port}")).unwrap().contains("does not answer yet"));
    }

    #[test]
    fn names_that_mean_nothing_are_refused_and_an_absent_adapter_is_no_file() {
        let says = |link: &str| open(link, &LineSettings::default()).err().unwrap().to_string();
        assert!(says("udp://a:1").contains("no udp; use tcp://, tcp-listen://, pty or a path"));
        assert!(says("tcp://there").contains("need host:port"), "{}", says("tcp://there"));
        let absent = "/dev/no-such-adapter";
        assert!(try_link(absent).unwrap_err().to_string().contains("plug it in"));
        let link = open(absent, &LineSettings::default()).unwrap();
        assert_eq!(link.name(), "/dev/no-such-adapter, 9600 baud");
        drop(link);
        assert!(!Path::new(absent).exists());
        assert!(open("/dev/null", &LineSettings::default()).unwrap().send(b"x").is_ok(), "a device but no line");
    }

    #[test]
    fn a_pseudo_terminals_other_end_is_a_serial_line() {
        let pty = PtyLink::open().unwrap();
        let name = pty.other_end().display().to_string();
        assert_eq!(try_link(&name).unwrap(), format!("{name}, a serial line"));
    }
}
