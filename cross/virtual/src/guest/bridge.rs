//! The I2C bus: a CP2112, which is a USB device with an I2C bus behind it, made with the kernel's `uhid`. The kernel's
//! own driver for it gives `/dev/i2c-0`, so that all of the program's way to the display is the real one.
//!
//! The messages are `struct uhid_event` of the kernel's `uhid.h`; the reports are those of Silicon Labs' AN495.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    sync::{Arc, Mutex},
    thread,
};

use anyhow::Context;

use crate::{display::Display, lock};

/// Address of the display; nothing else answers.
const ADDRESS: u8 = 0x3c;

/// Kinds of events.
const OUTPUT: u32 = 6;
const GET_REPORT: u32 = 9;
const GET_REPORT_REPLY: u32 = 10;
const CREATE2: u32 = 11;
const INPUT2: u32 = 12;
const SET_REPORT: u32 = 13;
const SET_REPORT_REPLY: u32 = 14;

/// Largest `uhid_event`: its kind, and the longest of its bodies, that of CREATE2.
const EVENT: usize = 4 + 128 + 64 + 64 + 2 + 2 + 4 * 4 + 4096;
/// Reports by number, bytes behind the number, and kind: 0x81 in, 0x91 out, 0xb1 asked for and set.
const REPORTS: [(u8, u8, u8); 10] = [
    (0x02, 4, 0xb1),
    (0x03, 1, 0xb1),
    (0x04, 2, 0xb1),
    (0x05, 2, 0xb1),
    (0x06, 13, 0xb1),
    (0x13, 63, 0x81),
    (0x14, 63, 0x91),
    (0x15, 1, 0x91),
    (0x16, 6, 0x81),
    (0x17, 1, 0x91),
];

/// Plugs the bridge in, with the display behind it.
pub fn start(display: Arc<Mutex<Display>>) -> anyhow::Result<()> {
    let mut uhid = OpenOptions::new().read(true).write(true).open("/dev/uhid").context("/dev/uhid")?;
    uhid.write_all(&create()).context("a CP2112 at /dev/uhid")?;
    thread::spawn(move || {
        if let Err(e) = serve(&mut uhid, &display) {
            println!("guest: the I2C bus is gone: {e}");
        }
    });
    Ok(())
}

fn create() -> Vec<u8> {
    // A vendor's usage page and one collection of all reports, in bytes.
    let mut descriptor = vec![0x06, 0x00, 0xff, 0x09, 0x01, 0xa1, 0x01, 0x15, 0x00, 0x26, 0xff, 0x00, 0x75, 0x08];
    for (number, bytes, kind) in REPORTS {
        descriptor.extend([0x85, number, 0x95, bytes, 0x09, 0x01, kind, 0x02]);
    }
    descriptor.push(0xc0);
    let mut event = CREATE2.to_le_bytes().to_vec();
    event.extend(b"virtual CP2112");
    event.resize(4 + 128 + 64 + 64, 0);
    event.extend((descriptor.len() as u16).to_le_bytes());
    // USB, Silicon Labs, CP2112.
    event.extend(3u16.to_le_bytes());
    event.extend(0x10c4u32.to_le_bytes());
    event.extend(0xea90u32.to_le_bytes());
    event.extend([0; 8]);
    event.extend(descriptor);
    event
}

fn serve(uhid: &mut File, display: &Mutex<Display>) -> io::Result<()> {
    let mut event = vec![0; EVENT];
    let mut answered = false;
    loop {
        let length = uhid.read(&mut event)?;
        let Some((kind, body)) = event[..length].split_first_chunk() else { continue };
        match u32::from_le_bytes(*kind) {
            OUTPUT => match body {
                // A write: address with the direction's bit, length, bytes.
                [0x14, address, bytes, data @ ..] => {
                    answered = address >> 1 == ADDRESS;
                    if answered {
                        lock(display).message(&data[..usize::from(*bytes).min(data.len())]);
                    }
                }
                // How did it go? Done, or nobody answered.
                [0x15, ..] => input(uhid, &[0x16, if answered { 2 } else { 3 }, 0, 0, 0, 0, 0])?,
                _ => (),
            },
            GET_REPORT => {
                let [a, b, c, d, number, ..] = *body else { continue };
                // Of the version the driver tells people, of the settings it changes some and sets them; the lines
                // of the bridge are low. What is too long is cut.
                let report: &[u8] = match number {
                    0x05 => &[number, 0x0c, 0x03],
                    _ => &[number, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                };
                let mut reply = GET_REPORT_REPLY.to_le_bytes().to_vec();
                reply.extend([a, b, c, d]);
                reply.extend(0u16.to_le_bytes());
                reply.extend((report.len() as u16).to_le_bytes());
                reply.extend(report);
                uhid.write_all(&reply)?;
            }
            SET_REPORT => {
                let [a, b, c, d, ..] = *body else { continue };
                let mut reply = SET_REPORT_REPLY.to_le_bytes().to_vec();
                reply.extend([a, b, c, d]);
                reply.extend(0u16.to_le_bytes());
                uhid.write_all(&reply)?;
            }
            _ => (),
        }
    }
}

fn input(uhid: &mut File, report: &[u8]) -> io::Result<()> {
    let mut event = INPUT2.to_le_bytes().to_vec();
    event.extend((report.len() as u16).to_le_bytes());
    event.extend(report);
    uhid.write_all(&event)
}
