//! TCP to a consumer that is called.

use std::{
    io,
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use super::{ReconnectSettings, Reconnecting, Refusal, reconnect::Wire};

/// How long one address may take to answer.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a write waits for room.
const PATIENCE: Duration = Duration::from_millis(200);
/// A consumer that takes nothing for so long is gone without a word, as after a pulled cable.
pub(super) const STUCK: Duration = Duration::from_secs(10);

impl Reconnecting {
    /// A consumer at `host:port`.
    pub fn tcp(address: String, pace: ReconnectSettings) -> Self {
        let name = format!("tcp://{address}");
        let open = move || match call(&address) {
            Ok(wire) => Ok(wire),
            Err(e) => {
                let cause = format!("nobody answers ({e}); called again until one does, or correct the address");
                Err(Refusal { kind: e.kind(), cause })
            }
        };
        Reconnecting::start(name, pace, STUCK, Box::new(open))
    }
}

fn call(address: &str) -> io::Result<Wire> {
    let stream = dial(address)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // A burst is one position: it must not wait for the next to fill a packet.
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

/// Connects to the first address of `host:port` that answers.
pub(crate) fn dial(address: &str) -> io::Result<TcpStream> {
    let mut outcome = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    for place in address.to_socket_addrs()? {
        outcome = TcpStream::connect_timeout(&place, CONNECT);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Checks the form of `host:port`; without a port the one given is meant, if one is.
pub(crate) fn address(text: &str, port: Option<u16>) -> Result<String, String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    // The colons inside the brackets of an IPv6 address are not the one before the port.
    let after_host = text.rfind(']').map_or(0, |i| i + 1);
    let whole = match (text[after_host..].contains(':'), port) {
        (false, Some(port)) if !text.is_empty() => format!("{text}:{port}"),
        _ => text.to_owned(),
    };
    match whole.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok() => Ok(whole),
        _ => Err(format!("{text:?} is no address; need host:port")),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, net::TcpListener, time::Instant};

    use super::*;
    use crate::{
        Link,
        line::testing::{burst, wait_until, whole_bursts},
    };

    const FAST: ReconnectSettings =
        ReconnectSettings { first: Duration::from_millis(1), longest: Duration::from_millis(4) };

    #[test]
    fn addresses() {
        assert_eq!(address("there:10110", None).unwrap(), "there:10110");
        assert_eq!(address("[::1]:10110/", None).unwrap(), "[::1]:10110");
        assert_eq!(address("there", Some(2947)).unwrap(), "there:2947");
        assert_eq!(address("[::1]", Some(2947)).unwrap(), "[::1]:2947");
        for wrong in ["", ":1", "there", "there:", "there:x", "there:70000", "a/b:1"] {
            assert!(address(wrong, None).is_err(), "{wrong}");
        }
        assert!(address("", Some(2947)).is_err());
    }

    #[test]
    fn a_consumer_may_go_and_come_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap();
        let mut link = Reconnecting::tcp(place.to_string(), FAST);
        let (mut number, mut failures) = (0, Vec::new());
        let mut send = |link: &mut Reconnecting| {
            failures.extend(link.send(&burst(number)).err().map(|e| e.to_string()));
            number += 1;
            failures.clone()
        };
        let (mut first, _) = listener.accept().unwrap();
        send(&mut link);
        let mut got = vec![0; burst(0).len()];
        first.read_exact(&mut got).unwrap();
        whole_bursts(&got);
        drop((first, listener));
        wait_until("the loss is told", || !send(&mut link).is_empty());
        for _ in 0..20 {
            send(&mut link);
        }
        let listener = TcpListener::bind(place).unwrap();
        let (mut second, _) = listener.accept().unwrap();
        let mut back = None;
        wait_until("it is back", || {
            send(&mut link);
            back = back.take().or(link.news());
            back.is_some()
        });
        assert_eq!(back.unwrap(), format!("line tcp://{place}: back"));
        assert_eq!(send(&mut link).len(), 1);
        drop(link);
        let mut got = Vec::new();
        second.read_to_end(&mut got).unwrap();
        assert!(!whole_bursts(&got).is_empty());
    }

    #[test]
    fn a_consumer_that_does_not_read_holds_up_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut link = Reconnecting::tcp(listener.local_addr().unwrap().to_string(), FAST);
        let _unread = listener.accept().unwrap();
        let large = vec![b'x'; 1 << 20];
        wait_until("the line is full", || {
            let began = Instant::now();
            link.send(&large).unwrap();
            assert!(began.elapsed() < Duration::from_millis(500));
            !link.summary().unwrap().contains(" 0 dropped")
        });
    }
}
