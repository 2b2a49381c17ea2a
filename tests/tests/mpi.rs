//! Training by two processes that Open MPI's `mpirun` starts on this machine.
#![cfg(feature = "mpi")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use homing_tests::program;
use tch::Tensor;

const CHECKPOINT: &str = "checkpoint.safetensors";

/// A small run on patches, with a batch of `sites` a rank.
fn recipe(folder: &Path, sites: u32, steps: u32) -> std::path::PathBuf {
    let miniature =
        std::fs::read_to_string(homing_tests::peers::root().join("trainer/recipes/miniature.toml")).unwrap();
    let mut recipe: toml::Table = miniature.parse().unwrap();
    let mut set = |section: &str, values: &str| {
        let values: toml::Table = values.parse().unwrap();
        recipe[section].as_table_mut().unwrap().extend(values);
    };
    set("data", "planet = { sites = 300, seed = 1 }");
    set("geocells", "min = 5\nmax = 20");
    set("tower", "patch_px = 8\nstem = []\nwidth = 32");
    set("training", &format!("steps = {steps}\nbatch_sites = {sites}\nwarmup_steps = 4\ncheckpoint_every = 4"));
    // AdamW makes steps of its own size even of a gradient that all but vanishes, rounding and all: with steps this small
    // runs stay comparable.
    set("training", "validate_every = 10\nvalidation_sites = 20\nlr = 0.0002");
    let path = folder.join(format!("batch-{sites}.toml"));
    std::fs::write(&path, recipe.to_string()).unwrap();
    path
}

/// The arguments of a training into `out`.
fn train(command: &mut Command, recipe: &Path, out: &Path) {
    let rest = ["--device", "cpu", "--threads", "1", "--sites", "20", "--out"];
    command.arg("train").arg(recipe).args(rest).arg(out);
}

/// `mpirun` with two ranks, which a test's machine need not have cores for.
fn mpirun() -> Command {
    let trainer = program("homing-trainer");
    let mut command = Command::new("mpirun");
    command
        .args(["-n", "2", "--oversubscribe", "--bind-to", "none"])
        // As root, in a container, it wants to be asked twice.
        .envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")])
        .arg(trainer.get_program())
        .current_dir(homing_tests::peers::root());
    command
}

fn two_ranks(recipe: &Path, out: &Path) -> Command {
    let mut command = mpirun();
    train(&mut command, recipe, out);
    command
}

