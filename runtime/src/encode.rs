//! Encode: each view becomes a square of the model's size, then an embedding; a panorama is their mean.
//!
//! PIGEON averages the embeddings of the four views (poster, contribution 3; the attention-based alternative
//! lost to the mean in the authors' runs), so a panorama of fewer views works as well.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use homing_board::Frame;
use homing_kernels::{Fused, Pixels};
use homing_models::{
    FileBytes, MAX_VIEWS,
    bundle::{ENCODER, MANIFEST},
    frame::SquareCutter,
    manifest::ImageInput,
};
use tract_onnx::prelude::{Datum, Tensor};

use crate::{
    capture::Panorama,
    graph::{self, Graph, GraphError, Plan, Planned},
};

/// Embeddings of a panorama.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    views: usize,
    dims: usize,
    rows: Vec<f32>,
    mean: Vec<f32>,
    cut: Duration,
}

impl Embeddings {
    /// Views that took part, 0..=4.
    pub fn views(&self) -> usize {
        self.views
    }

    /// The embedding of the panorama: the mean over its views.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Time that making the graph's input of the frames took: cutting, resizing, normalising. Of several threads the longest.
    pub fn cut(&self) -> Duration {
        self.cut
    }

    /// The embedding of one view, in the order in which the views were given.
    pub fn view(&self, index: usize) -> &[f32] {
        &self.rows[index * self.dims..(index + 1) * self.dims]
    }
}

/// What one thread needs to encode its share of a panorama.
#[derive(Clone)]
struct Lane {
    /// The graph's input, by number of views.
    inputs: [Option<Arc<Tensor>>; MAX_VIEWS],
    cutter: SquareCutter,
    square: Vec<u8>,
}

/// The encoder graph with one plan per number of views, made when it is first needed.
///
/// Several threads share a panorama by its views: each encodes its own, and they meet once a panorama. A clone shares the
/// plans that were made so far and can run on another thread.
#[derive(Clone)]
pub struct Encoder {
    graph: Graph,
    plans: [Option<Plan>; MAX_VIEWS],
    lanes: Vec<Lane>,
    /// Absent with one thread.
    pool: Option<Arc<rayon::ThreadPool>>,
    size: u32,
    pixels: Pixels,
    dims: usize,
    fused: Fused,
}

impl Encoder {
    /// Loads the encoder; `dims` is the length of an embedding. More `threads` than a panorama has views are not used.
    ///
    /// # Errors
    /// When the file cannot be loaded, a weight is not finite, its input has another size, or the system has no threads
    /// left.
    pub fn load(
        onnx: impl Into<FileBytes>,
        input: &ImageInput,
        dims: usize,
        threads: usize,
    ) -> Result<Self, GraphError> {
        let graph = Graph::parse(ENCODER, onnx.into())?;
        let side = Some(i64::from(input.size));
        // Another size would run as well, on pictures of a scale that the network never learned from.
        if let [_, _, height, width] = graph.input[..]
            && [height, width].iter().any(|stated| stated.is_some() && *stated != side)
        {
            let stated = |n: Option<i64>| n.map_or_else(|| "any".to_owned(), |n| n.to_string());
            let (width, height) = (stated(width), stated(height));
            let fault = format!("its input is {width} x {height} pixels, {MANIFEST} says image.size = {}", input.size);
            return Err(GraphError::Shape { file: ENCODER, fault });
        }
        let threads = threads.clamp(1, MAX_VIEWS);
        let pool = || rayon::ThreadPoolBuilder::new().num_threads(threads).build().map(Arc::new);
        let square = vec![0; 3 * (input.size * input.size) as usize];
        let lane = Lane { inputs: Default::default(), cutter: SquareCutter::default(), square };
        Ok(Encoder {
            graph,
            plans: Default::default(),
            lanes: vec![lane; threads],
            pool: (threads > 1).then(pool).transpose().map_err(|e| run_error(&e))?,
            size: input.size,
            pixels: Pixels {
                gain: std::array::from_fn(|c| 1.0 / (255.0 * input.std[c])),
                shift: std::array::from_fn(|c| -input.mean[c] / input.std[c]),
            },
            dims,
            fused: Fused::default(),
        })
    }

