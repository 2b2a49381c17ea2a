//! Which processor trains, and how it is woken.

use anyhow::{Result, bail};
use clap::ValueEnum;
use tch::{Cuda, Device};

/// The processor that the user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Processor {
    /// A CUDA device where there is one, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// A CUDA device; an error where there is none.
    Cuda,
}

impl Processor {
    /// The device, after loading libtorch's CUDA part where it is wanted. Of several processes on one machine each says
    /// its number among them, and they take the CUDA devices in turn.
    ///
    /// # Errors
    /// When CUDA is asked for and cannot be used: never a silent fall-back.
    pub fn device(self, local_rank: usize) -> Result<Device> {
        if self == Processor::Cpu {
            return Ok(Device::Cpu);
        }
        let loaded = super::cuda_library::load();
        match (self, loaded) {
            (_, Ok(())) if Cuda::is_available() => {
                Ok(Device::Cuda(local_rank % usize::try_from(Cuda::device_count())?.max(1)))
            }
            (Processor::Cuda, Ok(())) => {
                bail!("--device cuda: this machine has no usable CUDA device; use --device cpu, or mend its driver")
            }
            (Processor::Cuda, Err(why)) => bail!("--device cuda: {why}; use --device cpu, or a libtorch with CUDA"),
            _ => Ok(Device::Cpu),
        }
    }
}

/// What computes.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Computing {
    /// What computes; `cuda` without a usable device is an error
    #[arg(long, value_enum, default_value_t)]
    device: Processor,
    /// Threads of the network and of the loaders in each process [default: all cores that it may use]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl Computing {
    /// The device, for a process with this number on its machine, and the number of threads, which libtorch is told.
    ///
    /// # Errors
    /// When the device cannot be used.
    pub fn settle(self, local_rank: usize) -> Result<(Device, usize)> {
        let device = self.device.device(local_rank)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.map_or(cores, usize::from);
        tch::set_num_threads(i32::try_from(threads)?);
        Ok((device, threads))
    }
}

/// Starts this program again with OpenMP's waiting threads asleep, unless the environment says how they wait.
///
/// Spinning threads take the cores from the loaders (a fifth of the throughput was left on a shared machine), and
/// libgomp reads the setting before `main`. Returns when nothing is to be done or a second start is impossible.
pub fn settle_threads() {
    const WAIT: &str = "OMP_WAIT_POLICY";
    if std::env::var_os(WAIT).is_some() {
        return;
    }
    #[cfg(unix)]
    if let Ok(program) = std::env::current_exe() {
        use std::os::unix::process::CommandExt;
        let error = std::process::Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(WAIT, "passive")
            .env("GOMP_SPINCOUNT", "0")
            .exec();
        eprintln!("training threads will spin while they wait ({error})");
    }
}
