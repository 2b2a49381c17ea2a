//! Elementary functions on vectors.

use crate::cpu::Kernel;
use crate::simd::{Simd, Work, run};

/// 2^r on -1/2..1/2, relative error 8e-8: coefficients of r^0 to r^5 by weighted least squares towards the minimax.
const EXP2: [f32; 6] = [1.000_000_1, 0.693_146_97, 0.240_221_2, 0.055_507_135, 0.009_675_541, 0.001_327_645_2];

/// (Phi(x) - 1/2) / x in x^2, of the normal distribution: error 1.6e-5 of x Phi(x) up to [`GELU_LIMIT`].
const GELU: [f32; 9] = [
    0.398_819_2,
    -0.066_190_3,
    0.009_718_804,
    -0.001_079_088_3,
    8.849_121e-5,
    -5.147_742e-6,
    1.986_299_4e-7,
    -4.515_758e-9,
    4.547_674_7e-11,
];
/// Beyond, Phi is 0 or 1 to five digits.
const GELU_LIMIT: f32 = 4.25;

#[inline(always)]
unsafe fn polynomial<S: Simd, const N: usize>(coefficients: &[f32; N], x: S::F) -> S::F {
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        let mut y = S::splat(coefficients[N - 1]);
        for c in coefficients[..N - 1].iter().rev() {
            y = S::fma(y, x, S::splat(*c));
        }
        y
    }
}

/// 2^x for x up to 126; below -126 it is about 1e-38.
///
/// # Safety
/// The processor must have `S`'s instructions.
#[inline(always)]
pub(crate) unsafe fn exp2<S: Simd>(x: S::F) -> S::F {
    // SAFETY: as this function's own.
    unsafe {
        // In this order x86 gives the second where one is NaN, so that it stays to be seen.
        let x = S::max(S::splat(-126.0), x);
        let n = S::round(x);
        S::times_power_of_two(polynomial::<S, 6>(&EXP2, S::sub(x, n)), n)
    }
}

/// Numbers to `2^(scale * (number - largest))`, with a scale above 0; gives one over their sum.
///
/// # Safety
/// The processor must have `S`'s instructions.
#[inline(always)]
pub(crate) unsafe fn exponentials<S: Simd>(numbers: &mut [f32], scale: f32) -> f32 {
    // SAFETY: as this function's own; parts stay inside the slice.
    unsafe {
        let whole = numbers.len() / S::LANES * S::LANES;
        let (p, rest) = (numbers.as_mut_ptr(), numbers.len() - whole);
        let mut most = S::splat(f32::NEG_INFINITY);
        for at in (0..whole).step_by(S::LANES) {
            most = S::max(most, S::load(p.add(at)));
        }
        let largest = match (whole, rest) {
            (_, 0) => S::largest(most),
            (0, _) => numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            // The vector that ends with the numbers: some of them a second time.
            _ => S::largest(S::max(most, S::load(p.add(numbers.len() - S::LANES)))),
        };
        let mut sum = S::splat(0.0);
        let (shift, scale) = (S::splat(largest), S::splat(scale));
        if rest > 0 {
            let y = exp2::<S>(S::mul(S::sub(S::load_part(p.add(whole), rest), shift), scale));
            S::store_part(p.add(whole), y, rest);
            sum = S::load_part(p.add(whole), rest);
        }
        for at in (0..whole).step_by(S::LANES) {
            let y = exp2::<S>(S::mul(S::sub(S::load(p.add(at)), shift), scale));
            S::store(p.add(at), y);
            sum = S::add(sum, y);
        }
        1.0 / S::sum(sum)
    }
}

/// Numbers to their softmax, in place: each positive, their sum 1. None, and nothing happens.
pub fn softmax(kernel: Kernel, numbers: &mut [f32]) {
    run(kernel, Softmax(numbers));
}

struct Softmax<'a>(&'a mut [f32]);

impl Work for Softmax<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the processor has the instructions (`simd::run`).
        let inverse = unsafe { exponentials::<S>(self.0, std::f32::consts::LOG2_E) };
        self.0.iter_mut().for_each(|number| *number *= inverse);
    }
}

/// 1 / (1 + e^(-slope x)).
#[inline(always)]
unsafe fn sigmoid<S: Simd>(x: S::F, slope: f32) -> S::F {
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        // e^88 is near the largest float.
        let x = S::min(S::mul(x, S::splat(-slope * std::f32::consts::LOG2_E)), S::splat(126.0));
        S::reciprocal(S::add(S::splat(1.0), exp2::<S>(x)))
    }
}

/// What follows a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// x Phi(x), by the error function.
    Gelu,
    /// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2.
    GeluTanh,
    /// x sigmoid(1.702 x): OpenAI's CLIP.
    QuickGelu,
    /// max(x, 0).
    Relu,
}

impl Activation {
    /// Of each of some values, in place.
    pub fn apply(self, kernel: Kernel, values: &mut [f32]) {
        run(kernel, Map(self, values));
    }

