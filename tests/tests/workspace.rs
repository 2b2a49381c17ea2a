//! The README's table of crates is what cargo builds.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use homing_tests::peers::root;
use serde_json::Value;

type Crates = BTreeMap<String, (String, BTreeSet<String>)>;

/// Crate name -> folder and the project's crates it depends on, from the README.
fn documented() -> Crates {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let section = readme.split("## ARCHITECTURE").nth(1).expect("a section ARCHITECTURE");
    let section = section.split("\n## ").next().unwrap();
    let mut crates = Crates::new();
    let mut all = Vec::new();
    for row in section.lines().filter(|l| l.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, folder, _, dependencies] = cells[..] else { panic!("four columns: {row}") };
        let bare = |s: &str| s.trim_matches('`').to_owned();
        if dependencies == "all" {
            all.push(bare(name));
        }
        let on = dependencies.split_whitespace().filter(|d| d.starts_with('`')).map(bare).collect();
        crates.insert(bare(name), (bare(folder), on));
    }
    for name in all {
        // What stands in for another's crate is nobody's to name.
        let others = crates.keys().filter(|k| **k != name && k.starts_with("homing")).cloned().collect();
        crates.get_mut(&name).unwrap().1 = others;
    }
    crates
}

#[test]
fn the_table_of_crates_is_true() {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let workspace = metadata["workspace_root"].as_str().unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let name = |p: &Value| p["name"].as_str().unwrap().to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let built: Crates = packages
        .iter()
        .map(|p| {
            let folder = std::path::Path::new(p["manifest_path"].as_str().unwrap()).parent().unwrap();
            let folder = folder.strip_prefix(workspace).unwrap().display().to_string();
            let dependencies = p["dependencies"].as_array().unwrap().iter();
            let on = dependencies.filter(|d| d["kind"].is_null()).map(name).filter(|d| ours.contains(d)).collect();
            (name(p), (folder, on))
        })
        .collect();
    assert_eq!(documented(), built);
}

#[test]
fn the_house_has_its_rooms_and_no_others() {
    let tracked = Command::new("git").args(["ls-files"]).current_dir(root()).output().unwrap();
    let tracked = String::from_utf8(tracked.stdout).unwrap();
    let top: BTreeSet<&str> =
        tracked.lines().filter_map(|l| l.split('/').next()).filter(|n| !n.starts_with('.')).collect();
    let allowed = [
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "NOTICE",
        "README.md",
        "board",
        "cross",
        "models",
        "runtime",
        "tests",
        "trainer",
    ];
    let strangers: Vec<&&str> = top.iter().filter(|n| !allowed.contains(n)).collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}
