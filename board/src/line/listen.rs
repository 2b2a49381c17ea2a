//! TCP for consumers that call: several, each at its own pace.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    queue::{Burst, Queue, WAITING},
    tcp::STUCK,
};
use crate::{BoardError, Link};

/// Consumers at most; more than that is a mistake somewhere, and each costs memory.
const CONSUMERS: usize = 16;
/// How often new consumers are looked for.
const LOOK: Duration = Duration::from_millis(100);
/// How often a consumer that had no room is tried again.
const RETRY: Duration = Duration::from_millis(10);

/// Consumers that connect to us; each begins with the next burst.
pub struct ListenLink {
    place: SocketAddr,
    queue: Arc<Queue>,
}

impl ListenLink {
    /// Listens at `address:port`; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is not ours or the port is taken.
    pub fn open(address: &str) -> Result<Self, BoardError> {
        let listening = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            listener.local_addr().map(|place| (listener, place))
        };
        let (listener, place) = listening().map_err(|e| {
            let cause = format!("cannot listen ({e}); take a free port and an address of this machine");
            BoardError::Part { part: format!("line tcp-listen://{address}"), cause }
        })?;
        let queue = Queue::new(format!("line tcp-listen://{place}"));
        let work = Work { queue: queue.clone(), listener, consumers: Vec::new() };
        let _detached = std::thread::spawn(move || work.run());
        Ok(ListenLink { place, queue })
    }

    /// Where it listens.
    pub fn place(&self) -> SocketAddr {
        self.place
    }
}

impl Link for ListenLink {
    fn name(&self) -> String {
        format!("tcp-listen://{}", self.place)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), BoardError> {
        self.queue.push(bytes)
    }

    fn news(&mut self) -> Option<String> {
        self.queue.lock().health.news()
    }

    fn summary(&self) -> Option<String> {
        Some(self.queue.summary())
    }
}

impl Drop for ListenLink {
    fn drop(&mut self) {
        self.queue.close();
    }
}

struct Consumer {
    stream: TcpStream,
    place: SocketAddr,
    waiting: VecDeque<Burst>,
    /// Bytes of the foremost burst that it has.
    taken: usize,
    moved: Instant,
}

impl Consumer {
    /// Adds a burst; answers with how many were dropped for it. The one that it has a part of stays.
    fn push(&mut self, burst: Burst) -> u64 {
        let full = self.waiting.len() == WAITING;
        if full {
            self.waiting.remove(usize::from(self.taken > 0));
        }
        if self.waiting.is_empty() {
            self.moved = Instant::now();
        }
        self.waiting.push_back(burst);
        u64::from(full)
    }