    /// Of a vector.
    ///
    /// # Safety
    /// The processor must have `S`'s instructions.
    #[inline(always)]
    pub(crate) unsafe fn of<S: Simd>(self, x: S::F) -> S::F {
        // SAFETY: as this function's own.
        unsafe {
            match self {
                Activation::None => x,
                // In this order x86 gives the second, so that NaN stays to be seen.
                Activation::Relu => S::max(S::splat(0.0), x),
                Activation::QuickGelu => S::mul(x, sigmoid::<S>(x, 1.702)),
                Activation::GeluTanh => {
                    // (1 + tanh u) / 2 is the sigmoid of 2 u.
                    let cubic = S::fma(S::mul(x, x), S::splat(0.044_715), S::splat(1.0));
                    S::mul(x, sigmoid::<S>(S::mul(x, cubic), 1.595_769_2))
                }
                Activation::Gelu => {
                    let limit = S::splat(GELU_LIMIT);
                    let near = S::max(S::min(x, limit), S::splat(-GELU_LIMIT));
                    let share = polynomial::<S, 9>(&GELU, S::mul(near, near));
                    S::mul(x, S::fma(near, share, S::splat(0.5)))
                }
            }
        }
    }
}

struct Map<'a>(Activation, &'a mut [f32]);

impl Work for Map<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: `run` chose a kernel that the processor has.
        unsafe { activate::<S>(self.0, self.1) }
    }
}

/// An activation of each of some values, in place.
///
/// # Safety
/// The processor must have `S`'s instructions.
#[inline(always)]
pub(crate) unsafe fn activate<S: Simd>(activation: Activation, values: &mut [f32]) {
    // SAFETY: as this function's own; parts stay inside the slice.
    unsafe {
        let whole = values.len() / S::LANES;
        activate_vectors::<S, 1>(activation, values.as_mut_ptr(), whole, S::LANES);
        let rest = &mut values[whole * S::LANES..];
        if !rest.is_empty() {
            let y = activation.of::<S>(S::load_part(rest.as_ptr(), rest.len()));
            S::store_part(rest.as_mut_ptr(), y, rest.len());
        }
    }
}

/// An activation of `rows` times `V` whole vectors, rows `stride` floats apart.
///
/// # Safety
/// The processor must have `S`'s instructions; the vectors must be valid.
#[inline(always)]
pub(crate) unsafe fn activate_vectors<S: Simd, const V: usize>(
    activation: Activation,
    p: *mut f32,
    rows: usize,
    stride: usize,
) {
    // One loop for each, so that none decides inside.
    // SAFETY: as this function's own.
    unsafe {
        match activation {
            Activation::None => {}
            Activation::Relu => each::<S, V>(Activation::Relu, p, rows, stride),
            Activation::Gelu => each::<S, V>(Activation::Gelu, p, rows, stride),
            Activation::GeluTanh => each::<S, V>(Activation::GeluTanh, p, rows, stride),
            Activation::QuickGelu => each::<S, V>(Activation::QuickGelu, p, rows, stride),
        }
    }
}

/// The loop of [`activate_vectors`]: a row's vectors are computed side by side, since each is a long chain.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "plain indices are what the compiler turns into registers")]
unsafe fn each<S: Simd, const V: usize>(activation: Activation, p: *mut f32, rows: usize, stride: usize) {
    // SAFETY: as `activate_vectors`.
    unsafe {
        for row in 0..rows {
            let p = p.add(row * stride);
            let mut x = [S::load(p); V];
            for v in 1..V {
                x[v] = S::load(p.add(v * S::LANES));
            }
            for v in 0..V {
                x[v] = activation.of::<S>(x[v]);
            }
            for v in 0..V {
                S::store(p.add(v * S::LANES), x[v]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error function by its series, in doubles.
    fn erf(x: f64) -> f64 {
        if x.abs() > 5.0 {
            return x.signum();
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn activations_are_what_they_are_called_on_every_kernel() {
        type Exact = fn(f64) -> f64;
        let all: [(Activation, Exact, f64); 5] = [
            (Activation::None, |x| x, 0.0),
            (Activation::Relu, |x| x.max(0.0), 0.0),
            (Activation::Gelu, |x| x * (1.0 + erf(x / 2f64.sqrt())) / 2.0, 2e-5),
            (Activation::QuickGelu, |x| x / (1.0 + (-1.702 * x).exp()), 1e-6),
            (
                Activation::GeluTanh,
                |x| x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh()) / 2.0,
                1e-6,
            ),
        ];
        let values: Vec<f32> = (-4000..=4000).map(|i| i as f32 * 0.005).chain([-1e4, 1e4, 3e-39, -0.0]).collect();
        for kernel in Kernel::available() {
            for (activation, exact, bound) in all {
                let mut found = values.clone();
                activation.apply(kernel, &mut found);
                for (x, y) in values.iter().zip(&found) {
                    let expected = exact(f64::from(*x));
                    // Relative to what goes in: GELU of -20 may be -20 times the rounding of its share.
                    let off = (f64::from(*y) - expected).abs() / f64::from(x.abs()).max(1.0);
                    assert!(off <= bound, "{kernel} {activation:?}({x}) is {y}, not {expected}");
                }
            }
        }
    }
}
