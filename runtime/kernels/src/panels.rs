//! Memory for packed weights.

use std::alloc::{Layout, handle_alloc_error};
use std::ops::{Deref, DerefMut};

use memmap2::{MmapMut, MmapOptions};

/// Bytes of weights, zero at first, from the beginning of a page on.
///
/// The system gives all pages at once where it can: to fetch each when it is first written to takes longer.
#[derive(Debug)]
pub(crate) struct Panels(MmapMut);

impl Panels {
    /// Room for `len` bytes. Where there is none, it ends as when a `Vec` gets none.
    pub fn new(len: usize) -> Self {
        match MmapOptions::new().len(len).populate().map_anon() {
            Ok(memory) => Panels(memory),
            Err(_) => handle_alloc_error(Layout::new::<u8>()),
        }
    }
}

impl Deref for Panels {
    type Target = [i8];

    fn deref(&self) -> &[i8] {
        bytemuck::cast_slice(&self.0)
    }
}

impl DerefMut for Panels {
    fn deref_mut(&mut self) -> &mut [i8] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_any_length_they_are_zero_and_begin_at_a_page() {
        for len in [0, 1, 4095, 4096, 3_000_001] {
            let mut panels = Panels::new(len);
            assert_eq!((panels.len(), panels.as_ptr().addr() % 4096), (len, 0));
            assert!(panels.iter().all(|weight| *weight == 0), "{len}");
            panels.fill(-7);
            assert!(panels.iter().all(|weight| *weight == -7), "{len}");
        }
    }
}
