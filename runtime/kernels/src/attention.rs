//! Attention over the heads of one sequence, any number of tokens, any size of head.

use aligned_vec::{AVec, ConstAlign};

use crate::cpu::Kernel;
use crate::maths::exponentials;
use crate::simd::{Simd, Work, run};
use crate::tile::{FloatTile, Tiles};

/// Where queries, keys and values of a batch of sequences are: `[sequences][tokens][stride]` floats each, a token's heads
/// beside each other.
#[derive(Clone, Copy, Debug)]
pub struct Projections<'a> {
    /// Queries, keys, values; each begins at its first head.
    pub parts: [&'a [f32]; 3],
    /// Floats from a token to the next.
    pub stride: usize,
}

/// The shape of an attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Sequences in the batch.
    pub sequences: usize,
    /// Tokens of a sequence.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Floats of a head.
    pub head: usize,
    /// What the products of queries and keys are multiplied with: 1 / sqrt(head).
    pub scale: f32,
}

/// Buffers that are kept from call to call.
#[derive(Clone, Debug)]
pub struct Attention {
    kernel: Kernel,
    /// Keys by blocks of columns: `[block][head][columns]`.
    keys: AVec<f32, ConstAlign<64>>,
    /// Values by blocks of columns: `[block][tokens][columns]`.
    values: AVec<f32, ConstAlign<64>>,
    /// Scores of a tile of queries, `[rows][tokens, padded]`.
    scores: AVec<f32, ConstAlign<64>>,
}

impl Attention {
    /// With empty buffers.
    pub fn new(kernel: Kernel) -> Self {
        let empty = || AVec::new(64);
        Attention { kernel, keys: empty(), values: empty(), scores: empty() }
    }

    /// The kernel that it runs with.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Fills `out`, `[sequences][tokens][heads * head]`: each token's mean of the values, weighted by
    /// `softmax(scale * query . key)` over all tokens of its sequence.
    ///
    /// # Panics
    /// When a slice is too short for the shape, or a size is zero.
    pub fn run(&mut self, projections: Projections, shape: Shape, out: &mut [f32]) {
        let Shape { sequences, tokens, heads, head, .. } = shape;
        assert!(sequences * tokens * heads * head > 0, "{shape:?}");
        let width = heads * head;
        assert!(projections.stride >= width, "{shape:?} with tokens {} apart", projections.stride);
        let needed = (sequences * tokens - 1) * projections.stride + width;
        assert!(projections.parts.iter().all(|part| part.len() >= needed), "{shape:?}: too few projections");
        assert_eq!(out.len(), sequences * tokens * width, "{shape:?}: room for the result");
        let kernel = self.kernel;
        run(kernel, Heads { buffers: self, projections, shape, out });
    }
}

struct Heads<'a> {
    buffers: &'a mut Attention,
    projections: Projections<'a>,
    shape: Shape,
    out: &'a mut [f32],
}

