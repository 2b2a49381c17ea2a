//! AVX2 with FMA: 8 lanes, 16 registers; with or without VNNI's dot products.

use std::arch::x86_64::*;

use super::{Simd, Work, float_tiles, int_tiles};

/// Vectors of 256 bits.
#[derive(Clone, Copy)]
pub(super) struct Avx2<const VNNI: bool>;

/// Does the work with these instructions.
///
/// # Safety
/// The processor must have them.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run<const VNNI: bool, W: Work>(work: W) {
    // SAFETY: as this function's own.
    unsafe { work.run::<Avx2<VNNI>>() }
}

/// Does the work with these instructions and VNNI's.
///
/// # Safety
/// The processor must have them.
#[target_feature(enable = "avx2,fma,avxvnni")]
pub(super) unsafe fn run_vnni<W: Work>(work: W) {
    // SAFETY: as this function's own.
    unsafe { work.run::<Avx2<true>>() }
}

/// [`Simd::turn`] of all x86-64.
#[inline(always)]
pub(super) unsafe fn turn(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
    // SAFETY: the caller vouches for the pointers; the instructions are those of every x86-64.
    unsafe {
        let row = |i: usize| _mm_loadu_ps(from.add(i * stride));
        let (mut a, mut b, mut c, mut d) = (row(0), row(1), row(2), row(3));
        _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
        _mm_storeu_ps(to, a);
        _mm_storeu_ps(to.add(to_stride), b);
        _mm_storeu_ps(to.add(2 * to_stride), c);
        _mm_storeu_ps(to.add(3 * to_stride), d);
    }
}

#[inline(always)]
unsafe fn mask(n: usize) -> __m256i {
    // SAFETY: the caller vouches for the instructions.
    unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
}

// SAFETY (of every block here): the caller vouches for the instructions and the pointers.
impl<const VNNI: bool> Simd for Avx2<VNNI> {
    type F = __m256;
    type I = __m256i;
    const LANES: usize = 8;
    const UNSIGNED: bool = VNNI;
    // 12 sums, 2 weights and a row's bytes fill 15 of 16 registers, and 12 sums do not wait for one another. A dot product
    // without VNNI needs some for itself, and waits less.
    const INT_ROWS: usize = if VNNI { 6 } else { 4 };
    int_tiles!([1, 2, 3, 4, 5, 6] x 2);
    float_tiles!([1, 2, 3, 4] x [1, 2]);

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m256) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_maskload_ps(p, mask(n)) }
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, v: __m256, n: usize) {
        // SAFETY: see above.
        unsafe { _mm256_maskstore_ps(p, mask(n), v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn reciprocal(a: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_div_ps(_mm256_set1_ps(1.0), a) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn round(a: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    unsafe fn times_power_of_two(a: __m256, n: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)))
        }
    }
    #[inline(always)]
    unsafe fn sum(a: __m256) -> f32 {
        // SAFETY: see above.
        unsafe {
            let half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(quarter, _mm_shuffle_ps::<1>(quarter, quarter)))
        }
    }
    #[inline(always)]
    unsafe fn largest(a: __m256) -> f32 {
        // SAFETY: see above.
        unsafe {
            let half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let quarter = _mm_max_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_max_ss(quarter, _mm_shuffle_ps::<1>(quarter, quarter)))
        }
    }
    #[inline(always)]
    unsafe fn turn(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: see above.
        unsafe { turn(from, stride, to, to_stride) }
    }
    #[inline(always)]
    unsafe fn larger_magnitude(most: __m256, a: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe {
            let magnitude = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(i32::MAX));
            _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(most), magnitude))
        }
    }
    #[inline(always)]
    unsafe fn largest_magnitude(most: __m256) -> f32 {
        // SAFETY: see above.
        unsafe {
            let all = _mm256_castps_si256(most);
            let half = _mm_max_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all));
            let quarter = _mm_max_epi32(half, _mm_shuffle_epi32::<0b01_00_11_10>(half));
            let one = _mm_max_epi32(quarter, _mm_shuffle_epi32::<0b10_11_00_01>(quarter));
            f32::from_bits(_mm_cvtsi128_si32(one).cast_unsigned())
        }
    }
    #[inline(always)]
    unsafe fn int_times(p: *const i32, factor: i32) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_mullo_epi32(_mm256_loadu_si256(p.cast()), _mm256_set1_epi32(factor)) }
    }
    #[inline(always)]
    unsafe fn int_add(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn int_to_float(a: __m256i) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_cvtepi32_ps(a) }
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
    unsafe fn splat_bytes(four: i32) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_set1_epi32(four) }
    }
    #[inline(always)]
    unsafe fn load_bytes(p: *const i8) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m256i, row: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: see above.
        unsafe {
            if VNNI {
                return _mm256_dpbusd_avx_epi32(sum, row, weights);
            }
            // |row| times the weight with the row's sign: two such products add up to 32,258 at most, which 16 bits
            // hold; with unsigned rows they would not.
            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(row), _mm256_sign_epi8(weights, row));
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(p: *mut u8, v: __m256) {
        // SAFETY: see above.
        unsafe {
            let whole = _mm256_cvtps_epi32(v);
            let (low, high) = (_mm256_castsi256_si128(whole), _mm256_extracti128_si256::<1>(whole));
            let bytes = _mm_packs_epi16(_mm_packs_epi32(low, high), _mm_setzero_si128());
            let bytes = if VNNI { _mm_xor_si128(bytes, _mm_set1_epi8(-128)) } else { bytes };
            _mm_storel_epi64(p.cast(), bytes);
        }
    }
}
