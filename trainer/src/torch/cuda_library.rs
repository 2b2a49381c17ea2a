//! Brings back libtorch's CUDA part, which the linker leaves out because nothing refers to it by name.
//!
//! With `nccl` the only `unsafe` of this crate.
#![allow(unsafe_code)]

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

/// Loads `libtorch_cuda.so` from beside libtorch, for the rest of the process.
///
/// # Errors
/// The loader's message where the library or one that it needs is missing.
pub fn load() -> Result<(), String> {
    // SAFETY: the library's initialisers register CUDA kernels with the libtorch that is already loaded, from the same
    // folder and version; it is never unloaded, because the handle is forgotten.
    let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
    match library {
        Ok(library) => {
            std::mem::forget(library);
            Ok(())
        }
        Err(error) => {
            let source = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Err(source)
        }
    }
}
