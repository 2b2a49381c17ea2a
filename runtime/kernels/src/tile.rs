//! The two inner loops: a few rows times a panel of columns, the sums all in registers.
#![allow(clippy::needless_range_loop, reason = "plain indices are what the compiler turns into registers")]

#[allow(unused_imports, reason = "named in a description")]
use crate::rows::{OVERHANG, ROWS_OVER};
use crate::simd::Simd;

/// Bytes of a row that one dot product takes.
pub(crate) const GROUP: usize = 4;

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// A block of an integer product: rows of bytes times a panel of weights, then scales and bias.
///
/// `out[r][c] = (sum over k of (rows[r][k] - zero) * weights[k][c]) * row_scales[r] * column_scales[c] + bias[c]`, and
/// `+ added[r][c]` where `added` is not null.
pub(crate) struct IntTile {
    /// First row; `row_stride` bytes to the next. Where a row is one piece, [`ROWS_OVER`] rows and [`OVERHANG`] bytes behind
    /// the last may be read.
    pub rows: *const u8,
    pub row_stride: usize,
    /// A row is so many pieces, `next_piece` bytes apart, of `groups` groups of four: whole steps of [`Simd::INT_GROUPS`].
    /// One piece where the family has not [`Simd::PIECES`].
    pub pieces: usize,
    pub next_piece: usize,
    pub groups: usize,
    /// `[pieces][groups][INT_COLUMNS][4]`.
    pub weights: *const i8,
    /// What to bring into the cache meanwhile: a part of the next panel, which need not be valid.
    pub next: *const i8,
    pub next_bytes: usize,
    /// The byte that stands for zero.
    pub zero: i32,
    /// `INT_COLUMNS` values each, as the two below: sums of the columns' weights.
    pub sums: *const i32,
    pub column_scales: *const f32,
    pub bias: *const f32,
    /// One for each row.
    pub row_scales: *const f32,
    /// Of the first row; `out_stride` floats to the next.
    pub added: *const f32,
    pub out: *mut f32,
    pub out_stride: usize,
    /// Columns of the panel that are written.
    pub columns: usize,
}

/// `R` rows times `C` vectors of columns.
///
/// # Safety
/// The processor must have `S`'s instructions, and the tile's pointers be valid for what its fields say.
#[inline(always)]
pub(crate) unsafe fn int_tile<S: Simd, const R: usize, const C: usize>(t: &IntTile) {
    // SAFETY: as this function's own.
    unsafe {
        let width = C * S::LANES;
        ask_for::<S, R>(t.out, t.out_stride, width);
        if !t.added.is_null() {
            ask_for::<S, R>(t.added, t.out_stride, width);
        }
        // The next panel comes evenly spread over the products: asked for at once, it would hold up the loads of this one.
        // A branch in the loop would cost more than to ask again and again where there is nothing to ask for.
        let (mut next, step) = (t.next, t.next_bytes.div_ceil(t.pieces * t.groups));
        debug_assert!(step <= LINE, "lines are left out");
        let mut sums: [[S::I; C]; R] = [[S::splat_bytes(0); C]; R];
        let mut weights = t.weights;
        for piece in 0..t.pieces {
            let mut row = t.rows.wrapping_add(piece * t.next_piece);
            for _ in 0..t.groups {
                S::prefetch(next);
                next = next.wrapping_add(step);
                let mut panel = [S::load_bytes(weights); C];
                for c in 1..C {
                    panel[c] = S::load_bytes(weights.add(GROUP * S::LANES * c));
                }
                for r in 0..R {
                    let four = S::splat_bytes(row.add(r * t.row_stride).cast::<i32>().read_unaligned());
                    for c in 0..C {
                        sums[r][c] = S::dot(sums[r][c], four, panel[c]);
                    }
                }
                row = row.wrapping_add(GROUP);
                weights = weights.add(GROUP * width);
            }
        }
        if t.columns == width {
            if t.added.is_null() {
                finish_whole::<S, R, C, false>(t, sums);
            } else {
                finish_whole::<S, R, C, true>(t, sums);
            }
            return;
        }
        // What follows is a loop that is not unrolled: it must not be the reason to keep the sums in memory above.
        let mut done = std::mem::MaybeUninit::<[[S::I; C]; R]>::uninit();
        let sum = done.as_mut_ptr().cast::<S::I>();
        for r in 0..R {
            for c in 0..C {
                sum.add(r * C + c).write(sums[r][c]);
            }
        }
        finish::<S>(t, R, C, sum);
    }
}

