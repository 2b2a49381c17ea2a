//! A report as a table that can be pasted into another one; with a second report beside it, and the ratio.

use std::fmt::Write;

use super::Report;

/// Letters of a value's column.
const COLUMN: usize = 26;
/// Letters of the names' column.
const NAMES: usize = 24;

/// A row: what it is, and how a report says it.
enum Value {
    /// Words.
    Text(Option<String>),
    /// A number with so many digits.
    Number(Option<f64>, usize),
}

/// One or two reports, a column each; of numbers the first's divided by the second's behind them.
pub fn side_by_side(reports: &[&Report]) -> String {
    let mut out = String::new();
    let columns: Vec<Vec<(String, Value)>> = reports.iter().map(|report| rows(report)).collect();
    let Some(first) = columns.first() else { return out };
    for (i, (name, _)) in first.iter().enumerate() {
        let values: Vec<&Value> = columns.iter().map(|column| &column[i].1).collect();
        if values.iter().all(|v| matches!(v, Value::Text(None) | Value::Number(None, _))) {
            continue;
        }
        let _ = write!(out, "{name:NAMES$}");
        for value in &values {
            let text = match value {
                Value::Text(text) => text.clone().unwrap_or_else(|| "unknown".to_owned()),
                Value::Number(Some(n), digits) => format!("{n:.digits$}"),
                Value::Number(None, _) => "unknown".to_owned(),
            };
            let _ = write!(out, " {text:>COLUMN$}");
        }
        if let [Value::Number(Some(a), _), Value::Number(Some(b), _)] = values[..]
            && *b != 0.0
        {
            let _ = write!(out, " {:8.2}", a / b);
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    let unknown = ["governor", "temperature", "throttled", "energy"].into_iter();
    let unknown: Vec<&str> = unknown.filter(|name| !out.lines().any(|l| l.starts_with(name))).collect();
    if !unknown.is_empty() {
        let _ = writeln!(out, "not told by this system: {}", unknown.join(", "));
    }
    out
}

fn rows(report: &Report) -> Vec<(String, Value)> {
    let m = &report.machine;
    let text = |name: &str, value: Option<String>| (name.to_owned(), Value::Text(value.map(|v| beginning(&v))));
    let number = |name: &str, value: Option<f64>, digits| (name.to_owned(), Value::Number(value, digits));
    let mut rows = vec![
        text("board", m.hardware.clone().or(Some(report.board.clone()))),
        text("processor", m.processor.as_deref().map(end)),
        number("cores", m.cores.map(|n| n as f64), 0),
        number("memory of the board MB", m.ram_mb.map(|n| n as f64), 0),
        text("system", m.os.clone()),
        text("governor", m.governor.clone()),
        text("model", Some(end(&format!("{} {}", report.name, report.model)))),
        text("kernel", Some(report.kernel.clone())),
        number("peak G products/s", report.peak_gproducts_per_s, 1),
        number("threads", Some(report.threads as f64), 0),
        number("panoramas", Some(report.queries as f64), 0),
    ];
    // By name: a report of an older version has not all of them.
    for (name, stage) in [
        ("capture p50 ms", "capture"),
        ("encode p50 ms", "encode"),
        ("of it resizing p50 ms", "cut"),
        ("locate p50 ms", "locate"),
        ("of it heads p50 ms", "heads"),
        ("report p50 ms", "report"),
    ] {
        rows.push(number(name, report.stages.get(stage).map(|t| t.p50_ms), 3));
    }
    let total = report.stages.get("total");
    type Time = (&'static str, fn(&super::StageTimes) -> Option<f64>);
    let times: [Time; 5] = [
        ("total p50 ms", |t| Some(t.p50_ms)),
        ("total p90 ms", |t| Some(t.p90_ms)),
        ("total p99 ms", |t| Some(t.p99_ms)),
        ("total max ms", |t| Some(t.max_ms)),
        ("processor time ms", |t| t.cpu_ms),
    ];
    rows.extend(times.map(|(name, time)| number(name, total.and_then(time), 2)));
    let accuracy = report.accuracy.as_ref().map(|a| &a.figures);
    rows.extend([
        number("fixes a second", Some(report.fixes_per_s), 1),
        number("first fix ms", Some(report.first_ms), 1),
        number("loading ms", Some(report.load_ms), 0),
        number("peak memory MB", report.peak_rss_mb, 0),
        number("temperature before C", report.temperature_c[0], 1),
        number("temperature after C", report.temperature_c[1], 1),
        text("throttled", report.throttled.map(|t| if t { "yes" } else { "no" }.to_owned())),
        number("energy a fix mJ", report.energy_mj_per_fix, 1),
        number("sites", report.accuracy.as_ref().map(|a| a.sites as f64), 0),
        number("country %", accuracy.and_then(|f| f.country), 1),
        number("within 25 km %", accuracy.map(|f| f.within.shares()[1]), 1),
        number("median km", accuracy.map(|f| f.median_km), 1),
    ]);
    rows
}

/// As much as a column has room for.
fn beginning(text: &str) -> String {
    text.chars().take(COLUMN).collect()
}

/// The end: of a processor's name, which begins with its maker, and of a model's, which its hash stands behind.
fn end(text: &str) -> String {
    let letters = text.chars().count();
    text.chars().skip(letters.saturating_sub(COLUMN)).collect()
}
