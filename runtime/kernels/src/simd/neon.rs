//! NEON: 4 lanes, 32 registers; with or without dot products of bytes.

use std::arch::aarch64::*;
use std::arch::asm;
use std::hint::black_box;

use super::{Simd, Work, float_tiles, int_rows};
use crate::maths::{Activation, activate_vectors};
use crate::peak::stream_vectors;
use crate::tile::{GROUP, IntTile, LINE, finish};

/// Vectors of 128 bits.
#[derive(Clone, Copy)]
pub(super) struct Neon<const DOTPROD: bool>;

/// Vectors of columns in an integer tile.
const VECTORS: usize = 4;

/// Does the work with what every aarch64 has.
///
/// # Safety
/// None beyond the work's own: NEON is part of the architecture.
#[target_feature(enable = "neon")]
pub(super) unsafe fn run<W: Work>(work: W) {
    // SAFETY: as this function's own.
    unsafe { work.run::<Neon<false>>() }
}

/// Does the work with dot products of bytes.
///
/// # Safety
/// The processor must have them.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn run_dotprod<W: Work>(work: W) {
    // SAFETY: as this function's own.
    unsafe { work.run::<Neon<true>>() }
}

// SAFETY (of every block here): the caller vouches for the instructions and the pointers.
impl<const DOTPROD: bool> Simd for Neon<DOTPROD> {
    type F = float32x4_t;
    type I = int32x4_t;
    const LANES: usize = 4;
    const UNSIGNED: bool = false;
    const INT_COLUMNS: usize = 4 * VECTORS;
    // 24 sums, 4 weights and a row's bytes; or 16 sums, 4 rows' bytes, 4 weights and the products.
    const INT_ROWS: usize = if DOTPROD { 6 } else { 2 };
    const INT_GROUPS: usize = if DOTPROD { 1 } else { 2 };
    float_tiles!([1, 2, 3, 4, 5, 6] x [1, 2, 3, 4]);