/// Asks for `R` rows of `width` floats, `stride` apart: they are in the nearest cache when the products are done, and their
/// stores do not hold up those of the next tile. Of rows that begin within a line, the last one may be left out.
#[inline(always)]
unsafe fn ask_for<S: Simd, const R: usize>(p: *const f32, stride: usize, width: usize) {
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        for r in 0..R {
            for at in (0..width).step_by(LINE / size_of::<f32>()) {
                S::prefetch_near(p.wrapping_add(r * stride + at).cast());
            }
        }
    }
}

/// A sum of products, begun at `start`, as a float.
#[inline(always)]
unsafe fn scaled<S: Simd>(sum: S::I, start: S::I, row_scale: S::F, scale: S::F, bias: S::F) -> S::F {
    // SAFETY: the caller vouches for the instructions.
    unsafe { S::fma(S::mul(S::int_to_float(S::int_add(sum, start)), row_scale), scale, bias) }
}

/// As [`finish`], of sums in registers and a whole panel.
///
/// # Safety
/// As [`int_tile`].
#[inline(always)]
unsafe fn finish_whole<S: Simd, const R: usize, const C: usize, const ADDED: bool>(t: &IntTile, sums: [[S::I; C]; R]) {
    let &IntTile { zero, sums: of_weights, column_scales, bias, row_scales, added, out, out_stride, .. } = t;
    // SAFETY: as this function's own.
    unsafe {
        let mut start = [S::splat_bytes(0); C];
        let [mut scales, mut biases] = [[S::splat(0.0); C]; 2];
        for c in 0..C {
            let at = c * S::LANES;
            start[c] = S::int_times(of_weights.add(at), -zero);
            (scales[c], biases[c]) = (S::load(column_scales.add(at)), S::load(bias.add(at)));
        }
        for r in 0..R {
            let row_scale = S::splat(*row_scales.add(r));
            for c in 0..C {
                let place = r * out_stride + c * S::LANES;
                let mut y = scaled::<S>(sums[r][c], start[c], row_scale, scales[c], biases[c]);
                if ADDED {
                    y = S::add(y, S::load(added.add(place)));
                }
                S::store(out.add(place), y);
            }
        }
    }
}

/// What becomes of the sums of `rows` times `vectors` vectors of products: `rows[r][k] * weights[k][c]`.
///
/// # Safety
/// As [`int_tile`]; the sums, at any address, must be as many as said.
#[inline(always)]
pub(crate) unsafe fn finish<S: Simd>(t: &IntTile, rows: usize, vectors: usize, sums: *const S::I) {
    // What is behind `t` could change with every number that is written, for all that the compiler knows.
    let &IntTile { zero, sums: of_weights, column_scales, bias, row_scales, added, out, out_stride, columns, .. } = t;
    // SAFETY: as this function's own; `columns` bounds what is read of `added` and written.
    unsafe {
        for c in 0..vectors {
            let at = c * S::LANES;
            if at >= columns {
                break;
            }
            let left = columns - at;
            let start = S::int_times(of_weights.add(at), -zero);
            let (scale, bias) = (S::load(column_scales.add(at)), S::load(bias.add(at)));
            for r in 0..rows {
                let (sum, row_scale) = (sums.add(r * vectors + c).read_unaligned(), S::splat(*row_scales.add(r)));
                let mut y = scaled::<S>(sum, start, row_scale, scale, bias);
                let place = r * out_stride + at;
                if left >= S::LANES {
                    if !added.is_null() {
                        y = S::add(y, S::load(added.add(place)));
                    }
                    S::store(out.add(place), y);
                } else {
                    if !added.is_null() {
                        y = S::add(y, S::load_part(added.add(place), left));
                    }
                    S::store_part(out.add(place), y, left);
                }
            }
        }
    }
}