    /// What the plan that was made last has of our operators.
    pub fn fused(&self) -> &Fused {
        &self.fused
    }

    /// Threads that share a panorama.
    pub fn threads(&self) -> usize {
        self.lanes.len()
    }

    /// Views of each thread's share of a panorama: as equal as can be, the larger ones first.
    fn shares(&self, views: usize) -> heapless::Vec<usize, MAX_VIEWS> {
        let lanes = self.lanes.len().min(views);
        (0..lanes).map(|lane| views / lanes + usize::from(lane < views % lanes)).collect()
    }

    /// Makes the plans for this number of views ahead of time.
    ///
    /// # Errors
    /// When the graph does not work with as many views.
    pub fn warm_up(&mut self, views: usize) -> Result<(), GraphError> {
        for share in self.shares(views) {
            self.prepare(share)?;
        }
        Ok(())
    }

    fn prepare(&mut self, views: usize) -> Result<(), GraphError> {
        let slot = &mut self.plans[views - 1];
        if slot.is_none() {
            let side = self.size as usize;
            let Planned { plan, fused } = self.graph.plan(&[views, 3, side, side], views, Some(&self.pixels))?;
            *slot = Some(plan);
            self.fused = fused;
        }
        Ok(())
    }

    /// Encodes a panorama of four made-up views: a graph that cannot run is found now and not on the road.
    ///
    /// # Errors
    /// When the graph does not work with four views, or answers NaN or too few numbers.
    pub fn try_out(&mut self) -> Result<Embeddings, GraphError> {
        let bytes = 3 * self.size * self.size;
        let frame = |k: u32| Frame {
            width: self.size,
            height: self.size,
            rgb: (0..bytes).map(|i| (i * (7 + k) % 251) as u8).collect(),
        };
        let panorama = Panorama::of(SystemTime::UNIX_EPOCH, (0..MAX_VIEWS as u32).map(frame));
        let mut embeddings = Embeddings::default();
        self.encode(&panorama, &mut embeddings)?;
        Ok(embeddings)
    }

    /// Encodes the views of a panorama. Without any view the result has none.
    ///
    /// # Errors
    /// When the graph fails or answers NaN.
    pub fn encode(&mut self, panorama: &Panorama, out: &mut Embeddings) -> Result<(), GraphError> {
        let frames: heapless::Vec<&Frame, MAX_VIEWS> = panorama.views().collect();
        out.views = frames.len();
        out.dims = self.dims;
        out.cut = Duration::ZERO;
        out.rows.clear();
        out.mean.clear();
        if out.views == 0 {
            return Ok(());
        }
        self.warm_up(out.views)?;
        out.rows.resize(out.views * self.dims, 0.0);
        let shares = self.shares(out.views);
        let Encoder { plans, lanes, pool, pixels, size, dims, .. } = self;
        let (size, dims, pixels) = (*size, *dims, &*pixels);
        let (mut frames, mut rows) = (&frames[..], &mut out.rows[..]);
        let mut works = heapless::Vec::<_, MAX_VIEWS>::new();
        for (lane, share) in lanes.iter_mut().zip(shares) {
            let (own, rest) = frames.split_at(share);
            let (place, behind) = std::mem::take(&mut rows).split_at_mut(share * dims);
            (frames, rows) = (rest, behind);
            let plan = &plans[share - 1];
            let work =
                move || plan.as_ref().map_or(Ok(Duration::ZERO), |plan| lane.encode(plan, own, size, pixels, place));
            // There are as many places as views.
            let _ = works.push((work, Ok(Duration::ZERO)));
        }
        match pool {
            Some(pool) if works.len() > 1 => pool.scope(|scope| {
                for (work, outcome) in &mut works {
                    scope.spawn(|_| *outcome = work());
                }
            }),
            _ => works.iter_mut().for_each(|(work, outcome)| *outcome = work()),
        }
        out.cut =
            works.into_iter().try_fold(Duration::ZERO, |longest, (_, outcome)| outcome.map(|cut| longest.max(cut)))?;
        out.mean.resize(dims, 0.0);
        for row in out.rows.chunks_exact(dims) {
            for (m, v) in out.mean.iter_mut().zip(row) {
                *m += v / out.views as f32;
            }
        }
        Ok(())
    }
}

