//! Ranks over MPI: `mpirun -n 2 homing-trainer train RECIPE`, or `srun --mpi=pmix`.
//!
//! Sums go through the processor's memory; those of GPUs are NCCL's where the training runs on them. Tests are run with Open
//! MPI 4.1.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence};
use tch::{Device, Kind, Tensor, kind};

use super::ranks::{Ranks, in_one_row};

/// Values of one message: MPI counts them with 32 bits.
const LONGEST_MESSAGE: usize = 1 << 28;
/// Pause between two looks at whether the other ranks have come.
const LOOK_EVERY: Duration = Duration::from_micros(100);

/// This process in MPI's world.
pub struct Mpi {
    world: SimpleCommunicator,
    local_rank: usize,
    // Leaves MPI when it is dropped, so it is the last.
    _universe: Universe,
}

impl Mpi {
    /// Joins the job of `expected` processes.
    ///
    /// # Errors
    /// When MPI is in use already, or knows of another number of processes.
    pub fn join(expected: usize) -> Result<Self> {
        // Loader threads run beside, but only the thread that joins ever calls MPI.
        let (universe, threads) =
            mpi::initialize_with_threading(mpi::Threading::Funneled).context("MPI was started twice")?;
        ensure!(threads >= mpi::Threading::Funneled, "this MPI allows no threads: use another build of it");
        let world = universe.world();
        let found = number(world.size());
        ensure!(
            found == expected,
            "{expected} processes were started, but MPI knows of {found}: start them with the mpirun of the MPI that \
             this program was built with, or with srun --mpi=pmix"
        );
        let local_rank = number(world.split_shared(world.rank()).rank());
        Ok(Mpi { world, local_rank, _universe: universe })
    }

    /// Waits until all ranks have come here, asleep: MPI's own waiting would take a core from the loaders.
    fn meet(&self) {
        let mut meeting = self.world.immediate_barrier();
        while let Err(open) = meeting.test() {
            std::thread::sleep(LOOK_EVERY);
            meeting = open;
        }
    }

    fn sum_of<T: kind::Element + Equivalence + Copy + Default>(&self, tensors: &mut [Tensor]) {
        in_one_row(tensors, |row| {
            let row = row.to_device(Device::Cpu);
            let mut mine = vec![T::default(); row.numel()];
            row.copy_data(&mut mine, row.numel());
            let mut sums = vec![T::default(); mine.len()];
            self.meet();
            for (mine, sums) in mine.chunks(LONGEST_MESSAGE).zip(sums.chunks_mut(LONGEST_MESSAGE)) {
                self.world.all_reduce_into(mine, sums, SystemOperation::sum());
            }
            Tensor::from_slice(&sums)
        });
    }
}

impl Ranks for Mpi {
    fn rank(&self) -> usize {
        number(self.world.rank())
    }

    fn count(&self) -> usize {
        number(self.world.size())
    }

    fn local_rank(&self) -> usize {
        self.local_rank
    }

    fn sum(&self, tensors: &mut [Tensor]) {
        match tensors.first().map(Tensor::kind) {
            Some(Kind::Float) => self.sum_of::<f32>(tensors),
            Some(Kind::Int64) => self.sum_of::<i64>(tensors),
            Some(Kind::Uint8) => self.sum_of::<u8>(tensors),
            Some(other) => panic!("sums over ranks are of f32, i64 or u8, not of {other:?}"),
            None => (),
        }
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        // Leaving in order waits for the others, who would wait for this rank for ever.
        if std::thread::panicking() {
            self.world.abort(101);
        }
    }
}

/// MPI's sizes and ranks are never negative.
fn number(found: i32) -> usize {
    usize::try_from(found).unwrap_or_default()
}
