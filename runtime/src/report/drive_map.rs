//! `drive.png`: the drive on a map, the fixes with their radii beside the truth, and what the cameras saw.

use std::{fs, io, path::Path};

use homing_board::{Frame, planet::Planet};
use homing_models::{LatLon, figures::median, geo::centroid};
use image::{RgbImage, imageops};

use super::{
    Fix, OutError,
    ground::{INK, MAP, View, globe, land, on_map, scale_bar, towns},
    json::Logged,
    paint::{Canvas, Colour, Weight, rgb},
};
use crate::compare::Verdict;

const SIZE: (usize, usize) = (1600, 1000);
const GROUND: Colour = rgb(0x0b1119);
const DIM: Colour = rgb(0x8fa1b3);
/// Panoramas in the strip below the map, and the side of one picture there.
const PANORAMAS: usize = 3;
const VIEW_PX: u32 = 128;

struct Step {
    truth: Option<LatLon>,
    fix: Option<(LatLon, f32)>,
    error_km: Option<f64>,
    verdict: Verdict,
}

struct Portrait {
    caption: String,
    views: Vec<RgbImage>,
}

/// What a map says of itself.
pub struct MapWords {
    /// Below the name.
    pub title: &'static str,
    /// What the white line is.
    pub way: &'static str,
    /// What the bars are.
    pub errors: &'static str,
}

/// Gathers a drive and paints it.
#[derive(Default)]
pub struct DriveMap {
    steps: Vec<Step>,
    portraits: Vec<Portrait>,
}

impl DriveMap {
    /// Fixes that a map of this many fixes wants panoramas of.
    pub fn portrait_at(number: u64, fixes: u64) -> bool {
        let n = PANORAMAS as u64;
        (0..n).any(|i| number == 1 + (fixes.saturating_sub(1) * (2 * i + 1)) / (2 * n))
    }

    /// Adds a fix.
    pub fn push(&mut self, fix: &Fix) {
        self.steps.push(Step {
            truth: fix.truth,
            fix: fix.tracked.map(|t| (t.position, t.radius.p50_km)),
            error_km: fix.error_km(),
            verdict: fix.comparison.verdict,
        });
    }

    /// Adds a fix from a log. GNSS counts as the truth while it agrees, each position by itself: the verdict stands a
    /// while when a receiver begins to lie.
    pub fn push_logged(&mut self, fix: &Logged) {
        let position = fix.position();
        let inside =
            |gnss: &LatLon| position.is_some_and(|(p, radius)| p.distance_km(*gnss) <= f64::from(radius.p95_km));
        let truth = fix.gnss().filter(|gnss| fix.verdict() == Verdict::Agree && inside(gnss));
        self.steps.push(Step {
            truth,
            fix: position.map(|(p, radius)| (p, radius.p50_km)),
            error_km: position.zip(truth).map(|((p, _), truth)| p.distance_km(truth)),
            verdict: fix.verdict(),
        });
    }