/// A block of a float product: `out[r][c] = (sum over k of a[r][k] * b[k][c]) * row_scales[r]`.
pub(crate) struct FloatTile {
    pub depth: usize,
    /// First row; `a_stride` floats to the next.
    pub a: *const f32,
    pub a_stride: usize,
    /// First row of columns; `b_stride` floats to the next. Whole vectors are read.
    pub b: *const f32,
    pub b_stride: usize,
    /// One for each row; null for 1.
    pub row_scales: *const f32,
    pub out: *mut f32,
    pub out_stride: usize,
    /// Columns that are written.
    pub columns: usize,
}

/// `R` rows times `C` vectors of columns.
///
/// # Safety
/// As [`int_tile`].
#[inline(always)]
pub(crate) unsafe fn float_tile<S: Simd, const R: usize, const C: usize>(t: &FloatTile) {
    // SAFETY: as this function's own; `columns` bounds what is written.
    unsafe {
        let mut sums: [[S::F; C]; R] = [[S::splat(0.0); C]; R];
        let mut b = t.b;
        for k in 0..t.depth {
            let mut row = [S::load(b); C];
            for c in 1..C {
                row[c] = S::load(b.add(c * S::LANES));
            }
            for r in 0..R {
                let a = S::splat(*t.a.add(r * t.a_stride + k));
                for c in 0..C {
                    sums[r][c] = S::fma(a, row[c], sums[r][c]);
                }
            }
            // Behind the last row it may lie outside.
            b = b.wrapping_add(t.b_stride);
        }
        if t.columns >= C * S::LANES {
            for r in 0..R {
                let scale = S::splat(if t.row_scales.is_null() { 1.0 } else { *t.row_scales.add(r) });
                for c in 0..C {
                    S::store(t.out.add(r * t.out_stride + c * S::LANES), S::mul(sums[r][c], scale));
                }
            }
            return;
        }
        // As in `int_tile`.
        let mut done = std::mem::MaybeUninit::<[[S::F; C]; R]>::uninit();
        let sum = done.as_mut_ptr().cast::<S::F>();
        for r in 0..R {
            for c in 0..C {
                sum.add(r * C + c).write(sums[r][c]);
            }
        }
        for c in 0..C {
            let at = c * S::LANES;
            if at >= t.columns {
                break;
            }
            let left = t.columns - at;
            for r in 0..R {
                let scale = if t.row_scales.is_null() { 1.0 } else { *t.row_scales.add(r) };
                let y = S::mul(sum.add(r * C + c).read(), S::splat(scale));
                let place = t.out.add(r * t.out_stride + at);
                if left >= S::LANES { S::store(place, y) } else { S::store_part(place, y, left) }
            }
        }
    }
}

/// The first row and the number of rows of tiles of at most `most` rows, evenly divided.
///
/// An iterator and no function that takes a closure: a closure has not the instructions of the function around it, and
/// where it is not inlined, every vector operation in it becomes a call.
pub(crate) struct Tiles {
    first: usize,
    rows: usize,
    left: usize,
}

impl Tiles {
    #[inline(always)]
    pub fn new(rows: usize, most: usize) -> Self {
        Tiles { first: 0, rows, left: rows.div_ceil(most) }
    }
}

impl Iterator for Tiles {
    type Item = (usize, usize);

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, usize)> {
        if self.left == 0 {
            return None;
        }
        let (first, count) = (self.first, (self.rows - self.first).div_ceil(self.left));
        (self.first, self.left) = (first + count, self.left - 1);
        Some((first, count))
    }
}