    /// Sends what it takes now.
    fn send(&mut self) -> io::Result<()> {
        self.listen()?;
        while let Some(burst) = self.waiting.front() {
            match self.stream.write(&burst[self.taken..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.taken += n;
                    self.moved = Instant::now();
                    if self.taken == burst.len() {
                        self.waiting.pop_front();
                        self.taken = 0;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && self.moved.elapsed() <= STUCK => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// What consumers say is of no interest, but that they end is, and unread bytes would hide it.
    fn listen(&mut self) -> io::Result<()> {
        match self.stream.read(&mut [0; 512]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

struct Work {
    queue: Arc<Queue>,
    listener: TcpListener,
    consumers: Vec<Consumer>,
}

impl Work {
    fn run(mut self) {
        loop {
            let behind = self.consumers.iter().any(|c| !c.waiting.is_empty());
            let burst = self.queue.next_within(if behind { RETRY } else { LOOK });
            if burst.is_none() && self.queue.closing() {
                break;
            }
            self.accept();
            if let Some(burst) = burst {
                let dropped: u64 = self.consumers.iter_mut().map(|c| c.push(burst.clone())).sum();
                let mut inner = self.queue.lock();
                inner.sent += u64::from(!self.consumers.is_empty());
                inner.dropped += dropped;
            }
            let queue = &self.queue;
            self.consumers.retain_mut(|c| match c.send() {
                Ok(()) => true,
                Err(_) => {
                    queue.lock().health.tell(&format!("{} is gone", c.place));
                    false
                }
            });
        }
        self.queue.done();
    }

    fn accept(&mut self) {
        // Errors of accepting concern the consumer that came, or pass; the next look tries again.
        while let Ok((stream, place)) = self.listener.accept() {
            let full = self.consumers.len() >= CONSUMERS;
            let usable = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
            if !full && usable.is_ok() {
                let moved = Instant::now();
                self.consumers.push(Consumer { stream, place, waiting: VecDeque::new(), taken: 0, moved });
            }
            let what = if full { format!("refused, there are {CONSUMERS}") } else { "reads".to_owned() };
            self.queue.lock().health.tell(&format!("{place} {what}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::testing::{burst, wait_until, whole_bursts};

    fn open() -> ListenLink {
        ListenLink::open("127.0.0.1:0").unwrap()
    }

    fn news_of(link: &mut ListenLink, what: &str) {
        wait_until(what, || link.news().is_some_and(|n| n.ends_with(what)));
    }

    #[test]
    fn several_consumers_come_late_and_go() {
        let mut link = open();
        assert!(link.name().starts_with("tcp-listen://127.0.0.1:"));
        link.send(&burst(0)).unwrap();
        let mut first = TcpStream::connect(link.place()).unwrap();
        news_of(&mut link, "reads");
        link.send(&burst(1)).unwrap();
        let mut second = TcpStream::connect(link.place()).unwrap();
        let gone = TcpStream::connect(link.place()).unwrap();
        news_of(&mut link, "reads");
        news_of(&mut link, "reads");
        drop(gone);
        news_of(&mut link, "is gone");
        link.send(&burst(2)).unwrap();
        drop(link);
        let read = |stream: &mut TcpStream| {
            let mut got = Vec::new();
            stream.read_to_end(&mut got).unwrap();
            whole_bursts(&got)
        };
        assert!(read(&mut first).ends_with(&[1, 2]));
        assert_eq!(read(&mut second).last(), Some(&2));
    }

    /// What a burst ends with.
    const SECOND: &[u8] = b"second*00\r\n";

    #[test]
    fn a_consumer_that_does_not_read_holds_up_nobody_else() {
        let mut link = open();
        let mut slow = TcpStream::connect(link.place()).unwrap();
        news_of(&mut link, "reads");
        let mut quick = TcpStream::connect(link.place()).unwrap();
        news_of(&mut link, "reads");
        quick.set_nonblocking(true).unwrap();
        let (mut number, mut got) = (0, Vec::new());
        wait_until("the slow one is behind", || {
            for _ in 0..4 {
                link.send(&burst(number).repeat(200)).unwrap();
                number += 1;
            }
            let _ = quick.read_to_end(&mut got);
            !link.summary().unwrap().contains(" 0 dropped")
        });
        link.send(&burst(number)).unwrap();
        wait_until("the quick one has the newest", || {
            let _ = quick.read_to_end(&mut got);
            String::from_utf8_lossy(&got).contains(&format!(",{number},second*00\r\n"))
        });
        whole_bursts(&got);
        // What the slow one gets when it reads at last is whole too.
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            slow.read_to_end(&mut got).unwrap();
            got
        });
        let queue = link.queue.clone();
        wait_until("all is sent", || {
            link.send(b"").unwrap();
            queue.next_within(Duration::ZERO).is_none()
        });
        drop(link);
        let got = reader.join().unwrap();
        // The line's end may cut the very last one.
        let end = got.windows(SECOND.len()).rposition(|w| w == SECOND).unwrap() + SECOND.len();
        assert!(whole_bursts(&got[..end]).is_sorted());
    }

    #[test]
    fn a_taken_port_is_refused_with_words() {
        let link = open();
        let e = ListenLink::open(&link.place().to_string()).err().unwrap().to_string();
        assert!(e.contains("cannot listen") && e.contains("free port"), "{e}");
    }
}
