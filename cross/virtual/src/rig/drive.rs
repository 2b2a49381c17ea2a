//! Pictures of a drive over the simulated planet, twice: as the cameras of the emulated board send them (YUYV), and
//! as a recording that `homing` replays here (PNG), with the very pixels that a reader of that YUYV sees.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context, ensure};
use homing_board::{
    CAMERA_NAMES, Frame,
    host::{self, HostOutput, HostSettings},
};

/// Size of the frames. The planet's pictures are squares, with black margins left and right, which the program cuts off.
const SIZE: (u32, u32) = (320, 240);
/// Kilometres between two panoramas.
const STEP_KM: f64 = 4.0;

/// Writes frames as `000001-front.png` and `000001-front.yuyv`, their size, and `panoramas.jsonl` with where the vehicle
/// was.
pub fn record(folder: &Path, seed: u64, panoramas: u32) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let (width, height) = SIZE;
    let settings = HostSettings { seed, step_km: STEP_KM, camera_px: Some(height), ..HostSettings::default() };
    let (mut board, _) = host::board(&settings, height, panoramas.into(), &HostOutput::default())?;
    let mut lines = BufWriter::new(File::create(folder.join("panoramas.jsonl"))?);
    let mut square = Frame::default();
    for number in 1..=panoramas {
        let epoch = board.clock.next_epoch();
        for (camera, name) in board.cameras.iter_mut().flatten().zip(CAMERA_NAMES) {
            camera.grab(Duration::MAX, &mut square)?;
            let coded = yuyv(&in_the_middle(&square));
            let path = folder.join(format!("{number:06}-{name}"));
            fs::write(path.with_extension("yuyv"), &coded)?;
            let path = path.with_extension("png");
            image::save_buffer(&path, &rgb(&coded), width, height, image::ExtendedColorType::Rgb8)
                .with_context(|| path.display().to_string())?;
        }
        let truth = epoch.truth.context("a simulated drive knows where it is")?;
        let time_s = epoch.time.duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
        let line = serde_json::json!({"panorama": number, "time_s": time_s, "lat": truth.lat(), "lon": truth.lon()});
        writeln!(lines, "{line}")?;
    }
    lines.flush()?;
    // Last: a drive with its size is complete.
    fs::write(folder.join("size"), format!("{width}x{height}\n"))?;
    ensure!(panoramas > 0, "a drive of no panoramas");
    Ok(())
}

/// A square picture in the middle of a black frame.
fn in_the_middle(square: &Frame) -> Vec<u8> {
    let (width, height) = (SIZE.0 as usize, SIZE.1 as usize);
    let margin = 3 * (width - height) / 2;
    let mut rgb = vec![0; 3 * width * height];
    for (row, from) in rgb.chunks_exact_mut(3 * width).zip(square.rgb.chunks_exact(3 * height)) {
        row[margin..margin + from.len()].copy_from_slice(from);
    }
    rgb
}

/// ITU-R BT.601, limited range, in 1/256; two pixels share their colour.
fn yuyv(rgb: &[u8]) -> Vec<u8> {
    let weigh = |p: [i32; 3], w: [i32; 3], zero: i32| {
        ((p[0] * w[0] + p[1] * w[1] + p[2] * w[2] + 128).div_euclid(256) + zero).clamp(0, 255) as u8
    };
    let luma = |p| weigh(p, [66, 129, 25], 16);
    let pair = |pair: &[u8]| {
        let [a, b] = [0, 3].map(|i| [pair[i], pair[i + 1], pair[i + 2]].map(i32::from));
        let mean = std::array::from_fn(|i| (a[i] + b[i] + 1) / 2);
        [luma(a), weigh(mean, [-38, -74, 112], 128), luma(b), weigh(mean, [112, -94, -18], 128)]
    };
    rgb.chunks_exact(6).flat_map(pair).collect()
}

/// The way back, with the integers that are usual for it.
fn rgb(yuyv: &[u8]) -> Vec<u8> {
    let pixels = |c: &[u8]| {
        let [u, v] = [c[1], c[3]].map(|c| i32::from(c) - 128);
        [c[0], c[2]].map(|y| {
            let grey = 298 * (i32::from(y) - 16) + 128;
            [grey + 409 * v, grey - 100 * u - 208 * v, grey + 516 * u].map(|c| (c >> 8).clamp(0, 255) as u8)
        })
    };
    yuyv.chunks_exact(4).flat_map(pixels).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_come_back_nearly() {
        for colour in [[0, 0, 0], [255, 255, 255], [200, 30, 60], [10, 120, 250], [90, 91, 92]] {
            let two = [colour, colour].concat();
            let back = rgb(&yuyv(&two));
            assert!(back.iter().zip(&two).all(|(a, b)| a.abs_diff(*b) <= 3), "{colour:?} became {back:?}");
        }
    }
}
