//! `homing map`: the fixes of a vehicle's log on a map. A vehicle does not draw it itself: that is seconds of work for
//! a small board, at the moment in which somebody switches it off.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, ensure};
use homing_models::figures::median;

use super::{MapArgs, print};
use crate::{
    compare::Verdict,
    report::{DriveMap, MapWords, json::Logged, save_png},
    supervise::FIXES_FILE,
};

const WORDS: MapWords = MapWords {
    title: "the log of a vehicle",
    way: "GPS that agreed",
    errors: "distance of each fix from GPS that agreed",
};
/// The way out.
const WHAT: &str = "name a fixes.jsonl, or the directory in which homing run writes it";

pub(super) fn run(args: MapArgs) -> anyhow::Result<ExitCode> {
    let out = &args.out;
    let is_png = out.extension().is_some_and(|end| end.eq_ignore_ascii_case("png"));
    ensure!(is_png && !out.is_dir(), "--out {}: the map is a picture; name a file that ends in .png", out.display());
    let files: Vec<PathBuf> = args.logs.iter().map(|log| file(log)).collect();
    let mut map = DriveMap::default();
    let (mut fixes, mut totals_ms, mut verdicts) = (0u64, Vec::new(), [0u64; 4]);
    for file in &files {
        for fix in read(file)? {
            map.push_logged(&fix);
            fixes += 1;
            totals_ms.push(fix.total_ms());
            verdicts[fix.verdict() as usize] += 1;
        }
    }
    let of_all = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    ensure!(fixes > 0, "there is no fix in {of_all} yet; {WHAT}");
    let mut rows = vec![("fixes".to_owned(), fixes.to_string())];
    rows.push(("time per fix (median)".to_owned(), format!("{:.1} ms", median(totals_ms))));
    for verdict in [Verdict::Agree, Verdict::Disagree, Verdict::GpsAbsent, Verdict::VisionUnsure] {
        rows.push((verdict.words().to_owned(), verdicts[verdict as usize].to_string()));
    }
    let picture = map.paint(&WORDS, &rows).with_context(|| format!("no fix in {of_all} has a position; {WHAT}"))?;
    save_png(&picture, out)?;
    print(&format!("{fixes} fixes on {}\n", out.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// The log of fixes that is meant. In a directory it is that of the drive that goes on or was cut off, if there is one: a
/// complete one beside it is of the drive before.
fn file(named: &Path) -> PathBuf {
    if !named.is_dir() {
        return named.to_owned();
    }
    let partial = named.join(format!("{FIXES_FILE}.partial"));
    if partial.exists() { partial } else { named.join(FIXES_FILE) }
}

/// The fixes of a log. A last line without its end is one that was being written.
fn read(path: &Path) -> anyhow::Result<Vec<Logged>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}; {WHAT}", path.display()))?;
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(&[][..], |end| &bytes[..end]);
    let parse = |(n, line): (usize, &[u8])| {
        let no_fix = || format!("{}, line {}, is no fix of homing; {WHAT}", path.display(), n + 1);
        serde_json::from_slice(line).with_context(no_fix)
    };
    let lines = whole.split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    lines.map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_means_its_log() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(file(dir.path()), dir.path().join("fixes.jsonl"));
        fs::write(dir.path().join("fixes.jsonl"), "").unwrap();
        assert_eq!(file(dir.path()), dir.path().join("fixes.jsonl"));
        fs::write(dir.path().join("fixes.jsonl.partial"), "").unwrap();
        assert_eq!(file(dir.path()), dir.path().join("fixes.jsonl.partial"), "of a drive that goes on, or was killed");
        assert_eq!(file(&dir.path().join("fixes.1.jsonl")), dir.path().join("fixes.1.jsonl"));
    }
}