    #[inline(always)]
    unsafe fn int_tile(rows: usize, tile: &IntTile) {
        // SAFETY: see above.
        unsafe {
            if DOTPROD {
                int_rows!(VECTORS, rows, tile, [1, 2, 3, 4, 5, 6]);
            } else {
                match rows {
                    1 => two_groups::<Self, 1>(tile),
                    2 => two_groups::<Self, 2>(tile),
                    _ => {}
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn stream(rounds: usize) -> usize {
        // SAFETY: see above.
        unsafe { if DOTPROD { stream_vectors::<Self>(rounds) } else { stream_two_groups(rounds) } }
    }
    #[inline(always)]
    unsafe fn activate_tile(activation: Activation, p: *mut f32, rows: usize, stride: usize) {
        // SAFETY: see above.
        unsafe { activate_vectors::<Self, VECTORS>(activation, p, rows, stride) }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vdupq_n_f32(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vld1q_f32(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: float32x4_t) {
        // SAFETY: see above.
        unsafe { vst1q_f32(p, v) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> float32x4_t {
        let mut lanes = [0f32; 4];
        // SAFETY: see above.
        unsafe {
            for (i, lane) in lanes.iter_mut().enumerate().take(n) {
                *lane = *p.add(i);
            }
            vld1q_f32(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, v: float32x4_t, n: usize) {
        let mut lanes = [0f32; 4];
        // SAFETY: see above.
        unsafe {
            vst1q_f32(lanes.as_mut_ptr(), v);
            for (i, lane) in lanes.iter().enumerate().take(n) {
                *p.add(i) = *lane;
            }
        }
    }
    #[inline(always)]
    unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn reciprocal(a: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vdivq_f32(vdupq_n_f32(1.0), a) }
    }
    #[inline(always)]
    unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vmaxq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vminq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn round(a: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vrndnq_f32(a) }
    }
    #[inline(always)]
    unsafe fn times_power_of_two(a: float32x4_t, n: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe {
            let biased = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
            vmulq_f32(a, vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased)))
        }
    }
    #[inline(always)]
    unsafe fn sum(a: float32x4_t) -> f32 {
        // SAFETY: see above.
        unsafe { vaddvq_f32(a) }
    }
    #[inline(always)]
    unsafe fn largest(a: float32x4_t) -> f32 {
        // SAFETY: see above.
        unsafe { vmaxvq_f32(a) }
    }
    #[inline(always)]
    unsafe fn turn(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: see above.
        unsafe {
            let (a, b) = (vld1q_f32(from), vld1q_f32(from.add(stride)));
            let (c, d) = (vld1q_f32(from.add(2 * stride)), vld1q_f32(from.add(3 * stride)));
            let (ab, cd) = (vtrnq_f32(a, b), vtrnq_f32(c, d));
            vst1q_f32(to, vcombine_f32(vget_low_f32(ab.0), vget_low_f32(cd.0)));
            vst1q_f32(to.add(to_stride), vcombine_f32(vget_low_f32(ab.1), vget_low_f32(cd.1)));
            vst1q_f32(to.add(2 * to_stride), vcombine_f32(vget_high_f32(ab.0), vget_high_f32(cd.0)));
            vst1q_f32(to.add(3 * to_stride), vcombine_f32(vget_high_f32(ab.1), vget_high_f32(cd.1)));
        }
    }
    #[inline(always)]
    unsafe fn larger_magnitude(most: float32x4_t, a: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vreinterpretq_f32_u32(vmaxq_u32(vreinterpretq_u32_f32(most), vreinterpretq_u32_f32(vabsq_f32(a)))) }
    }
    #[inline(always)]
    unsafe fn largest_magnitude(most: float32x4_t) -> f32 {
        // SAFETY: see above.
        f32::from_bits(unsafe { vmaxvq_u32(vreinterpretq_u32_f32(most)) })
    }
    #[inline(always)]
    unsafe fn int_times(p: *const i32, factor: i32) -> int32x4_t {
        // SAFETY: see above.
        unsafe { vmulq_n_s32(vld1q_s32(p), factor) }
    }
    #[inline(always)]
    unsafe fn int_add(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: see above.
        unsafe { vaddq_s32(a, b) }
    }
    #[inline(always)]
    unsafe fn int_to_float(a: int32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vcvtq_f32_s32(a) }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const i8) {
        // SAFETY: a hint, which does nothing where the address is not valid.
        unsafe { asm!("prfm pldl2keep, [{p}]", p = in(reg) p, options(nostack, preserves_flags, readonly)) }
    }
    #[inline(always)]
    unsafe fn splat_bytes(four: i32) -> int32x4_t {
        // SAFETY: see above.
        unsafe { vdupq_n_s32(four) }
    }
    #[inline(always)]
    unsafe fn load_bytes(p: *const i8) -> int32x4_t {
        // SAFETY: see above.
        unsafe { vreinterpretq_s32_s8(vld1q_s8(p)) }
    }
    #[inline(always)]
    unsafe fn dot(sum: int32x4_t, row: int32x4_t, weights: int32x4_t) -> int32x4_t {
        // SAFETY: see above.
        unsafe {
            let (row, weights) = (vreinterpretq_s8_s32(row), vreinterpretq_s8_s32(weights));
            if DOTPROD {
                // The intrinsic is not stable yet.
                let mut sum = sum;
                asm!(
                    "sdot {sum:v}.4s, {row:v}.16b, {weights:v}.16b",
                    sum = inout(vreg) sum,
                    row = in(vreg) row,
                    weights = in(vreg) weights,
                    options(pure, nomem, nostack, preserves_flags)
                );
                return sum;
            }
            // A sum of two products is 32,512 at most, which 16 bits hold.
            let low = vmull_s8(vget_low_s8(row), vget_low_s8(weights));
            let high = vmull_high_s8(row, weights);
            vpadalq_s16(sum, vpaddq_s16(low, high))
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(p: *mut u8, v: float32x4_t) {
        // SAFETY: see above.
        unsafe {
            let half = vqmovn_s32(vcvtnq_s32_f32(v));
            let bytes = vqmovn_s16(vcombine_s16(half, half));
            p.cast::<i32>().write_unaligned(vget_lane_s32::<0>(vreinterpret_s32_s8(bytes)));
        }
    }
}

/// Adds the products of two groups of four bytes of a row, each in all lanes, and of four columns' weights for them. The
/// first sums are those of two columns, the others of the other two; each lane has half of a group's products.
///
/// # Safety
/// None: NEON is part of the architecture.
#[inline(always)]
unsafe fn add_products(sums: &mut [int32x4_t; 2], fours: [int8x16_t; 2], weights: [int8x16_t; 2]) {
    let [low, high] = sums;
    // A sum of two products is 32,512 at most, which 16 bits hold. By name: the compiler takes vectors into halves
    // otherwise, and then has too few registers.
    // SAFETY: registers only.
    unsafe {
        asm!(
            "smull {a:v}.8h, {of_one:v}.8b, {one:v}.8b",
            "smull2 {b:v}.8h, {of_one:v}.16b, {one:v}.16b",
            "smlal {a:v}.8h, {of_two:v}.8b, {two:v}.8b",
            "smlal2 {b:v}.8h, {of_two:v}.16b, {two:v}.16b",
            "sadalp {low:v}.4s, {a:v}.8h",
            "sadalp {high:v}.4s, {b:v}.8h",
            a = out(vreg) _,
            b = out(vreg) _,
            of_one = in(vreg) fours[0],
            of_two = in(vreg) fours[1],
            one = in(vreg) weights[0],
            two = in(vreg) weights[1],
            low = inout(vreg) *low,
            high = inout(vreg) *high,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
}

/// What [`add_products`] does at most: five pairs of sums that do not wait for one another.
///
/// # Safety
/// None: NEON is part of the architecture.
#[inline(always)]
unsafe fn stream_two_groups(rounds: usize) -> usize {
    const PAIRS: usize = 5;
    // SAFETY: registers only.
    unsafe {
        let bytes = [black_box(vdupq_n_s8(3)), black_box(vdupq_n_s8(5))];
        let mut sums = [[vdupq_n_s32(0); 2]; PAIRS];
        for _ in 0..rounds {
            for sums in &mut sums {
                add_products(sums, bytes, bytes);
            }
        }
        black_box(sums);
    }
    rounds * PAIRS * 2 * 16
}

/// `R` rows times a panel without dot products, two groups of four at a time: their products are added while they have
/// 16 bits, and the halves of a vector have sums of their own ([`add_products`]).
///
/// # Safety
/// As [`crate::tile::int_tile`]. Groups are even.
#[inline(always)]
unsafe fn two_groups<S: Simd<I = int32x4_t>, const R: usize>(t: &IntTile) {
    // SAFETY: the tile's pointers are valid.
    unsafe {
        for line in (0..t.next_bytes).step_by(LINE) {
            S::prefetch(t.next.wrapping_add(line));
        }
        let mut sums = [[[vdupq_n_s32(0); 2]; VECTORS]; R];
        let mut weights = t.weights;
        for piece in 0..t.pieces {
            let mut row = t.rows.wrapping_add(piece * t.next_piece);
            for _ in 0..t.groups / 2 {
                let mut fours = [[vdupq_n_s8(0); 2]; R];
                for (r, fours) in fours.iter_mut().enumerate() {
                    for (g, four) in fours.iter_mut().enumerate() {
                        let place = row.add(r * t.row_stride + g * GROUP).cast::<i32>();
                        *four = vreinterpretq_s8_s32(vdupq_n_s32(place.read_unaligned()));
                    }
                }
                for c in 0..VECTORS {
                    let (one, two) = (vld1q_s8(weights.add(16 * c)), vld1q_s8(weights.add(16 * (VECTORS + c))));
                    for r in 0..R {
                        add_products(&mut sums[r][c], fours[r], [one, two]);
                    }
                }
                row = row.wrapping_add(2 * GROUP);
                weights = weights.add(2 * GROUP * 4 * VECTORS);
            }
        }
        let mut done = [[vdupq_n_s32(0); VECTORS]; R];
        for r in 0..R {
            for c in 0..VECTORS {
                done[r][c] = vpaddq_s32(sums[r][c][0], sums[r][c][1]);
            }
        }
        finish::<S>(t, R, VECTORS, done.as_ptr().cast());
    }
}
