//! AVX-512 with VNNI: 16 lanes, 32 registers; products of bytes on AMX's tiles or without them.

use std::arch::x86_64::*;

use super::avx2::turn;
use super::{Simd, Work, amx, float_tiles, int_rows};
use crate::maths::{Activation, activate_vectors};
use crate::peak::stream_vectors;
use crate::tile::IntTile;

/// Vectors of 512 bits.
#[derive(Clone, Copy)]
pub(super) struct Avx512<const AMX: bool>;

/// Does the work with these instructions.
///
/// # Safety
/// The processor must have them.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
pub(super) unsafe fn run<const AMX: bool, W: Work>(work: W) {
    // SAFETY: as this function's own.
    unsafe { work.run::<Avx512<AMX>>() }
}

#[inline(always)]
fn mask(n: usize) -> __mmask16 {
    if n >= 16 { !0 } else { (1 << n) - 1 }
}

// SAFETY (of every block here): the caller vouches for the instructions and the pointers.
impl<const AMX: bool> Simd for Avx512<AMX> {
    type F = __m512;
    type I = __m512i;
    const LANES: usize = 16;
    const UNSIGNED: bool = true;
    // As many columns as a tile of AMX. 24 sums, 2 weights and a row's bytes: 27 of 32 registers.
    const INT_COLUMNS: usize = amx::COLUMNS;
    const INT_ROWS: usize = if AMX { amx::MOST_ROWS } else { 12 };
    const INT_GROUPS: usize = if AMX { amx::GROUPS } else { 1 };
    const PIECES: bool = !AMX;
    float_tiles!([1, 2, 3, 4, 5, 6] x [1, 2, 3, 4]);

    #[inline(always)]
    unsafe fn open_tiles() {
        if AMX {
            // SAFETY: see above.
            unsafe { amx::open() }
        }
    }
    #[inline(always)]
    unsafe fn close_tiles() {
        if AMX {
            // SAFETY: see above.
            unsafe { amx::close() }
        }
    }
    #[inline(always)]
    unsafe fn int_tile(rows: usize, tile: &IntTile) {
        // SAFETY: see above.
        unsafe {
            if AMX {
                amx::int_tile::<Self>(rows, tile);
            } else {
                int_rows!(2, rows, tile, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
            }
        }
    }
    #[inline(always)]
    unsafe fn activate_tile(activation: Activation, p: *mut f32, rows: usize, stride: usize) {
        // SAFETY: see above.
        unsafe { activate_vectors::<Self, 2>(activation, p, rows, stride) }
    }
    #[inline(always)]
    unsafe fn stream(rounds: usize) -> usize {
        // SAFETY: see above.
        unsafe { if AMX { amx::stream(rounds) } else { stream_vectors::<Self>(rounds) } }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m512) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_maskz_loadu_ps(mask(n), p) }
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, v: __m512, n: usize) {
        // SAFETY: see above.
        unsafe { _mm512_mask_storeu_ps(p, mask(n), v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn reciprocal(a: __m512) -> __m512 {
        // By one step of Newton's from 14 bits: a division takes longer than all else of a sigmoid.
        // SAFETY: see above.
        unsafe {
            let near = _mm512_rcp14_ps(a);
            _mm512_mul_ps(near, _mm512_fnmadd_ps(a, near, _mm512_set1_ps(2.0)))
        }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn round(a: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT }>(a) }
    }
    #[inline(always)]
    unsafe fn times_power_of_two(a: __m512, n: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_scalef_ps(a, n) }
    }
    #[inline(always)]
    unsafe fn sum(a: __m512) -> f32 {
        // SAFETY: see above.
        unsafe { _mm512_reduce_add_ps(a) }
    }
    #[inline(always)]
    unsafe fn largest(a: __m512) -> f32 {
        // SAFETY: see above.
        unsafe { _mm512_reduce_max_ps(a) }
    }
    #[inline(always)]
    unsafe fn turn(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: see above.
        unsafe { turn(from, stride, to, to_stride) }
    }
    #[inline(always)]
    unsafe fn larger_magnitude(most: __m512, a: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let magnitude = _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(i32::MAX));
            _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(most), magnitude))
        }
    }
    #[inline(always)]
    unsafe fn largest_magnitude(most: __m512) -> f32 {
        // SAFETY: see above.
        f32::from_bits(unsafe { _mm512_reduce_max_epi32(_mm512_castps_si512(most)) }.cast_unsigned())
    }
    #[inline(always)]
    unsafe fn int_times(p: *const i32, factor: i32) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_mullo_epi32(_mm512_loadu_si512(p.cast()), _mm512_set1_epi32(factor)) }
    }
    #[inline(always)]
    unsafe fn int_add(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn int_to_float(a: __m512i) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_cvtepi32_ps(a) }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const i8) {
        // SAFETY: a hint, which does nothing where the address is not valid.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p) }
    }
    #[inline(always)]
    unsafe fn prefetch_near(p: *const i8) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p) }
    }
    #[inline(always)]
    unsafe fn splat_bytes(four: i32) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_set1_epi32(four) }
    }
    #[inline(always)]
    unsafe fn load_bytes(p: *const i8) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m512i, row: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_dpbusd_epi32(sum, row, weights) }
    }
    #[inline(always)]
    unsafe fn store_bytes(p: *mut u8, v: __m512) {
        // SAFETY: see above.
        unsafe {
            let bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v));
            _mm_storeu_si128(p.cast(), _mm_xor_si128(bytes, _mm_set1_epi8(-128)));
        }
    }
}
