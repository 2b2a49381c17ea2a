//! The processes that train one network together.
//!
//! A *rank* is one process of a job that `mpirun` or Slurm's `srun` started. All ranks hold the same network; each sees
//! its part of every step's batch, and gradients, counts of labels and losses are sums over the parts. With R ranks the
//! batch has R times the recipe's `training.batch_sites`, and a run is, step for step and up to the rounding of sums,
//! the run of one process on that larger batch. One thing is not: the batch normalisation of a convolutional stem takes
//! its statistics from each rank's own part (their running averages are the mean over the ranks). With a stem the
//! results are as good and are those of another run; with patches they are equal.
//!
//! Rank 0 alone writes files, prints, and validates. Ranks go in step: whoever fails says so at the next meeting, and all
//! leave together with one message.

use anyhow::Result;
use tch::{Device, Kind, Tensor};

use super::batch::Part;
use crate::commands::SaidElsewhere;

/// The ranks of a job, as one of them sees it.
///
/// Every rank calls the same methods in the same order, with tensors of the same shapes. What carries the sums is an
/// implementation's own affair; whoever cannot carry them any more ends the job, as MPI does by itself.
pub trait Ranks {
    /// The number of this rank, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn count(&self) -> usize;

    /// The number of this rank among those of its machine, from 0: which GPU is its own.
    fn local_rank(&self) -> usize;

    /// Puts the sum over all ranks into each tensor: the same bits on every rank.
    ///
    /// # Panics
    /// When the tensors of one call are not all of one kind, f32, i64 or u8.
    fn sum(&self, tensors: &mut [Tensor]);
}

/// One process on its own.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Ranks for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn count(&self) -> usize {
        1
    }

    fn local_rank(&self) -> usize {
        0
    }

    fn sum(&self, _: &mut [Tensor]) {}
}

impl dyn Ranks + '_ {
    /// Whether this is the rank that writes, prints and validates.
    pub fn first(&self) -> bool {
        self.rank() == 0
    }

    /// This rank's part of every batch.
    pub fn part(&self) -> Part {
        Part { rank: self.rank(), of: self.count() }
    }

    /// Whether it is so on any rank.
    pub fn any(&self, mine: bool) -> bool {
        self.sum_numbers(&[i64::from(mine)])[0] > 0
    }

    /// This rank's result where all ranks succeeded.
    ///
    /// # Errors
    /// Where some failed, the lowest of them keeps its error and all others get [`SaidElsewhere`].
    pub fn together<T>(&self, mine: Result<T>) -> Result<T> {
        let mut failed = vec![0; self.count()];
        failed[self.rank()] = i64::from(mine.is_err());
        match self.sum_numbers(&failed).iter().position(|&failed| failed > 0) {
            None => mine,
            Some(0) if self.first() => mine,
            Some(speaker) if speaker == self.rank() => mine.map_err(|error| error.context(format!("rank {speaker}"))),
            Some(_) => Err(SaidElsewhere.into()),
        }
    }

    /// What rank 0 makes, for all ranks, as bytes; the others do not call `make`.
    ///
    /// # Errors
    /// Rank 0's.
    pub fn from_first(&self, make: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
        let made = self.together(if self.first() { make() } else { Ok(Vec::new()) })?;
        if self.count() == 1 {
            return Ok(made);
        }
        let length = self.sum_numbers(&[made.len() as i64])[0];
        let mut bytes = [Tensor::zeros([length], (Kind::Uint8, Device::Cpu))];
        if self.first() {
            bytes[0] = Tensor::from_slice(&made);
        }
        self.sum(&mut bytes);
        Ok(Vec::try_from(&bytes[0])?)
    }

    /// Replaces the values of each tensor by rank 0's.
    pub fn share(&self, tensors: &mut [Tensor]) {
        if self.count() == 1 {
            return;
        }
        tch::no_grad(|| {
            // One by one: together with the copies on the way they may be too much for the memory.
            for tensor in tensors {
                if !self.first() {
                    let _ = tensor.zero_();
                }
                self.sum(std::slice::from_mut(tensor));
            }
        });
    }

    /// Rank 0's number.
    pub fn shared_number(&self, mine: i64) -> i64 {
        self.sum_numbers(&[if self.first() { mine } else { 0 }])[0]
    }

    fn sum_numbers(&self, mine: &[i64]) -> Vec<i64> {
        let mut sum = [Tensor::from_slice(mine)];
        self.sum(&mut sum);
        let mut numbers = vec![0; mine.len()];
        sum[0].copy_data(&mut numbers, mine.len());
        numbers
    }
}

/// Joins the job that this process was started in; on its own it is [`Alone`].
///
/// Must be called before any other thread uses MPI, and once. The value leaves the job when it is dropped, which waits
/// for the other ranks to do the same.
///
/// # Errors
/// When the process is one of several and this build, or the way of starting them, does not let them meet.
pub fn join() -> Result<Box<dyn Ranks>> {
    match launched() {
        1 => Ok(Box::new(Alone)),
        #[cfg(feature = "mpi")]
        count => Ok(Box::new(super::mpi::Mpi::join(count)?)),
        #[cfg(not(feature = "mpi"))]
        count => anyhow::bail!("started as {count} processes, but built without MPI: build with --features mpi"),
    }
}

