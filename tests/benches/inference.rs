//! An encoder's panorama in our operators, in tract as it comes, and in onnxruntime: processor time, time to the first
//! result, memory. Interleaved: every round runs each program once, in a process of its own.
//!
//! `cargo bench -p homing-tests --bench inference [-- THREADS [NAME ...]]`

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use homing::Model;
use homing::onnx::OnnxFile;
use homing_kernels::{Fused, Kernel, Packed, fuse};
use homing_models::{Bundle, FileBytes};
use homing_planet::hash::Rng;
use homing_tests::peers::{self, root};
use homing_trainer::encoder_graph::{Precision, encoder_graph};
use homing_trainer::onnx::to_bytes;
use homing_trainer::recipe::{Activation, Preset, Recipe, Tower};
use homing_trainer::reference::{cosine, random_encoder_weights};
use rayon::prelude::*;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tract_onnx::prelude::*;

const VIEWS: usize = 4;
const ROUNDS: usize = 9;
/// Our worker's first argument, which tells it from the program that cargo starts.
const WORKER: &str = "--worker";
/// The first argument of a worker that locates.
const LOCATOR: &str = "--locator";

/// One program's figures for one file.
#[derive(Clone, Debug)]
struct Figures {
    /// Processor and wall time of a panorama.
    cpu_ms: f64,
    wall_ms: f64,
    /// From the file to the first result.
    first_ms: f64,
    /// Largest memory of the process, less what it has before it opens the file.
    peak_mb: f64,
    output: Vec<f32>,
}

