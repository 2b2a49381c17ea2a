//! Vectors of floats and of integers, the same for every processor: what the operators are written in.
//!
//! An operator is a [`Work`]: one generic function over [`Simd`], inlined into one entry for each [`Kernel`], which
//! switches the instructions on. So an operator is written once and compiled for each family.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use crate::cpu::Kernel;
use crate::maths::Activation;
use crate::tile::{FloatTile, IntTile};

/// Vectors of one family of instructions.
///
/// # Safety
/// Every function may be called only where the processor has the family's instructions. Pointers must be valid for
/// [`Simd::LANES`] values (or what the function says), with any alignment.
pub(crate) trait Simd: Copy {
    /// A vector of 32-bit floats.
    type F: Copy;
    /// A vector of as many 32-bit integers.
    type I: Copy;
    /// Values in a vector.
    const LANES: usize;
    /// Whether [`Simd::dot`] reads the bytes of rows as unsigned: they are then stored 128 above their value.
    const UNSIGNED: bool;
    /// Columns of an integer tile, a multiple of [`Simd::LANES`]: the width of a panel of weights.
    const INT_COLUMNS: usize;
    /// Most rows of an integer tile.
    const INT_ROWS: usize;
    /// Groups of four bytes along a row that one step of an integer tile takes.
    const INT_GROUPS: usize = 1;
    /// Whether the rows of an integer tile may be in pieces.
    const PIECES: bool = true;
    /// Most columns, a multiple of [`Simd::LANES`], and most rows of a float tile.
    const FLOAT_COLUMNS: usize;
    const FLOAT_ROWS: usize;

    unsafe fn splat(x: f32) -> Self::F;
    unsafe fn load(p: *const f32) -> Self::F;
    unsafe fn store(p: *mut f32, v: Self::F);
    /// The first `n` lanes; the others are zero, and their memory is not touched.
    unsafe fn load_part(p: *const f32, n: usize) -> Self::F;
    unsafe fn store_part(p: *mut f32, v: Self::F, n: usize);
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    /// One over numbers from 1 on.
    unsafe fn reciprocal(a: Self::F) -> Self::F;
    /// `a * b + c`, rounded once where the processor can.
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F;
    /// To whole numbers, halves to even.
    unsafe fn round(a: Self::F) -> Self::F;
    /// `a` times 2 to the power of whole numbers in -126..=127.
    unsafe fn times_power_of_two(a: Self::F, n: Self::F) -> Self::F;
    unsafe fn sum(a: Self::F) -> f32;
    unsafe fn largest(a: Self::F) -> f32;
    /// Turns a square: reads four floats at each of four places `stride` apart, and writes the first of each beside one
    /// another, the second of each `to_stride` behind them, and so on.
    unsafe fn turn(from: *const f32, stride: usize, to: *mut f32, to_stride: usize);
    /// The larger of `most`, which is not below zero, and the magnitude of `a`, as bits: infinity is above all numbers, and
    /// NaN above infinity.
    unsafe fn larger_magnitude(most: Self::F, a: Self::F) -> Self::F;
    /// The largest of vectors that [`Simd::larger_magnitude`] gave.
    unsafe fn largest_magnitude(most: Self::F) -> f32;

