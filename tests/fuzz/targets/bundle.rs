//! The files of a bundle that this project reads itself: manifest, geocells, prototypes. What is read without a fault
//! is used as the vehicle uses it. Hashes are left out: they refuse a damaged file before it is read.
#![no_main]

use homing_models::{
    CellId, Geocells, LatLon, Manifest, Prototypes, PrototypesWriter, geocells::Cell, refine, spread_km,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.starts_with(b"HOMGCELL") {
        geocells(bytes);
    } else if bytes.starts_with(b"HOMPROTO") {
        prototypes(bytes);
    } else if let Ok(text) = std::str::from_utf8(bytes) {
        manifest(text);
    }
});

fn geocells(bytes: &[u8]) {
    let Ok(geocells) = one_line(Geocells::decode(bytes)) else { return };
    let cell = geocells.cell(geocells.cell_of(place()));
    assert!(!cell.country_code().is_empty());
    let probabilities = vec![1.0 / geocells.len() as f32; geocells.len()];
    assert!(spread_km(&geocells, &probabilities, place()).is_finite());
    // What can be read can be written, and is then the same.
    let again = Geocells::decode(&geocells.encode()).expect("its own encoding");
    assert_eq!((again.cells(), again.sites()), (geocells.cells(), geocells.sites()));
}

fn prototypes(bytes: &[u8]) {
    let Ok(prototypes) = one_line(Prototypes::from_bytes(bytes.to_vec())) else { return };
    // A file of a few bytes can count billions of rows of no numbers; a manifest never asks for embeddings of none.
    if prototypes.dims() == 0 {
        return;
    }
    let embedding = vec![0.5; prototypes.dims()];
    for cell in 0..prototypes.cells().min(64) {
        let cell = CellId(cell as u32);
        let nearest = prototypes.nearest(cell, &embedding);
        assert_eq!(nearest.is_none(), prototypes.range(cell).is_empty());
        assert!(nearest.is_none_or(|(distance, _)| !distance.is_nan()));
        for index in prototypes.range(cell) {
            assert_eq!(prototypes.get(index).embedding().count(), prototypes.dims());
            prototypes.nearest_member(index, &embedding);
        }
    }
}

/// A manifest's constants, with two cells that have nothing else.
fn manifest(text: &str) {
    let Ok(manifest) = one_line(Manifest::parse(text)) else { return };
    let at = |lon| LatLon::new(1.0, lon).expect("on Earth");
    let cell = |lon| Cell { centroid: at(lon), country: *b"GA", place: "".into(), admin1: "".into(), samples: 1 };
    let geocells = Geocells::new(vec![cell(9.0), cell(10.0)], vec![]).expect("two cells");
    let prototypes = Prototypes::from_bytes(PrototypesWriter::new(1).encode(2)).expect("no prototypes");
    let candidates = refine(&geocells, &prototypes, &[0.75, 0.25], &[0.5], &manifest.refine);
    assert_eq!(candidates.len(), manifest.refine.k.min(2));
    assert!(candidates.iter().all(|c| c.weight.is_finite()), "{candidates:?}");
    for spread_km in [0.0, 30.0, 20_000.0] {
        let radius = manifest.radius.lookup(spread_km);
        assert!(radius.p50_km >= 0.0 && radius.p50_km <= radius.p95_km, "{radius:?} for {spread_km}");
    }
    // Values go through, except for a NaN among the free keys, which is not equal to itself.
    let again = manifest.text().expect("what was read can be written");
    Manifest::parse(&again).expect("its own text");
}

fn place() -> LatLon {
    LatLon::new(-16.75, 179.9).expect("on Earth")
}

/// A fault is said in one line.
fn one_line<T, E: std::fmt::Display>(read: Result<T, E>) -> Result<T, E> {
    read.inspect_err(|fault| assert!(!fault.to_string().contains('\n'), "{fault}"))
}