impl Figures {
    fn from_json(answer: &Value) -> Self {
        let number = |key: &str| answer[key].as_f64().expect("the worker gives numbers");
        let output = answer["output"].as_array().expect("the worker gives its embeddings");
        Figures {
            cpu_ms: number("cpu_ms"),
            wall_ms: number("wall_ms"),
            first_ms: number("first_ms"),
            peak_mb: number("peak_mb"),
            output: output.iter().map(|x| x.as_f64().expect("numbers") as f32).collect(),
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

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

/// `--worker KERNEL FILE SIDE RUNS THREADS`: runs a file in this process; `plain` instead of a kernel is tract as it comes.
/// Several threads share the views, as in `homing`.
fn worker(arguments: &[String]) {
    let [kernel, file, numbers @ ..] = arguments else { panic!("--worker KERNEL FILE SIDE RUNS THREADS") };
    let numbers: Vec<usize> = numbers.iter().map(|n| n.parse().expect("a number")).collect();
    let [side, runs, threads] = numbers[..] else { panic!("--worker KERNEL FILE SIDE RUNS THREADS") };
    assert!(VIEWS.is_multiple_of(threads), "{VIEWS} views are not shared equally by {threads} threads");
    let shape = [VIEWS / threads, 3, side, side];
    let pixels = pixels(side);
    let tensor = |share: &[f32]| Tensor::from_shape(&shape, share).expect("as many pixels as the shape has");
    let shares: Vec<Arc<Tensor>> = pixels.chunks_exact(pixels.len() / threads).map(|s| Arc::new(tensor(s))).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
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

/// `--locator BUNDLE RUNS`: locates one embedding so often, in this process; for counting what that takes.
fn locator(arguments: &[String]) {
    let [bundle, runs] = arguments else { panic!("--locator BUNDLE RUNS") };
    let mut model = Model::load(Bundle::open(Path::new(bundle)).expect("a bundle")).expect("its graphs can be used");
    let mut rng = Rng::new(11);
    let embedding: Vec<f32> = (0..model.locator.prototypes().dims()).map(|_| rng.normal()).collect();
    for _ in 0..runs.parse().expect("a number") {
        model.locator.locate_embedding(&embedding, VIEWS).expect("the heads answer");
    }
}

fn pixels(side: usize) -> Vec<f32> {
    let mut rng = Rng::new(11);
    (0..VIEWS * 3 * side * side).map(|_| rng.normal()).collect()
}

fn in_tract(kernel: &str, file: &Path, side: usize, runs: usize, threads: usize) -> Figures {
    let own = std::env::current_exe().expect("this program has a place");
    let numbers = [side, runs, threads].map(|n| n.to_string());
    let output = Command::new(own).args([WORKER, kernel]).arg(file).args(numbers).output().expect("a worker starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Figures::from_json(&serde_json::from_slice(&output.stdout).expect("a worker answers with JSON"))
}

fn in_onnxruntime(file: &Path, side: usize, runs: usize, threads: usize) -> Figures {
    let request = json!({"shape": [VIEWS, 3, side, side], "data": pixels(side), "runs": runs, "threads": threads});
    Figures::from_json(&peers::run("onnx_time.py", &[file], &request))
}

struct Subject {
    name: &'static str,
    tower: Tower,
    /// Panoramas of a round.
    runs: usize,
}

fn subjects() -> Vec<Subject> {
    let shipped = Recipe::load(&root().join("trainer/recipes/shipped.toml")).expect("the recipe is valid").tower;
    // 64 patches and the class token, as a small model for a board would have.
    let small = |width: u32| Tower {
        image_px: 128,
        patch_px: Some(16),
        width,
        heads: width / 64,
        layers: 6,
        activation: Activation::Gelu,
        ..Preset::Tiny.tower()
    };
    vec![
        Subject { name: "shipped", tower: shipped, runs: 200 },
        Subject { name: "d192", tower: small(192), runs: 100 },
        Subject { name: "d384", tower: small(384), runs: 40 },
        Subject { name: "vit-b-32", tower: Preset::VitB32.tower(), runs: 8 },
    ]
}

/// The files that the programs read: ours, and the same weights as floats.
fn files(dir: &Path, subject: &Subject) -> [PathBuf; 2] {
    let weights = random_encoder_weights(&subject.tower, 5);
    [Precision::Int8, Precision::Float].map(|precision| {
        let path = dir.join(format!("{}.{precision:?}.onnx", subject.name));
        let graph = encoder_graph(&subject.tower, &weights, precision).expect("the weights are the tower's");
        std::fs::write(&path, to_bytes(&graph)).expect("the temporary directory takes files");
        path
    })
}

fn least(a: &[f32], b: &[f32], width: usize) -> f64 {
    let rows = a.chunks_exact(width).zip(b.chunks_exact(width));
    rows.map(|(a, b)| cosine(a, b)).fold(1.0, f64::min)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some(WORKER) => return worker(&arguments[1..]),
        Some(LOCATOR) => return locator(&arguments[1..]),
        _ => {}
    }
    let threads = arguments.first().map_or(1, |n| n.parse().expect("the first argument is a number of threads"));
    let wanted = |name: &str| arguments.len() < 2 || arguments[1..].iter().any(|a| a == name);
    let kernel = Kernel::chosen().unwrap_or_else(|e| panic!("{e}"));
    let dir = tempfile::tempdir().expect("a temporary directory");
    println!(
        "a panorama of {VIEWS} views, kernel {kernel}, {threads} thread(s), medians of {ROUNDS} rounds and of their ratios"
    );
    println!("encoder    program              cpu ms   wall ms  first ms   peak MB   cosine");
    for subject in subjects().into_iter().filter(|s| wanted(s.name)) {
        let (side, runs) = (subject.tower.image_px as usize, subject.runs);
        let [int8, float] = files(dir.path(), &subject);
        type Program<'a> = (&'static str, Box<dyn Fn() -> Figures + 'a>);
        let programs: [Program; 4] = [
            ("ours", Box::new(|| in_tract(kernel.name(), &int8, side, runs, threads))),
            ("tract", Box::new(|| in_tract("plain", &int8, side, (runs / 40).max(2), threads))),
            ("onnxruntime", Box::new(|| in_onnxruntime(&int8, side, runs, threads))),
            ("onnxruntime, floats", Box::new(|| in_onnxruntime(&float, side, runs, threads))),
        ];
        let mut rounds = [const { Vec::new() }; 4];
        for _ in 0..ROUNDS {
            for ((_, run), rounds) in programs.iter().zip(&mut rounds) {
                rounds.push(run());
            }
        }
        let [ours, _, best, _] = &rounds;
        for ((name, _), own) in programs.iter().zip(&rounds) {
            let of = |figure: fn(&Figures) -> f64| median(own.iter().map(figure));
            let alike = least(&own[0].output, &best[0].output, subject.tower.width as usize);
            println!(
                "{:10} {name:20} {:7.2}   {:7.2}   {:7.1}   {:7.1}   {alike:.5}",
                subject.name,
                of(|f| f.cpu_ms),
                of(|f| f.wall_ms),
                of(|f| f.first_ms),
                of(|f| f.peak_mb)
            );
        }
        // Of the same round: the machine's speed changes from one to the next.
        let ratio = |figure: fn(&Figures) -> f64| median(ours.iter().zip(best).map(|(a, b)| figure(a) / figure(b)));
        println!(
            "{:10} ours / onnxruntime: cpu {:.2}, wall {:.2}, first result {:.2}, memory {:.2}\n",
            subject.name,
            ratio(|f| f.cpu_ms),
            ratio(|f| f.wall_ms),
            ratio(|f| f.first_ms),
            ratio(|f| f.peak_mb)
        );
    }
}
