//! Rows on their way into integer products: normalised where a LayerNorm stands before, then as bytes with one scale.
#![allow(clippy::needless_range_loop, reason = "plain indices are what the compiler turns into registers")]

use aligned_vec::{AVec, ConstAlign};

use crate::cpu::Kernel;
use crate::simd::{Family, Simd, Work, run};
use crate::tile::GROUP;

/// Bytes that a vector's store may reach over the end of what it is meant for.
pub(crate) const OVERHANG: usize = 64;
/// Rows behind the last that products may read, whatever they hold: a tile of rows is always whole.
pub(crate) const ROWS_OVER: usize = 15;

/// A LayerNorm over rows: `(x - mean) / sqrt(variance + epsilon) * gain + shift`.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm {
    /// One for each value of a row.
    pub gain: Vec<f32>,
    /// One for each value of a row.
    pub shift: Vec<f32>,
    /// Added to the variance.
    pub epsilon: f32,
}

/// Where rows lie in a buffer. They may overlap: a convolution reads its windows from the image itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Places {
    /// Rows that are `stride` bytes apart: a line of them.
    pub across: usize,
    pub stride: usize,
    /// Bytes from the first row of a line to that of the next.
    pub line: usize,
    /// Bytes of a row that lie together, whole groups, and from the first of them to the row's next.
    pub piece: usize,
    pub next_piece: usize,
}

/// Rows as bytes: `value = (byte - zero) * scale` of its row, with bytes in -127..=127, and -128 for a pixel.
#[derive(Clone, Debug)]
pub struct Bytes {
    pub(crate) kernel: Kernel,
    pub(crate) rows: usize,
    /// What is beyond it, up to whole groups, meets weights of zero.
    pub(crate) width: usize,
    pub(crate) places: Places,
    pub(crate) bytes: AVec<u8, ConstAlign<64>>,
    pub(crate) scales: Vec<f32>,
    pub(crate) zero: i32,
    normalised: Vec<f32>,
}

impl Bytes {
    /// No rows yet.
    pub fn new(kernel: Kernel) -> Self {
        let bytes = AVec::new(64);
        let (places, scales) = (Places::default(), Vec::new());
        Bytes { kernel, rows: 0, width: 0, places, bytes, scales, zero: 0, normalised: Vec::new() }
    }

    /// Takes rows of `width` floats, through a LayerNorm where one is given. Buffers are kept. A row of zeros has scale
    /// zero; values that are not finite give bytes without meaning, and stay NaN in the scale.
    ///
    /// # Panics
    /// When `values` are no whole rows, or the LayerNorm has another width.
    pub fn take(&mut self, values: &[f32], width: usize, norm: Option<&LayerNorm>) {
        assert!(width > 0 && values.len().is_multiple_of(width), "{} values in rows of {width}", values.len());
        if let Some(norm) = norm {
            assert!(norm.gain.len() == width && norm.shift.len() == width, "a LayerNorm of another width");
        }
        self.shape(values.len() / width, width);
        self.normalised.resize(width, 0.0);
        let kernel = self.kernel;
        run(kernel, Take { of: self, values, norm });
    }

    /// Makes room for rows one after the other.
    pub(crate) fn shape(&mut self, rows: usize, width: usize) {
        let stride = width.next_multiple_of(GROUP);
        (self.rows, self.width, self.zero) = (rows, width, 0);
        self.places = Places { across: rows, stride, line: 0, piece: stride, next_piece: stride };
        self.make_room(rows, (rows + ROWS_OVER) * stride);
    }

    /// Makes room for `bytes` bytes, which it gives with [`OVERHANG`] more, and in which rows lie as told.
    ///
    /// # Panics
    /// When the last row would reach over the end, rows are no whole lines, a row no whole pieces, a piece no whole groups,
    /// or the kernel's family takes no pieces.
    pub(crate) fn lay_out(&mut self, rows: usize, width: usize, places: Places, bytes: usize) -> &mut [u8] {
        let Places { across, stride, line, piece, next_piece } = places;
        let pieces = width / piece;
        assert!(Family::of(self.kernel).pieces, "rows in pieces");
        assert!(piece.is_multiple_of(GROUP) && width == pieces * piece, "rows of {width} in {places:?}");
        if rows > 0 {
            assert!(rows.is_multiple_of(across), "{rows} rows in {places:?}");
            let last = (rows / across - 1) * line + (across - 1) * stride;
            assert!(last + (pieces - 1) * next_piece + piece <= bytes, "{rows} rows, {places:?} in {bytes} bytes");
        }
        (self.rows, self.width, self.places, self.zero) = (rows, width, places, 0);
        self.make_room(rows, bytes);
        &mut self.bytes[..bytes + OVERHANG]
    }

