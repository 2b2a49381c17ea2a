//! The program: started, listened to, ended.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, bail, ensure};

/// The program's configuration.
const CONFIGURATION: &str = "/etc/homing.toml";
/// Where it writes its fixes while it runs; the configuration says the same.
const FIXES: &str = "/run/out/fixes.jsonl.partial";

/// Where processes are put that have what time the others leave.
const GROUP: &str = "/sys/fs/cgroup/program/cgroup.procs";

/// The program.
#[derive(Default)]
pub struct Vehicle {
    process: Option<u32>,
}

impl Vehicle {
    /// Starts the program, and tells its lines and fixes from then on.
    pub fn run(&mut self) -> anyhow::Result<()> {
        ensure!(self.process.is_none(), "it runs already");
        let mut child = Command::new("/bin/homing")
            .args(["run", "--config", CONFIGURATION])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("/bin/homing")?;
        self.process = Some(child.id());
        fs::write(GROUP, child.id().to_string()).context(GROUP)?;
        let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else { bail!("no pipes") };
        let complaints = thread::spawn(move || {
            BufReader::new(err).lines().map_while(Result::ok).for_each(|line| println!("homing: {line}"));
        });
        thread::spawn(move || {
            let mut fixes = Fixes::default();
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                println!("homing: {line}");
                // The line of a fix comes when the fix is in the file.
                if is_fix(&line) {
                    fixes.tell();
                }
            }
            let _ = complaints.join();
            match child.wait() {
                Ok(status) => println!("guest: homing ended, {status}"),
                Err(e) => println!("guest: homing is lost: {e}"),
            }
        });
        Ok(())
    }

    /// Asks the program to end.
    pub fn stop(&self) -> anyhow::Result<()> {
        let process = self.process.context("it was never started")?;
        let status = Command::new("/bin/kill").args(["-TERM", &process.to_string()]).status().context("kill")?;
        ensure!(status.success(), "kill: {status}");
        Ok(())
    }
}

/// Whether a line of the program is that of a fix: its number and the time.
fn is_fix(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let number = words.next().is_some_and(|w| w.parse::<u64>().is_ok());
    number && words.next().is_some_and(|w| w.len() == 10 && w.starts_with("20") && w.as_bytes()[4] == b'-')
}

/// The file of fixes, as far as it was told.
#[derive(Default)]
struct Fixes {
    file: Option<File>,
}

impl Fixes {
    fn tell(&mut self) {
        if self.file.is_none() {
            self.file = File::open(FIXES).map_err(|e| println!("guest: {FIXES}: {e}")).ok();
        }
        let mut text = String::new();
        if let Some(file) = &mut self.file
            && let Err(e) = file.read_to_string(&mut text)
        {
            println!("guest: {FIXES}: {e}");
        }
        text.lines().for_each(|line| println!("guest: fix {line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_fix_is_known() {
        assert!(is_fix("   7  2026-11-25 09:00:40    48.1170    11.5167     20/80 km                  agree"));
        assert!(!is_fix("   #  time (UTC)           latitude   longitude"));
        assert!(!is_fix("fixes                        24"));
        assert!(!is_fix("17 pictures"));
    }
}
