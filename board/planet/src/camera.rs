//! The camera on the roof: its optics, its sensor, and what can go wrong with it.

use crate::country::Rgb;
use crate::field::grain;
use crate::hash::{Rng, fold};
use crate::paint::{self, canvas::Canvas};
use crate::scene::Scene;

/// A picture: `size_px` rows of `size_px` pixels of red, green, blue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Width and height in pixels.
    pub size_px: usize,
    /// `3 * size_px * size_px` bytes, row by row from the top.
    pub rgb: Vec<u8>,
}

/// How one camera is mounted and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Camera {
    /// Width and height of the picture in pixels, 8..=4096.
    pub size_px: usize,
    /// Horizontal and vertical field of view in degrees.
    pub field_of_view_deg: f32,
    /// Downward tilt in degrees.
    pub pitch_deg: f32,
    /// Rotation about the optical axis in degrees.
    pub roll_deg: f32,
    /// Exposure, 1 is right.
    pub exposure: f32,
    /// Gain of the red and blue channels, 1 is right.
    pub white_balance: [f32; 2],
    /// What is wrong.
    pub faults: Faults,
    /// Seed of sensor noise and dirt.
    pub seed: u64,
}

/// Faults of a camera, each 0 (none) to 1 (worst).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// The picture is black: no signal.
    pub dead: bool,
    /// Blobs of mud and droplets on the lens.
    pub dirt: f32,
    /// Light that floods the lens.
    pub glare: f32,
    /// Horizontal smear of a moving vehicle.
    pub motion: f32,
}

impl Camera {
    /// A well mounted camera of 90 degrees with nothing wrong.
    pub fn level(size_px: usize) -> Self {
        Camera {
            size_px,
            field_of_view_deg: 90.0,
            pitch_deg: 0.0,
            roll_deg: 0.0,
            exposure: 1.0,
            white_balance: [1.0, 1.0],
            faults: Faults::default(),
            seed: 0,
        }
    }

    /// A camera as they come: tilted by a degree or two, automatic exposure and white balance slightly off.
    pub fn used(size_px: usize, seed: u64) -> Self {
        let mut rng = Rng::new(fold(seed, 0xca3));
        let smear = rng.chance(0.05);
        Camera {
            pitch_deg: 1.5 * rng.normal(),
            roll_deg: 1.2 * rng.normal(),
            exposure: (0.07 * rng.normal()).exp(),
            white_balance: [1.0 + 0.02 * rng.normal(), 1.0 + 0.02 * rng.normal()],
            faults: Faults { motion: if smear { rng.f32() } else { 0.0 }, ..Faults::default() },
            seed,
            ..Camera::level(size_px)
        }
    }
}

impl Scene {
    /// What a camera sees that looks `bearing_deg` degrees clockwise from the vehicle's heading.
    pub fn view(&self, bearing_deg: f32, camera: &Camera) -> Frame {
        let mut rgb = vec![0; 3 * camera.size_px * camera.size_px];
        self.view_into(bearing_deg, camera, &mut rgb);
        Frame { size_px: camera.size_px, rgb }
    }

    /// As [`Scene::view`], into a buffer of `3 * size_px * size_px` bytes.
    ///
    /// # Panics
    /// When the buffer has another length.
    pub fn view_into(&self, bearing_deg: f32, camera: &Camera, rgb: &mut [u8]) {
        assert_eq!(rgb.len(), 3 * camera.size_px * camera.size_px, "buffer of one frame");
        if camera.faults.dead {
            rgb.fill(0);
            return;
        }
        let mut canvas = Canvas::new(camera.size_px);
        paint::scene(self, bearing_deg, camera, &mut canvas);
        let noise_seed = fold(fold(self.moment_seed, camera.seed), bearing_deg.to_bits() as u64) as u32;
        expose(&canvas, camera, noise_seed, self.weather.rain, rgb);
    }
}

