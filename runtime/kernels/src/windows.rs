//! The windows of an image as rows of bytes on their way into a product.

use crate::conv::{Layout, MIDDLE, Pixels, Window};
use crate::cpu::Kernel;
use crate::rows::{Bytes, OVERHANG, Places, extent, steps, write};
use crate::simd::{Family, Simd, Work, run};
use crate::tile::GROUP;

/// Bytes that are copied at a time: a line of a window is short, and a call of the library for each took longer than all
/// that it copied.
const COPIED: usize = 16;
const _: () = assert!(COPIED <= OVERHANG);

/// Buffers that are kept from call to call.
#[derive(Clone, Debug)]
pub struct Windows {
    pub(crate) rows: Bytes,
    image: Vec<u8>,
    /// The byte that stands for zero, of each plane of the image.
    outside: Vec<u8>,
    /// What the second bytes of the weights give.
    pub(crate) rest: Vec<f32>,
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

    /// Takes an image's windows. One scale and one zero for the image, whose range always includes zero, or the bytes that
    /// its pixels were.
    pub(crate) fn take(
        &mut self,
        window: Window,
        pixels: Option<&Pixels>,
        image: &[f32],
        (height, width): (usize, usize),
    ) {
        let way = Way::of(window, self.rows.kernel);
        let scaled = match way {
            Way::InPlace => self.lay_out(window, image, (height, width)),
            Way::Interleaved => {
                let scaled = self.quantise(window, pixels, image, (height, width));
                self.interleave(window, (height, width));
                scaled
            }
            Way::Copied => {
                let scaled = self.quantise(window, pixels, image, (height, width));
                self.copy(window, (height, width));
                scaled
            }
        };
        self.rows.zero = scaled.zero;
        let rows = self.rows.rows;
        self.rows.scales[..rows].fill(scaled.scale);
    }

    /// Makes room for an image with a margin around it, `pixel` bytes a pixel. Its windows are read from it: each line of a
    /// window lies together.
    fn make_room(&mut self, window: Window, pixel: usize, (height, width): (usize, usize)) -> (&mut [u8], Margin) {
        let Window { size, step, before, after, .. } = window;
        let (down, across) = (window.outputs_along(height), window.outputs_along(width));
        let stride = (before + width + after) * pixel;
        let places =
            Places { across, stride: step * pixel, line: step * stride, piece: size * pixel, next_piece: stride };
        let bytes = self.rows.lay_out(down * across, size * size * pixel, places, stride * (before + height + after));
        (bytes, Margin { first: before * (stride + pixel), line: width * pixel, stride, lines: height })
    }

    /// An image with its channels last, as bytes with zeros around them.
    fn lay_out(&mut self, window: Window, image: &[f32], sides: (usize, usize)) -> Scaled {
        let kernel = self.rows.kernel;
        let mut scaled = Scaled { scale: 1.0, zero: 0 };
        let (bytes, margin) = self.make_room(window, window.channels, sides);
        let Margin { first, line, stride, .. } = margin;
        run(kernel, Quantise { image, line, stride, bytes: &mut bytes[first..], scaled: &mut scaled });
        let end = bytes.len() - OVERHANG;
        margin.fill(&mut bytes[..end], stored(kernel, scaled.zero));
        scaled
    }

    /// A picture's planes, as bytes one after the other, to pixels of four bytes with zeros around them.
    fn interleave(&mut self, window: Window, (height, width): (usize, usize)) {
        let kernel = self.rows.kernel;
        let (image, outside) = (std::mem::take(&mut self.image), std::mem::take(&mut self.outside));
        let (bytes, Margin { first, line, stride, lines }) = self.make_room(window, GROUP, (height, width));
        let end = bytes.len() - OVERHANG;
        let pixels: &mut [u32] = bytemuck::cast_slice_mut(&mut bytes[..end]);
        let margin = Margin { first: first / GROUP, line: line / GROUP, stride: stride / GROUP, lines };
        // What a pixel has beyond its channels meets weights of zero.
        let planes = std::array::from_fn(|c| &image[c.min(window.channels - 1) * height * width..][..height * width]);
        let zero = std::array::from_fn(|c| outside[c.min(window.channels - 1)]);
        run(kernel, Interleave { planes, margin: &margin, pixels });
        margin.fill(pixels, u32::from_ne_bytes(zero));
        (self.image, self.outside) = (image, outside);
    }