    /// Integers at `p`, times a factor.
    unsafe fn int_times(p: *const i32, factor: i32) -> Self::I;
    unsafe fn int_add(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn int_to_float(a: Self::I) -> Self::F;
    /// The same four bytes in each lane.
    unsafe fn splat_bytes(four: i32) -> Self::I;
    /// `4 * LANES` bytes.
    unsafe fn load_bytes(p: *const i8) -> Self::I;
    /// Adds to each lane the dot product of its four bytes of a row (as [`Simd::store_bytes`] wrote them) and of weights.
    unsafe fn dot(sum: Self::I, row: Self::I, weights: Self::I) -> Self::I;
    /// Rounds to whole numbers, halves to even, and stores them as bytes; the values are in -128..=127, or
    /// NaN, which may become any byte.
    unsafe fn store_bytes(p: *mut u8, v: Self::F);

    /// Asks for the cache line at `p`, which need not be valid, into a cache that is not the nearest.
    unsafe fn prefetch(p: *const i8);
    /// The same into the nearest; nothing where that was not measured to be faster.
    #[inline(always)]
    unsafe fn prefetch_near(_: *const i8) {}

    /// What stands before and behind integer tiles, on the thread that multiplies them.
    #[inline(always)]
    unsafe fn open_tiles() {}
    #[inline(always)]
    unsafe fn close_tiles() {}
    /// Multiplies `rows` (1..=INT_ROWS) rows by one panel.
    unsafe fn int_tile(rows: usize, tile: &IntTile);
    /// Multiplies bytes that hardly leave the registers, `rounds` times; gives the number of products.
    #[inline(always)]
    unsafe fn stream(rounds: usize) -> usize {
        // SAFETY: as this function's own.
        unsafe { crate::peak::stream_vectors::<Self>(rounds) }
    }
    /// An activation of `rows` rows of INT_COLUMNS floats that begin `stride` floats apart.
    unsafe fn activate_tile(activation: Activation, p: *mut f32, rows: usize, stride: usize);
    /// Multiplies `rows` (1..=FLOAT_ROWS) rows by `vectors` vectors (FLOAT_COLUMNS at most) of columns.
    unsafe fn float_tile(rows: usize, vectors: usize, tile: &FloatTile);
}

/// The tiles of integers of a family, `int_tiles!(ROWS x COLUMN VECTORS)`; it may use fewer rows.
macro_rules! int_tiles {
    ([$($int_rows:literal),*] x $int_columns:literal) => {
        const INT_COLUMNS: usize = $int_columns * Self::LANES;

        #[inline(always)]
        unsafe fn int_tile(rows: usize, tile: &crate::tile::IntTile) {
            // SAFETY: as this function's own.
            unsafe { crate::simd::int_rows!($int_columns, rows, tile, [$($int_rows),*]) }
        }

        #[inline(always)]
        unsafe fn activate_tile(activation: crate::maths::Activation, p: *mut f32, rows: usize, stride: usize) {
            // SAFETY: as this function's own.
            unsafe { crate::maths::activate_vectors::<Self, $int_columns>(activation, p, rows, stride) }
        }
    };
}
macro_rules! int_rows {
    ($columns:expr, $rows:ident, $tile:ident, [$($each:literal),*]) => {
        match $rows {
            $($each if $each <= Self::INT_ROWS => crate::tile::int_tile::<Self, $each, { $columns }>($tile),)*
            _ => {}
        }
    };
}
/// The tiles of floats, `float_tiles!(ROWS x COLUMN VECTORS)`.
macro_rules! float_tiles {
    ($float_rows:tt x [$($float_columns:literal),*]) => {
        const FLOAT_COLUMNS: usize = [$($float_columns),*].len() * Self::LANES;
        const FLOAT_ROWS: usize = $float_rows.len();

        #[inline(always)]
        unsafe fn float_tile(rows: usize, vectors: usize, tile: &crate::tile::FloatTile) {
            // SAFETY: as this function's own.
            unsafe {
                match vectors {
                    $($float_columns => crate::simd::float_rows!($float_columns, rows, tile, $float_rows),)*
                    _ => {}
                }
            }
        }
    };
}
macro_rules! float_rows {
    ($columns:literal, $rows:ident, $tile:ident, [$($each:literal),*]) => {
        match $rows {
            $($each => crate::tile::float_tile::<Self, $each, $columns>($tile),)*
            _ => {}
        }
    };
}
use {float_rows, float_tiles, int_rows, int_tiles};

/// An operator's inner part.
pub(crate) trait Work {
    /// Does it with one family of instructions. Implementations are `#[inline(always)]`, so that they are compiled with
    /// the instructions of the entry that calls them.
    ///
    /// # Safety
    /// The processor must have the family's instructions.
    unsafe fn run<S: Simd>(self);
}

/// Does a piece of work with a kernel's instructions.
///
/// # Panics
/// When this processor cannot run the kernel.
pub(crate) fn run(kernel: Kernel, work: impl Work) {
    assert!(kernel.is_available(), "{kernel} on a processor without its instructions");
    match kernel {
        // SAFETY: the portable vectors need no instructions.
        Kernel::Portable => unsafe { work.run::<portable::Portable>() },
        // SAFETY: the processor has the instructions: asserted above.
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2 => unsafe { avx2::run::<false, _>(work) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Kernel::AvxVnni => unsafe { avx2::run_vnni(work) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512Vnni => unsafe { avx512::run::<false, _>(work) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Kernel::Amx => unsafe { avx512::run::<true, _>(work) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Kernel::Neon => unsafe { neon::run(work) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Kernel::Dotprod => unsafe { neon::run_dotprod(work) },
        _ => {}
    }
}

/// What is to be known of a kernel's family where bytes are put in order for it; each as in [`Simd`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Family {
    pub unsigned: bool,
    pub int_columns: usize,
    pub int_groups: usize,
    pub pieces: bool,
}

impl Family {
    /// Of a kernel.
    pub fn of(kernel: Kernel) -> Self {
        struct Asked<'a>(&'a mut Family);
        impl Work for Asked<'_> {
            #[inline(always)]
            unsafe fn run<S: Simd>(self) {
                *self.0 = Family {
                    unsigned: S::UNSIGNED,
                    int_columns: S::INT_COLUMNS,
                    int_groups: S::INT_GROUPS,
                    pieces: S::PIECES,
                };
            }
        }
        let mut family = Family::default();
        run(kernel, Asked(&mut family));
        family
    }
}