impl Work for Heads<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Heads { buffers, projections, shape, out } = self;
        let Shape { sequences, tokens, heads, head, scale } = shape;
        let (columns, stride, width) = (S::FLOAT_COLUMNS, projections.stride, heads * head);
        let (key_blocks, value_blocks) = (tokens.div_ceil(columns), head.div_ceil(columns));
        let padded = key_blocks * columns;
        buffers.keys.resize(key_blocks * head * columns, 0.0);
        buffers.values.resize(value_blocks * tokens * columns, 0.0);
        buffers.scores.resize(S::FLOAT_ROWS * padded, 0.0);
        let [queries, keys, values] = projections.parts;
        let scale = scale * std::f32::consts::LOG2_E;
        for sequence in 0..sequences {
            for h in 0..heads {
                let first = sequence * tokens * stride + h * head;
                pack_keys(&keys[first..], stride, tokens, head, columns, &mut buffers.keys);
                pack_values(&values[first..], stride, tokens, head, columns, &mut buffers.values);
                let scores = &mut buffers.scores;
                for (row, count) in Tiles::new(tokens, S::FLOAT_ROWS) {
                    let mut inverse = [0f32; 16];
                    for block in 0..key_blocks {
                        // SAFETY: the processor has the instructions (`simd::run`). `count` queries from `row` on lie
                        // `stride` apart inside `queries`, as `Attention::run` checked; a block of keys is `head *
                        // columns`, the scores have FLOAT_ROWS rows of `padded`.
                        unsafe {
                            let tile = FloatTile {
                                depth: head,
                                a: queries.as_ptr().add(first + row * stride),
                                a_stride: stride,
                                b: buffers.keys.as_ptr().add(block * head * columns),
                                row_scales: std::ptr::null(),
                                out: scores.as_mut_ptr().add(block * columns),
                                out_stride: padded,
                                columns,
                            };
                            S::float_tile(count, columns.min(tokens - block * columns).div_ceil(S::LANES), &tile);
                        }
                    }
                    for (i, inverse) in inverse.iter_mut().enumerate().take(count) {
                        // SAFETY: the processor has the instructions.
                        *inverse = unsafe { exponentials::<S>(&mut scores[i * padded..][..tokens], scale) };
                    }
                    for block in 0..value_blocks {
                        let column = block * columns;
                        // SAFETY: as above; the tile writes `count` rows of at most `head - column` floats, `width`
                        // apart, from this head's place on, all inside `out`.
                        unsafe {
                            let tile = FloatTile {
                                depth: tokens,
                                a: scores.as_ptr(),
                                a_stride: padded,
                                b: buffers.values.as_ptr().add(block * tokens * columns),
                                row_scales: inverse.as_ptr(),
                                out: out.as_mut_ptr().add((sequence * tokens + row) * width + h * head + column),
                                out_stride: width,
                                columns: columns.min(head - column),
                            };
                            S::float_tile(count, tile.columns.div_ceil(S::LANES), &tile);
                        }
                    }
                }
            }
        }
    }
}

/// Four numbers from `at` on.
#[inline(always)]
fn quad(key: &[f32], at: usize) -> [f32; 4] {
    [key[at], key[at + 1], key[at + 2], key[at + 3]]
}

/// Keys transposed: token t of block b is column `t - b * columns`. Columns beyond the last token are zero.
#[inline(always)]
fn pack_keys(keys: &[f32], stride: usize, tokens: usize, head: usize, columns: usize, packed: &mut [f32]) {
    for (block, panel) in packed.chunks_exact_mut(head * columns).enumerate() {
        let first = block * columns;
        let own = columns.min(tokens - first);
        let key = |column: usize| &keys[(first + column) * stride..][..head];
        // Four keys at a time, four floats of each: whole vectors are read and written, and turned in registers.
        let (quads, fours) = (own / 4 * 4, head / 4 * 4);
        for column in (0..quads).step_by(4) {
            let four = [key(column), key(column + 1), key(column + 2), key(column + 3)];
            for d in (0..fours).step_by(4) {
                // Not by `map`: its closure has not the instructions of this function, and is called each time.
                let block = [quad(four[0], d), quad(four[1], d), quad(four[2], d), quad(four[3], d)];
                for i in 0..4 {
                    let row = &mut panel[(d + i) * columns + column..][..4];
                    row.copy_from_slice(&[block[0][i], block[1][i], block[2][i], block[3][i]]);
                }
            }
            for d in fours..head {
                let row = &mut panel[d * columns + column..][..4];
                row.copy_from_slice(&[four[0][d], four[1][d], four[2][d], four[3][d]]);
            }
        }
        for column in quads..own {
            for (d, x) in key(column).iter().enumerate() {
                panel[d * columns + column] = *x;
            }
        }
        for row in panel.chunks_exact_mut(columns) {
            row[own..].fill(0.0);
        }
    }
}

/// Values as they are, in panels of `columns` floats, zeros beyond the head.
#[inline(always)]
fn pack_values(values: &[f32], stride: usize, tokens: usize, head: usize, columns: usize, packed: &mut [f32]) {
    for (block, panel) in packed.chunks_exact_mut(tokens * columns).enumerate() {
        let first = block * columns;
        let own = columns.min(head - first);
        for (token, row) in panel.chunks_exact_mut(columns).enumerate() {
            row[..own].copy_from_slice(&values[token * stride + first..][..own]);
            row[own..].fill(0.0);
        }
    }
}
