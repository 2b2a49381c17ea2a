//! Which vector instructions are used: chosen once, by what the processor has, or by the user.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// The environment variable that forces a kernel, for measurements: a name such as `portable`.
pub const VARIABLE: &str = "HOMING_KERNEL";

/// A family of vector instructions that everything here is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// No instructions that not every processor has.
    Portable,
    /// x86-64 with AVX2 and FMA: laptops since 2013.
    Avx2,
    /// x86-64 with AVX2 and its dot products of bytes (AVX-VNNI).
    AvxVnni,
    /// x86-64 with AVX-512 and its dot products of bytes.
    Avx512Vnni,
    /// x86-64 with AVX-512 and products of tiles of bytes (AMX): Intel's servers since 2023.
    Amx,
    /// aarch64 as it always is: Raspberry Pi 4.
    Neon,
    /// aarch64 with dot products of bytes: Raspberry Pi 5, Jetson Orin.
    Dotprod,
}

/// The name of a kernel is unknown, or this processor has not its instructions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{VARIABLE}={asked}: this processor has {}; set it to one of them, or to nothing", names(.available))]
pub struct KernelError {
    asked: String,
    available: Vec<Kernel>,
}

fn names(kernels: &[Kernel]) -> String {
    kernels.iter().map(|k| k.name()).collect::<Vec<_>>().join(", ")
}

impl Kernel {
    const ALL: [Kernel; 7] = [
        Kernel::Portable,
        Kernel::Avx2,
        Kernel::AvxVnni,
        Kernel::Avx512Vnni,
        Kernel::Amx,
        Kernel::Neon,
        Kernel::Dotprod,
    ];

    /// As in [`VARIABLE`] and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::Portable => "portable",
            Kernel::Avx2 => "avx2",
            Kernel::AvxVnni => "avx-vnni",
            Kernel::Avx512Vnni => "avx512-vnni",
            Kernel::Amx => "amx",
            Kernel::Neon => "neon",
            Kernel::Dotprod => "dotprod",
        }
    }

    /// Whether this processor has the instructions.
    pub fn is_available(self) -> bool {
        match self {
            Kernel::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Kernel::AvxVnni => Kernel::Avx2.is_available() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512Vnni => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Kernel::Amx => Kernel::Avx512Vnni.is_available() && crate::simd::amx::is_available(),
            #[cfg(target_arch = "aarch64")]
            Kernel::Neon => true,
            #[cfg(target_arch = "aarch64")]
            Kernel::Dotprod => std::arch::is_aarch64_feature_detected!("dotprod"),
            _ => false,
        }
    }

    /// All that this processor can run, the slowest first.
    pub fn available() -> Vec<Kernel> {
        Self::ALL.into_iter().filter(|k| k.is_available()).collect()
    }

    /// The kernel that the environment names, or the best that this processor can run.
    ///
    /// # Errors
    /// When the environment names one that is unknown or cannot run here.
    pub fn chosen() -> Result<Kernel, KernelError> {
        static CHOSEN: OnceLock<Result<Kernel, KernelError>> = OnceLock::new();
        CHOSEN.get_or_init(|| Self::from_environment(std::env::var(VARIABLE).ok())).clone()
    }

    fn from_environment(asked: Option<String>) -> Result<Kernel, KernelError> {
        match asked.filter(|name| !name.is_empty()) {
            Some(name) => name.parse(),
            None => Ok(Self::available().last().copied().unwrap_or(Kernel::Portable)),
        }
    }
}

impl FromStr for Kernel {
    type Err = KernelError;

    fn from_str(name: &str) -> Result<Self, KernelError> {
        // Only the one in question is asked about: that of AMX asks the system for something.
        let found = Self::ALL.into_iter().find(|k| k.name() == name && k.is_available());
        found.ok_or_else(|| KernelError { asked: name.to_owned(), available: Self::available() })
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_chosen_and_a_wrong_name_lists_what_there_is() {
        assert_eq!(Kernel::from_environment(None).unwrap(), *Kernel::available().last().unwrap());
        assert_eq!(Kernel::from_environment(Some("portable".into())).unwrap(), Kernel::Portable);
        assert_eq!(Kernel::from_environment(Some(String::new())), Kernel::from_environment(None));
        for name in ["avx9", "PORTABLE"] {
            let e = Kernel::from_environment(Some(name.into())).unwrap_err().to_string();
            assert!(e.starts_with(&format!("HOMING_KERNEL={name}: this processor has portable")), "{e}");
        }
        let elsewhere = if cfg!(target_arch = "x86_64") { Kernel::Neon } else { Kernel::Avx2 };
        assert!(!elsewhere.is_available() && elsewhere.name().parse::<Kernel>().is_err());
    }
}
