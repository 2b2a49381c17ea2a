//! Sums over the GPUs of a job by NCCL, which never leave the GPUs: what MPI joined, NCCL connects.
//!
//! NCCL comes with libtorch's CUDA part, so that its functions are looked up in the running process (their signatures:
//! `nccl.h` of NCCL 2, stable since 2.0). Small sums of the processor's numbers stay MPI's.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;

use anyhow::{Context, Result, bail};
use libloading::os::unix::{Library, Symbol};
use tch::{Device, Kind, Tensor};

use super::ranks::{Ranks, in_one_row};

/// `ncclUniqueId`: the address at which the ranks of a job meet.
#[derive(Clone, Copy)]
#[repr(C)]
struct Meeting([u8; 128]);

type Status = c_int;
type Communicator = *mut c_void;
type Stream = *mut c_void;

/// The functions used, of NCCL and of CUDA's runtime.
struct Functions {
    set_device: Symbol<unsafe extern "C" fn(c_int) -> Status>,
    meeting: Symbol<unsafe extern "C" fn(*mut Meeting) -> Status>,
    join: Symbol<unsafe extern "C" fn(*mut Communicator, c_int, Meeting, c_int) -> Status>,
    all_reduce:
        Symbol<unsafe extern "C" fn(*const c_void, *mut c_void, usize, c_int, c_int, Communicator, Stream) -> Status>,
    leave: Symbol<unsafe extern "C" fn(Communicator) -> Status>,
    describe: Symbol<unsafe extern "C" fn(Status) -> *const c_char>,
}

impl Functions {
    fn of(library: &Library) -> Result<Self, libloading::Error> {
        // SAFETY: the types are those of the functions with these names in nccl.h and cuda_runtime_api.h.
        unsafe {
            Ok(Functions {
                set_device: library.get(b"cudaSetDevice\0")?,
                meeting: library.get(b"ncclGetUniqueId\0")?,
                join: library.get(b"ncclCommInitRank\0")?,
                all_reduce: library.get(b"ncclAllReduce\0")?,
                leave: library.get(b"ncclCommDestroy\0")?,
                describe: library.get(b"ncclGetErrorString\0")?,
            })
        }
    }

    fn checked(&self, status: Status) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: NCCL answers any number with a constant text.
        let text = unsafe { CStr::from_ptr((self.describe)(status)) };
        bail!("NCCL: {}; NCCL_DEBUG=WARN tells more", text.to_string_lossy())
    }
}

/// The ranks of a job, each with a GPU of its own.
pub struct Nccl {
    ranks: Box<dyn Ranks>,
    functions: Functions,
    communicator: Communicator,
}

impl Nccl {
    /// Connects the GPUs of `ranks`; all of them call it. `device` is this rank's own.
    ///
    /// # Errors
    /// When NCCL is not there or the GPUs do not reach each other, for instance because two ranks have the same one.
    pub fn connect(ranks: Box<dyn Ranks>, device: usize) -> Result<Self> {
        // libtorch's CUDA part was loaded for the whole process, and NCCL and CUDA's runtime with it.
        Self::connect_by(&Library::this(), ranks, device)
    }

    fn connect_by(library: &Library, ranks: Box<dyn Ranks>, device: usize) -> Result<Self> {
        let found = Functions::of(library).context("this libtorch came without NCCL: use one rank a machine");
        let functions = ranks.together(found)?;
        let mut meeting = Meeting([0; 128]);
        let made = ranks.from_first(|| {
            // SAFETY: NCCL fills the whole structure.
            functions.checked(unsafe { (functions.meeting)(&raw mut meeting) })?;
            Ok(meeting.0.to_vec())
        })?;
        meeting.0.copy_from_slice(&made);
        let mut communicator = null_mut();
        let (count, rank, device) =
            (c_int::try_from(ranks.count())?, c_int::try_from(ranks.rank())?, c_int::try_from(device)?);
        // SAFETY: sets this thread's current device, which libtorch restores around each of its own uses of another.
        let set = unsafe { (functions.set_device)(device) };
        let joined = if set == 0 {
            // SAFETY: the address of the communicator is valid, and all ranks come with the same meeting and count.
            functions.checked(unsafe { (functions.join)(&raw mut communicator, count, meeting, rank) })
        } else {
            Err(anyhow::anyhow!("CUDA refuses device {device} (error {set})"))
        };
        ranks.together(joined.context("the ranks' GPUs cannot be connected; each rank needs a GPU of its own"))?;
        Ok(Nccl { ranks, functions, communicator })
    }

