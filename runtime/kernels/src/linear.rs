//! The quantised linear layer: bytes of rows times bytes of weights, then scales, bias, and what follows.

use aligned_vec::{AVec, ConstAlign};

use crate::cpu::Kernel;
use crate::maths::{Activation, activate};
use crate::panels::Panels;
use crate::rows::{Bytes, Places};
use crate::simd::{Family, Simd, Work, run};
use crate::tile::{GROUP, IntTile, LINE, Tiles};

/// With fewer tiles, a panel would be asked for faster than memory gives it, and a step of a tile would ask for more than a
/// line.
const FEWEST_TILES: usize = 4;

/// Weights packed for one kernel.
#[derive(Debug)]
pub struct Linear {
    kernel: Kernel,
    inputs: usize,
    outputs: usize,
    columns: usize,
    /// Groups of four inputs.
    groups: usize,
    /// `[panel][groups][columns][4]`, padded with zeros.
    weights: Panels,
    /// Sums of the columns' weights. By panels, as the two below.
    sums: AVec<i32, ConstAlign<64>>,
    scales: AVec<f32, ConstAlign<64>>,
    bias: AVec<f32, ConstAlign<64>>,
}

/// The weights of a layer as a file has them.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// Values of a row that comes out.
    pub outputs: usize,
    /// `[inputs][outputs]`, -127..=127.
    pub weights: &'a [i8],
    /// One for each output, or one for all.
    pub scales: &'a [f32],
    /// One for each output.
    pub bias: &'a [f32],
}

/// What happens to the product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epilogue<'a> {
    /// As many values are added: the residual stream.
    pub added: Option<&'a [f32]>,
    /// Then it goes through an activation.
    pub activation: Activation,
}

impl Epilogue<'_> {
    /// Nothing.
    pub const NONE: Self = Epilogue { added: None, activation: Activation::None };
}

/// Weights are not those of a linear layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinearError {
    /// Their numbers do not belong together.
    #[error("a matrix of {inputs} x {outputs} with {weights} weights, {scales} scales, {bias} biases")]
    Shape {
        /// Values of a row that goes in.
        inputs: usize,
        /// Values of a row that comes out.
        outputs: usize,
        /// How many weights there are.
        weights: usize,
        /// How many scales.
        scales: usize,
        /// How many biases.
        bias: usize,
    },
    /// One is out of range: two products of it are too large for 16 bits.
    #[error("weights of -128, which are to be -127..=127")]
    Lowest,
}

impl Linear {
    /// Packs weights `[inputs][outputs]`; `scales` has one for each output, or one for all.
    ///
    /// # Errors
    /// When there are other numbers of them, or a weight is -128.
    pub fn new(
        kernel: Kernel,
        (inputs, outputs): (usize, usize),
        weights: &[i8],
        scales: &[f32],
        bias: &[f32],
    ) -> Result<Self, LinearError> {
        Self::of(kernel, inputs, &[Matrix { outputs, weights, scales, bias }])
    }

