//! What the processor's products of bytes do at most: what the operators are measured against.
#![allow(clippy::needless_range_loop, reason = "plain indices are what the compiler turns into registers")]

use std::hint::black_box;

use crate::cpu::Kernel;
use crate::simd::{Simd, Work, run};
use crate::tile::GROUP;

/// Multiplies bytes that hardly leave the registers on one thread, `rounds` times some vectors or tiles of them; gives the
/// number of products. The caller takes the time.
///
/// # Panics
/// When this processor cannot run the kernel.
pub fn multiply_in_registers(kernel: Kernel, rounds: usize) -> u64 {
    let mut products = 0;
    run(kernel, Stream { rounds, products: &mut products });
    products as u64
}

struct Stream<'a> {
    rounds: usize,
    products: &'a mut usize,
}

impl Work for Stream<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the processor has the instructions (`simd::run`).
        *self.products = unsafe { S::stream(self.rounds) };
    }
}

/// With a family's dot products, on as many sums as there are registers for: they must not wait for one another.
///
/// # Safety
/// The processor must have `S`'s instructions.
#[inline(always)]
pub(crate) unsafe fn stream_vectors<S: Simd>(rounds: usize) -> usize {
    // SAFETY: as this function's own.
    unsafe {
        // Thirty-two registers, or sixteen.
        if S::LANES == 16 { stream_sums::<S, 8, 3>(rounds) } else { stream_sums::<S, 5, 2>(rounds) }
    }
}

/// On the sums of so many rows and vectors of columns.
///
/// # Safety
/// As [`stream_vectors`].
#[inline(always)]
unsafe fn stream_sums<S: Simd, const ROWS: usize, const COLUMNS: usize>(rounds: usize) -> usize {
    let bytes = [1i8; 64];
    assert!(GROUP * S::LANES <= bytes.len(), "a vector wider than what is loaded");
    let row_bytes: [i32; ROWS] = std::array::from_fn(|r| 0x0102_0304 + r as i32);
    // SAFETY: as this function's own; a vector's bytes are within `bytes`, whose address is not changed by `black_box`.
    unsafe {
        let mut weights = [S::load_bytes(black_box(&bytes).as_ptr()); COLUMNS];
        for c in 1..COLUMNS {
            weights[c] = S::load_bytes(black_box(&bytes).as_ptr());
        }
        let mut sums = [[S::splat_bytes(0); COLUMNS]; ROWS];
        for _ in 0..rounds {
            // Unknown anew: what does not change would be multiplied once. Only the address goes through memory.
            let row_bytes = black_box(&row_bytes);
            for r in 0..ROWS {
                let row = S::splat_bytes(row_bytes[r]);
                for c in 0..COLUMNS {
                    sums[r][c] = S::dot(sums[r][c], row, weights[c]);
                }
            }
        }
        black_box(sums);
    }
    rounds * ROWS * COLUMNS * GROUP * S::LANES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_multiplies_as_many_as_its_registers_hold() {
        for kernel in Kernel::available() {
            let products = multiply_in_registers(kernel, 3);
            // Four tiles of 16 x 16 sums of 64 products, 24 vectors of 16 sums of four, or ten of at least one.
            let each = match kernel {
                Kernel::Amx => 4 * 16 * 16 * 64,
                Kernel::Avx512Vnni => 24 * 16 * 4,
                _ => 10 * 4,
            };
            assert!(products >= 3 * each && products.is_multiple_of(3 * each), "{kernel}: {products}");
            assert_eq!(multiply_in_registers(kernel, 0), 0);
            assert_eq!(multiply_in_registers(kernel, 6), 2 * products);
        }
    }
}