    /// Sums one row of numbers over the ranks, in place.
    fn sum_row(&self, row: &Tensor) -> Result<()> {
        // ncclDataType_t and ncclRedOp_t.
        let kind = match row.kind() {
            Kind::Uint8 => 1,
            Kind::Int64 => 4,
            Kind::Float => 7,
            other => panic!("sums over ranks are of f32, i64 or u8, not of {other:?}"),
        };
        let (sum, pointer) = (0, row.data_ptr());
        // SAFETY: `row` is contiguous and has so many numbers of this kind; source and target may be the same. The null
        // stream is the one on which libtorch works, so that the sum comes after what made the row and before its use.
        let status = unsafe {
            (self.functions.all_reduce)(pointer, pointer, row.numel(), kind, sum, self.communicator, null_mut())
        };
        self.functions.checked(status)
    }

    fn sum_rows(&self, tensors: &mut [Tensor]) {
        in_one_row(tensors, |row| {
            // A job whose GPUs have lost each other ends: MPI's part does that when a rank panics.
            self.sum_row(&row).unwrap_or_else(|error| panic!("{error:#}"));
            row
        });
    }
}

impl Ranks for Nccl {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn count(&self) -> usize {
        self.ranks.count()
    }

    fn local_rank(&self) -> usize {
        self.ranks.local_rank()
    }

    fn sum(&self, tensors: &mut [Tensor]) {
        if tensors.iter().all(|tensor| matches!(tensor.device(), Device::Cuda(_))) {
            self.sum_rows(tensors);
        } else {
            self.ranks.sum(tensors);
        }
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: the communicator is this value's own and is not used after it. A failure changes nothing any more.
            let _ = unsafe { (self.functions.leave)(self.communicator) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ranks::Alone;
    use super::*;

    /// A library with NCCL's functions, of which the sum pretends that a second rank has the same numbers.
    fn stand_in(folder: &std::path::Path) -> Library {
        let path = folder.join("libnccl.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/torch/nccl_stand_in.c");
        let done = std::process::Command::new("cc").args(["-shared", "-fPIC", source, "-o"]).arg(&path).status();
        assert!(done.unwrap().success());
        // SAFETY: our own library, without initialisers.
        unsafe { Library::new(path).unwrap() }
    }

    #[test]
    fn numbers_of_every_kind_are_summed_in_place_and_failures_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let library = stand_in(folder.path());
        let nccl = Nccl::connect_by(&library, Box::new(Alone), 3).unwrap();
        let mut floats = [Tensor::from_slice2(&[[1f32, 2.5], [-3.0, 0.5]]).tr(), Tensor::from_slice(&[7f32])];
        nccl.sum_rows(&mut floats);
        assert!(floats[0].equal(&Tensor::from_slice2(&[[2f32, -6.0], [5.0, 1.0]])));
        assert!(floats[1].equal(&Tensor::from_slice(&[14f32])));
        let mut numbers = [Tensor::from_slice(&[1i64 << 40, -5])];
        nccl.sum_rows(&mut numbers);
        assert!(numbers[0].equal(&Tensor::from_slice(&[1i64 << 41, -10])));
        let mut bytes = [Tensor::from_slice(&[3u8, 100])];
        nccl.sum_rows(&mut bytes);
        assert!(bytes[0].equal(&Tensor::from_slice(&[6u8, 200])));

        let busy = Nccl::connect_by(&library, Box::new(Alone), 9).err().unwrap();
        assert_eq!(
            format!("{busy:#}"),
            "the ranks' GPUs cannot be connected; each rank needs a GPU of its own: CUDA refuses device 9 (error 101)"
        );
        let refused = format!("{:#}", nccl.functions.checked(5).unwrap_err());
        assert_eq!(refused, "NCCL: invalid usage; NCCL_DEBUG=WARN tells more");
        let nothing = Nccl::connect_by(&Library::this(), Box::new(Alone), 0).err().unwrap();
        assert!(format!("{nothing:#}").starts_with("this libtorch came without NCCL"), "{nothing:#}");
    }
}
