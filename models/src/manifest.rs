//! `manifest.toml`: what a bundle holds, how its input must look, and what was measured of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{figures::Evaluation, radius::RadiusTable, refine::RefineParams, tasks::TaskList};

/// Bytes that are hashed at once: a tenth of a second on a small board.
const PIECE: usize = 8 << 20;

/// The newest bundle format that this program reads.
pub const FORMAT: u32 = 1;

/// How a view is turned into numbers: a centre square of the picture, resized, `(value / 255 - mean) / std`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageInput {
    /// Side of the square input in pixels.
    pub size: u32,
    /// Mean of red, green and blue, in 0..1.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue, above 0.
    pub std: [f32; 3],
}

/// The manifest of a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the bundle format, [`FORMAT`].
    pub format: u32,
    /// Name of the model.
    pub name: String,
    /// Program and version that made it.
    pub created_by: String,
    /// Licence of the weights.
    pub licence: String,
    /// Whether the model knows the simulated planet only and says nothing about real pictures.
    pub simulated_planet: bool,
    /// Length of an embedding.
    pub embedding: usize,
    /// Number of geocells.
    pub cells: usize,
    /// Temperature of the haversine label smoothing in training, km.
    pub tau_km: f64,
    /// The encoder's input.
    pub image: ImageInput,
    /// Constants of the refinement.
    pub refine: RefineParams,
    /// Calibrated radii.
    pub radius: RadiusTable,
    /// Auxiliary tasks.
    #[serde(default)]
    pub tasks: TaskList,
    /// Where the model comes from: recipe, data, seed, steps, as free key and value.
    #[serde(default)]
    pub training: BTreeMap<String, toml::Value>,
    /// Measured figures by hold-out.
    #[serde(default)]
    pub figures: BTreeMap<String, Evaluation>,
    /// SHA-256 of each file, in hexadecimal.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads the text of a manifest.
    ///
    /// # Errors
    /// One line saying what is wrong with it: a newer format, an unknown key (with its line), a value out of range.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct FormatOnly {
            format: u32,
        }
        // The format comes first: a newer manifest has keys that this program cannot know.
        let FormatOnly { format } = toml::from_str(text).map_err(|e| one_line(&e, text))?;
        if format > FORMAT {
            return Err(format!("its format is {format}, this program knows {FORMAT}: update the program"));
        }
        let m: Manifest = toml::from_str(text).map_err(|e| one_line(&e, text))?;
        m.fault().map_or(Ok(m), Err)
    }

    /// The text of the manifest.
    ///
    /// # Errors
    /// One line, when a value cannot be written as TOML.
    pub fn text(&self) -> Result<String, String> {
        toml::to_string(self).map_err(|e| e.to_string())
    }

    /// What is wrong with the values, if anything.
    pub fn fault(&self) -> Option<String> {
        if self.format != FORMAT {
            return Some(format!("its format number {} was never in use", self.format));
        }
        if !(16..=1024).contains(&self.image.size) {
            return Some(format!("image.size is {}, need 16..=1024", self.image.size));
        }
        let sound = |v: &f32| v.is_finite();
        if !self.image.mean.iter().all(sound) || !self.image.std.iter().all(|v| sound(v) && *v > 0.0) {
            return Some("image.mean must be finite and image.std above 0".to_owned());
        }
        if self.embedding == 0 || self.cells == 0 {
            return Some("embedding and cells must be above 0".to_owned());
        }
        self.refine.fault().or_else(|| self.radius.fault()).or_else(|| self.tasks.fault())
    }
}

/// The short name of a model: the first 12 hexadecimal digits of its manifest's hash.
pub fn model_id(manifest_text: &str) -> String {
    let mut id = sha256_hex(manifest_text.as_bytes());
    id.truncate(12);
    id
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    sha256_hex_telling(bytes, &mut |_| ())
}

/// The same; `told` hears of each piece that is done, in bytes.
pub fn sha256_hex_telling(bytes: &[u8], told: &mut dyn FnMut(usize)) -> String {
    let mut hash = Sha256::new();
    for piece in bytes.chunks(PIECE) {
        hash.update(piece);
        told(piece.len());
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

fn one_line(e: &toml::de::Error, text: &str) -> String {
    let message = e.message().replace('\n', " ");
    match e.span() {
        Some(span) => {
            let line = text.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1;
            format!("line {line}: {message}")
        }
        None => message,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        radius::Knot,
        tasks::{Classification, Regression},
    };

    pub(crate) fn sample() -> Manifest {
        Manifest {
            format: FORMAT,
            name: "tiny".into(),
            created_by: "test".into(),
            licence: "MIT OR Apache-2.0".into(),
            simulated_planet: true,
            embedding: 3,
            cells: 2,
            tau_km: 75.0,
            image: ImageInput { size: 32, mean: [0.5; 3], std: [0.25; 3] },
            refine: RefineParams::STREET_VIEW,
            radius: RadiusTable { knots: vec![Knot { spread_km: 10.0, p50_km: 8.0, p95_km: 60.0 }] },
            tasks: TaskList {
                regressions: vec![Regression::fit("elevation_m", "m", true, 450.0, [0.0, 900.0].into_iter())],
                classifications: vec![Classification { name: "month".into(), classes: vec!["a".into(), "b".into()] }],
            },
            training: BTreeMap::from([("seed".to_owned(), toml::Value::Integer(7))]),
            figures: BTreeMap::from([("random".to_owned(), Evaluation::default())]),
            files: BTreeMap::new(),
        }
    }

    #[test]
    fn written_and_read_back() {
        let m = sample();
        let text = m.text().unwrap();
        assert_eq!(Manifest::parse(&text).unwrap(), m, "{text}");
        assert_eq!(model_id(&text).len(), 12);
        assert_ne!(model_id(&text), model_id(&text.replace("tiny", "tinx")));
    }

    #[test]
    fn faults_are_named_with_their_line() {
        let text = sample().text().unwrap();
        let fails = |t: String| Manifest::parse(&t).expect_err("must be refused");
        let newer = text.replace("format = 1", "format = 2\nnew_thing = 1");
        assert_eq!(fails(newer), "its format is 2, this program knows 1: update the program");
        let unknown = fails(text.replace("tau_km", "taus_km"));
        assert!(unknown.starts_with("line 8: unknown field `taus_km`"), "{unknown}");
        assert!(fails(text.replace("size = 32", "size = 5")).contains("16..=1024"));
        assert!(fails(text.replace("temperature = 1.6", "temperature = nan")).contains("refine.temperature"));
        let cold = text.replace("guess = \"centroid\"", "guess = { blend = 0.0 }");
        assert!(fails(cold).contains("refine.guess.blend is 0, need a number above 0"));
        assert!(fails(text.replace("p95_km = 60.0", "p95_km = 6.0")).contains("radius: knot 0"));
        assert!(!fails("format =".into()).contains('\n'));
    }

    #[test]
    fn the_hash_is_sha_256() {
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