impl Lane {
    /// Cuts and encodes some views; `rows` takes their embeddings. Gives the time that the cutting took.
    fn encode(
        &mut self,
        plan: &Plan,
        frames: &[&Frame],
        size: u32,
        Pixels { gain, shift }: &Pixels,
        rows: &mut [f32],
    ) -> Result<Duration, GraphError> {
        let started = Instant::now();
        let Lane { inputs, cutter, square } = self;
        let side = size as usize;
        let input = match &mut inputs[frames.len() - 1] {
            Some(input) => input,
            slot => {
                let zeros = Tensor::zero_dt(f32::datum_type(), &[frames.len(), 3, side, side]);
                slot.insert(Arc::new(zeros.map_err(|e| run_error(&e))?))
            }
        };
        {
            // The input is ours again once the last run is over; a clone of this encoder may still hold it.
            let mut view = Arc::make_mut(input).try_as_plain_ram_mut().map_err(|e| run_error(&e))?;
            let numbers = view.as_slice_mut::<f32>().map_err(|e| run_error(&e))?;
            let plane = side * side;
            for (frame, target) in frames.iter().zip(numbers.chunks_exact_mut(3 * plane)) {
                cutter.cut(frame, size, square).map_err(|e| run_error(&e))?;
                let (red, rest) = target.split_at_mut(plane);
                let (green, blue) = rest.split_at_mut(plane);
                planes(square, [red, green, blue], *gain, *shift);
            }
        }
        let cut = started.elapsed();
        let outputs = graph::run(ENCODER, plan, input)?;
        let Some(output) = outputs.first() else {
            return Err(GraphError::Shape { file: ENCODER, fault: "it has no output".to_owned() });
        };
        rows.copy_from_slice(graph::numbers(ENCODER, "embeddings", output, rows.len())?);
        Ok(cut)
    }
}

/// Pixels to the numbers of three planes.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2"))]
fn planes(rgb: &[u8], [red, green, blue]: [&mut [f32]; 3], gain: [f32; 3], shift: [f32; 3]) {
    let pixels = rgb.as_chunks::<3>().0;
    for (((pixel, red), green), blue) in pixels.iter().zip(red).zip(green).zip(blue) {
        *red = f32::from(pixel[0]) * gain[0] + shift[0];
        *green = f32::from(pixel[1]) * gain[1] + shift[1];
        *blue = f32::from(pixel[2]) * gain[2] + shift[2];
    }
}

fn run_error(e: &impl std::fmt::Display) -> GraphError {
    GraphError::Run { file: ENCODER, cause: e.to_string() }
}

#[cfg(test)]
mod tests {
    use allocation_counter::measure;

    use super::*;
    use crate::tiny;

