//! Which sites and views a training step sees, and how their pixels are varied: a pure function of seed and step.
//!
//! Nothing here keeps a generator's state, so that a resumed run continues with the very batches that an uninterrupted
//! one has, whatever the number of loader threads.

use homing_models::MAX_VIEWS;
use homing_planet::hash::{Rng, fold};

use crate::recipe::{Training, ViewShares};

use super::network::{IMAGE_MEAN, IMAGE_STD};

/// One site of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Index of the site among the training sites.
    pub site: usize,
    /// How often the whole set has been seen before.
    pub epoch: u32,
    /// Which of the four views take part, by rising number.
    pub views: Vec<usize>,
    /// Seed of the variation of the pixels.
    pub seed: u64,
}

/// The part of every batch that one of several ranks trains on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Number of the rank, from 0.
    pub rank: usize,
    /// How many ranks there are.
    pub of: usize,
}

impl Part {
    /// Everything.
    pub const WHOLE: Part = Part { rank: 0, of: 1 };
}

/// A batch that several steps see comes again after this many others: steps in a row stay different.
const BLOCK: u64 = 16;

/// Which batch a step (from 0) sees where `echo` steps see each, and for which time (from 0).
pub fn turn(step: u32, echo: u32) -> (u64, u32) {
    let (block, within) = (u64::from(step) / (BLOCK * u64::from(echo)), u64::from(step) % (BLOCK * u64::from(echo)));
    (BLOCK * block + within % BLOCK, (within / BLOCK) as u32)
}

/// The batches of a run.
#[derive(Debug)]
pub struct Plan {
    seed: u64,
    sites: usize,
    batch_sites: usize,
    echo: u32,
    shares: ViewShares,
    /// The order of the epoch last asked for.
    order: (u32, Vec<u32>),
}

impl Plan {
    /// The plan for `sites` training sites.
    pub fn new(seed: u64, sites: usize, training: &Training) -> Self {
        let batch_sites = training.batch_sites as usize;
        let (echo, shares) = (training.echo, training.views);
        Plan { seed, sites, batch_sites, echo, shares, order: (0, order(seed, 0, sites)) }
    }

    /// The examples of a step (from 0). Every epoch sees each site in one batch, in an order of its own.
    ///
    /// The numbers of one-, two- and four-view examples are the same in each step, so that tensors keep their shapes.
    pub fn step(&mut self, step: u32) -> Vec<Example> {
        let ((batch, time), sites) = (turn(step, self.echo), self.batch_sites);
        let first = batch * sites as u64;
        // Each time a site is seen, it is mostly by another number of views.
        let shift = sites * time as usize / self.echo as usize;
        (0..sites)
            .map(|i| self.example(first + i as u64, time, view_count(self.shares, (i + shift) % sites, sites)))
            .collect()
    }

    /// The examples of a step that fall to one rank. All ranks together have the step, whatever their number.
    pub fn part(&mut self, step: u32, part: Part) -> Vec<Example> {
        // Examples with as many views are side by side; taking turns gives each rank its share of them.
        self.step(step).into_iter().skip(part.rank).step_by(part.of).collect()
    }

    fn example(&mut self, number: u64, time: u32, views: usize) -> Example {
        let (epoch, at) = ((number / self.sites as u64) as u32, (number % self.sites as u64) as usize);
        if self.order.0 != epoch {
            self.order = (epoch, order(self.seed, epoch, self.sites));
        }
        let first_seed = fold(fold(self.seed, 0x76_69_65_77), number);
        let seed = if time == 0 { first_seed } else { fold(first_seed, u64::from(time)) };
        let mut chosen: Vec<usize> = (0..MAX_VIEWS).collect();
        shuffle(&mut chosen, &mut Rng::new(seed));
        chosen.truncate(views);
        chosen.sort_unstable();
        Example { site: self.order.1[at] as usize, epoch, views: chosen, seed }
    }
}

/// Views of one step.
pub fn views_per_step(training: &Training) -> usize {
    let sites = training.batch_sites as usize;
    (0..sites).map(|i| view_count(training.views, i, sites)).sum()
}

