//! Attention over the heads of one sequence, any number of tokens, any size of head.

use aligned_vec::{AVec, ConstAlign};

use crate::cpu::Kernel;
use crate::maths::exponentials;
use crate::simd::{Simd, Work, run};
use crate::tile::{FloatTile, LINE, Tiles};

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
    /// Values of a head, `[tokens][head, padded]`: in place, `stride` apart, their lines would push one another out of the
    /// nearest cache.
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
        let (stride, width) = (projections.stride, heads * head);
        // Blocks of keys as even as vectors allow: one of few columns would have few sums, each of which waits for its last.
        let vectors = tokens.div_ceil(S::LANES);
        let key_blocks = (vectors * S::LANES).div_ceil(S::FLOAT_COLUMNS);
        let columns = vectors.div_ceil(key_blocks) * S::LANES;
        let padded = key_blocks * columns;
        let head_padded = head.next_multiple_of(S::LANES);
        buffers.keys.resize(key_blocks * head * columns, 0.0);
        buffers.values.resize(tokens * head_padded, 0.0);
        buffers.scores.resize(S::FLOAT_ROWS * padded, 0.0);
        let [queries, keys, values] = projections.parts;
        let scale = scale * std::f32::consts::LOG2_E;
        for sequence in 0..sequences {
            for h in 0..heads {
                let first = sequence * tokens * stride + h * head;
                // SAFETY: the processor has the instructions (`simd::run`).
                unsafe {
                    pack_keys::<S>(&keys[first..], stride, tokens, head, columns, &mut buffers.keys);
                    pack_values::<S>(&values[first..], stride, head, head_padded, &mut buffers.values);
                }
                let scores = &mut buffers.scores;
                let next = if h + 1 < heads { first + head } else { (sequence + 1) * tokens * stride };
                for (row, count) in Tiles::new(tokens, S::FLOAT_ROWS) {
                    // A head's tokens lie too far apart for the processor to foresee the next head's.
                    for part in projections.parts {
                        for token in row..row + count {
                            for at in (0..head).step_by(LINE / size_of::<f32>()) {
                                let line = part.as_ptr().wrapping_add(next + token * stride + at);
                                // SAFETY: the processor has the instructions; after the last head the address is not
                                // valid, which is allowed here.
                                unsafe { S::prefetch(line.cast()) }
                            }
                        }
                    }
                    let mut inverse = [0f32; 16];
                    for block in 0..key_blocks {
                        // SAFETY: the processor has the instructions (`simd::run`). `count` queries from `row` on lie
                        // `stride` apart inside `queries`, as `Attention::run` checked; a block of keys is `head *
                        // columns`, of at most FLOAT_COLUMNS columns; the scores have FLOAT_ROWS rows of `padded`.
                        unsafe {
                            let tile = FloatTile {
                                depth: head,
                                a: queries.as_ptr().add(first + row * stride),
                                a_stride: stride,
                                b: buffers.keys.as_ptr().add(block * head * columns),
                                b_stride: columns,
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
                    for column in (0..head).step_by(S::FLOAT_COLUMNS) {
                        // SAFETY: as above; there are `tokens` rows of `head_padded` values; the tile writes `count` rows of
                        // at most `head - column` floats, `width` apart, from this head's place on, all inside `out`.
                        unsafe {
                            let tile = FloatTile {
                                depth: tokens,
                                a: scores.as_ptr(),
                                a_stride: padded,
                                b: buffers.values.as_ptr().add(column),
                                b_stride: head_padded,
                                row_scales: inverse.as_ptr(),
                                out: out.as_mut_ptr().add((sequence * tokens + row) * width + h * head + column),
                                out_stride: width,
                                columns: S::FLOAT_COLUMNS.min(head - column),
                            };
                            S::float_tile(count, tile.columns.div_ceil(S::LANES), &tile);
                        }
                    }
                }
            }
        }
    }
}

/// Keys turned: token t of block b is column `t - b * columns`. What columns behind the last token hold, nobody asks.
///
/// # Safety
/// The processor must have `S`'s instructions.
#[inline(always)]
unsafe fn pack_keys<S: Simd>(
    keys: &[f32],
    stride: usize,
    tokens: usize,
    head: usize,
    columns: usize,
    packed: &mut [f32],
) {
    for (block, panel) in packed.chunks_exact_mut(head * columns).enumerate() {
        let first = block * columns;
        let own = columns.min(tokens - first);
        let (quads, fours) = (own / 4 * 4, head / 4 * 4);
        for column in (0..quads).step_by(4) {
            let four = &keys[(first + column) * stride..][..3 * stride + head];
            for d in (0..fours).step_by(4) {
                let place = &mut panel[d * columns + column..][..3 * columns + 4];
                // SAFETY: as this function's own; four rows of four floats begin `stride` apart in `four`, and `columns`
                // apart in `place`.
                unsafe { S::turn(four[d..].as_ptr(), stride, place.as_mut_ptr(), columns) }
            }
            for d in fours..head {
                for i in 0..4 {
                    panel[d * columns + column + i] = four[i * stride + d];
                }
            }
        }
        for column in quads..own {
            for (d, x) in keys[(first + column) * stride..][..head].iter().enumerate() {
                panel[d * columns + column] = *x;
            }
        }
    }
}

/// Values as they are, zeros behind each token's. Not by `copy_from_slice`: to call the library for each token takes longer
/// than to copy.
///
/// # Safety
/// The processor must have `S`'s instructions.
#[inline(always)]
unsafe fn pack_values<S: Simd>(values: &[f32], stride: usize, head: usize, padded: usize, packed: &mut [f32]) {
    for (token, row) in packed.chunks_exact_mut(padded).enumerate() {
        let own = &values[token * stride..][..head];
        for at in (0..padded).step_by(S::LANES) {
            let left = head - at;
            // SAFETY: as this function's own; what is read ends with `own`, and `row` is whole vectors.
            unsafe {
                let p = own.as_ptr().add(at);
                let value = if left >= S::LANES { S::load(p) } else { S::load_part(p, left) };
                S::store(row.as_mut_ptr().add(at), value);
            }
        }
    }
}