    fn frame(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Frame {
        let rgb = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y)).collect();
        Frame { width, height, rgb }
    }

    #[test]
    fn the_mean_over_views_and_any_number_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut encoder = crate::Model::load(tiny::bundle(&dir.path().join("b"))).unwrap().encoder;
        let views: Vec<Frame> =
            (0..4).map(|k| frame(40, 30, |x, y| [(x * 6) as u8, (y * 8) as u8, 60 * k as u8])).collect();
        let mut all = Embeddings::default();
        let at = std::time::SystemTime::UNIX_EPOCH;
        encoder.encode(&Panorama::of(at, views.clone()), &mut all).unwrap();
        assert_eq!((all.views(), all.mean().len()), (4, tiny::DIMS));
        for n in 1..=4 {
            let mut some = Embeddings::default();
            encoder.encode(&Panorama::of(at, views[..n].to_vec()), &mut some).unwrap();
            for i in 0..n {
                let off: f32 = some.view(i).iter().zip(all.view(i)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off < 1e-4, "view {i} of {n} does not depend on the others: {off}");
            }
            for d in 0..tiny::DIMS {
                let mean = (0..n).map(|i| some.view(i)[d]).sum::<f32>() / n as f32;
                assert!((mean - some.mean()[d]).abs() < 1e-5);
            }
        }
        let none = Panorama::default();
        encoder.encode(&none, &mut all).unwrap();
        assert_eq!((all.views(), all.mean().len(), all.cut()), (0, 0, Duration::ZERO));
    }

    #[test]
    fn only_the_graph_and_the_resizer_ask_for_memory() {
        let dir = tempfile::tempdir().unwrap();
        let mut encoder = crate::Model::load(tiny::bundle(&dir.path().join("b"))).unwrap().encoder;
        let views = (0..4).map(|k| frame(40, 30, |x, y| [(x * 6) as u8, (y * 8) as u8, 60 * k as u8]));
        let panorama = Panorama::of(SystemTime::UNIX_EPOCH, views);
        let mut out = Embeddings::default();
        // The first times make the plan and the buffers.
        (0..3).for_each(|_| encoder.encode(&panorama, &mut out).unwrap());
        let whole = measure(|| encoder.encode(&panorama, &mut out).unwrap());
        let (plan, input) = (encoder.plans[3].clone().unwrap(), encoder.lanes[0].inputs[3].clone().unwrap());
        let graph = measure(|| drop(graph::run(ENCODER, &plan, &input).unwrap()));
        // The library computes its coefficients anew each time.
        let Lane { cutter, square, .. } = &mut encoder.lanes[0];
        let resizer = measure(|| panorama.views().for_each(|frame| cutter.cut(frame, tiny::SIZE, square).unwrap()));
        assert!(graph.count_total > 0 && resizer.count_total > 0);
        assert_eq!(whole.count_total, graph.count_total + resizer.count_total);
        assert_eq!((whole.count_current, resizer.count_current), (0, 0), "nothing is kept");
        assert!(out.cut() > Duration::ZERO);
    }

    #[test]
    fn any_number_of_threads_gives_the_same_embeddings() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = tiny::bundle(&dir.path().join("b"));
        let views: Vec<Frame> =
            (0..4).map(|k| frame(40, 30, |x, y| [(x * 5) as u8, (y * 7) as u8, 50 * k as u8])).collect();
        let encoded = |threads: usize, views: usize, frames: &[Frame]| {
            let mut encoder =
                Encoder::load(bundle.encoder.clone(), &bundle.manifest.image, tiny::DIMS, threads).unwrap();
            assert_eq!(encoder.threads(), threads.clamp(1, 4));
            let mut out = Embeddings::default();
            for _ in 0..2 {
                encoder.encode(&Panorama::of(SystemTime::UNIX_EPOCH, frames[..views].to_vec()), &mut out).unwrap();
            }
            out
        };
        for count in 1..=4 {
            let one = encoded(1, count, &views);
            for threads in [2, 3, 4, 9] {
                let several = encoded(threads, count, &views);
                let apart = one.rows.iter().zip(&several.rows).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(several.views() == count && apart < 1e-4, "{threads} threads, {count} views: {apart}");
            }
        }
    }

    #[test]
    fn a_weight_that_is_nan_is_refused_by_name() {
        let bytes = tiny::encoder_onnx(Some(f32::NAN));
        let input = ImageInput { size: tiny::SIZE, mean: [0.5; 3], std: [0.25; 3] };
        let e = Encoder::load(bytes.to_vec(), &input, tiny::DIMS, 1).err().unwrap().to_string();
        assert!(e.contains("encoder.onnx: weight") && e.contains("NaN"), "{e}");
        let e = Encoder::load(b"no graph".to_vec(), &input, tiny::DIMS, 1).err().unwrap().to_string();
        assert!(e.starts_with("encoder.onnx cannot be loaded") && !e.contains('\n') && e.len() < 250, "{e}");
    }

    #[test]
    fn another_size_than_the_graphs_own_is_refused() {
        for size in [33, 64] {
            let input = ImageInput { size, mean: [0.5; 3], std: [0.25; 3] };
            let e = Encoder::load(tiny::encoder_onnx(None), &input, tiny::DIMS, 1).err().unwrap().to_string();
            let says = format!("encoder.onnx: its input is 32 x 32 pixels, manifest.toml says image.size = {size}");
            assert!(e.starts_with(&says), "{e}");
        }
    }
}