    /// Never less than before: what a smaller product takes away, the next would have to fill with zeros again.
    fn make_room(&mut self, rows: usize, bytes: usize) {
        self.bytes.resize((bytes + OVERHANG).max(self.bytes.len()), 0);
        self.scales.resize(rows.max(self.scales.len()), 0.0);
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Values of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The kernel that they are for.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// The bytes of a row as numbers, and its scale.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row(&self, row: usize) -> (Vec<i8>, f32) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let unsigned = Family::of(self.kernel).unsigned;
        let number = |b: &u8| if unsigned { (b ^ 0x80).cast_signed() } else { b.cast_signed() };
        (self.bytes[row * self.places.stride..][..self.width].iter().map(number).collect(), self.scales[row])
    }
}

struct Take<'a> {
    of: &'a mut Bytes,
    values: &'a [f32],
    norm: Option<&'a LayerNorm>,
}

impl Work for Take<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Take { of: Bytes { width, places, bytes, scales, normalised, .. }, values, norm } = self;
        for (i, row) in values.chunks_exact(*width).enumerate() {
            // SAFETY: the processor has the instructions (`simd::run`); each row's bytes end before the padding.
            unsafe {
                let (row, most) = match norm {
                    Some(norm) => {
                        let most = normalise::<S>(row, norm, normalised);
                        (&normalised[..], most)
                    }
                    None => (row, magnitude::<S>(row)),
                };
                let factor = steps(127.0, most);
                // NaN and infinity stay visible to whoever reads the product.
                scales[i] = if most.is_finite() { most / 127.0 } else { f32::NAN };
                write_scaled::<S>(row, factor, bytes[i * places.stride..].as_mut_ptr());
            }
        }
    }
}

/// What brings values of this range to so many steps. Where it would be infinite, as of a range below 1e-37 or so, all are as
/// good as zero.
#[inline(always)]
pub(crate) fn steps(count: f32, range: f32) -> f32 {
    let factor = count / range;
    if factor.is_finite() { factor } else { 0.0 }
}

/// The smallest and the largest value, zero among them; infinite where a value is infinite or NaN.
#[inline(always)]
pub(crate) unsafe fn extent<S: Simd>(row: &[f32]) -> (f32, f32) {
    // SAFETY: the caller vouches for the instructions; parts stay inside the row.
    unsafe {
        let [mut low, mut high, mut odd] = [S::splat(0.0); 3];
        let mut chunks = row.chunks_exact(S::LANES);
        for chunk in &mut chunks {
            let x = S::load(chunk.as_ptr());
            (low, high) = (S::min(low, x), S::max(high, x));
            // x - x is 0, or NaN where x is not finite.
            odd = S::add(odd, S::sub(x, x));
        }
        let rest = chunks.remainder();
        let x = S::load_part(rest.as_ptr(), rest.len());
        (low, high) = (S::min(low, x), S::max(high, x));
        odd = S::add(odd, S::sub(x, x));
        if S::sum(odd) != 0.0 {
            return (f32::NEG_INFINITY, f32::INFINITY);
        }
        (-S::largest(S::sub(S::splat(0.0), low)), S::largest(high))
    }
}

/// Writes `row * factor + zero` as bytes in -128..=127. Rounded after the product too, and not fused: not every kernel
/// can, and all are to give the same bytes. The last vector may reach up to [`OVERHANG`] bytes over the end.
#[inline(always)]
pub(crate) unsafe fn write<S: Simd>(row: &[f32], factor: f32, zero: f32, out: *mut u8) {
    // SAFETY: the caller vouches for the instructions and the space; parts of the row stay inside.
    unsafe {
        let (factor, zero) = (S::splat(factor), S::splat(zero));
        let (low, high) = (S::splat(-128.0), S::splat(127.0));
        let mut chunks = row.chunks_exact(S::LANES);
        let mut at = 0;
        for chunk in &mut chunks {
            let x = S::add(S::mul(S::load(chunk.as_ptr()), factor), zero);
            S::store_bytes(out.add(at), S::max(S::min(x, high), low));
            at += S::LANES;
        }
        let rest = chunks.remainder();
        if !rest.is_empty() {
            let x = S::add(S::mul(S::load_part(rest.as_ptr(), rest.len()), factor), zero);
            S::store_bytes(out.add(at), S::max(S::min(x, high), low));
        }
    }
}

/// Writes `row * factor` as bytes: as [`write`], where the factor itself keeps them in -127..=127.
#[inline(always)]
unsafe fn write_scaled<S: Simd>(row: &[f32], factor: f32, out: *mut u8) {
    // SAFETY: as `write`.
    unsafe {
        let factor = S::splat(factor);
        let whole = row.len() / S::LANES * S::LANES;
        for at in (0..whole).step_by(S::LANES) {
            S::store_bytes(out.add(at), S::mul(S::load(row.as_ptr().add(at)), factor));
        }
        let rest = &row[whole..];
        if !rest.is_empty() {
            S::store_bytes(out.add(whole), S::mul(S::load_part(rest.as_ptr(), rest.len()), factor));
        }
    }
}

/// Vectors that are summed side by side: a sum's next addition waits for the last.
const SIDE: usize = 4;

