//! The two inner loops: a few rows times a panel of columns, the sums all in registers.

use crate::simd::Simd;

/// Bytes of a row that one dot product takes.
pub(crate) const GROUP: usize = 4;

/// A block of an integer product: rows of bytes times a panel of weights, then scales and bias.
///
/// `out[r][c] = (start[c] + sum over k of rows[r][k] * weights[k][c]) * row_scales[r] * column_scales[c] + bias[c]`,
/// and `+ added[r][c]` where `added` is not null.
pub(crate) struct IntTile {
    /// Groups of four along a row.
    pub groups: usize,
    /// First row; `row_stride` bytes to the next.
    pub rows: *const u8,
    pub row_stride: usize,
    /// `[groups][INT_COLUMNS][4]`.
    pub weights: *const i8,
    /// `INT_COLUMNS` values each.
    pub start: *const i32,
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
    // SAFETY: as this function's own; `columns` bounds what is read of `added` and written.
    unsafe {
        let width = C * S::LANES;
        let mut sums: [[S::I; C]; R] = {
            let start: [S::I; C] = std::array::from_fn(|c| S::int_load(t.start.add(c * S::LANES)));
            [start; R]
        };
        let (mut row, mut weights) = (t.rows, t.weights);
        for _ in 0..t.groups {
            for c in 0..C {
                let panel = weights.add(GROUP * S::LANES * c);
                for (r, sums) in sums.iter_mut().enumerate() {
                    let four = row.add(r * t.row_stride).cast::<i32>().read_unaligned();
                    sums[c] = S::dot(sums[c], four, panel);
                }
            }
            row = row.add(GROUP);
            weights = weights.add(GROUP * width);
        }
        for c in 0..C {
            let at = c * S::LANES;
            if at >= t.columns {
                break;
            }
            let left = t.columns - at;
            let (scale, bias) = (S::load(t.column_scales.add(at)), S::load(t.bias.add(at)));
            for (r, sums) in sums.iter().enumerate() {
                let scaled = S::mul(S::int_to_float(sums[c]), S::splat(*t.row_scales.add(r)));
                let mut y = S::fma(scaled, scale, bias);
                let place = r * t.out_stride + at;
                if left >= S::LANES {
                    if !t.added.is_null() {
                        y = S::add(y, S::load(t.added.add(place)));
                    }
                    S::store(t.out.add(place), y);
                } else {
                    if !t.added.is_null() {
                        y = S::add(y, S::load_part(t.added.add(place), left));
                    }
                    S::store_part(t.out.add(place), y, left);
                }
            }
        }
    }
}

/// A block of a float product: `out[r][c] = (sum over k of a[r][k] * b[k][c]) * row_scales[r] + bias[c]`.
pub(crate) struct FloatTile {
    pub depth: usize,
    /// First row; `a_stride` floats to the next.
    pub a: *const f32,
    pub a_stride: usize,
    /// `[depth][FLOAT_COLUMNS]`.
    pub b: *const f32,
    /// One for each row; null for 1.
    pub row_scales: *const f32,
    /// `FLOAT_COLUMNS` values; null for 0.
    pub bias: *const f32,
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
            let row: [S::F; C] = std::array::from_fn(|c| S::load(b.add(c * S::LANES)));
            for (r, sums) in sums.iter_mut().enumerate() {
                let a = S::splat(*t.a.add(r * t.a_stride + k));
                for (sum, b) in sums.iter_mut().zip(row) {
                    *sum = S::fma(a, b, *sum);
                }
            }
            b = b.add(C * S::LANES);
        }
        for c in 0..C {
            let at = c * S::LANES;
            if at >= t.columns {
                break;
            }
            let left = t.columns - at;
            let bias = if t.bias.is_null() { S::splat(0.0) } else { S::load(t.bias.add(at)) };
            for (r, sums) in sums.iter().enumerate() {
                let scale = if t.row_scales.is_null() { 1.0 } else { *t.row_scales.add(r) };
                let y = S::fma(sums[c], S::splat(scale), bias);
                let place = t.out.add(r * t.out_stride + at);
                if left >= S::LANES { S::store(place, y) } else { S::store_part(place, y, left) }
            }
        }
    }
}

/// Calls `each` with the first row and the number of rows of tiles of at most `most` rows, evenly divided.
#[inline(always)]
pub(crate) fn in_tiles(rows: usize, most: usize, mut each: impl FnMut(usize, usize)) {
    let tiles = rows.div_ceil(most);
    let mut first = 0;
    for tile in 0..tiles {
        let own = (rows - first).div_ceil(tiles - tile);
        each(first, own);
        first += own;
    }
}
