//! Memory for packed weights.

use std::alloc::{Layout, handle_alloc_error};
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// A large page of x86-64, and of aarch64 where a small one has 4 KB.
const LARGE: usize = 2 << 20;

/// Bytes of weights, zero at first, from the beginning of a page on.
///
/// The system is asked for them at once, and for large pages where they fill one. Memory that comes page by page, as each is
/// first written to, took a third of the time to make a plan of ViT-B/32.
#[derive(Debug)]
pub(crate) struct Panels {
    memory: MmapMut,
    start: usize,
    len: usize,
}

impl Panels {
    /// Room for `len` bytes. Where there is none, it ends as when a `Vec` gets none.
    pub fn new(len: usize) -> Self {
        // Room to begin at a large page: what is not touched takes no memory.
        let spare = if len < LARGE { 0 } else { LARGE };
        let memory = match MmapMut::map_anon(len + spare) {
            Ok(memory) => memory,
            Err(_) => handle_alloc_error(Layout::new::<u8>()),
        };
        let start = memory.as_ptr().align_offset(LARGE).min(spare);
        // Advice: a system that does not follow it gives the same memory later.
        #[cfg(target_os = "linux")]
        {
            use memmap2::Advice;
            if spare > 0 {
                let _ = memory.advise_range(Advice::HugePage, start, len / LARGE * LARGE);
            }
            let _ = memory.advise_range(Advice::PopulateWrite, start, len);
        }
        Panels { memory, start, len }
    }
}

impl Deref for Panels {
    type Target = [i8];

    fn deref(&self) -> &[i8] {
        bytemuck::cast_slice(&self.memory[self.start..self.start + self.len])
    }
}

impl DerefMut for Panels {
    fn deref_mut(&mut self) -> &mut [i8] {
        bytemuck::cast_slice_mut(&mut self.memory[self.start..self.start + self.len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_any_length_they_are_zero_and_begin_at_a_page() {
        for len in [0, 1, 4096, LARGE - 1, LARGE, 2 * LARGE + 5] {
            let mut panels = Panels::new(len);
            assert_eq!(panels.len(), len);
            assert!(panels.iter().all(|weight| *weight == 0), "{len}");
            assert!(panels.as_ptr().addr().is_multiple_of(if len < LARGE { 4096 } else { LARGE }), "{len}");
            panels.fill(-7);
            assert!(panels.iter().all(|weight| *weight == -7), "{len}");
        }
    }
}
