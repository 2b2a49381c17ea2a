//! Vectors without special instructions; the compiler uses those that every processor of the target has.

use super::{Simd, float_tiles, int_tiles};

const LANES: usize = 8;

/// Arrays of eight.
#[derive(Clone, Copy)]
pub(super) struct Portable;

type F = [f32; LANES];

#[inline(always)]
fn each(a: F, b: F, f: impl Fn(f32, f32) -> f32) -> F {
    std::array::from_fn(|i| f(a[i], b[i]))
}

// SAFETY (of every block here): pointers are valid for as many values as the trait asks for.
impl Simd for Portable {
    type F = F;
    type I = [i32; LANES];
    const LANES: usize = LANES;
    const UNSIGNED: bool = false;
    const INT_ROWS: usize = 4;
    int_tiles!([1, 2, 3, 4] x 1);
    float_tiles!([1, 2, 3, 4] x [1]);
    #[inline(always)]
    unsafe fn splat(x: f32) -> F {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> F {
        // SAFETY: see above.
        unsafe { p.cast::<F>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: F) {
        // SAFETY: see above.
        unsafe { p.cast::<F>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> F {
        // SAFETY: see above.
        std::array::from_fn(|i| if i < n { unsafe { *p.add(i) } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, v: F, n: usize) {
        for (i, x) in v.into_iter().enumerate().take(n) {
            // SAFETY: see above.
            unsafe { *p.add(i) = x }
        }
    }
    #[inline(always)]
    unsafe fn add(a: F, b: F) -> F {
        each(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: F, b: F) -> F {
        each(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: F, b: F) -> F {
        each(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn reciprocal(a: F) -> F {
        each(a, a, |a, _| 1.0 / a)
    }
    #[inline(always)]
    unsafe fn fma(a: F, b: F, c: F) -> F {
        // `mul_add` would call a function where the instruction is missing.
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn max(a: F, b: F) -> F {
        each(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(a: F, b: F) -> F {
        each(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn round(a: F) -> F {
        a.map(f32::round_ties_even)
    }
    #[inline(always)]
    unsafe fn times_power_of_two(a: F, n: F) -> F {
        each(a, n, |a, n| a * f32::from_bits(((n as i32).wrapping_add(127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn sum(a: F) -> f32 {
        let [b, c, d, e, f, g, h, i] = a;
        ((b + f) + (d + h)) + ((c + g) + (e + i))
    }
    #[inline(always)]
    unsafe fn largest(a: F) -> f32 {
        a.into_iter().fold(f32::NEG_INFINITY, |m, x| if x > m { x } else { m })
    }
    #[inline(always)]
    unsafe fn turn(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        for row in 0..4 {
            for column in 0..4 {
                // SAFETY: see above.
                unsafe { *to.add(column * to_stride + row) = *from.add(row * stride + column) }
            }
        }
    }
    #[inline(always)]
    unsafe fn larger_magnitude(most: F, a: F) -> F {
        each(most, a, |most, a| f32::from_bits(most.to_bits().max(a.abs().to_bits())))
    }
    #[inline(always)]
    unsafe fn largest_magnitude(most: F) -> f32 {
        f32::from_bits(most.into_iter().fold(0, |most, x| most.max(x.to_bits())))
    }
    #[inline(always)]
    unsafe fn int_times(p: *const i32, factor: i32) -> [i32; LANES] {
        // SAFETY: see above.
        unsafe { p.cast::<[i32; LANES]>().read_unaligned() }.map(|x| x * factor)
    }
    #[inline(always)]
    unsafe fn int_add(a: [i32; LANES], b: [i32; LANES]) -> [i32; LANES] {
        std::array::from_fn(|i| a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    unsafe fn int_to_float(a: [i32; LANES]) -> F {
        a.map(|x| x as f32)
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const i8) {}
    #[inline(always)]
    unsafe fn splat_bytes(four: i32) -> [i32; LANES] {
        [four; LANES]
    }
    #[inline(always)]
    unsafe fn load_bytes(p: *const i8) -> [i32; LANES] {
        // SAFETY: see above.
        unsafe { p.cast::<[i32; LANES]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn dot(sum: [i32; LANES], row: [i32; LANES], weights: [i32; LANES]) -> [i32; LANES] {
        let bytes = |x: i32| x.to_ne_bytes().map(|b| i32::from(b.cast_signed()));
        std::array::from_fn(|i| {
            let (row, weights) = (bytes(row[i]), bytes(weights[i]));
            sum[i] + (0..4).map(|j| row[j] * weights[j]).sum::<i32>()
        })
    }
    #[inline(always)]
    unsafe fn store_bytes(p: *mut u8, v: F) {
        for (i, x) in v.into_iter().enumerate() {
            // SAFETY: see above.
            unsafe { *p.add(i) = (x.round_ties_even() as i8).cast_unsigned() }
        }
    }
}
