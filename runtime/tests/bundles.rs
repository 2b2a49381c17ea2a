//! Models on a vehicle: a new one is tried before it is used, and a bad one gives way to the one before it.

// A failed expectation is what a test is for.
#![allow(clippy::unwrap_used)]

#[path = "support/place.rs"]
mod place;

use std::{fs, path::PathBuf, process::Output};

use place::{Place, fails, json_lines, names, text};

/// A bundle that is another one by its name.
fn named(place: &Place, name: &str) {
    let (from, to) = (place.path().join("bundle"), place.path().join(name));
    fs::create_dir(&to).unwrap();
    for file in names(&from) {
        fs::copy(from.join(&file), to.join(&file)).unwrap();
    }
    let manifest = fs::read_to_string(to.join("manifest.toml")).unwrap();
    let (start, rest) = manifest.split_once("name = \"").unwrap();
    let end = rest.split_once('"').unwrap().1;
    fs::write(to.join("manifest.toml"), format!("{start}name = \"{name}\"{end}")).unwrap();
}

struct Vehicle(Place);

impl Vehicle {
    fn with(bundles: &[&str]) -> Self {
        let place = Place::new();
        bundles.iter().for_each(|name| named(&place, name));
        Vehicle(place)
    }

    fn install(&self, name: &str) -> Output {
        self.0.command(&["install", name, "--store", "store"]).output().unwrap()
    }

    fn installed(&self, name: &str) {
        let output = self.install(name);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).starts_with(name), "{}", text(&output.stdout));
    }

    fn run(&self, more: &[&str]) -> Output {
        let out = self.0.path().join("out");
        let _ = fs::remove_dir_all(&out);
        self.0.command(&["run", "--fixes", "2", "--bundle", "store"]).args(more).output().unwrap()
    }

    /// Runs well, and says which model it is.
    fn runs(&self, more: &[&str]) -> (String, String) {
        let output = self.run(more);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(json_lines(&self.0.path().join("out/fixes.jsonl")).len(), 2);
        let first = text(&output.stdout).lines().next().unwrap().to_owned();
        let model = first.split("model ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        (model, text(&output.stderr))
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }

    fn on_trial(&self) -> bool {
        self.store().join("trial").exists()
    }
}

#[test]
fn a_model_is_installed_proved_replaced_and_returned_to() {
    let vehicle = Vehicle::with(&["one", "two", "three"]);
    vehicle.installed("one");
    assert!(vehicle.on_trial());
    assert_eq!(vehicle.runs(&[]).0, "one");
    assert!(!vehicle.on_trial(), "it has come to an estimate");
    vehicle.installed("two");
    assert_eq!(vehicle.runs(&[]).0, "two");
    vehicle.installed("two");
    assert!(!vehicle.on_trial(), "it is the current one already");
    let back = vehicle.0.command(&["install", "--back", "--store", "store"]).output().unwrap();
    assert!(back.status.success());
    assert_eq!(vehicle.runs(&[]).0, "one");
    fails(&vehicle.0.command(&["install", "--back", "--store", "store"]).output().unwrap(), &["no bundle before"]);
    // Other commands look at the current one, and the store holds two bundles at most.
    for name in ["two", "three"] {
        vehicle.installed(name);
        let model = vehicle.0.command(&["model", "--json", "--bundle", "store"]).output().unwrap();
        assert!(text(&model.stdout).contains(&format!("\"name\":\"{name}\"")), "{}", text(&model.stdout));
    }
    let held = names(&vehicle.store());
    assert_eq!(held.len(), 5, "two bundles, two links and the trial: {held:?}");
    assert!(!held.iter().any(|name| name.ends_with(".partial")), "{held:?}");
}