    /// Adds what the cameras saw, front first.
    pub fn portrait<'f>(&mut self, caption: String, frames: impl Iterator<Item = &'f Frame>) {
        let view = |f: &Frame| {
            let picture = RgbImage::from_raw(f.width, f.height, f.rgb.clone())?;
            Some(imageops::resize(&picture, VIEW_PX, VIEW_PX, imageops::FilterType::CatmullRom))
        };
        if self.portraits.len() < PANORAMAS {
            self.portraits.push(Portrait { caption, views: frames.filter_map(view).collect() });
        }
    }

    /// Paints the drive; `None` when no position is known at all.
    pub fn paint(&self, words: &MapWords, summary: &[(String, String)]) -> Option<RgbImage> {
        // Where the truth is not known, as after the loss of GPS, the fixes are the best that there is.
        let way: Vec<LatLon> = self.steps.iter().filter_map(|s| s.truth.or(s.fix.map(|f| f.0))).collect();
        let centre = centroid(way.iter().copied())?;
        let view = View::around(centre, &way, self.steps.iter().filter_map(|s| s.fix.map(|f| f.0)));
        let planet = Planet::get();
        // A log has no pictures for the strip below.
        let height = if self.portraits.is_empty() { MAP.height as usize } else { SIZE.1 };
        let mut canvas = Canvas::new(SIZE.0, height, GROUND);
        land(&mut canvas, &view, planet);
        self.way(&mut canvas, &view);
        towns(&mut canvas, &view, planet);
        self.fixes(&mut canvas, &view, &way);
        scale_bar(&mut canvas, &view);
        self.panel(&mut canvas, words, summary, centre, planet);
        self.strip(&mut canvas);
        Some(canvas.finish())
    }

    /// Radii, the way driven, and a line from each fix to where the vehicle was.
    fn way(&self, canvas: &mut Canvas, view: &View) {
        for step in &self.steps {
            let Some((at, radius_km)) = step.fix else {
                continue;
            };
            let (p, colour) = (view.pixel(at), error_colour(step.error_km));
            let radius = (f64::from(radius_km) * view.px_per_km) as f32;
            if on_map((p.0 + radius, p.1 + radius)).is_some() && p.0 > radius && p.1 > radius {
                canvas.disc(p, radius, colour, 0.018);
                canvas.circle(p, radius, 1.0, colour, 0.16);
            }
        }
        for step in &self.steps {
            if let (Some((at, _)), Some(truth)) = (step.fix, step.truth)
                && let Some(p) = on_map(view.pixel(at))
            {
                canvas.line(&[view.pixel(truth), p], 1.2, error_colour(step.error_km), 0.45);
            }
        }
        for (width, colour, strength) in [(9.0, rgb(0x05080c), 0.35), (4.0, rgb(0xffffff), 0.95)] {
            // It is broken where nobody knows.
            for known in self.steps.split(|s| s.truth.is_none()).filter(|known| !known.is_empty()) {
                let way: Vec<(f32, f32)> = known.iter().filter_map(|s| Some(view.pixel(s.truth?))).collect();
                canvas.line(&way, width, colour, strength);
            }
        }
    }

    /// The fixes themselves, and both ends of the drive.
    fn fixes(&self, canvas: &mut Canvas, view: &View, way: &[LatLon]) {
        for step in &self.steps {
            if let Some(p) = step.fix.and_then(|f| on_map(view.pixel(f.0))) {
                canvas.disc(p, 5.2, rgb(0x05080c), 0.8);
                canvas.disc(p, 4.0, error_colour(step.error_km), 1.0);
            }
        }
        let ends = way.first().zip(way.last()).map(|(a, b)| (view.pixel(*a), view.pixel(*b)));
        if let Some((first, last)) = ends {
            canvas.disc(first, 7.0, rgb(0xffffff), 1.0);
            canvas.disc(first, 4.0, rgb(0x1c5d99), 1.0);
            canvas.disc(last, 9.0, rgb(0xffffff), 1.0);
            canvas.disc(last, 6.0, rgb(0xd7263d), 1.0);
            canvas.label((first.0 + 11.0, first.1 - 8.0), "start", 16.0, Weight::Bold, INK);
            canvas.label((last.0 + 13.0, last.1 - 8.0), "end", 16.0, Weight::Bold, INK);
        }
    }

    fn panel(
        &self,
        canvas: &mut Canvas,
        words: &MapWords,
        summary: &[(String, String)],
        centre: LatLon,
        planet: &Planet,
    ) {
        let x = MAP.width as f32 + 32.0;
        canvas.text((x, 62.0), "homing", 44.0, Weight::Bold, INK, 1.0);
        canvas.text((x, 92.0), words.title, 17.0, Weight::Regular, DIM, 1.0);
        globe(canvas, (x + 92.0, 214.0), 92.0, centre, planet);
        let legend = [("within 25 km", 10.0), ("within 200 km", 100.0), ("within 750 km", 500.0), ("farther", 5000.0)];
        for (i, (within, km)) in legend.into_iter().enumerate() {
            let y = 156.0 + 26.0 * i as f32;
            canvas.disc((x + 222.0, y - 5.0), 5.0, error_colour(Some(km)), 1.0);
            canvas.text((x + 236.0, y), within, 14.0, Weight::Regular, INK, 1.0);
        }
        canvas.line(&[(x + 214.0, 256.0), (x + 230.0, 256.0)], 4.0, rgb(0xffffff), 1.0);
        canvas.text((x + 236.0, 261.0), words.way, 14.0, Weight::Regular, INK, 1.0);
        canvas.circle((x + 222.0, 282.0), 7.0, 1.2, DIM, 0.9);
        canvas.text((x + 236.0, 287.0), "50 % radius", 14.0, Weight::Regular, INK, 1.0);
        for (i, (name, value)) in summary.iter().enumerate() {
            let y = 352.0 + 32.0 * i as f32;
            canvas.text((x, y), name, 15.0, Weight::Regular, DIM, 1.0);
            let width = canvas.text_width(value, 17.0, Weight::Bold);
            canvas.text((SIZE.0 as f32 - 32.0 - width, y), value, 17.0, Weight::Bold, INK, 1.0);
            canvas.rectangle((x as i32, y as i32 + 9), (SIZE.0 as i32 - 32 - x as i32, 1), rgb(0x223140), 1.0);
        }
        self.verdicts(canvas, (x, 668.0), words.errors);
    }

    /// The error of each fix as a bar, and below it what GNSS was worth at that time.
    fn verdicts(&self, canvas: &mut Canvas, (x, y): (f32, f32), errors: &str) {
        use Verdict::{Agree, Disagree, GpsAbsent, VisionUnsure};
        let width = SIZE.0 as f32 - 32.0 - x;
        let step = width / self.steps.len().max(1) as f32;
        canvas.text((x, y - 62.0), errors, 13.0, Weight::Regular, DIM, 1.0);
        for (i, s) in self.steps.iter().enumerate() {
            let left = x + step * i as f32;
            if let Some(km) = s.error_km {
                let height = ((1.0 + km as f32).log10() * 14.0).clamp(1.0, 56.0);
                let at = ((left) as i32, (y - height) as i32);
                canvas.rectangle(at, ((step - 1.0).max(1.0) as i32, height as i32), error_colour(Some(km)), 0.95);
            }
            let colour = match s.verdict {
                Agree => rgb(0x3ddc97),
                Disagree => rgb(0xff5470),
                GpsAbsent => rgb(0x3a4a5a),
                VisionUnsure => rgb(0xf2c14e),
            };
            canvas.rectangle((left as i32, y as i32 + 6), ((step.ceil()) as i32, 8), colour, 1.0);
        }
        let mut at = x;
        for (words, hex) in
            [("GPS agrees", 0x3ddc97), ("absent", 0x3a4a5a), ("disagrees", 0xff5470), ("unsure", 0xf2c14e)]
        {
            canvas.rectangle((at as i32, y as i32 + 24), (10, 10), rgb(hex), 1.0);
            canvas.text((at + 15.0, y + 34.0), words, 13.0, Weight::Regular, INK, 1.0);
            at += 34.0 + canvas.text_width(words, 13.0, Weight::Regular);
        }
    }

    fn strip(&self, canvas: &mut Canvas) {
        let width = 4 * VIEW_PX as i32 + 6;
        let gap = (SIZE.0 as i32 - PANORAMAS as i32 * width) / (PANORAMAS as i32 + 1);
        let top = MAP.height + 66;
        for (i, portrait) in self.portraits.iter().enumerate() {
            let left = gap + i as i32 * (width + gap);
            canvas.text((left as f32, top as f32 - 14.0), &portrait.caption, 16.0, Weight::Bold, INK, 1.0);
            for (k, view) in portrait.views.iter().enumerate() {
                let x = left + k as i32 * (VIEW_PX as i32 + 2);
                canvas.picture((x, top), view);
                let name = homing_board::CAMERA_NAMES.get(k).copied().unwrap_or_default();
                canvas.text(
                    (x as f32 + 2.0, top as f32 + VIEW_PX as f32 + 18.0),
                    name,
                    13.0,
                    Weight::Regular,
                    DIM,
                    1.0,
                );
            }
        }
    }

    /// Median error of the fixes so far, km.
    pub fn median_error_km(&self) -> Option<f64> {
        let errors: Vec<f64> = self.steps.iter().filter_map(|s| s.error_km).collect();
        (!errors.is_empty()).then(|| median(errors))
    }
}