/// The same ranks for a training on this device: those with a GPU each are connected by NCCL.
///
/// # Errors
/// When the GPUs cannot be connected.
pub fn on(ranks: Box<dyn Ranks>, device: Device) -> Result<Box<dyn Ranks>> {
    match device {
        #[cfg(feature = "mpi")]
        Device::Cuda(own) if ranks.count() > 1 => Ok(Box::new(super::nccl::Nccl::connect(ranks, own)?)),
        _ => Ok(ranks),
    }
}

/// Replaces tensors of one kind by what `sum` makes of all their numbers in one contiguous row.
#[cfg(feature = "mpi")]
pub(super) fn in_one_row(tensors: &mut [Tensor], sum: impl FnOnce(Tensor) -> Tensor) {
    let flat: Vec<Tensor> = tensors.iter().map(|t| t.detach().reshape([-1])).collect();
    let lengths: Vec<i64> = flat.iter().map(|t| t.size()[0]).collect();
    let sums = sum(Tensor::cat(&flat, 0)).split_with_sizes(lengths, 0);
    tch::no_grad(|| {
        for (tensor, sum) in tensors.iter_mut().zip(sums) {
            tensor.copy_(&sum.view(tensor.size().as_slice()));
        }
    });
}

/// How many processes the launcher says it started together; 1 without a launcher.
pub fn launched() -> usize {
    launched_by(|name| std::env::var(name).ok())
}

fn launched_by(environment: impl Fn(&str) -> Option<String>) -> usize {
    // Open MPI's mpirun, MPICH's, and srun. Inside a Slurm job mpirun's own number is the right one.
    let count = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"]
        .into_iter()
        .find_map(|name| environment(name)?.parse().ok());
    count.unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A rank beside others whose shares of the sums are written down.
    struct Beside {
        rank: usize,
        others: RefCell<Vec<Tensor>>,
    }

    impl Beside {
        fn new(rank: usize, others: &[&[i64]]) -> Self {
            Beside { rank, others: RefCell::new(others.iter().rev().map(|o| Tensor::from_slice(o)).collect()) }
        }
    }

    impl Ranks for Beside {
        fn rank(&self) -> usize {
            self.rank
        }

        fn count(&self) -> usize {
            3
        }

        fn local_rank(&self) -> usize {
            self.rank
        }

        fn sum(&self, tensors: &mut [Tensor]) {
            for tensor in tensors {
                *tensor += self.others.borrow_mut().pop().unwrap();
            }
        }
    }

    #[test]
    fn of_several_failures_the_lowest_rank_speaks_for_all() {
        let failure = || Err::<(), _>(anyhow::anyhow!("no such picture"));
        let told = |rank, mine: Result<()>, others: &[i64]| {
            let ranks = Beside::new(rank, &[others]);
            let ranks: &dyn Ranks = &ranks;
            ranks.together(mine).map_err(|e| if e.is::<SaidElsewhere>() { "-".to_owned() } else { format!("{e:#}") })
        };
        assert_eq!(told(1, Ok(()), &[0, 0, 0]), Ok(()));
        assert_eq!(told(1, failure(), &[0, 0, 1]), Err("rank 1: no such picture".to_owned()));
        assert_eq!(told(2, failure(), &[0, 1, 0]), Err("-".to_owned()));
        assert_eq!(told(0, Ok(()), &[0, 1, 1]), Err("-".to_owned()));
        assert_eq!(told(0, failure(), &[0, 1, 1]), Err("no such picture".to_owned()));
    }

    #[test]
    fn what_rank_0_makes_is_what_all_have() {
        let ranks = Beside::new(1, &[&[0, 0, 0], &[2]]);
        ranks.others.borrow_mut().insert(0, Tensor::from_slice(&[7u8, 9]));
        let ranks: &dyn Ranks = &ranks;
        assert_eq!(ranks.from_first(|| unreachable!("only rank 0 makes it")).unwrap(), [7, 9]);
        let alone: &dyn Ranks = &Alone;
        assert_eq!(alone.from_first(|| Ok(vec![1, 2])).unwrap(), [1, 2]);
        assert!(alone.from_first(|| anyhow::bail!("disk full")).is_err());

        let ranks = Beside::new(2, &[&[5, 6]]);
        let (ranks, mut mine) = (&ranks as &dyn Ranks, [Tensor::from_slice(&[1i64, 2])]);
        ranks.share(&mut mine);
        assert!(mine[0].equal(&Tensor::from_slice(&[5i64, 6])));
    }

    #[test]
    fn the_launcher_says_how_many_were_started() {
        let with = |set: &[(&str, &str)]| {
            launched_by(|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(with(&[]), 1);
        assert_eq!(with(&[("OMPI_COMM_WORLD_SIZE", "2"), ("SLURM_STEP_NUM_TASKS", "1")]), 2);
        assert_eq!(with(&[("SLURM_STEP_NUM_TASKS", "16")]), 16);
        assert_eq!(with(&[("PMI_SIZE", "none")]), 1);
    }
}
