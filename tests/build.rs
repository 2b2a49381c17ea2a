//! Lets the tests find the libtorch that the trainer is linked with.

fn main() {
    // Set by torch-sys, which is there only with the feature `torch`.
    if let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        // DT_RPATH, not DT_RUNPATH: it also serves the libraries that libtorch loads later.
        println!("cargo:rustc-link-arg=-Wl,--disable-new-dtags,-rpath,{folder}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
