//! The program from outside: what it refuses, each time in one line that says what, where, and the way out.

// A failed expectation is what a test is for.
#![allow(clippy::unwrap_used)]

#[path = "support/place.rs"]
mod place;

use place::{LEFT_BEHIND, Place, fails, full, names, text, tiny};
use prost::Message;
use tract_onnx::pb::ModelProto;

#[test]
fn bad_pictures_and_arguments() {
    let place = Place::new();
    place.picture("dot.png", 1, 1);
    place.picture("wide.png", 20_000, 10);
    std::fs::write(place.path().join("words.jpg"), "words").unwrap();
    fails(&place.homing(&["locate", "none.jpg"]), &["none.jpg", "check the path"]);
    fails(&place.homing(&["locate", "words.jpg"]), &["words.jpg", "no whole JPEG or PNG", "save it anew"]);
    place.picture("whole.jpg", 640, 480);
    let whole = std::fs::read(place.path().join("whole.jpg")).unwrap();
    let mut garbled = whole.clone();
    let middle = whole.len() / 2;
    garbled[middle..middle + 3000].iter_mut().enumerate().for_each(|(i, b)| *b = ((i * i * 31) >> 5) as u8);
    let (half, most) = (whole[..middle].to_vec(), whole[..whole.len() * 99 / 100].to_vec());
    for (name, bytes) in [("half.jpg", half), ("most.jpg", most), ("garbled.jpg", garbled)] {
        std::fs::write(place.path().join(name), bytes).unwrap();
        fails(&place.homing(&["locate", "whole.jpg", name]), &[name, "no whole JPEG or PNG", "copy it again"]);
        let row = format!("{{\"images\":[\"{name}\"],\"lat\":0,\"lon\":0}}\n");
        std::fs::write(place.path().join("set.jsonl"), row).unwrap();
        fails(&place.homing(&["eval", "--dataset", "set.jsonl"]), &[name, "no whole JPEG or PNG"]);
    }
    image::RgbImage::new(64, 64).save(place.path().join("black.png")).unwrap();
    fails(&place.homing(&["locate", "whole.jpg", "black.png"]), &["black.png is blank", "name a picture"]);
    fails(&place.homing(&["locate", "dot.png"]), &["dot.png", "1 x 1"]);
    fails(&place.homing(&["locate", "wide.png"]), &["wide.png", "20000 x 10", "resize"]);
    fails(&place.homing(&["locate", "1", "2", "3", "4", "5"]), &["a panorama has one to four"]);
    for wrong in [&["locate"][..], &["eval"], &["--fixes", "0"], &["fly"]] {
        assert_eq!(place.homing(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn bad_bundles() {
    let place = Place::new();
    place.picture("front.jpg", 64, 64);
    let bundle = place.path().join("bundle");
    fails(&place.command(&["locate", "front.jpg", "--bundle", "no"]).output().unwrap(), &["no model bundle at no"]);
    for name in ["encoder.onnx", "heads.onnx", "geocells.bin", "prototypes.bin"] {
        let good = std::fs::read(bundle.join(name)).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 3] ^= 4;
        std::fs::write(bundle.join(name), flipped).unwrap();
        fails(&place.homing(&["locate", "front.jpg"]), &[name, "is damaged", "copy the bundle again"]);
        std::fs::remove_file(bundle.join(name)).unwrap();
        fails(&place.homing(&["--fixes", "1"]), &[name, "is missing"]);
        std::fs::write(bundle.join(name), good).unwrap();
    }
    let manifest = std::fs::read_to_string(bundle.join("manifest.toml")).unwrap();
    std::fs::write(bundle.join("manifest.toml"), manifest.replace("format = 1", "format = 3")).unwrap();
    fails(&place.homing(&["locate", "front.jpg"]), &["manifest.toml", "format is 3", "update the program"]);
    // A NaN weight under a hash that holds.
    let encoder = tiny::encoder_onnx(Some(f32::NAN));
    let hash = homing_models::manifest::sha256_hex;
    let good = hash(&std::fs::read(bundle.join("encoder.onnx")).unwrap());
    std::fs::write(bundle.join("manifest.toml"), manifest.replace(&good, &hash(&encoder))).unwrap();
    std::fs::write(bundle.join("encoder.onnx"), encoder).unwrap();
    fails(&place.homing(&["locate", "front.jpg"]), &["bundle/encoder.onnx", "patch", "NaN"]);
    // A graph that is none, likewise; what the loader says of it is kept short.
    let words = b"these are words".to_vec();
    std::fs::write(bundle.join("manifest.toml"), manifest.replace(&good, &hash(&words))).unwrap();
    std::fs::write(bundle.join("encoder.onnx"), words).unwrap();
    let output = place.homing(&["locate", "front.jpg"]);
    fails(&output, &["bundle/encoder.onnx cannot be loaded", "export the bundle again"]);
    assert!(output.stderr.len() < 300, "{}", text(&output.stderr));
    std::fs::write(bundle.join("manifest.toml"), b"\xff\xfe").unwrap();
    fails(&place.homing(&["locate", "front.jpg"]), &["manifest.toml: it is no text in UTF-8", "copy the bundle"]);
}

#[test]
fn a_bundle_whose_encoder_cannot_run_is_refused_at_the_start() {
    let place = Place::new();
    let manifest = place.path().join("bundle/manifest.toml");
    let good = std::fs::read_to_string(&manifest).unwrap();
    for size in ["16", "33", "64"] {
        std::fs::write(&manifest, good.replace("size = 32", &format!("size = {size}"))).unwrap();
        let output = place.homing(&["--fixes", "2", "--out", "out"]);
        fails(&output, &["bundle/encoder.onnx", "32 x 32 pixels", &format!("image.size = {size}")]);
    }
    let hash = homing_models::manifest::sha256_hex;
    let old = hash(&std::fs::read(place.path().join("bundle/encoder.onnx")).unwrap());
    let refused = |encoder: Vec<u8>, words: &str| {
        std::fs::write(&manifest, good.replace(&old, &hash(&encoder))).unwrap();
        std::fs::write(place.path().join("bundle/encoder.onnx"), encoder).unwrap();
        fails(&place.homing(&["--fixes", "2", "--out", "out"]), &[words]);
    };
    // A length of embeddings that the graph does not give: found by the panorama that is tried.
    let longer = tiny::encoder_onnx_of(tiny::DIMS as i64 + 1);
    refused(longer, "bundle/encoder.onnx: output embeddings has 36 numbers");
    refused(tiny::encoder_onnx_with_softmax(), "bundle/encoder.onnx: 0 of 1 Softmax nodes have a form that runs fast");
    // What tract answers with a panic.
    let mut still = ModelProto::decode(&tiny::encoder_onnx(None)[..]).unwrap();
    let strides = &mut still.graph.as_mut().unwrap().node[0].attribute[1];
    strides.ints.fill(0);
    refused(still.encode_to_vec(), "bundle/encoder.onnx cannot be loaded: it stops at attempt to divide by zero");
    // Plans share packed weights by the names of nodes.
    let mut twice = ModelProto::decode(&tiny::encoder_onnx(None)[..]).unwrap();
    let nodes = &mut twice.graph.as_mut().unwrap().node;
    nodes[1].name = nodes[0].name.clone();
    refused(twice.encode_to_vec(), "bundle/encoder.onnx cannot be loaded: two nodes have the name patches");
    assert!(!place.path().join("out").exists());
}

#[test]
fn a_kernel_that_this_processor_has_not() {
    let place = Place::new();
    let output = place.command(&["model", "--bundle", "bundle"]).env("HOMING_KERNEL", "avx9").output().unwrap();
    fails(&output, &["HOMING_KERNEL=avx9: this processor has portable", "set it to one of them"]);
    let portable = place.command(&["model", "--bundle", "bundle", "--json"]).env("HOMING_KERNEL", "portable").output();
    let summary: serde_json::Value = serde_json::from_slice(&portable.unwrap().stdout).unwrap();
    assert_eq!((&summary["kernel"], &summary["prototypes"]), (&"portable".into(), &48.into()));
    assert!(summary["encoder"].as_str().unwrap().contains("0 linear layers"), "{summary}");
    let said = text(&place.homing(&["model"]).stdout);
    assert!(said.contains("24 geocells, 48 prototypes") && said.contains("HOMING_KERNEL chooses"), "{said}");
}

#[test]
fn an_output_directory_that_cannot_be_written() {
    let place = Place::new();
    std::fs::write(place.path().join("file"), "").unwrap();
    fails(&place.homing(&["--fixes", "1", "--out", "file/out"]), &["cannot write file/out", "--out", "(os error"]);
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    let place = Place::new();
    let before = names(place.path());
    for args in [&["--link", "no/line"][..], &["--link", ""]] {
        let output = place.homing(&[&["--fixes", "1", "--out", "a/b"], args].concat());
        assert!(!output.status.success());
        assert_eq!(names(place.path()), before, "{args:?}");
    }
    let mut command = place.command(&["--fixes", "2", "--bundle", "bundle", "--out", "a/b"]);
    fails(&command.stdout(full()).output().unwrap(), &["cannot write to standard output: No space", "send it"]);
    assert_eq!(names(place.path()), before);
    // A directory in the place of the map: the others are complete, and nothing half-made is left.
    std::fs::create_dir_all(place.path().join("out/drive.png")).unwrap();
    fails(&place.homing(&["--fixes", "2", "--out", "out"]), &["cannot write out/drive.png", "--out"]);
    assert_eq!(names(&place.path().join("out")), LEFT_BEHIND);
}

#[test]
fn a_full_standard_output_is_named() {
    let place = Place::new();
    place.picture("a.png", 40, 40);
    let commands: [&[&str]; 5] = [
        &["locate", "a.png"],
        &["locate", "a.png", "--json"],
        &["check"],
        &["bench", "--queries", "10"],
        &["eval", "--planet", "--sites", "1", "--holdout", "random"],
    ];
    for args in commands {
        let output = place.command(args).args(["--bundle", "bundle"]).stdout(full()).output().unwrap();
        let said = text(&output.stderr);
        let error = said.lines().last().unwrap();
        assert!(error.starts_with("homing: cannot write to standard output: No space left"), "{said}");
        assert!(error.ends_with("send it where there is room") && said.matches("os error").count() == 1, "{said}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn an_impossible_setting_is_refused_with_its_file_and_line() {
    let place = Place::new();
    std::fs::write(place.path().join("homing.toml"), "[host]\ncamera_px = 4096\n").unwrap();
    let output = place.homing(&["--config", "homing.toml", "--fixes", "1"]);
    fails(&output, &["homing.toml: line 2: camera_px is 4096, need 16..=1024"]);
}