/// Lens and sensor: roll, smear, glare, vignette, exposure, white balance, noise, dirt, eight bits.
fn expose(canvas: &Canvas, camera: &Camera, seed: u32, rain: f32, rgb: &mut [u8]) {
    let size = canvas.size;
    let s = size as f32;
    let (sin, cos) = camera.roll_deg.to_radians().sin_cos();
    let faults = camera.faults;
    let smear = (faults.motion * 0.09 * s) as usize;
    let exposure = camera.exposure * automatic_gain(canvas);
    let gain = [exposure * camera.white_balance[0], exposure, exposure * camera.white_balance[1]];
    let blobs = blobs(camera, seed, rain);
    let glare_at = (0.2 + 0.6 * grain(1, 2, seed), 0.1 + 0.3 * grain(3, 4, seed));
    // One row at a time, one thing at a time: what is alike for all pixels of a row runs as vectors.
    let (mut row, mut vignettes, mut noise) = (vec![[0.0; 3]; size], vec![0.0; size], vec![0.0; size]);
    for (y, out) in rgb.chunks_exact_mut(3 * size).enumerate() {
        let dy = y as f32 + 0.5 - s / 2.0;
        let ny = dy / s * 2.0;
        for (x, (vignette, noise)) in vignettes.iter_mut().zip(&mut noise).enumerate() {
            let nx = (x as f32 + 0.5 - s / 2.0) / s * 2.0;
            *vignette = (1.0 - 0.08 * (nx * nx + ny * ny)) / (smear + 1) as f32;
            *noise = (grain(x as i32, y as i32, seed) - 0.5) * 0.05;
        }
        for (x, colour) in row.iter_mut().enumerate() {
            let dx = x as f32 + 0.5 - s / 2.0;
            let (px, py) = (s / 2.0 + dx * cos - dy * sin, s / 2.0 + dx * sin + dy * cos);
            *colour = sample(canvas, px, py);
            for step in 1..=smear {
                let next = sample(canvas, px + step as f32, py);
                (0..3).for_each(|i| colour[i] += next[i]);
            }
        }
        for (x, colour) in row.iter_mut().enumerate() {
            (0..3).for_each(|i| colour[i] = colour[i] * gain[i] * vignettes[x]);
        }
        if faults.glare > 0.0 {
            for (x, colour) in row.iter_mut().enumerate() {
                let (gx, gy) = ((x as f32 + 0.5) / s - glare_at.0, (y as f32 + 0.5) / s - glare_at.1);
                let flood = faults.glare * (1.3 * (-5.0 * (gx * gx + gy * gy).sqrt()).exp() + 0.15);
                (0..3).for_each(|i| colour[i] += flood);
            }
        }
        if !blobs.is_empty() {
            for (x, colour) in row.iter_mut().enumerate() {
                let (veil, mud) = dirt(&blobs, (x as f32 + 0.5) / s, (y as f32 + 0.5) / s);
                (0..3).for_each(|i| colour[i] = colour[i] * (1.0 - veil) + mud[i] * veil);
            }
        }
        for ((out, colour), noise) in out.chunks_exact_mut(3).zip(&row).zip(&noise) {
            (0..3).for_each(|i| out[i] = ((colour[i] + noise).clamp(0.0, 1.0) * 255.0 + 0.5) as u8);
        }
    }
}

/// Automatic exposure: brings a picture most of the way to a middling brightness, within the sensor's reach.
fn automatic_gain(canvas: &Canvas) -> f32 {
    const MIDDLE: f32 = 0.45;
    let sum: f32 = canvas.pixels.iter().map(|p| (p[0] + p[1] + p[2]) / 3.0).sum();
    let mean = sum / canvas.pixels.len() as f32;
    (MIDDLE / mean.max(0.01)).powf(0.75).clamp(0.6, 2.2)
}

/// Bilinear sample, clamped at the rim.
#[inline]
fn sample(canvas: &Canvas, x: f32, y: f32) -> Rgb {
    let last = (canvas.size - 1) as f32;
    let (x, y) = ((x - 0.5).clamp(0.0, last), (y - 0.5).clamp(0.0, last));
    let (i, j) = (x as usize, y as usize);
    let (tx, ty) = (x - i as f32, y - j as f32);
    let (right, below) = ((i + 1).min(canvas.size - 1), (j + 1).min(canvas.size - 1));
    let at = |i: usize, j: usize| canvas.pixels[j * canvas.size + i];
    let (a, b, c, d) = (at(i, j), at(right, j), at(i, below), at(right, below));
    std::array::from_fn(|k| {
        let top = a[k] + (b[k] - a[k]) * tx;
        top + (c[k] + (d[k] - c[k]) * tx - top) * ty
    })
}

struct Blob {
    x: f32,
    y: f32,
    radius: f32,
    opacity: f32,
    colour: Rgb,
}

/// Mud where the lens is dirty, droplets where it rains.
fn blobs(camera: &Camera, seed: u32, rain: f32) -> Vec<Blob> {
    let mut rng = Rng::new(fold(seed as u64, 0xd127));
    let mud = (camera.faults.dirt * 14.0).ceil() as usize;
    let drops = (rain * 7.0) as usize;
    (0..mud + drops)
        .map(|i| {
            let (x, y) = (rng.f32(), rng.f32());
            if i < mud {
                let radius = rng.range(0.03, 0.05 + 0.16 * camera.faults.dirt);
                Blob { x, y, radius, opacity: rng.range(0.5, 1.0), colour: [0.2, 0.17, 0.13] }
            } else {
                Blob { x, y, radius: rng.range(0.01, 0.03), opacity: 0.45, colour: [0.62, 0.64, 0.66] }
            }
        })
        .collect()
}

#[inline]
fn dirt(blobs: &[Blob], x: f32, y: f32) -> (f32, Rgb) {
    let mut veil = (0.0, [0.0; 3]);
    for b in blobs {
        let d2 = ((x - b.x).powi(2) + (y - b.y).powi(2)) / (b.radius * b.radius);
        if d2 < 1.0 {
            let cover = b.opacity * (2.0 * (1.0 - d2)).min(1.0);
            if cover > veil.0 {
                veil = (cover, b.colour);
            }
        }
    }
    veil
}
