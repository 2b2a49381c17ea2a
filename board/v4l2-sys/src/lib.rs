//! The kernel's V4L2 structures, as far as `v4l` 0.14 uses them, for 64-bit Linux.
//!
//! The crate of this name on crates.io runs bindgen while it is built, and bindgen loads libclang, which a vehicle's
//! board does not have. Here its output is a file. V4L2 is stable ABI, and the layout is the same on x86-64 and
//! aarch64: the assertions among the bindings hold it to that on whatever they are built for. Structures of which
//! only the size counts, because it is a part of an ioctl's number, are opaque.
//!
//! The bindings are made anew (needs bindgen-cli, libclang and linux-libc-dev) by:
//!
//! ```text
//! bindgen /usr/include/linux/videodev2.h --no-doc-comments --no-derive-debug \
//!   --allowlist-type 'v4l2_(capability|fmtdesc|format|requestbuffers|buffer|streamparm|std_id|querymenu|frmsizeenum|frmivalenum|query_ext_ctrl|ext_control|control|outputparm|captureparm|fract|pix_format|frm(size|ival)types)|time(val|_t)' \
//!   --allowlist-type "$SIZED" --opaque-type "$SIZED" \
//!   --opaque-type 'v4l2_(ctrl_.*|area|timecode|vbi_format|sliced_vbi_format|sdr_format|meta_format)' \
//!   --allowlist-var 'V4L2_CTRL_FLAG_NEXT_(CTRL|COMPOUND)' -o board/v4l2-sys/src/bindings.rs
//! ```
//!
//! where `SIZED` is
//! `v4l2_(framebuffer|exportbuffer|standard|input|tuner|audio|queryctrl|edid|output|audioout|modulator|frequency|cropcap|crop|jpegcompression|sliced_vbi_cap|enc_idx|encoder_cmd|ext_controls)`.
#![allow(clippy::all, missing_docs, non_camel_case_types, non_upper_case_globals)]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("these bindings are those of 64-bit Linux; build for x86-64 or aarch64");

include!("bindings.rs");