/// Saves a picture under its name once it is whole.
///
/// # Errors
/// When the file system refuses.
pub fn save_png(picture: &RgbImage, path: &Path) -> Result<(), OutError> {
    let partial = path.with_extension("png.partial");
    let saved = picture.save_with_format(&partial, image::ImageFormat::Png).map_err(|e| match e {
        image::ImageError::IoError(e) => e,
        other => io::Error::other(other),
    });
    saved.and_then(|()| fs::rename(&partial, path)).map_err(|source| {
        let _ = fs::remove_file(&partial);
        OutError::Write { path: path.to_owned(), source }
    })
}

fn error_colour(error_km: Option<f64>) -> Colour {
    match error_km {
        None => rgb(0x8ecae6),
        Some(km) if km <= 25.0 => rgb(0x3ddc97),
        Some(km) if km <= 200.0 => rgb(0xf2c14e),
        Some(km) if km <= 750.0 => rgb(0xff8c42),
        Some(_) => rgb(0xff5470),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drive_gets_its_panoramas_from_beginning_middle_and_end() {
        let wanted = |fixes| (1..=fixes).filter(|n| DriveMap::portrait_at(*n, fixes)).collect::<Vec<_>>();
        assert_eq!(wanted(60), [10, 30, 50]);
        assert_eq!(wanted(1), [1]);
        assert!(!wanted(2).is_empty());
    }
}
