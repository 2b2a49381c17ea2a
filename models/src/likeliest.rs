//! The largest of many numbers, as the few cells that a guess considers are of all.

/// The places of the `k` largest numbers, 1..=N of them, the largest first; equal ones in their order. Allocates nothing.
pub(crate) fn likeliest<const N: usize>(numbers: &[f32], k: usize) -> heapless::Vec<usize, N> {
    let k = k.clamp(1, N);
    let mut best = heapless::Vec::<usize, N>::new();
    // Nearly all numbers are compared with the least of the best alone.
    let mut least = f32::NEG_INFINITY;
    for (i, &number) in numbers.iter().enumerate() {
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
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::likeliest;

    proptest! {
        #[test]
        fn they_are_what_sorting_gives(numbers in proptest::collection::vec(0u8..9, 0..60), k in 0usize..20) {
            let numbers: Vec<f32> = numbers.into_iter().map(f32::from).collect();
            let mut order: Vec<usize> = (0..numbers.len()).collect();
            order.sort_by(|&a, &b| numbers[b].total_cmp(&numbers[a]));
            order.truncate(k.clamp(1, 12));
            prop_assert_eq!(&likeliest::<12>(&numbers, k)[..], &order[..]);
        }
    }
}