    /// The outputs of several layers on the same input, one after the other.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn of(kernel: Kernel, inputs: usize, matrices: &[Matrix]) -> Result<Self, LinearError> {
        let (mut scales, mut bias) = (Vec::new(), Vec::new());
        for m in matrices {
            let (outputs, weights) = (m.outputs, m.weights.len());
            let fits = inputs.checked_mul(outputs) == Some(weights) && inputs > 0 && outputs > 0;
            if !fits || m.bias.len() != outputs || !(m.scales.len() == outputs || m.scales.len() == 1) {
                return Err(LinearError::Shape {
                    inputs,
                    outputs,
                    weights,
                    scales: m.scales.len(),
                    bias: m.bias.len(),
                });
            }
            scales.extend(m.scales.iter().cycle().take(outputs));
            bias.extend_from_slice(m.bias);
        }
        let mut layer = Self::without_weights(kernel, (inputs, bias.len()), &scales, &bias);
        let (mut start, mut lowest) = (0, 0);
        for matrix in matrices {
            run(kernel, Pack { layer: &mut layer, start, matrix, lowest: &mut lowest });
            start += matrix.outputs;
        }
        if lowest == i8::MIN { Err(LinearError::Lowest) } else { Ok(layer) }
    }

    /// The same from weights `[outputs][inputs]`, with a scale for each output. The caller vouches for their numbers.
    pub(crate) fn by_outputs(
        kernel: Kernel,
        (inputs, outputs): (usize, usize),
        weights: &[i8],
        scales: &[f32],
        bias: &[f32],
    ) -> Self {
        let mut layer = Self::without_weights(kernel, (inputs, outputs), scales, bias);
        let (columns, groups) = (layer.columns, layer.groups);
        // Groups of a fixed length, which are copied in a register and not by a call.
        let (packed, _) = layer.weights.as_chunks_mut::<GROUP>();
        for (output, row) in weights.chunks_exact(inputs).enumerate() {
            layer.sums[output] = row.iter().map(|weight| i32::from(*weight)).sum();
            let first = output / columns * groups * columns + output % columns;
            let mut places = packed[first..].iter_mut().step_by(columns);
            let (whole, rest) = row.as_chunks::<GROUP>();
            whole.iter().zip(&mut places).for_each(|(four, place)| *place = *four);
            if let Some(place) = places.next().filter(|_| !rest.is_empty()) {
                place[..rest.len()].copy_from_slice(rest);
            }
        }
        layer
    }

    /// A layer whose weights are all zero yet.
    fn without_weights(kernel: Kernel, (inputs, outputs): (usize, usize), scales: &[f32], bias: &[f32]) -> Self {
        let Family { int_columns: columns, int_groups, .. } = Family::of(kernel);
        let groups = inputs.div_ceil(GROUP).next_multiple_of(int_groups);
        let width = outputs.next_multiple_of(columns);
        let weights = Panels::new(groups * GROUP * width);
        let mut sums = AVec::<i32, ConstAlign<64>>::new(64);
        sums.resize(width, 0);
        let padded = |values: &mut dyn Iterator<Item = f32>| {
            let mut padded = AVec::<f32, ConstAlign<64>>::from_iter(64, values);
            padded.resize(width, 0.0);
            padded
        };
        let scales = padded(&mut scales.iter().copied());
        let bias = padded(&mut bias.iter().copied());
        Linear { kernel, inputs, outputs, columns, groups, weights, sums, scales, bias }
    }

    /// Values of a row that goes in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Values of a row that comes out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The kernel it is packed for.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Bytes of the packed weights.
    pub fn weight_bytes(&self) -> usize {
        self.weights.len()
    }

    /// One layer with the outputs of several on the same input, one after the other.
    ///
    /// # Panics
    /// When there are none, or their inputs or kernels differ.
    pub fn beside(layers: &[&Linear]) -> Linear {
        let (kernel, inputs) = (layers[0].kernel, layers[0].inputs);
        assert!(layers.iter().all(|l| l.kernel == kernel && l.inputs == inputs), "layers on other inputs");
        let outputs = layers.iter().map(|l| l.outputs).sum();
        if layers.iter().all(|l| l.outputs.is_multiple_of(l.columns)) {
            // Whole panels: what is packed already is what the joint layer has, one after the other.
            fn joined<T: Copy>(
                layers: &[&Linear],
                part: fn(&Linear) -> &AVec<T, ConstAlign<64>>,
            ) -> AVec<T, ConstAlign<64>> {
                let mut all = AVec::with_capacity(64, layers.iter().map(|l| part(l).len()).sum());
                layers.iter().for_each(|l| all.extend_from_slice(part(l)));
                all
            }
            let mut weights = Panels::new(layers.iter().map(|l| l.weights.len()).sum());
            let mut rest = &mut weights[..];
            for layer in layers {
                let own;
                (own, rest) = rest.split_at_mut(layer.weights.len());
                own.copy_from_slice(&layer.weights);
            }
            return Linear {
                kernel,
                inputs,
                outputs,
                columns: layers[0].columns,
                groups: layers[0].groups,
                weights,
                sums: joined(layers, |l| &l.sums),
                scales: joined(layers, |l| &l.scales),
                bias: joined(layers, |l| &l.bias),
            };
        }
        let of = |part: fn(&Linear) -> &[f32]| -> Vec<f32> {
            layers.iter().flat_map(|l| part(l)[..l.outputs].iter().copied()).collect()
        };
        let rows = (0..inputs).flat_map(|input| {
            layers.iter().flat_map(move |l| (0..l.outputs).map(move |output| l.weight(input, output)))
        });
        let weights: Vec<i8> = rows.collect();
        let (scales, bias) = (of(|l| &l.scales), of(|l| &l.bias));
        match Linear::new(kernel, (inputs, outputs), &weights, &scales, &bias) {
            Ok(layer) => layer,
            Err(e) => unreachable!("{e}"),
        }
    }

    fn weight(&self, input: usize, output: usize) -> i8 {
        let group = output / self.columns * self.groups + input / GROUP;
        self.weights[(group * self.columns + output % self.columns) * GROUP + input % GROUP]
    }

    /// Fills `out`, `rows x outputs`.
    ///
    /// # Panics
    /// When the rows have another width or kernel, or `out` or what is added another length.
    pub fn run(&self, rows: &Bytes, epilogue: Epilogue, out: &mut [f32]) {
        assert_eq!(rows.width, self.inputs, "rows of another width");
        assert_eq!(rows.kernel, self.kernel, "rows of another kernel");
        assert_eq!(out.len(), rows.rows * self.outputs, "room for the product");
        assert!(epilogue.added.is_none_or(|added| added.len() == out.len()), "what is added");
        run(self.kernel, Product { layer: self, rows, epilogue, out });
    }
}

