//! What the trainer says to bad input: one line that names what, where and the way out, and nothing half written.
#![cfg(feature = "torch")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use homing_tests::peers::root;
use homing_tests::program;

/// A recipe that trains in seconds.
fn recipe(work: &Path, change: impl Fn(String) -> String) -> PathBuf {
    let text = std::fs::read_to_string(root().join("trainer/recipes/miniature.toml")).unwrap();
    let text = text
        .replace("sites = 6000", "sites = 600")
        .replace("steps = 900", "steps = 12")
        .replace("warmup_steps = 50", "warmup_steps = 2")
        .replace("checkpoint_every = 300", "checkpoint_every = 4")
        .replace("validation_sites = 300", "validation_sites = 20");
    let path = work.join("small.toml");
    std::fs::write(&path, change(text)).unwrap();
    path
}

fn train(recipe: &Path, out: &Path) -> Command {
    let mut command = program("homing-trainer");
    command.args(["train", "--device", "cpu", "--sites", "20", "--out"]).arg(out).arg(recipe);
    command
}

/// The one line of a failure, without the progress before it.
fn refusal(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(!text.contains("panicked") && !text.contains("RUST_BACKTRACE"), "{text}");
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("homing-trainer: ")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert_eq!(text.lines().last(), Some(lines[0]), "the reason comes last: {text}");
    lines[0].to_owned()
}

#[test]
fn a_recipe_with_a_mistake_names_file_line_and_key() {
    let work = tempfile::tempdir().unwrap();
    let path = recipe(work.path(), |text| text.replace("tau_km", "tau"));
    let line = refusal(&train(&path, &work.path().join("out")).output().unwrap());
    assert!(line.contains("small.toml line") && line.contains("unknown field `tau`"), "{line}");
    assert!(!work.path().join("out").exists(), "nothing was begun");
}

#[test]
fn a_teacher_that_is_not_there_is_named() {
    let work = tempfile::tempdir().unwrap();
    let taught = |weight: &str| {
        let path = recipe(work.path(), |text| format!("{text}\n[distillation]\nteacher = \"mine\"\n{weight}\n"));
        refusal(&train(&path, &work.path().join("out")).output().unwrap())
    };
    let line = taught("weight = 0.5");
    assert!(line.contains("distillation.teacher: ") && line.contains("mine"), "{line}");
    let line = taught("weight = 1.5");
    assert!(line.contains("distillation.weight: must be above 0 and at most 1"), "{line}");
}

#[test]
fn a_loss_that_is_not_finite_names_the_step_and_the_way_out() {
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("out");
    let path = recipe(work.path(), |text| text.replace("lr = 0.002", "lr = 1e30"));
    let line = refusal(&train(&path, &out).output().unwrap());
    assert!(line.contains(" at step ") && line.contains("lower training.lr and start again"), "{line}");
}

#[test]
fn a_damaged_checkpoint_is_named_and_kept() {
    let work = tempfile::tempdir().unwrap();
    let (path, out) = (recipe(work.path(), |text| text), work.path().join("out"));
    assert!(train(&path, &out).output().unwrap().status.success());
    let checkpoint = out.join("checkpoint.safetensors");
    let whole = std::fs::read(&checkpoint).unwrap();
    std::fs::write(&checkpoint, &whole[..whole.len() / 2]).unwrap();
    let line = refusal(&train(&path, &out).output().unwrap());
    assert!(line.contains("checkpoint.safetensors"), "{line}");
    assert_eq!(std::fs::metadata(&checkpoint).unwrap().len(), whole.len() as u64 / 2, "not overwritten");
    // One bit of one number.
    let mut flipped = whole.clone();
    let at = whole.len() - 1000;
    flipped[at] ^= 4;
    std::fs::write(&checkpoint, &flipped).unwrap();
    let line = refusal(&train(&path, &out).output().unwrap());
    assert!(line.contains("checkpoint.safetensors is damaged") && line.contains("delete it to start again"), "{line}");
    assert!(std::fs::read(&checkpoint).unwrap() == flipped, "not overwritten");
    std::fs::write(&checkpoint, &whole).unwrap();
    assert!(train(&path, &out).output().unwrap().status.success());
}

