//! Convolutions on bytes: the windows of an image are the rows of a quantised product.

use crate::cpu::Kernel;
use crate::linear::{Epilogue, Linear};
use crate::rows::{OVERHANG, extent, steps, write};
use crate::simd::{Simd, Work, run};
use crate::windows::{Way, Windows};

/// Steps of a weight's second byte in one of the first.
const FINER: f32 = 254.0;
/// Bytes of pixels are stored as numbers about zero.
pub(crate) const MIDDLE: f32 = 128.0;

/// How an image lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[channels][height][width]`, as pictures come.
    ChannelsFirst,
    /// `[height][width][channels]`, as a convolution leaves them.
    ChannelsLast,
}

impl Layout {
    /// Height and width of an image with these three sizes.
    pub fn sides<T>(self, [a, b, c]: [T; 3]) -> (T, T) {
        match self {
            Layout::ChannelsFirst => (b, c),
            Layout::ChannelsLast => (a, b),
        }
    }
}

/// What a convolution sees of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How the image lies in memory.
    pub layout: Layout,
    /// Channels of the image.
    pub channels: usize,
    /// Side of the square that is seen at once.
    pub size: usize,
    /// From one square to the next.
    pub step: usize,
    /// Zeros above and to the left of the image.
    pub before: usize,
    /// Zeros below and to the right.
    pub after: usize,
}

impl Window {
    /// Windows along a side of the image.
    pub fn outputs_along(&self, side: usize) -> usize {
        (side + self.before + self.after).checked_sub(self.size).map_or(0, |room| room / self.step + 1)
    }

    pub(crate) fn depth(&self) -> usize {
        self.channels * self.size * self.size
    }
}

/// How the bytes of a picture became the numbers that a graph reads: `number = gain * byte + shift`, by channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels {
    /// Of red, green, blue.
    pub gain: [f32; 3],
    /// Of red, green, blue.
    pub shift: [f32; 3],
}

/// A convolution with weights as bytes, packed for one kernel of instructions.
///
/// One that sees the picture itself has two bytes for each weight: rounding those to one moved the embeddings of the
/// shipped model more than the rounding of all other convolutions together, and they are few.
#[derive(Debug)]
pub struct Convolution {
    window: Window,
    layer: Linear,
    /// What rounding left of the weights, in steps 254 times finer.
    rest: Option<Linear>,
    /// The numbers that come in are these pixels: their bytes are found again, and nothing is rounded.
    pixels: Option<Pixels>,
}

/// Weights are not those of a convolution.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a convolution of {channels} x {size} x {size} to {outputs} with {weights} weights, {bias} biases")]
pub struct ConvolutionError {
    channels: usize,
    size: usize,
    outputs: usize,
    weights: usize,
    bias: usize,
}

/// Weights as bytes, by outputs, and what they mean.
struct Rounded {
    bias: Vec<f32>,
    scales: Vec<f32>,
    /// `[outputs][row]`, in the order of the bytes of a row of windows.
    bytes: Vec<i8>,
    /// What rounding left, for a picture; empty for others.
    rests: Vec<i8>,
}

/// Rounds weights `[outputs][channels][size][size]`, one output after the other.
struct Round<'a> {
    window: Window,
    way: Way,
    weights: &'a [f32],
    pixels: Option<&'a Pixels>,
    of: &'a mut Rounded,
}

impl Work for Round<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Round { window, way, weights, pixels, of } = self;
        let (depth, places, width) = (window.depth(), window.size * window.size, way.width(window));
        let stored = if S::UNSIGNED { 0x80 } else { 0 };
        let mut exact = vec![0f32; depth];
        let mut written = vec![0u8; depth + OVERHANG];
        let mut bytes = vec![0i8; depth];
        for (output, row) in weights.chunks_exact(depth).enumerate() {
            exact.copy_from_slice(row);
            if let Some(Pixels { gain, shift }) = pixels {
                for (c, row) in exact.chunks_exact_mut(places).enumerate() {
                    // What a byte of this channel is worth, and the number that byte 0 stands for.
                    let (gain, shift) = (gain[c], shift[c] + MIDDLE * gain[c]);
                    row.iter().for_each(|w| of.bias[output] += w * shift);
                    row.iter_mut().for_each(|w| *w *= gain);
                }
            }
            // SAFETY: the processor has the instructions (`simd::run`); there is room for the last vector.
            let factor = unsafe {
                let (low, high) = extent::<S>(&exact);
                let most = high.max(-low);
                of.scales[output] = most / 127.0;
                let factor = steps(127.0, most);
                write::<S>(&exact, factor, 0.0, written.as_mut_ptr());
                factor
            };
            signed(&written, stored, &mut bytes);
            way.arrange(window, &bytes, &mut of.bytes[output * width..][..width]);
            if !of.rests.is_empty() {
                for (exact, byte) in exact.iter_mut().zip(&bytes) {
                    *exact = *exact * factor - f32::from(*byte);
                }
                // SAFETY: as above.
                unsafe { write::<S>(&exact, FINER, 0.0, written.as_mut_ptr()) }
                signed(&written, stored, &mut bytes);
                way.arrange(window, &bytes, &mut of.rests[output * width..][..width]);
            }
        }
    }
}

