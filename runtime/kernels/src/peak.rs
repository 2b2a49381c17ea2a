//! What the processor's products of bytes do at most: what the operators are measured against.
#![allow(clippy::needless_range_loop, reason = "plain indices are what the compiler turns into registers")]

use std::hint::black_box;

use crate::cpu::Kernel;
use crate::simd::{Simd, Work, run};
use crate::tile::GROUP;

/// Rows and vectors of columns whose sums do not wait for one another: ten, which cover the time that a dot product takes
/// on all processors known, and fit sixteen registers.
const ROWS: usize = 5;
const COLUMNS: usize = 2;

/// Multiplies bytes that hardly leave the registers, `rounds` times ten vectors of them, on one thread; gives the number of
/// products. The caller takes the time.
///
/// # Panics
/// When this processor cannot run the kernel.
pub fn multiply_in_registers(kernel: Kernel, rounds: usize) -> u64 {
    let mut lanes = 0;
    run(kernel, Stream { rounds, lanes: &mut lanes });
    (rounds * ROWS * COLUMNS * GROUP * lanes) as u64
}

struct Stream<'a> {
    rounds: usize,
    lanes: &'a mut usize,
}

impl Work for Stream<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        *self.lanes = S::LANES;
        let bytes = [1i8; 64];
        assert!(GROUP * S::LANES <= bytes.len(), "a vector wider than what is loaded");
        let rows: [i32; ROWS] = std::array::from_fn(|r| 0x0102_0304 + r as i32);
        // SAFETY: the processor has the instructions (`simd::run`); a vector's bytes are within `bytes`, whose address is
        // not changed by `black_box`.
        unsafe {
            let weights = [S::load_bytes(black_box(&bytes).as_ptr()), S::load_bytes(black_box(&bytes).as_ptr())];
            let mut sums = [[S::splat_bytes(0); COLUMNS]; ROWS];
            for _ in 0..self.rounds {
                // Unknown anew: what does not change would be multiplied once. Only the address goes through memory.
                let rows = black_box(&rows);
                for r in 0..ROWS {
                    let row = S::splat_bytes(rows[r]);
                    for c in 0..COLUMNS {
                        sums[r][c] = S::dot(sums[r][c], row, weights[c]);
                    }
                }
            }
            black_box(sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_multiplies_as_many_as_its_vectors_hold() {
        for kernel in Kernel::available() {
            let products = multiply_in_registers(kernel, 3);
            assert!(products >= 3 * 10 * 4 && products.is_multiple_of(3 * 10 * 4), "{kernel}: {products}");
            assert_eq!(multiply_in_registers(kernel, 6), 2 * products);
        }
    }
}
