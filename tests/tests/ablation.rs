//! `homing-trainer ablate` in small: eight rows, a report, and a second run that finds everything done.
#![cfg(feature = "torch")]

use homing_tests::peers::root;
use homing_tests::program;

#[test]
fn eight_rows_a_report_and_a_second_run_that_trains_nothing() {
    let work = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(root().join("trainer/recipes/ablation.toml")).unwrap();
    let text = text
        .replace("weights = \"../../models/shipped\"\n", "")
        .replace("sites = 40000", "sites = 400")
        .replace("image_px = 96", "image_px = 16")
        .replace("steps = 400\n", "steps = 3\n")
        .replace("batch_views = 256", "batch_views = 16")
        .replace("steps = 500\n", "steps = 3\n")
        .replace("batch_sites = 64", "batch_sites = 8")
        .replace("warmup_steps = 50", "warmup_steps = 1")
        .replace("validation_sites = 2000", "validation_sites = 30");
    let (recipe, report) = (work.path().join("small.toml"), work.path().join("ablation.md"));
    std::fs::write(&recipe, text).unwrap();
    let run = || {
        let mut command = program("homing-trainer");
        command.args(["ablate", "--device", "cpu", "--sites", "40", "--seeds", "2", "--out"]);
        let output = command.arg(work.path().join("out")).arg("--report").arg(&report).arg(&recipe).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        (std::fs::read_to_string(&report).unwrap(), told)
    };
    let (first, told) = run();
    assert_eq!(told.lines().filter(|line| line.starts_with("row ")).count(), 16, "two seeds of eight rows: {told}");
    for heading in ["# What each contribution is worth", "## Sites drawn at random", "## Towns never seen", "## Cost"] {
        assert!(first.lines().any(|line| line.starts_with(heading)), "{heading} in {first}");
    }
    assert_eq!(first.lines().filter(|line| line.starts_with("| + ProtoNet refinement |")).count(), 5, "{first}");
    assert!(first.contains("| held out of pretraining |"), "{first}");
    let (second, told) = run();
    assert_eq!(first, second);
    assert!(!told.contains("row "), "nothing is trained again: {told}");

    // Another recipe in the same place is refused, not mixed with the first.
    let changed = std::fs::read_to_string(&recipe).unwrap().replace("tau_km = 75.0", "tau_km = 50.0");
    std::fs::write(&recipe, changed).unwrap();
    let mut command = program("homing-trainer");
    command.args(["ablate", "--device", "cpu", "--sites", "40", "--out"]).arg(work.path().join("out"));
    let output = command.arg("--report").arg(&report).arg(&recipe).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.lines().last().unwrap().contains("is of another recipe"), "{told}");
}