/// Puts a matrix into a layer's columns from `start` on; finds the lowest weight.
struct Pack<'a> {
    layer: &'a mut Linear,
    start: usize,
    matrix: &'a Matrix<'a>,
    lowest: &'a mut i8,
}

impl Work for Pack<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Pack { layer, start, matrix: &Matrix { outputs, weights, .. }, lowest } = self;
        let (columns, groups) = (layer.columns, layer.groups);
        let none = vec![0; outputs];
        for (group, rows) in weights.chunks(GROUP * outputs).enumerate() {
            let mut rows = rows.chunks_exact(outputs);
            let mut row = || rows.next().unwrap_or(&none);
            let four = [row(), row(), row(), row()];
            let mut first = 0;
            while first < outputs {
                let (panel, column) = ((start + first) / columns, (start + first) % columns);
                let end = (first + columns - column).min(outputs);
                let place = ((panel * groups + group) * columns + column) * GROUP;
                let pieces = [&four[0][first..end], &four[1][first..end], &four[2][first..end], &four[3][first..end]];
                *lowest =
                    interleave(pieces, &mut layer.weights[place..], &mut layer.sums[start + first..]).min(*lowest);
                first = end;
            }
        }
    }
}

/// Puts numbers of four rows beside one another, adds them up by columns, gives the lowest. In one pass: a matrix may be
/// larger than a cache.
#[inline(always)]
fn interleave([a, b, c, d]: [&[i8]; GROUP], to: &mut [i8], sums: &mut [i32]) -> i8 {
    // With all lengths the same, the loop is one of vectors.
    let n = a.len();
    let (b, c, d) = (&b[..n], &c[..n], &d[..n]);
    let (to, sums) = (&mut to.as_chunks_mut::<GROUP>().0[..n], &mut sums[..n]);
    let mut lowest = 0;
    for i in 0..n {
        to[i] = [a[i], b[i], c[i], d[i]];
        sums[i] += (i32::from(a[i]) + i32::from(b[i])) + (i32::from(c[i]) + i32::from(d[i]));
        lowest = lowest.min(a[i]).min(b[i]).min(c[i]).min(d[i]);
    }
    lowest
}

