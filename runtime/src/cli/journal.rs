//! systemd's journal: each event as an entry with fields of its own, so that `journalctl HOMING_PART=camera` finds those
//! of the cameras. Its native protocol: lines `FIELD=value`, one datagram an entry.

use std::{
    fmt::Write as _,
    fs,
    os::unix::{fs::MetadataExt, net::UnixDatagram},
    path::Path,
};

use crate::event::{Event, Part};

const SOCKET: &str = "/run/systemd/journal/socket";

/// The journal, open.
pub(super) struct Journal {
    socket: UnixDatagram,
}

impl Journal {
    /// The journal, when standard error goes there: systemd then names its stream by device and inode.
    pub(super) fn of_standard_error() -> Option<Self> {
        let named = std::env::var("JOURNAL_STREAM").ok()?;
        let stream = fs::metadata("/proc/self/fd/2").ok()?;
        (named == format!("{}:{}", stream.dev(), stream.ino())).then_some(())?;
        Self::at(Path::new(SOCKET))
    }

    fn at(path: &Path) -> Option<Self> {
        let socket = UnixDatagram::unbound().ok()?;
        // A log must not hold up a vehicle: a journal that takes nothing now gets the line by standard error.
        socket.set_nonblocking(true).and_then(|()| socket.connect(path)).ok()?;
        Some(Journal { socket })
    }

    /// Whether the journal took the event.
    pub(super) fn takes(&mut self, event: &Event<'_>) -> bool {
        self.socket.send(entry(event).as_bytes()).is_ok()
    }
}

fn entry(Event { part, fix, line, change }: &Event<'_>) -> String {
    // Of syslog: 5 what is normal but matters, 4 what is not as it should be.
    let priority = if matches!(part, Part::Verdict | Part::Panel) { 5 } else { 4 };
    // A line break would begin another field.
    let message = line.replace(['\n', '\r'], " ");
    let mut entry = format!(
        "MESSAGE={message}\nPRIORITY={priority}\nSYSLOG_IDENTIFIER=homing\nHOMING_PART={}\nHOMING_FIX={fix}\n",
        part.name()
    );
    if let Some(change) = change {
        let _ = writeln!(entry, "HOMING_VERDICT={}\nHOMING_VERDICT_BEFORE={}", change.to.words(), change.from.words());
        if let Some(km) = change.distance_km {
            let _ = writeln!(entry, "HOMING_DISTANCE_KM={km:.1}");
        }
        if let Some(km) = change.p95_km {
            let _ = writeln!(entry, "HOMING_RADIUS_KM={km:.1}");
        }
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Change, Verdict};

    #[test]
    fn an_event_becomes_an_entry_with_fields() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut journal = Journal::at(&path).unwrap();
        let (from, to) = (Verdict::Agree, Verdict::Disagree);
        let change = Change { from, to, distance_km: Some(212.34), p95_km: Some(80.0), fixes: 3 };
        let event = Event { part: Part::Verdict, fix: 7, line: "verdict\nPRIORITY=0", change: Some(&change) };
        assert!(journal.takes(&event));
        let mut bytes = [0; 1024];
        let length = socket.recv(&mut bytes).unwrap();
        let said = String::from_utf8_lossy(&bytes[..length]);
        let fields: Vec<&str> = said.lines().collect();
        assert_eq!(
            fields,
            [
                "MESSAGE=verdict PRIORITY=0",
                "PRIORITY=5",
                "SYSLOG_IDENTIFIER=homing",
                "HOMING_PART=verdict",
                "HOMING_FIX=7",
                "HOMING_VERDICT=disagree",
                "HOMING_VERDICT_BEFORE=agree",
                "HOMING_DISTANCE_KM=212.3",
                "HOMING_RADIUS_KM=80.0",
            ]
        );
        drop(socket);
        assert!(!journal.takes(&event), "who is not there takes nothing");
    }
}
