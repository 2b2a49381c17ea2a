//! Convolutions on bytes: the windows of an image are the rows of a quantised product.

use crate::cpu::Kernel;
use crate::linear::{Epilogue, Linear};
use crate::rows::{Bytes, OVERHANG, extent, steps, write};
use crate::simd::{Family, Simd, Work, run};

/// Steps of a weight's second byte in one of the first.
const FINER: f32 = 254.0;
/// Bytes of pixels are stored as numbers about zero.
const MIDDLE: f32 = 128.0;

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

    fn depth(&self) -> usize {
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

/// Bytes that are copied at a time: a line of a window is short, and a call of the library for each took longer than all
/// that it copied.
const COPIED: usize = 16;
const _: () = assert!(COPIED <= OVERHANG);

/// Buffers that are kept from call to call.
#[derive(Clone, Debug)]
pub struct Windows {
    rows: Bytes,
    image: Vec<u8>,
    /// The byte that stands for zero, of each plane of the image.
    outside: Vec<u8>,
    /// What the second bytes of the weights give.
    rest: Vec<f32>,
}

impl Windows {
    /// With empty buffers.
    pub fn new(kernel: Kernel) -> Self {
        Windows { rows: Bytes::new(kernel), image: Vec::new(), outside: Vec::new(), rest: Vec::new() }
    }

    /// The kernel that they are for.
    pub fn kernel(&self) -> Kernel {
        self.rows.kernel
    }

    /// Takes an image's windows, row by row. One scale and one zero for the image, whose range always includes zero,
    /// or the bytes that its pixels were.
    fn take(&mut self, convolution: &Convolution, image: &[f32], (height, width): (usize, usize)) {
        let (window, kernel) = (convolution.window, self.rows.kernel);
        let mut scaled = Scaled { scale: 1.0, zero: 0 };
        self.image.resize(self.image.len().max(image.len() + OVERHANG), 0);
        self.outside.clear();
        match &convolution.pixels {
            Some(pixels) => {
                let channels = pixels.gain.iter().zip(&pixels.shift);
                let planes = image.chunks_exact(height * width).zip(channels).enumerate();
                for (i, (plane, (gain, shift))) in planes {
                    let (factor, zero) = (1.0 / gain, -shift / gain - MIDDLE);
                    let bytes = &mut self.image[i * height * width..];
                    run(kernel, Recover { plane, bytes, factor, zero, scale: &mut scaled.scale });
                    self.outside.push(stored(kernel, zero.round_ties_even().clamp(-128.0, 127.0) as i32));
                }
            }
            None => {
                run(kernel, Quantise { image, bytes: &mut self.image, scaled: &mut scaled });
                self.outside.resize(window.channels, stored(kernel, scaled.zero));
            }
        }
        let (down, across) = (window.outputs_along(height), window.outputs_along(width));
        self.rows.shape(down * across, window.depth(), scaled.zero);
        self.rows.scales[..down * across].fill(scaled.scale);
        // Each channel is a plane of bytes, or all are one plane of whole pixels.
        let pixel = match window.layout {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => window.channels,
        };
        let (stride, line) = (self.rows.stride, window.size * pixel);
        for place in 0..down * across {
            // What is copied may reach over the end: into the next row, which is yet to be written, or its padding.
            let row = &mut self.rows.bytes[place * stride..][..stride + COPIED];
            let (top, left) = (place / across * window.step, place % across * window.step);
            // Columns of the window that lie on the image.
            let first = window.before.saturating_sub(left).min(window.size);
            let last = (width + window.before).saturating_sub(left).clamp(first, window.size);
            let mut start = 0;
            for (plane, &outside) in self.outside.iter().enumerate().take(window.depth() / (line * window.size)) {
                for down in 0..window.size {
                    let y = (top + down).wrapping_sub(window.before);
                    let (from, to) = (start + first * pixel, start + last * pixel);
                    let end = start + line;
                    if y >= height || first == last {
                        row[start..end].fill(outside);
                    } else {
                        let mut source = ((plane * height + y) * width + left + first - window.before) * pixel;
                        for at in (from..to).step_by(COPIED) {
                            row[at..][..COPIED].copy_from_slice(&self.image[source..][..COPIED]);
                            source += COPIED;
                        }
                        // Nearly always neither: not worth a call that fills nothing.
                        if first > 0 {
                            row[start..from].fill(outside);
                        }
                        if last < window.size {
                            row[to..end].fill(outside);
                        }
                    }
                    start = end;
                }
            }
        }
    }
}

/// How a byte is stored for a kernel.
fn stored(kernel: Kernel, byte: i32) -> u8 {
    (byte as u8) ^ if Family::of(kernel).unsigned { 0x80 } else { 0 }
}

/// What a byte of an image means: `(byte - zero) * scale`.
struct Scaled {
    scale: f32,
    zero: i32,
}

/// A plane of pixels back to its bytes, 128 below their value.
struct Recover<'a> {
    plane: &'a [f32],
    bytes: &'a mut [u8],
    factor: f32,
    zero: f32,
    /// Becomes NaN when a number is not finite.
    scale: &'a mut f32,
}