struct Product<'a> {
    layer: &'a Linear,
    rows: &'a Bytes,
    epilogue: Epilogue<'a>,
    out: &'a mut [f32],
}

impl Work for Product<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Product { layer, rows, epilogue: Epilogue { added, activation }, out } = self;
        let added = added.map_or(std::ptr::null(), <[f32]>::as_ptr);
        let (columns, outputs) = (S::INT_COLUMNS, layer.outputs);
        let groups = layer.groups;
        assert_eq!((columns, 0), (layer.columns, groups % S::INT_GROUPS), "a layer packed for another family");
        let Places { across, piece, next_piece, .. } = rows.places;
        let lines = rows.rows.checked_div(across).unwrap_or(0);
        // A row in one piece may be padded to whole groups.
        let in_piece = if piece < rows.width { piece / GROUP } else { groups };
        assert_eq!((groups % in_piece, in_piece % S::INT_GROUPS), (0, 0), "rows in pieces");
        assert!(S::PIECES || in_piece == groups, "rows in pieces");
        let zero = rows.zero + if S::UNSIGNED { 128 } else { 0 };
        // SAFETY: the processor has the instructions (`simd::run`); nothing between here and `close_tiles` can end early.
        unsafe { S::open_tiles() }
        for panel in 0..outputs.div_ceil(columns) {
            let first_column = panel * columns;
            let own = columns.min(outputs - first_column);
            // The next panel comes into the cache in parts, one with each tile, where there are enough of them.
            let bytes = groups * columns * GROUP;
            let tiles = lines * across.div_ceil(S::INT_ROWS);
            let ahead = if tiles < FEWEST_TILES { 0 } else { bytes.div_ceil(tiles).next_multiple_of(LINE) };
            let mut tiles_done = 0;
            for line in 0..lines {
                for (first, count) in Tiles::new(across, S::INT_ROWS) {
                    let row = line * across + first;
                    let place = row * outputs + first_column;
                    // SAFETY: the processor has the instructions (`simd::run`). `Linear::run` checked all lengths: rows
                    // lie in their bytes in whole groups, one after the other with room behind them (`Bytes::shape`) or in
                    // pieces (`Bytes::lay_out`), a panel has `groups * columns * 4` weights, and the tile's part of `out` (and of what is added, as long) begins at `place` and is
                    // `count` rows of `own` values, `outputs` apart.
                    unsafe {
                        let tile = IntTile {
                            rows: rows.bytes.as_ptr().add(line * rows.places.line + first * rows.places.stride),
                            row_stride: rows.places.stride,
                            pieces: groups / in_piece,
                            next_piece,
                            groups: in_piece,
                            weights: layer.weights.as_ptr().add(panel * groups * columns * GROUP),
                            next: layer.weights.as_ptr().wrapping_add((panel + 1) * bytes + tiles_done * ahead),
                            next_bytes: ahead,
                            zero,
                            sums: layer.sums.as_ptr().add(first_column),
                            column_scales: layer.scales.as_ptr().add(first_column),
                            bias: layer.bias.as_ptr().add(first_column),
                            row_scales: rows.scales.as_ptr().add(row),
                            added: if added.is_null() { added } else { added.add(place) },
                            out: out.as_mut_ptr().add(place),
                            out_stride: outputs,
                            columns: own,
                        };
                        S::int_tile(count, &tile);
                        // The tile is in the nearest cache, and its sums have left the registers.
                        if own == columns {
                            S::activate_tile(activation, tile.out, count, outputs);
                        } else if activation != Activation::None {
                            for row in 0..count {
                                activate::<S>(activation, &mut out[place + row * outputs..][..own]);
                            }
                        }
                    }
                    tiles_done += 1;
                }
            }
        }
        // SAFETY: as for `open_tiles`.
        unsafe { S::close_tiles() }
    }
}