/// As many bytes as numbers, from how a kernel stores them.
#[inline(always)]
fn signed(written: &[u8], stored: u8, bytes: &mut [i8]) {
    bytes.iter_mut().zip(written).for_each(|(byte, written)| *byte = (written ^ stored).cast_signed());
}

impl Convolution {
    /// Rounds weights `[outputs][channels][size][size]` to bytes, with one scale for each output, and packs them. Where
    /// the numbers that come in are pixels, with their channels first, it can be told so.
    ///
    /// # Errors
    /// When there are other numbers of them.
    pub fn new(
        kernel: Kernel,
        window: Window,
        outputs: usize,
        weights: &[f32],
        bias: &[f32],
        pixels: Option<&Pixels>,
    ) -> Result<Self, ConvolutionError> {
        let Window { channels, size, step, .. } = window;
        let depth = window.depth();
        let wrong = || ConvolutionError { channels, size, outputs, weights: weights.len(), bias: bias.len() };
        if weights.len() != outputs * depth || bias.len() != outputs || depth * step == 0 {
            return Err(wrong());
        }
        let pixels = pixels.filter(|p| window.layout == Layout::ChannelsFirst && p.gain.len() == channels);
        let way = Way::of(window, kernel);
        let width = way.width(window);
        let mut rounded = Rounded {
            bias: bias.to_vec(),
            scales: vec![0.0; outputs],
            bytes: vec![0; outputs * width],
            rests: vec![0; if window.layout == Layout::ChannelsFirst { outputs * width } else { 0 }],
        };
        run(kernel, Round { window, way, weights, pixels, of: &mut rounded });
        let Rounded { bias, mut scales, bytes, rests } = rounded;
        let linear = |bytes: &[i8], scales: &[f32], bias: &[f32]| {
            Linear::by_outputs(kernel, (width, outputs), bytes, scales, bias)
        };
        let layer = linear(&bytes, &scales, &bias);
        scales.iter_mut().for_each(|scale| *scale /= FINER);
        let rest = (!rests.is_empty()).then(|| linear(&rests, &scales, &vec![0.0; outputs]));
        Ok(Convolution { window, layer, rest, pixels: pixels.cloned() })
    }

    /// What it sees.
    pub fn window(&self) -> Window {
        self.window
    }

    /// Channels of what comes out.
    pub fn outputs(&self) -> usize {
        self.layer.outputs()
    }

    /// The kernel it is packed for.
    pub fn kernel(&self) -> Kernel {
        self.layer.kernel()
    }

    /// Fills `out`, `[images][height][width][outputs]`, from `count` images in the window's layout.
    ///
    /// # Panics
    /// When a slice has another length, images have no pixels, or the buffers are for another kernel.
    pub fn run(
        &self,
        buffers: &mut Windows,
        images: &[f32],
        (count, height, width): (usize, usize, usize),
        epilogue: Epilogue,
        out: &mut [f32],
    ) {
        let pixels = height * width * self.window.channels;
        let own = self.window.outputs_along(height) * self.window.outputs_along(width) * self.outputs();
        assert_eq!(images.len(), count * pixels, "images");
        assert_eq!(out.len(), count * own, "room for the result");
        assert!(epilogue.added.is_none_or(|added| added.len() == out.len()), "what is added");
        assert!(pixels > 0, "images without pixels");
        if own == 0 {
            return;
        }
        let images = images.chunks_exact(pixels).zip(out.chunks_exact_mut(own));
        for (i, (image, out)) in images.enumerate() {
            buffers.take(self.window, self.pixels.as_ref(), image, (height, width));
            let Windows { rows, rest, .. } = &mut *buffers;
            let mut added = epilogue.added.map(|added| &added[i * own..][..own]);
            if let Some(layer) = &self.rest {
                rest.resize(own.max(rest.len()), 0.0);
                layer.run(rows, Epilogue { added, ..Epilogue::NONE }, &mut rest[..own]);
                added = Some(&rest[..own]);
            }
            self.layer.run(rows, Epilogue { added, ..epilogue }, out);
        }
    }
}
