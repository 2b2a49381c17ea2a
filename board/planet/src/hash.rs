//! The planet's only source of chance: integer hashes, so that the same key gives the same world everywhere.

/// Mixes 64 bits so that each output bit depends on each input bit (the finaliser of splitmix64).
pub fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Combines a key with one more number; the order matters.
pub fn fold(key: u64, next: u64) -> u64 {
    mix(key ^ next.wrapping_mul(0x8ebc_6af0_9c88_c6e3).rotate_left(23))
}

/// A hash as a number in 0..1.
pub fn unit(key: u64) -> f32 {
    (mix(key) >> 40) as f32 / (1u64 << 24) as f32
}

/// A small counter-based generator (splitmix64): cheap to seed, no state beyond one word.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator whose stream depends on the whole key.
    pub fn new(key: u64) -> Self {
        Rng(mix(key))
    }

    /// The next 64 bits.
    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Uniform in 0..1.
    pub fn f32(&mut self) -> f32 {
        (self.u64() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Uniform in 0..1 with 53 bits.
    pub fn f64(&mut self) -> f64 {
        (self.u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `low..high`.
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.f32()
    }

    /// Roughly normal, mean 0 and standard deviation 1 (sum of four uniforms, bounded at +-3.5).
    pub fn normal(&mut self) -> f32 {
        (self.f32() + self.f32() + self.f32() + self.f32() - 2.0) * 3.0f32.sqrt()
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f32) -> bool {
        self.f32() < p
    }

    /// Uniform in `0..n` (n > 0).
    pub fn below(&mut self, n: usize) -> usize {
        ((self.u64() >> 32).wrapping_mul(n as u64) >> 32) as usize
    }
}
