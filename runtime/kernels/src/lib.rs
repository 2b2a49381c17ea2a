//! Operators of vision transformers on bytes: quantised linear layers with what stands before and behind them,
//! convolutions of a stem or of patches, attention, LayerNorm.
//!
//! Each is written once over vectors (`simd`) and compiled for the instructions of several processors; [`Kernel`] says
//! which are used. Products of bytes are exact on all of them: weights are in -127..=127, sums in 32 bits.

mod attention;
mod conv;
mod cpu;
mod fuse;
mod join;
mod linear;
mod maths;
mod ops;
mod panels;
mod peak;
mod rows;
mod simd;
mod tile;
mod windows;

pub use attention::{Attention, Projections, Shape};
pub use conv::{Convolution, ConvolutionError, Layout, Pixels, Window};
pub use cpu::{Kernel, KernelError, VARIABLE};
pub use fuse::{Fused, Packed, fuse};
pub use join::{Inside, Weights, read};
pub use linear::{Epilogue, Linear, LinearError, Matrix};
pub use maths::{Activation, softmax};
pub use peak::multiply_in_registers;
pub use rows::{Bytes, LayerNorm, layer_norm};
pub use windows::Windows;

#[cfg(test)]
mod tests;