fn finished(mut command: Command) -> Output {
    let output = command.output().expect("mpirun starts; tests/run installs Open MPI");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Our own lines of error among mpirun's.
fn complaints(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().filter(|line| line.starts_with("homing-trainer: ")).map(str::to_owned).collect()
}

fn tensors(out: &Path, file: &str) -> BTreeMap<String, Tensor> {
    Tensor::read_safetensors(out.join(file)).unwrap().into_iter().collect()
}

#[test]
fn two_ranks_train_what_one_does_on_the_doubled_batch() {
    let work = tempfile::tempdir().unwrap();
    let [two, one, half] = ["two", "one", "half"].map(|name| work.path().join(name));
    let output = finished(two_ranks(&recipe(work.path(), 12, 16), &two));
    // One of them speaks and exports.
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(printed.lines().filter(|line| line.starts_with("model ")).count(), 1, "{printed}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches("300 sites in").count(), 1, "{said}");
    assert!(said.contains(", 2 ranks"), "{said}");

    for (sites, out) in [(24, &one), (12, &half)] {
        let mut alone = program("homing-trainer");
        train(&mut alone, &recipe(work.path(), sites, 16), out);
        finished(alone);
    }
    let [two, one, half] = [two, one, half].map(|out| tensors(&out, CHECKPOINT));
    assert!(two.keys().eq(one.keys()) && two.len() > 200);
    let largest = |a: &BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>| {
        // The softmax over the keys cancels their bias: its gradient is nothing but rounding.
        let compared = a.keys().filter(|name| {
            !["step", "fingerprint", "content"].contains(&name.as_str()) && !name.ends_with("k_proj.bias")
        });
        let difference = |name: &String| (&a[name] - &b[name]).abs().max().double_value(&[]);
        compared.map(|name| (difference(name), name.clone())).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
    };
    let (difference, name) = largest(&two, &one);
    println!("largest difference {difference:.1e}, {name}");
    assert!(difference < 1e-5, "{name} differs by {difference}");
    // Half of the batch is another run.
    assert!(largest(&one, &half).0 > 1e-4);
    // One process may go on with what two began.
    assert!(two["fingerprint"].equal(&one["fingerprint"]));
}

/// The process of a rank, one of the children of `mpirun`.
fn process(rank: u32, mpirun: &Child) -> String {
    let variable = format!("OMPI_COMM_WORLD_RANK={rank}");
    let is_it = |child: &String| {
        let environment = std::fs::read(format!("/proc/{child}/environ")).unwrap();
        environment.split(|&byte| byte == 0).any(|set| set == variable.as_bytes())
    };
    let threads = std::fs::read_dir(format!("/proc/{}/task", mpirun.id())).unwrap();
    let children = threads.flat_map(|thread| {
        let listed = std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap();
        listed.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    });
    children.into_iter().find(is_it).expect("the rank is at work")
}

/// Kills a rank of a job once there is a checkpoint: the job ends soon, with one line that says how to go on.
fn kill(rank: u32, recipe: &Path, out: &Path) {
    let job = two_ranks(recipe, out).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let patience = Instant::now();
    while !out.join(CHECKPOINT).exists() {
        assert!(patience.elapsed() < Duration::from_secs(300), "no checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
    let victim = process(rank, &job);
    assert!(Command::new("kill").args(["-9", &victim]).status().unwrap().success());
    let killed = Instant::now();
    let output = job.wait_with_output().unwrap();
    assert!(!output.status.success());
    assert!(killed.elapsed() < Duration::from_secs(20), "the job hung on for {:?}", killed.elapsed());
    let complaints = complaints(&output);
    assert!(complaints.len() == 1 && complaints[0].contains("run the same command again to go on"), "{complaints:?}");
}

#[test]
fn a_killed_rank_ends_the_job_with_one_line_and_a_checkpoint_to_go_on_from() {
    let work = tempfile::tempdir().unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| work.path().join(name));
    let recipe = recipe(work.path(), 12, 60);
    kill(1, &recipe, &parts);
    // The first rank speaks for all as long as it lives.
    kill(0, &recipe, &work.path().join("headless"));

    let resumed = finished(two_ranks(&recipe, &parts));
    let said = String::from_utf8_lossy(&resumed.stderr);
    assert_eq!(said.matches("going on from step ").count(), 1, "{said}");
    finished(two_ranks(&recipe, &whole));
    for file in [CHECKPOINT, "weights.safetensors", "loss.csv"] {
        let read = |out: &Path| std::fs::read(out.join(file)).unwrap();
        assert!(read(&whole) == read(&parts), "{file} is not that of an uninterrupted run");
    }
}

#[test]
fn whatever_is_wrong_is_said_once() {
    let work = tempfile::tempdir().unwrap();
    let fails = |mut command: Command, expected: &str| {
        let output = command.output().unwrap();
        let complaints = complaints(&output);
        assert!(
            !output.status.success() && complaints.len() == 1 && complaints[0].contains(expected),
            "{complaints:?}"
        );
    };
    fails(two_ranks(&work.path().join("none.toml"), &work.path().join("out")), "none.toml");

    // Each rank reads its own file, as on two machines.
    let mut unlike = mpirun();
    let trainer = program("homing-trainer");
    train(&mut unlike, &recipe(work.path(), 12, 4), &work.path().join("out"));
    unlike.args([":", "-n", "1"]).arg(trainer.get_program());
    train(&mut unlike, &recipe(work.path(), 13, 4), &work.path().join("out"));
    fails(unlike, "rank 2: its recipe or data are not those of rank 0");

    for command in ["export", "ablate", "geocells"] {
        let mut alone = mpirun();
        let output = alone.arg(command).arg(recipe(work.path(), 12, 4)).output().unwrap();
        let complaints = complaints(&output);
        assert!(!output.status.success() && !complaints.is_empty());
        assert!(complaints.iter().all(|line| line.contains("only `train`")), "{complaints:?}");
    }
}
