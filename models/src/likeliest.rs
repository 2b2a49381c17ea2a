//! The largest of many numbers, as the few cells that a guess considers are of all.

/// The places of the `k` largest numbers, 1..=N of them, the largest first; equal ones in their order. Allocates nothing.
pub(crate) fn likeliest<const N: usize>(numbers: &[f32], k: usize) -> heapless::Vec<usize, N> {
    let k = k.clamp(1, N);
    let mut best = heapless::Vec::<usize, N>::new();
    // Of nearly all blocks only the largest number is compared, with the least of the best.
    let mut least = f32::NEG_INFINITY;
    for (block, first) in numbers.chunks(BLOCK).zip((0..).step_by(BLOCK)) {
        if best.len() == k && largest(block) <= least {
            continue;
        }
        for (i, &number) in (first..).zip(block) {
            if best.len() == k && number <= least {
                continue;
            }
            let at = best.iter().rposition(|&b| numbers[b] >= number).map_or(0, |last| last + 1);
            if best.len() == k {
                best.pop();
            }
            // There is room: at most k - 1 are left.
            let _ = best.insert(at, i);
            least = best.last().map_or(least, |&last| numbers[last]);
        }
    }
    best
}

/// Numbers that are passed over at once.
const BLOCK: usize = 128;
/// Maxima side by side, which the compiler makes vectors of.
const SIDE: usize = 16;

/// The largest, of those that are no NaN.
fn largest(numbers: &[f32]) -> f32 {
    let (sides, rest) = numbers.as_chunks::<SIDE>();
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut most = [f32::NEG_INFINITY; SIDE];
    for side in sides {
        for i in 0..SIDE {
            most[i] = larger(most[i], side[i]);
        }
    }
    most.iter().chain(rest).copied().fold(f32::NEG_INFINITY, larger)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::likeliest;

    proptest! {
        #[test]
        fn they_are_what_sorting_gives(numbers in proptest::collection::vec(0u8..90, 0..700), k in 0usize..20) {
            let numbers: Vec<f32> = numbers.into_iter().map(f32::from).collect();
            let mut order: Vec<usize> = (0..numbers.len()).collect();
            order.sort_by(|&a, &b| numbers[b].total_cmp(&numbers[a]));
            order.truncate(k.clamp(1, 12));
            prop_assert_eq!(&likeliest::<12>(&numbers, k)[..], &order[..]);
        }
    }
}