/// Number of views of the `i`-th of `sites` examples.
fn view_count(shares: ViewShares, i: usize, sites: usize) -> usize {
    let at = (i as f64 + 0.5) / sites as f64;
    match at {
        at if at < shares.four => 4,
        at if at < shares.four + shares.two => 2,
        _ => 1,
    }
}

fn order(seed: u64, epoch: u32, sites: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..sites as u32).collect();
    shuffle(&mut order, &mut Rng::new(fold(fold(seed, 0x65_70_6f), u64::from(epoch))));
    order
}

fn shuffle<T>(items: &mut [T], rng: &mut Rng) {
    for i in (1..items.len()).rev() {
        items.swap(i, rng.below(i + 1));
    }
}

/// A change of colour and position of one view.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variation {
    brightness: f32,
    contrast: f32,
    saturation: f32,
    roll_px: i64,
}

impl Variation {
    /// The picture as it is.
    pub const NONE: Variation = Variation { brightness: 1.0, contrast: 1.0, saturation: 1.0, roll_px: 0 };

    /// A variation within the recipe's bounds.
    pub fn draw(training: &Training, rng: &mut Rng) -> Self {
        let jitter = training.colour_jitter as f32;
        let mut factor = || 1.0 + rng.range(-jitter, jitter);
        let (brightness, contrast, saturation) = (factor(), factor(), factor());
        let roll = training.roll_px as usize;
        let roll_px = rng.below(2 * roll + 1) as i64 - roll as i64;
        Variation { brightness, contrast, saturation, roll_px }
    }
}