/// The largest magnitude of a row, infinity and NaN above all numbers.
#[inline(always)]
unsafe fn magnitude<S: Simd>(row: &[f32]) -> f32 {
    // SAFETY: the caller vouches for the instructions; parts stay inside the row.
    unsafe {
        let mut most = [S::splat(0.0); SIDE];
        let mut blocks = row.chunks_exact(SIDE * S::LANES);
        for block in &mut blocks {
            for i in 0..SIDE {
                most[i] = S::larger_magnitude(most[i], S::load(block.as_ptr().add(i * S::LANES)));
            }
        }
        let mut all = most[0];
        for most in &most[1..] {
            all = S::larger_magnitude(all, *most);
        }
        for part in blocks.remainder().chunks(S::LANES) {
            all = S::larger_magnitude(all, S::load_part(part.as_ptr(), part.len()));
        }
        S::largest_magnitude(all)
    }
}

/// LayerNorm of a row; gives the largest magnitude of what comes out, as [`magnitude`] does.
#[inline(always)]
unsafe fn normalise<S: Simd>(row: &[f32], norm: &LayerNorm, out: &mut [f32]) -> f32 {
    let n = row.len() as f32;
    // SAFETY: the caller vouches for the instructions; all four slices have the row's length.
    unsafe {
        let step = SIDE * S::LANES;
        let (sides, whole) = (row.len() / step * step, row.len() / S::LANES * S::LANES);
        let rest = row.len() - whole;
        let p = row.as_ptr();
        let mut sums = [S::splat(0.0); SIDE];
        for at in (0..sides).step_by(step) {
            for i in 0..SIDE {
                sums[i] = S::add(sums[i], S::load(p.add(at + i * S::LANES)));
            }
        }
        for at in (sides..whole).step_by(S::LANES) {
            sums[0] = S::add(sums[0], S::load(p.add(at)));
        }
        sums[0] = S::add(sums[0], S::load_part(p.add(whole), rest));
        let mean = S::sum(together::<S>(sums)) / n;
        // A second pass over a row that is in the nearest cache: no cancellation.
        let (centre, mut squares) = (S::splat(mean), [S::splat(0.0); SIDE]);
        for at in (0..sides).step_by(step) {
            for i in 0..SIDE {
                let d = S::sub(S::load(p.add(at + i * S::LANES)), centre);
                squares[i] = S::fma(d, d, squares[i]);
            }
        }
        for at in (sides..whole).step_by(S::LANES) {
            let d = S::sub(S::load(p.add(at)), centre);
            squares[0] = S::fma(d, d, squares[0]);
        }
        let mut variance = S::sum(together::<S>(squares));
        for x in &row[whole..] {
            variance += (x - mean) * (x - mean);
        }
        let inverse = S::splat(1.0 / (variance / n + norm.epsilon).sqrt());
        let place = |at: usize| (p.add(at), norm.gain.as_ptr().add(at), norm.shift.as_ptr().add(at));
        let mut most = S::splat(0.0);
        for at in (0..whole).step_by(S::LANES) {
            let (x, gain, shift) = place(at);
            let y = S::mul(S::sub(S::load(x), centre), inverse);
            let y = S::fma(y, S::load(gain), S::load(shift));
            most = S::larger_magnitude(most, y);
            S::store(out.as_mut_ptr().add(at), y);
        }
        if rest > 0 {
            let (x, gain, shift) = place(whole);
            let y = S::mul(S::sub(S::load_part(x, rest), centre), inverse);
            let y = S::fma(y, S::load_part(gain, rest), S::load_part(shift, rest));
            S::store_part(out.as_mut_ptr().add(whole), y, rest);
            // Lanes behind the rest began as zeros, far from the mean perhaps: they do not count.
            most = S::larger_magnitude(most, S::load_part(out.as_ptr().add(whole), rest));
        }
        S::largest_magnitude(most)
    }
}

/// The sum of sums.
#[inline(always)]
unsafe fn together<S: Simd>([a, b, c, d]: [S::F; SIDE]) -> S::F {
    // SAFETY: the caller vouches for the instructions.
    unsafe { S::add(S::add(a, b), S::add(c, d)) }
}

/// LayerNorm of rows of floats.
///
/// # Panics
/// When `values` are no whole rows of the LayerNorm's width, or `out` has another length.
pub fn layer_norm(kernel: Kernel, values: &[f32], norm: &LayerNorm, out: &mut [f32]) {
    let width = norm.gain.len();
    assert!(width > 0 && norm.shift.len() == width && values.len().is_multiple_of(width) && out.len() == values.len());
    run(kernel, Norms { values, norm, out });
}

struct Norms<'a> {
    values: &'a [f32],
    norm: &'a LayerNorm,
    out: &'a mut [f32],
}

impl Work for Norms<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let width = self.norm.gain.len();
        for (row, out) in self.values.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            // SAFETY: the processor has the instructions (`simd::run`); lengths were checked.
            unsafe { normalise::<S>(row, self.norm, out) };
        }
    }
}
