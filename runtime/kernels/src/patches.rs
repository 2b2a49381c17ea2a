//! CLIP's patch embedding: each patch of an image, as a row, times a matrix of floats.

use aligned_vec::{AVec, ConstAlign};

use crate::cpu::Kernel;
use crate::simd::{Simd, Work, run};
use crate::tile::{FloatTile, in_tiles};

/// A convolution whose kernel is as large as its step, packed for one kernel of instructions.
#[derive(Clone, Debug)]
pub struct PatchEmbedding {
    kernel: Kernel,
    channels: usize,
    patch: usize,
    outputs: usize,
    columns: usize,
    /// `[panel][channels * patch * patch][columns]`.
    weights: AVec<f32, ConstAlign<64>>,
    bias: AVec<f32, ConstAlign<64>>,
}

/// Weights are not those of a patch embedding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a patch embedding of {channels} x {patch} x {patch} to {outputs} with {weights} weights, {bias} biases")]
pub struct PatchError {
    channels: usize,
    patch: usize,
    outputs: usize,
    weights: usize,
    bias: usize,
}

impl PatchEmbedding {
    /// Packs weights `[outputs][channels][patch][patch]`.
    ///
    /// # Errors
    /// When there are other numbers of them.
    pub fn new(
        kernel: Kernel,
        (channels, patch, outputs): (usize, usize, usize),
        weights: &[f32],
        bias: &[f32],
    ) -> Result<Self, PatchError> {
        let depth = channels * patch * patch;
        if weights.len() != outputs * depth || bias.len() != outputs || depth * outputs == 0 {
            let (weights, bias) = (weights.len(), bias.len());
            return Err(PatchError { channels, patch, outputs, weights, bias });
        }
        let columns = float_columns(kernel);
        let width = outputs.next_multiple_of(columns);
        let mut packed = AVec::<f32, ConstAlign<64>>::new(64);
        packed.resize(width * depth, 0.0);
        for (output, row) in weights.chunks_exact(depth).enumerate() {
            let (panel, column) = (output / columns, output % columns);
            for (k, weight) in row.iter().enumerate() {
                packed[(panel * depth + k) * columns + column] = *weight;
            }
        }
        let mut padded = AVec::<f32, ConstAlign<64>>::from_iter(64, bias.iter().copied());
        padded.resize(width, 0.0);
        Ok(PatchEmbedding { kernel, channels, patch, outputs, columns, weights: packed, bias: padded })
    }

    /// Values of a patch's embedding.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Side of a patch in pixels.
    pub fn patch(&self) -> usize {
        self.patch
    }

    /// Fills `out`, `[images][patches, row by row][outputs]`, from images `[images][channels][height][width]`. Pixels
    /// beyond the last whole patch are left out.
    ///
    /// # Panics
    /// When `images` or `out` have another length.
    pub fn run(&self, images: &[f32], (count, height, width): (usize, usize, usize), out: &mut [f32]) {
        let (down, across) = (height / self.patch, width / self.patch);
        assert_eq!(images.len(), count * self.channels * height * width, "images");
        assert_eq!(out.len(), count * down * across * self.outputs, "room for the embeddings");
        let depth = self.channels * self.patch * self.patch;
        // One row of patches at a time stays in the nearest caches.
        let mut rows = vec![0f32; across * depth];
        for (line, out) in out.chunks_exact_mut((across * self.outputs).max(1)).enumerate() {
            let (image, y) = (line / down, line % down * self.patch);
            for channel in 0..self.channels {
                for dy in 0..self.patch {
                    let source = &images[((image * self.channels + channel) * height + y + dy) * width..][..width];
                    for (x, piece) in source.chunks_exact(self.patch).enumerate() {
                        let place = x * depth + (channel * self.patch + dy) * self.patch;
                        rows[place..place + self.patch].copy_from_slice(piece);
                    }
                }
            }
            run(self.kernel, Line { of: self, rows: &rows, depth, out });
        }
    }
}

fn float_columns(kernel: Kernel) -> usize {
    struct Columns<'a>(&'a mut usize);
    impl Work for Columns<'_> {
        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            *self.0 = S::FLOAT_COLUMNS;
        }
    }
    let mut columns = 0;
    run(kernel, Columns(&mut columns));
    columns
}

struct Line<'a> {
    of: &'a PatchEmbedding,
    rows: &'a [f32],
    depth: usize,
    out: &'a mut [f32],
}

impl Work for Line<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Line { of, rows, depth, out } = self;
        let (columns, outputs) = (S::FLOAT_COLUMNS, of.outputs);
        debug_assert_eq!(columns, of.columns);
        for panel in 0..outputs.div_ceil(columns) {
            let column = panel * columns;
            in_tiles(rows.len() / depth, S::FLOAT_ROWS, |first, count| {
                // SAFETY: the processor has the instructions (`simd::run`); a panel has `depth * columns` weights, and
                // the tile's rows are whole rows of `rows` and of `out`.
                unsafe {
                    let tile = FloatTile {
                        depth,
                        a: rows.as_ptr().add(first * depth),
                        a_stride: depth,
                        b: of.weights.as_ptr().add(panel * depth * columns),
                        row_scales: std::ptr::null(),
                        bias: of.bias.as_ptr().add(column),
                        out: out.as_mut_ptr().add(first * outputs + column),
                        out_stride: outputs,
                        columns: columns.min(outputs - column),
                    };
                    S::float_tile(count, &tile);
                }
            });
        }
    }
}