/// Appends a view (`3 * side * side` bytes, RGB by rows) to `out`, varied and normalised, in the same order.
pub fn normalise(rgb: &[u8], side: usize, variation: Variation, out: &mut Vec<f32>) {
    let Variation { brightness, contrast, saturation, roll_px } = variation;
    let grey = |p: &[u8]| 0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2]);
    let mean_grey = rgb.chunks_exact(3).map(grey).sum::<f32>() / (side * side) as f32;
    // Brightness, then contrast about the mean grey, then saturation about each pixel's grey: one linear map.
    let own = brightness * contrast * saturation / 255.0;
    let of_grey = brightness * contrast * (1.0 - saturation) / 255.0;
    let constant = brightness * (1.0 - contrast) * mean_grey / 255.0;
    let shift = roll_px.rem_euclid(side as i64) as usize;
    for row in rgb.chunks_exact(3 * side) {
        let (head, tail) = row.split_at(3 * (side - shift));
        for p in tail.chunks_exact(3).chain(head.chunks_exact(3)) {
            let base = of_grey * grey(p) + constant;
            for c in 0..3 {
                out.push(((own * f32::from(p[c]) + base).clamp(0.0, 1.0) - IMAGE_MEAN[c]) / IMAGE_STD[c]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn training() -> Training {
        let text = include_str!("../../recipes/miniature.toml");
        crate::recipe::Recipe::parse(text, std::path::Path::new("miniature.toml")).unwrap().training
    }

    #[test]
    fn an_epoch_sees_each_site_once_and_steps_do_not_depend_on_the_way_there() {
        let training = training();
        let (sites, batch) = (10 * training.batch_sites as usize, training.batch_sites as usize);
        let mut plan = Plan::new(7, sites, &training);
        let all: Vec<Vec<Example>> = (0..20).map(|step| plan.step(step)).collect();
        for epoch in [&all[..10], &all[10..]] {
            let mut seen: Vec<usize> = epoch.iter().flatten().map(|e| e.site).collect();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..sites));
        }
        assert_ne!(all[0], all[10]);
        assert_eq!(Plan::new(7, sites, &training).step(13), all[13]);
        for step in &all {
            assert_eq!(step.iter().map(|e| e.views.len()).sum::<usize>(), views_per_step(&training));
            let with = |n| step.iter().filter(|e| e.views.len() == n).count() as f64 / batch as f64;
            assert!((with(1) - 0.20).abs() < 0.02 && (with(2) - 0.45).abs() < 0.02 && (with(4) - 0.35).abs() < 0.02);
            assert!(step.iter().all(|e| e.views.windows(2).all(|w| w[0] < w[1]) && e.views[0] < 4));
        }
    }

    #[test]
    fn an_echoed_batch_comes_again_later_with_other_views() {
        let mut training = training();
        let (sites, batch) = (1000 * training.batch_sites as usize, training.batch_sites as usize);
        let plain = Plan::new(7, sites, &training).step(5);
        training.echo = 3;
        let mut plan = Plan::new(7, sites, &training);
        let of = |examples: &[Example]| examples.iter().map(|e| (e.site, e.epoch)).collect::<Vec<_>>();
        let steps: Vec<Vec<Example>> = (0..96).map(|step| plan.step(step)).collect();
        assert_eq!(steps[5], plain);
        for (step, examples) in steps.iter().enumerate() {
            let (block, within) = (step / 48, step % 48);
            assert_eq!(of(examples), of(&steps[48 * block + within % 16]));
            assert_eq!(turn(step as u32, 3), ((16 * block + within % 16) as u64, (within / 16) as u32));
            assert_eq!(examples.iter().map(|e| e.views.len()).sum::<usize>(), views_per_step(&training));
        }
        let mut seen: Vec<usize> = [0, 48].iter().flat_map(|s| &steps[*s..s + 16]).flatten().map(|e| e.site).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 32 * batch);
        let again = steps[5].iter().zip(&steps[21]).filter(|(a, b)| a.views == b.views).count();
        assert!(again < batch / 2 && steps[5].iter().zip(&steps[21]).all(|(a, b)| a.seed != b.seed), "{again}");
    }

    #[test]
    fn ranks_share_a_step_and_each_has_its_share_of_views() {
        let training = training();
        let mut plan = Plan::new(7, 1000, &training);
        let (whole, ranks) = (plan.step(5), 4);
        let mut seen: Vec<Example> = Vec::new();
        for rank in 0..ranks {
            let part = plan.part(5, Part { rank, of: ranks });
            assert_eq!(part.len(), whole.len() / ranks);
            let views = part.iter().map(|e| e.views.len()).sum::<usize>();
            assert!(views.abs_diff(views_per_step(&training) / ranks) <= 3, "{views}");
            seen.extend(part);
        }
        let site = |e: &Example| e.site;
        let mut expected = whole.clone();
        expected.sort_by_key(site);
        seen.sort_by_key(site);
        assert_eq!(seen, expected);
        assert_eq!(plan.part(5, Part::WHOLE), whole);
    }

    #[test]
    fn a_view_is_rolled_and_never_mirrored() {
        let side = 4;
        let rgb: Vec<u8> = (0..side * side).flat_map(|i| [(i % side * 60) as u8; 3]).collect();
        let columns = |roll_px| {
            let mut out = Vec::new();
            normalise(&rgb, side, Variation { roll_px, ..Variation::NONE }, &mut out);
            let back = |c: usize| ((out[3 * c] * IMAGE_STD[0] + IMAGE_MEAN[0]) * 255.0 / 60.0).round() as usize;
            [back(0), back(1), back(2), back(3)]
        };
        assert_eq!(columns(0), [0, 1, 2, 3]);
        assert_eq!(columns(1), [3, 0, 1, 2]);
        assert_eq!(columns(-1), [1, 2, 3, 0]);
    }

    #[test]
    fn jitter_stays_in_bounds_and_white_stays_white_when_saturated() {
        let training = training();
        let mut rng = Rng::new(3);
        for _ in 0..200 {
            let v = Variation::draw(&training, &mut rng);
            let bound = training.colour_jitter as f32 + 1e-6;
            assert!([v.brightness, v.contrast, v.saturation].iter().all(|f| (f - 1.0).abs() <= bound));
            assert!(v.roll_px.unsigned_abs() <= u64::from(training.roll_px));
        }
        let mut grey = Vec::new();
        normalise(&[100; 12], 2, Variation { saturation: 3.0, ..Variation::NONE }, &mut grey);
        assert!((grey[0] - (100.0 / 255.0 - IMAGE_MEAN[0]) / IMAGE_STD[0]).abs() < 1e-5);
    }
}