    /// An image to bytes, in its own order.
    fn quantise(
        &mut self,
        window: Window,
        pixels: Option<&Pixels>,
        image: &[f32],
        (height, width): (usize, usize),
    ) -> Scaled {
        let kernel = self.rows.kernel;
        let mut scaled = Scaled { scale: 1.0, zero: 0 };
        self.image.resize(self.image.len().max(image.len() + OVERHANG), 0);
        self.outside.clear();
        match pixels {
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
                let (line, bytes) = (image.len(), &mut self.image);
                run(kernel, Quantise { image, line, stride: line, bytes, scaled: &mut scaled });
                self.outside.resize(window.channels, stored(kernel, scaled.zero));
            }
        }
        scaled
    }

    /// Copies each window into a row of its own.
    fn copy(&mut self, window: Window, (height, width): (usize, usize)) {
        let (down, across) = (window.outputs_along(height), window.outputs_along(width));
        self.rows.shape(down * across, window.depth());
        // Each channel is a plane of bytes, or all are one plane of whole pixels.
        let pixel = match window.layout {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => window.channels,
        };
        let (stride, line) = (self.rows.places.stride, window.size * pixel);
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

/// How the windows of an image become rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The image with its channels last has them.
    InPlace,
    /// So has a picture when its planes have become pixels of four bytes.
    Interleaved,
    /// Each is copied.
    Copied,
}

impl Way {
    /// For a kernel. Copying is slower where windows overlap, but takes any. Squares of whole groups, which are patches
    /// mostly, have fewer bytes as planes than as pixels of four, and one or two channels far fewer.
    pub fn of(window: Window, kernel: Kernel) -> Self {
        let Window { layout, channels, size, .. } = window;
        let family = Family::of(kernel);
        let whole = |pixel: usize| family.pieces && (size * pixel).is_multiple_of(GROUP * family.int_groups);
        match layout {
            Layout::ChannelsLast if whole(channels) => Way::InPlace,
            Layout::ChannelsFirst if (3..=GROUP).contains(&channels) && !size.is_multiple_of(GROUP) && whole(GROUP) => {
                Way::Interleaved
            }
            _ => Way::Copied,
        }
    }

    /// Bytes of a row.
    pub fn width(self, window: Window) -> usize {
        if self == Way::Interleaved { window.size * window.size * GROUP } else { window.depth() }
    }

    /// Puts weights `[channels][size][size]` in the order of a row.
    pub fn arrange(self, window: Window, weights: &[i8], row: &mut [i8]) {
        if (self, window.layout) == (Way::Copied, Layout::ChannelsFirst) {
            return row.copy_from_slice(weights);
        }
        let places = window.size * window.size;
        let pixel = row.len() / places;
        for (place, pixel) in row.chunks_exact_mut(pixel).enumerate() {
            for (at, weight) in pixel.iter_mut().zip(weights[place..].iter().step_by(places)) {
                *at = *weight;
            }
        }
    }
}

/// An image in a larger one: its lines begin at `first`, `stride` apart.
struct Margin {
    first: usize,
    line: usize,
    stride: usize,
    lines: usize,
}

impl Margin {
    /// Fills what is around the lines.
    fn fill<T: Copy>(&self, image: &mut [T], outside: T) {
        let Margin { first, line, stride, lines } = *self;
        let mut end = 0;
        for start in (0..lines).map(|y| first + y * stride) {
            image[end..start].fill(outside);
            end = start + line;
        }
        image[end..].fill(outside);
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

/// Planes of bytes to pixels.
struct Interleave<'a> {
    planes: [&'a [u8]; GROUP],
    margin: &'a Margin,
    pixels: &'a mut [u32],
}

impl Work for Interleave<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let &Margin { first, line, stride, lines } = self.margin;
        for y in 0..lines {
            let pixels = &mut self.pixels[first + y * stride..][..line];
            let [a, b, c, d] = self.planes.map(|plane| &plane[y * line..][..line]);
            for x in 0..line {
                pixels[x] = u32::from_ne_bytes([a[x], b[x], c[x], d[x]]);
            }
        }
    }
}

/// Lines of `line` floats to bytes, `stride` apart; behind the last is room for a vector.
struct Quantise<'a> {
    image: &'a [f32],
    line: usize,
    stride: usize,
    bytes: &'a mut [u8],
    scaled: &'a mut Scaled,
}

impl Work for Quantise<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the processor has the instructions (`simd::run`).
        let (low, high) = unsafe { extent::<S>(self.image) };
        let range = high - low;
        // 253 steps leave room for a zero between two of them to become a whole one.
        let factor = steps(253.0, range);
        let zero = (-126.5 - if factor > 0.0 { low * factor } else { 0.0 }).round_ties_even();
        // NaN and infinity stay visible to whoever reads the product.
        *self.scaled = Scaled { scale: if range.is_finite() { range / 253.0 } else { f32::NAN }, zero: zero as i32 };
        for (y, line) in self.image.chunks_exact(self.line).enumerate() {
            let bytes = &mut self.bytes[y * self.stride..][..self.line + OVERHANG];
            // SAFETY: as above; the slice has room for the last vector.
            unsafe { write::<S>(line, factor, zero, bytes.as_mut_ptr()) }
        }
    }
}
