//! An encoder's panorama in our operators, in tract as it comes, and in onnxruntime: processor time, time to the first
//! result, memory. Interleaved: every round runs each program once, in a process of its own (ours is `panorama`).
//!
//! `cargo bench -p homing-tests --bench inference [-- THREADS [NAME ...]]`

use std::path::{Path, PathBuf};
use std::process::Command;

use homing_kernels::Kernel;
use homing_tests::peers::{self, root};
use homing_tests::{VIEWS, noise};
use homing_trainer::encoder_graph::{Precision, encoder_graph};
use homing_trainer::onnx::to_bytes;
use homing_trainer::recipe::{Activation, Preset, Recipe, Tower};
use homing_trainer::reference::{cosine, random_encoder_weights};
use serde_json::{Value, json};

const ROUNDS: usize = 9;

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

/// `panorama` with tract compiled for speed; ours has it compiled for size.
fn as_it_comes() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(root())
        .args("build --profile peer -p homing-tests --bin panorama --message-format json".split(' '));
    eprintln!("building tract as it comes, which takes minutes the first time");
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = output.stdout.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let mut programs = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    programs.next_back().expect("cargo says where the program is")
}

fn in_tract(program: &Path, kernel: &str, file: &Path, side: usize, runs: usize, threads: usize) -> Figures {
    let numbers = [side, runs, threads].map(|n| n.to_string());
    let mut command = Command::new(program);
    let output = command.args(["encode", kernel]).arg(file).args(numbers).output().expect("cargo has built it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Figures::from_json(&serde_json::from_slice(&output.stdout).expect("it answers with JSON"))
}

/// Its idle threads spin, which counts as processor time, or sleep, which costs wall time.
fn in_onnxruntime(file: &Path, side: usize, runs: usize, threads: usize, spins: bool) -> Figures {
    let data = noise(VIEWS * 3 * side * side);
    let request =
        json!({"shape": [VIEWS, 3, side, side], "data": data, "runs": runs, "threads": threads, "spins": spins});
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

/// The files that the programs read: ours, the same with convolutions that are quantised for onnxruntime, and the same
/// weights as floats.
fn files(dir: &Path, subject: &Subject) -> [PathBuf; 3] {
    let weights = random_encoder_weights(&subject.tower, 5);
    let [int8, float] = [Precision::Int8, Precision::Float].map(|precision| {
        let path = dir.join(format!("{}.{precision:?}.onnx", subject.name));
        let graph = encoder_graph(&subject.tower, &weights, precision).expect("the weights are the tower's");
        std::fs::write(&path, to_bytes(&graph)).expect("the temporary directory takes files");
        path
    });
    let (quantised, side) = (int8.with_extension("qdq.onnx"), subject.tower.image_px as usize);
    let pictures = json!({"shape": [VIEWS, 3, side, side], "data": noise(VIEWS * 3 * side * side)});
    peers::run("onnx_quantise.py", &[&int8, &quantised], &pictures);
    [int8, quantised, float]
}

fn least(a: &[f32], b: &[f32], width: usize) -> f64 {
    let rows = a.chunks_exact(width).zip(b.chunks_exact(width));
    rows.map(|(a, b)| cosine(a, b)).fold(1.0, f64::min)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let threads = arguments.first().map_or(1, |n| n.parse().expect("the first argument is a number of threads"));
    let wanted = |name: &str| arguments.len() < 2 || arguments[1..].iter().any(|a| a == name);
    let kernel = Kernel::chosen().unwrap_or_else(|e| panic!("{e}"));
    let (ours, plain) = (PathBuf::from(env!("CARGO_BIN_EXE_panorama")), as_it_comes());
    let dir = tempfile::tempdir().expect("a temporary directory");
    println!(
        "a panorama of {VIEWS} views, kernel {kernel}, {threads} thread(s), medians of {ROUNDS} rounds and of their ratios"
    );
    println!("encoder    program                 cpu ms   wall ms  first ms   peak MB   cosine");
    for subject in subjects().into_iter().filter(|s| wanted(s.name)) {
        let (side, runs) = (subject.tower.image_px as usize, subject.runs);
        let [int8, quantised, float] = files(dir.path(), &subject);
        type Program<'a> = (&'static str, Box<dyn Fn() -> Figures + 'a>);
        let peer = |file, spins| -> Box<dyn Fn() -> Figures + '_> {
            Box::new(move || in_onnxruntime(file, side, runs, threads, spins))
        };
        let mut programs: Vec<Program> = vec![
            ("ours", Box::new(|| in_tract(&ours, kernel.name(), &int8, side, runs, threads))),
            ("tract", Box::new(|| in_tract(&plain, "plain", &int8, side, (runs / 40).max(2), threads))),
            ("onnxruntime, floats", peer(&float, false)),
            ("onnxruntime", peer(&int8, false)),
            ("onnxruntime, QDQ", peer(&quantised, false)),
        ];
        if threads > 1 {
            programs.push(("onnxruntime, spins", peer(&int8, true)));
            programs.push(("onnxruntime, QDQ, spins", peer(&quantised, true)));
        }
        let mut rounds = vec![Vec::new(); programs.len()];
        for _ in 0..ROUNDS {
            for ((_, run), rounds) in programs.iter().zip(&mut rounds) {
                rounds.push(run());
            }
        }
        for ((name, _), own) in programs.iter().zip(&rounds) {
            let of = |figure: fn(&Figures) -> f64| median(own.iter().map(figure));
            let alike = least(&own[0].output, &rounds[3][0].output, subject.tower.width as usize);
            println!(
                "{:10} {name:23} {:7.2}   {:7.2}   {:7.1}   {:7.1}   {alike:.5}",
                subject.name,
                of(|f| f.cpu_ms),
                of(|f| f.wall_ms),
                of(|f| f.first_ms),
                of(|f| f.peak_mb)
            );
        }
        // The best of its int8 forms, with threads that sleep, and for wall time of those that spin too. Of the same
        // round: the machine's speed changes from one to the next.
        let best = |figure: fn(&Figures) -> f64, forms: std::ops::Range<usize>| {
            let of = |form: &usize| median(rounds[*form].iter().map(figure));
            let best = forms.min_by(|a, b| of(a).total_cmp(&of(b))).expect("there are some");
            (programs[best].0, median(rounds[0].iter().zip(&rounds[best]).map(|(a, b)| figure(a) / figure(b))))
        };
        let (peer, cpu) = best(|f| f.cpu_ms, 3..5);
        let (in_time, wall) = best(|f| f.wall_ms, 3..rounds.len());
        let [first, memory]: [fn(&Figures) -> f64; 2] = [|f| f.first_ms, |f| f.peak_mb];
        let of_peer = 3 + usize::from(peer != programs[3].0);
        println!(
            "{:10} ours / {peer}: cpu {cpu:.2}, first result {:.2}, memory {:.2}; / {in_time}: wall {wall:.2}\n",
            subject.name,
            best(first, of_peer..of_peer + 1).1,
            best(memory, of_peer..of_peer + 1).1,
        );
    }
}
