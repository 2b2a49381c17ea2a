//! Runs an encoder's file in this process, and says what a panorama of four views takes: the part of `cargo bench -p
//! homing-tests --bench inference` whose memory is measured, without the trainer that the benchmark itself contains.
//!
//! `panorama encode KERNEL FILE SIDE RUNS THREADS`: `plain` instead of a kernel is tract as it comes, in a program
//! of the profile `peer`.
//! `panorama locate BUNDLE RUNS`: locates one embedding so often; for counting what that takes.

use std::path::Path;
use std::time::Instant;

use homing::Model;
use homing::onnx::OnnxFile;
use homing_kernels::{Fused, Packed, fuse};
use homing_models::{Bundle, FileBytes};
use homing_tests::{VIEWS, noise};
use rayon::prelude::*;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tract_onnx::prelude::*;

fn cpu_ms() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 * 1e-6
}

fn memory_mb(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says what a process uses");
    let line = status.lines().find_map(|l| l.strip_prefix(field)).expect("the field is there");
    let kilobytes: f64 = line.trim_matches([':', ' ', '\t']).trim_end_matches(" kB").parse().expect("in kB");
    kilobytes / 1024.0
}

/// Several threads share the views, as in `homing`.
fn encode(arguments: &[String]) {
    let [kernel, file, numbers @ ..] = arguments else { panic!("encode KERNEL FILE SIDE RUNS THREADS") };
    let numbers: Vec<usize> = numbers.iter().map(|n| n.parse().expect("a number")).collect();
    let [side, runs, threads] = numbers[..] else { panic!("encode KERNEL FILE SIDE RUNS THREADS") };
    assert!(VIEWS.is_multiple_of(threads), "{VIEWS} views are not shared equally by {threads} threads");
    let shape = [VIEWS / threads, 3, side, side];
    let pixels = noise(VIEWS * 3 * side * side);
    let tensor = |share: &[f32]| Tensor::from_shape(&shape, share).expect("as many pixels as the shape has");
    let shares: Vec<Arc<Tensor>> = pixels.chunks_exact(pixels.len() / threads).map(|s| Arc::new(tensor(s))).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    // What was used and given back before does not count as the largest.
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux forgets what a process used at most");
    let before = memory_mb("VmRSS");
    let started = Instant::now();
    let build = || -> TractResult<_> {
        let mut model = match kernel.as_str() {
            "plain" => {
                let onnx = tract_onnx::onnx().with_ignore_output_shapes(true).with_ignore_value_info(true);
                onnx.model_for_path(file)?
            }
            kernel => OnnxFile::decode(FileBytes::map(Path::new(file))?)?.model(kernel.parse()?)?,
        };
        if let Some(symbol) = model.symbols.get("views") {
            model.set_symbols(&std::collections::HashMap::from([(symbol, ((VIEWS / threads) as i64).into())]))?;
        }
        model.set_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), shape))?;
        let mut model = model.into_typed()?;
        let fused = match kernel.as_str() {
            "plain" => Fused::default(),
            kernel => fuse(kernel.parse()?, None, &Packed::default(), &mut model)?,
        };
        Ok((model.into_optimized()?.into_runnable()?, fused))
    };
    let (plan, fused) = build().expect("the graph is one of ours");
    let encode = |share: &Arc<Tensor>| -> Vec<f32> {
        let output = plan.run(tvec!(share.clone().into_tvalue())).expect("the graph runs");
        output[0].to_plain_array_view::<f32>().expect("floats").iter().copied().collect()
    };
    let run = || -> Vec<f32> {
        if threads == 1 {
            return encode(&shares[0]);
        }
        pool.install(|| shares.par_iter().map(encode).collect::<Vec<_>>().concat())
    };
    let output = run();
    let first_ms = started.elapsed().as_secs_f64() * 1e3;
    for _ in 0..runs / 4 {
        run();
    }
    let (wall, cpu) = (Instant::now(), cpu_ms());
    for _ in 0..runs {
        run();
    }
    let (cpu, wall) = (cpu_ms() - cpu, wall.elapsed().as_secs_f64() * 1e3);
    let answer = json!({
        "cpu_ms": cpu / runs as f64, "wall_ms": wall / runs as f64, "first_ms": first_ms,
        "peak_mb": memory_mb("VmHWM") - before, "output": output, "fused": fused.to_string(),
    });
    println!("{answer}");
}

fn locate(arguments: &[String]) {
    let [bundle, runs] = arguments else { panic!("locate BUNDLE RUNS") };
    let mut model = Model::load(Bundle::open(Path::new(bundle)).expect("a bundle")).expect("its graphs can be used");
    let embedding = noise(model.locator.prototypes().dims());
    for _ in 0..runs.parse().expect("a number") {
        model.locator.locate_embedding(&embedding, VIEWS).expect("the heads answer");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("encode") => encode(&arguments[1..]),
        Some("locate") => locate(&arguments[1..]),
        _ => panic!("the first argument is encode or locate"),
    }
}
