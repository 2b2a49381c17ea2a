//! Linear layers against the processor's own peak of products of bytes, one thread: what share of it they reach. Rows are
//! bytes already; what is timed is the product with scales and bias. Each time is set against the peak of just before;
//! medians.
//!
//! `cargo bench -p homing-kernels --bench peak`

use std::time::Instant;

use aligned_vec::{AVec, ConstAlign};
use homing_kernels::{Bytes, Epilogue, Kernel, Linear, multiply_in_registers};

const ROUNDS: usize = 15;
/// Products of one timing, a few milliseconds.
const PRODUCTS: f64 = 4e8;

/// Rows, inputs, outputs: of four views of 17 tokens of 192, of 65 tokens of 192 and 384, of ViT-B/32's
/// 50 tokens of 768.
const SHAPES: [(usize, usize, usize); 9] = [
    (68, 192, 576),
    (68, 192, 384),
    (68, 384, 192),
    (260, 192, 576),
    (260, 768, 192),
    (260, 384, 1536),
    (260, 1536, 384),
    (200, 768, 3072),
    (200, 3072, 768),
];

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    for kernel in Kernel::available() {
        measure(kernel);
    }
}

fn measure(kernel: Kernel) {
    // As tract aligns its tensors: stores that lie across two lines take longer.
    type Out = AVec<f32, ConstAlign<64>>;
    let mut layers: Vec<(Linear, Bytes, Out)> = Vec::new();
    for (rows, inputs, outputs) in SHAPES {
        let weights: Vec<i8> =
            (0..inputs * outputs).map(|i| ((i * 37 + 11) % 255) as u8 as i8).map(|w| w.max(-127)).collect();
        let layer = Linear::new(kernel, (inputs, outputs), &weights, &[0.01], &vec![0.5; outputs]);
        let values: Vec<f32> = (0..rows * inputs).map(|i| ((i * 29 + 7) % 201) as f32 / 100.0 - 1.0).collect();
        let mut bytes = Bytes::new(kernel);
        bytes.take(&values, inputs, None);
        let mut out = Out::new(64);
        out.resize(rows * outputs, 0.0);
        layers.push((layer.expect("the shape is that of the weights"), bytes, out));
    }
    // As many rounds as make the wanted number of products.
    let rounds = (PRODUCTS / multiply_in_registers(kernel, 1) as f64) as usize;
    let rate = |products: f64, started: Instant| products / started.elapsed().as_secs_f64();
    let (mut peaks, mut rates) = (Vec::new(), vec![(vec![], vec![]); layers.len()]);
    for _ in 0..ROUNDS {
        for ((layer, bytes, out), (rates, shares)) in layers.iter_mut().zip(&mut rates) {
            // The peak of just before: the processor's speed changes over a run.
            let started = Instant::now();
            let peak = rate(multiply_in_registers(kernel, rounds) as f64, started);
            let products = bytes.rows() * layer.inputs() * layer.outputs();
            let runs = (PRODUCTS / products as f64).ceil() as usize;
            let started = Instant::now();
            for _ in 0..runs {
                layer.run(bytes, Epilogue::NONE, out);
            }
            let own = rate((runs * products) as f64, started);
            peaks.push(peak);
            rates.push(own);
            shares.push(own / peak);
        }
    }
    println!("{kernel}: peak {:.1} G products of bytes a second", median(peaks) * 1e-9);
    println!("rows   inputs  outputs   G/s      share of the peak");
    for ((rows, inputs, outputs), (rates, shares)) in SHAPES.into_iter().zip(rates) {
        let (rate, share) = (median(rates) * 1e-9, 100.0 * median(shares));
        println!("{rows:4}   {inputs:6}  {outputs:7}   {rate:7.1}  {share:4.0} %");
    }
    println!();
}
