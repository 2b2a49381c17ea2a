//! What stands around `homing` on the emulated board: it feeds the cameras, is the display behind the I2C bus, and
//! starts and ends the program. It is told what to do in lines of standard input, one command each:
//!
//! ```text
//! show 7            all cameras show panorama 7
//! look              compares what the cameras give with what is put in
//! run               starts homing
//! stall right       the camera is there and gives no frames
//! unplug left       the camera is gone
//! return left       it is back
//! screen            what the display shows
//! stop              ends homing as a service manager does
//! ```
//!
//! What happens is told in lines that begin with `guest: `; lines of the program begin with `homing: `.

mod bridge;
mod cameras;
mod display;
mod vehicle;

use std::{
    io::{self, BufRead},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, bail};

use self::{cameras::Cameras, display::Display, vehicle::Vehicle};

/// The frames of the drive, `000001-front.yuyv` and so on.
const DRIVE: &str = "/drive";

fn main() -> anyhow::Result<()> {
    let display = Arc::new(Mutex::new(Display::default()));
    bridge::start(Arc::clone(&display))?;
    let cameras = Cameras::open(Path::new(DRIVE))?;
    let mut vehicle = Vehicle::default();
    println!("guest: ready");
    for line in io::stdin().lock().lines() {
        let line = line.context("standard input")?;
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Err(e) = command(&words, &cameras, &mut vehicle, &display) {
            println!("guest: cannot do {line:?}: {e:#}");
        }
    }
    Ok(())
}

fn command(words: &[&str], cameras: &Cameras, vehicle: &mut Vehicle, display: &Mutex<Display>) -> anyhow::Result<()> {
    match words {
        [] => (),
        ["show", number] => cameras.show(number.parse()?)?,
        ["look"] => cameras.look()?,
        ["run"] => vehicle.run()?,
        ["stop"] => vehicle.stop()?,
        ["stall", name] => cameras.stall(name)?,
        ["unplug", name] => cameras.unplug(name)?,
        ["return", name] => cameras.bring_back(name)?,
        ["screen"] => println!("guest: screen {}", lock(display).hex()),
        _ => bail!("no such command"),
    }
    Ok(())
}

/// Takes a lock also after another thread panicked with it.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