impl Work for Recover<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the processor has the instructions (`simd::run`); behind each plane is another, or room for a vector.
        unsafe {
            let (low, high) = extent::<S>(self.plane);
            if !(high - low).is_finite() {
                *self.scale = f32::NAN;
            }
            write::<S>(self.plane, self.factor, self.zero, self.bytes.as_mut_ptr());
        }
    }
}

struct Quantise<'a> {
    image: &'a [f32],
    bytes: &'a mut [u8],
    scaled: &'a mut Scaled,
}

impl Work for Quantise<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the processor has the instructions (`simd::run`); there is room for the last vector.
        unsafe {
            let (low, high) = extent::<S>(self.image);
            let range = high - low;
            // 253 steps leave room for a zero between two of them to become a whole one.
            let factor = steps(253.0, range);
            let zero = (-126.5 - if factor > 0.0 { low * factor } else { 0.0 }).round_ties_even();
            // NaN and infinity stay visible to whoever reads the product.
            *self.scaled =
                Scaled { scale: if range.is_finite() { range / 253.0 } else { f32::NAN }, zero: zero as i32 };
            write::<S>(self.image, factor, zero, self.bytes.as_mut_ptr());
        }
    }
}

/// Weights as bytes, by outputs, and what they mean.
struct Rounded {
    bias: Vec<f32>,
    scales: Vec<f32>,
    /// `[outputs][depth]`, in the order of the bytes of a row of windows.
    bytes: Vec<i8>,
    /// What rounding left, for a picture; empty for others.
    rests: Vec<i8>,
}

/// Rounds weights `[outputs][channels][size][size]`, one output after the other.
struct Round<'a> {
    window: Window,
    weights: &'a [f32],
    pixels: Option<&'a Pixels>,
    of: &'a mut Rounded,
}

impl Work for Round<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Round { window, weights, pixels, of } = self;
        let Window { channels, size, layout, .. } = window;
        let (depth, places) = (window.depth(), size * size);
        let stored = if S::UNSIGNED { 0x80 } else { 0 };
        let mut exact = vec![0f32; depth];
        let mut written = vec![0u8; depth + OVERHANG];
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
            let bytes = &mut of.bytes[output * depth..][..depth];
            match layout {
                Layout::ChannelsFirst => {
                    for ((byte, written), exact) in bytes.iter_mut().zip(&written).zip(&mut exact) {
                        *byte = (written ^ stored).cast_signed();
                        *exact = *exact * factor - f32::from(*byte);
                    }
                    // SAFETY: as above.
                    unsafe { write::<S>(&exact, FINER, 0.0, written.as_mut_ptr()) }
                    for (rest, written) in of.rests[output * depth..][..depth].iter_mut().zip(&written) {
                        *rest = (written ^ stored).cast_signed();
                    }
                }
                Layout::ChannelsLast => {
                    for (place, pixel) in bytes.chunks_exact_mut(channels).enumerate() {
                        for (byte, written) in pixel.iter_mut().zip(written[place..].iter().step_by(places)) {
                            *byte = (written ^ stored).cast_signed();
                        }
                    }
                }
            }
        }
    }
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
        let mut rounded = Rounded {
            bias: bias.to_vec(),
            scales: vec![0.0; outputs],
            bytes: vec![0; outputs * depth],
            rests: vec![0; if window.layout == Layout::ChannelsFirst { outputs * depth } else { 0 }],
        };
        run(kernel, Round { window, weights, pixels, of: &mut rounded });
        let Rounded { bias, mut scales, bytes, rests } = rounded;
        let linear = |bytes: &[i8], scales: &[f32], bias: &[f32]| {
            Linear::by_outputs(kernel, (depth, outputs), bytes, scales, bias)
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
            buffers.take(self, image, (height, width));
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