#[test]
fn what_was_never_proved_or_is_damaged_is_not_returned_to() {
    let vehicle = Vehicle::with(&["one", "two", "three"]);
    vehicle.installed("one");
    vehicle.runs(&[]);
    // Two is replaced before it has come to an estimate.
    vehicle.installed("two");
    vehicle.installed("three");
    fs::write(vehicle.store().join("current/heads.onnx"), "bits rot").unwrap();
    assert_eq!(vehicle.runs(&[]).0, "one");
    // Two is proved and rots; what comes after it can still go back to one.
    vehicle.installed("two");
    vehicle.runs(&[]);
    fs::write(vehicle.store().join("current/heads.onnx"), "bits rot").unwrap();
    vehicle.installed("three");
    fs::write(vehicle.store().join("current/heads.onnx"), "bits rot").unwrap();
    assert_eq!(vehicle.runs(&[]).0, "one");
}

#[test]
fn a_bundle_that_is_damaged_gives_way_to_the_one_before() {
    let vehicle = Vehicle::with(&["one", "two"]);
    vehicle.installed("one");
    vehicle.runs(&[]);
    vehicle.installed("two");
    vehicle.runs(&[]);
    fs::write(vehicle.store().join("current/encoder.onnx"), "bits rot").unwrap();
    let (model, told) = vehicle.runs(&[]);
    assert_eq!(model, "one");
    assert!(
        told.contains("encoder.onnx is damaged") && told.contains("returning to the model before it, one"),
        "{told}"
    );
    let (model, told) = vehicle.runs(&[]);
    assert_eq!((model.as_str(), told.as_str()), ("one", ""), "said once");
    fs::write(vehicle.store().join("current/encoder.onnx"), "bits rot").unwrap();
    fails(&vehicle.run(&[]), &["encoder.onnx is damaged"]);
    // What was damaged is mended by installing it once more.
    vehicle.installed("one");
    assert_eq!(vehicle.runs(&[]).0, "one");
}

#[test]
fn a_bundle_that_comes_to_no_estimate_gives_way_to_the_one_before() {
    let vehicle = Vehicle::with(&["one", "two"]);
    vehicle.installed("one");
    vehicle.runs(&[]);
    vehicle.installed("two");
    // That a line cannot be opened is not the model's fault.
    for _ in 0..4 {
        fails(&vehicle.run(&["--link", "/nonexistent/line"]), &["/nonexistent/line"]);
    }
    assert_eq!(fs::read_to_string(vehicle.store().join("trial")).unwrap(), "0\n");
    // As three starts leave it that ended before their first fix.
    fs::write(vehicle.store().join("trial"), "3\n").unwrap();
    let (model, told) = vehicle.runs(&[]);
    assert_eq!(model, "one");
    assert!(told.contains("current came to no estimate in 3 starts"), "{told}");

    // Without a picture no model can show what it is worth.
    vehicle.installed("two");
    fs::write(
        vehicle.0.path().join("blind.toml"),
        "[host]\ndead_cameras = [\"front\", \"right\", \"back\", \"left\"]\n",
    )
    .unwrap();
    for _ in 0..5 {
        assert_eq!(vehicle.runs(&["--config", "blind.toml"]).0, "two");
    }
    assert!(vehicle.on_trial());
    assert_eq!(vehicle.runs(&[]).0, "two");
    assert!(!vehicle.on_trial());
}

#[test]
fn what_is_not_well_is_not_installed() {
    let vehicle = Vehicle::with(&["one", "two"]);
    vehicle.installed("one");
    let two = vehicle.0.path().join("two");
    fs::write(two.join("heads.onnx"), "not a graph").unwrap();
    fails(&vehicle.install("two"), &["heads.onnx is damaged"]);
    fails(&vehicle.install("nowhere"), &["no model bundle at nowhere"]);
    assert_eq!(vehicle.runs(&[]).0, "one");
    assert_eq!(names(&vehicle.store()).len(), 2, "{:?}", names(&vehicle.store()));
    let empty = vehicle.0.command(&["install", "--back", "--store", "nothing"]).output().unwrap();
    fails(&empty, &["no store of bundles at nothing"]);
    fs::write(vehicle.0.path().join("file"), "").unwrap();
    fails(&vehicle.0.command(&["install", "one", "--store", "file/store"]).output().unwrap(), &["cannot write file"]);
}