/// A limit on the size of files stands in for a disk that is full.
#[test]
fn a_full_disk_leaves_whole_files_only() {
    let work = tempfile::tempdir().unwrap();
    let (path, out) = (recipe(work.path(), |text| text), work.path().join("out"));
    let kilobytes = 300;
    let command = train(&path, &out);
    let mut limited = Command::new("bash");
    // The signal of the limit is ignored, so that the write fails as on a full disk.
    limited.args(["-c", &format!("trap '' XFSZ; ulimit -f {kilobytes}; exec \"$0\" \"$@\"")]);
    limited.arg(command.get_program()).args(command.get_args()).current_dir(root());
    let line = refusal(&limited.output().unwrap());
    assert!(line.contains("cannot write") && line.contains("checkpoint.safetensors"), "{line}");
    assert!(!out.join("checkpoint.safetensors").exists(), "no half a checkpoint under its name");
    // With room again the same command finishes.
    let finished = train(&path, &out).output().unwrap();
    assert!(finished.status.success(), "{}", String::from_utf8_lossy(&finished.stderr));
}

#[test]
fn a_gpu_that_is_not_there_is_no_silent_processor() {
    let work = tempfile::tempdir().unwrap();
    let path = recipe(work.path(), |text| text);
    let mut command = program("homing-trainer");
    command.args(["train", "--device", "cuda", "--out"]).arg(work.path().join("out")).arg(&path);
    // Hidden, if this machine has one.
    let line = refusal(&command.env("CUDA_VISIBLE_DEVICES", "").output().unwrap());
    assert!(line.contains("--device cuda: ") && line.contains("use --device cpu"), "{line}");
}

/// Most climate zones, months and countries have no site among so few; their classes must not make the rest NaN.
#[test]
fn classes_without_samples_are_named_and_do_no_harm() {
    let work = tempfile::tempdir().unwrap();
    let path = recipe(work.path(), |text| text.replace("sites = 600", "sites = 40"));
    let out = work.path().join("out");
    let output = train(&path, &out).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stderr);
    let named: Vec<&str> = said.lines().filter(|line| line.starts_with("no training site has these")).collect();
    // There is hardly a town with the Mediterranean's dry summers and a subarctic cold.
    assert!(named.len() == 1 && named[0].contains(": koeppen ") && named[0].contains("Csc, "), "{said}");
    let manifest = std::fs::read_to_string(out.join("bundle/manifest.toml")).unwrap();
    assert!(!manifest.contains("nan"), "{manifest}");
}

#[test]
fn a_data_set_that_cannot_be_trained_on_is_named() {
    let work = tempfile::tempdir().unwrap();
    let planet = "planet = { sites = 600, seed = 1 }";
    let path = recipe(work.path(), |text| text.replace(planet, "files = \"pictures.jsonl\""));
    let out = work.path().join("out");
    let fails = || refusal(&train(&path, &out).output().unwrap());
    assert!(fails().contains("cannot read ") && fails().contains("pictures.jsonl"));
    std::fs::write(work.path().join("pictures.jsonl"), "{\"images\":[\"a.jpg\"],\"lat\":1,\"lon\":2}\n").unwrap();
    assert!(fails().contains("pictures.jsonl line 1: picture ") && fails().contains("a.jpg does not exist"));
    std::fs::write(work.path().join("a.jpg"), b"no picture").unwrap();
    assert!(fails().contains("1 samples are too few for training.validation_sites = 20"));
    let lines = "{\"images\":[\"a.jpg\"],\"lat\":1,\"lon\":2}\n".repeat(50);
    let spread: String = lines.lines().enumerate().map(|(i, l)| l.replace(":1,", &format!(":{i},")) + "\n").collect();
    std::fs::write(work.path().join("pictures.jsonl"), spread).unwrap();
    assert!(fails().contains("a.jpg is no whole JPEG or PNG picture"));
}
