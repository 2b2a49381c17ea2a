//! Prototypes: mean embeddings of the OPTICS clusters inside each geocell, for the ProtoNet refinement.
//!
//! `prototypes.bin` is read in place, so that a mapped file costs no memory until its rows are asked for.
//! Little endian: `HOMPROTO`, version u32, dims u32, cells u32, prototypes u32, members u32; `cells + 1` row
//! offsets u32 (the prototypes of cell `c` are the rows `offsets[c]..offsets[c + 1]`, so K cells are K
//! contiguous ranges); per prototype latitude f32, longitude f32, scale f32, spread in km f32, place u32
//! (string number), member count u32, first member row u32; `prototypes x dims` i8; per member latitude f32,
//! longitude f32, scale f32; `members x dims` i8; zero bytes up to a multiple of four; a string table. An
//! embedding is `scale * row`. The member section may be empty although the counts are not.

mod writer;

use std::{io, ops::Range, path::Path};

pub use self::writer::{Cluster, PrototypesWriter};
pub use crate::bytes::FormatError;
use crate::{
    bytes::{Reader, strings, too_large},
    geo::LatLon,
    geocells::{CellId, position},
    mapping::FileBytes,
};

const MAGIC: &[u8; 8] = b"HOMPROTO";
const VERSION: u32 = 1;
const HEADER: usize = 8 + 5 * 4;
const RECORD: usize = 7 * 4;
const MEMBER: usize = 3 * 4;
/// Most numbers of an embedding.
const MOST_DIMS: usize = 4096;

/// One prototype, as the file holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prototype<'a> {
    /// Centroid of the cluster's sites.
    pub position: LatLon,
    /// Name of the town there.
    pub place: &'a str,
    /// Sites in the cluster.
    pub members: u32,
    /// Mean distance of the sites from the centroid, km.
    pub spread_km: f32,
    row: &'a [u8],
    scale: f32,
}

impl Prototype<'_> {
    /// The embedding, dequantised.
    pub fn embedding(&self) -> impl Iterator<Item = f32> {
        let scale = self.scale;
        self.row.iter().map(move |&q| f32::from(q as i8) * scale)
    }
}

/// All prototypes of a model, sorted by cell.
pub struct Prototypes {
    bytes: FileBytes,
    places: Vec<Box<str>>,
    dims: usize,
    cells: usize,
    count: usize,
    members: usize,
}

impl Prototypes {
    /// Maps the file read-only. The outer error is the file system's, the inner one the format's.
    pub fn map(path: &Path) -> io::Result<Result<Self, FormatError>> {
        Ok(Self::over(FileBytes::map(path)?))
    }

    /// The same over bytes in memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, FormatError> {
        Self::over(bytes.into())
    }

    fn over(bytes: FileBytes) -> Result<Self, FormatError> {
        let mut r = Reader::new(&bytes);
        r.header(MAGIC, "prototype", VERSION)?;
        let mut number = || r.u32().map(|n| n as usize);
        let (dims, cells, count, members) = (number()?, number()?, number()?, number()?);
        if dims > MOST_DIMS {
            return Err(FormatError::Damaged(format!(
                "its embeddings have {dims} numbers, at most {MOST_DIMS} are possible"
            )));
        }
        let section = |n: usize, size: usize| n.checked_mul(size).ok_or_else(too_large);
        let offsets = r.take(section(cells + 1, 4)?)?;
        let records = r.take(section(count, RECORD)?)?;
        r.take(section(count, dims)?)?;
        let member_records = r.take(section(members, MEMBER)?)?;
        r.take(section(members, dims)?)?;
        let rows = section(count + members, dims)?;
        r.take(rows.next_multiple_of(4) - rows)?;
        let places = strings(&mut r)?;
        r.end()?;

        let damaged = |what: String| Err(FormatError::Damaged(what));
        let ends: Vec<usize> = offsets.chunks_exact(4).map(|b| word(b, 0) as usize).collect();
        if ends[0] != 0 || ends[cells] != count || ends.windows(2).any(|w| w[0] > w[1]) {
            return damaged("its rows are not sorted by cell".to_owned());
        }
        for (i, b) in records.chunks_exact(RECORD).enumerate() {
            position(f64::from(real(b, 0)), f64::from(real(b, 4)), "prototype", i)?;
            let (scale, spread) = (real(b, 8), real(b, 12));
            if !(scale.is_finite() && scale >= 0.0 && spread.is_finite()) {
                return damaged(format!("prototype {i} holds NaN or an infinite number"));
            }
            let (place, own, first) = (word(b, 16) as usize, word(b, 20) as usize, word(b, 24) as usize);
            if place >= places.len() || (members > 0 && first.checked_add(own).is_none_or(|end| end > members)) {
                return damaged(format!("prototype {i} names a place or members that are not there"));
            }
        }
        for (i, b) in member_records.chunks_exact(MEMBER).enumerate() {
            position(f64::from(real(b, 0)), f64::from(real(b, 4)), "cluster member", i)?;
            if !(real(b, 8).is_finite() && real(b, 8) >= 0.0) {
                return damaged(format!("cluster member {i} holds NaN or an infinite number"));
            }
        }
        Ok(Prototypes { bytes, places, dims, cells, count, members })
    }

    /// Length of an embedding.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Number of cells.
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// Number of prototypes.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the members' own embeddings are kept, which [`Prototypes::nearest_member`] needs.
    pub fn has_members(&self) -> bool {
        self.members > 0
    }

    /// Gives the memory of a mapped file that was read whole back to the system.
    pub fn forget(&self) {
        self.bytes.forget();
    }

    /// The whole file, to be hashed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The prototypes of a cell.
    ///
    /// # Panics
    /// When there is no such cell.
    pub fn range(&self, cell: CellId) -> Range<u32> {
        assert!(cell.index() < self.cells, "cell {} of {}", cell.0, self.cells);
        let at = HEADER + 4 * cell.index();
        word(&self.bytes, at)..word(&self.bytes, at + 4)
    }

    /// The prototype of this number.
    ///
    /// # Panics
    /// When there is no such prototype.
    pub fn get(&self, index: u32) -> Prototype<'_> {
        let i = index as usize;
        assert!(i < self.count, "prototype {i} of {}", self.count);
        let b = self.record(i);
        Prototype {
            position: checked_position(b),
            place: &self.places[word(b, 16) as usize],
            members: word(b, 20),
            spread_km: real(b, 12),
            row: self.row(i),
            scale: real(b, 8),
        }
    }

    /// The prototype of a cell that is nearest to an embedding, the first of several, and its Euclidean distance; `None`
    /// for a cell without any.
    ///
    /// # Panics
    /// When there is no such cell, or the embedding has another length.
    pub fn nearest(&self, cell: CellId, embedding: &[f32]) -> Option<(f32, u32)> {
        self.nearest_to(&Asked::new(embedding, self.dims), cell)
    }

    /// The same of an embedding that several cells are asked about.
    pub(crate) fn nearest_to(&self, asked: &Asked, cell: CellId) -> Option<(f32, u32)> {
        let squared = |i: u32| (asked.squared_distance(self.row(i as usize), real(self.record(i as usize), 8)), i);
        let nearest = self.range(cell).map(squared).reduce(|best, next| if next.0 < best.0 { next } else { best });
        nearest.map(|(squared, i)| (squared.sqrt() as f32, i))
    }

    /// The mean position of a cell's prototypes, each weighted by `exp(-distance / temperature)`; `nearest` is the distance
    /// of the nearest of them. `None` for a cell without any, or where they lie all around the Earth.
    ///
    /// # Panics
    /// When there is no such cell.
    pub(crate) fn blend(&self, asked: &Asked, cell: CellId, nearest: f32, temperature: f32) -> Option<LatLon> {
        let mut sum = [0.0; 3];
        for i in self.range(cell).map(|i| i as usize) {
            let distance = asked.squared_distance(self.row(i), real(self.record(i), 8)).sqrt() as f32;
            let behind = (distance - nearest) / temperature;
            // A millionth of the nearest one's weight moves nothing.
            if behind < 14.0 {
                let (weight, at) = (f64::from((-behind).exp()), checked_position(self.record(i)).unit());
                (0..3).for_each(|axis| sum[axis] += weight * at[axis]);
            }
        }
        LatLon::from_unit(sum)
    }

    /// The position of the cluster's member whose own embedding is nearest; `None` when members are not kept.
    ///
    /// # Panics
    /// When there is no such prototype, or the embedding has another length.
    pub fn nearest_member(&self, index: u32, embedding: &[f32]) -> Option<LatLon> {
        if !self.has_members() {
            return None;
        }
        let b = self.record(index as usize);
        let records = self.rows_at() + self.count * self.dims;
        let rows = records + self.members * MEMBER;
        let asked = Asked::new(embedding, self.dims);
        let squared = |m: usize| {
            let record = &self.bytes[records + m * MEMBER..][..MEMBER];
            let row = &self.bytes[rows + m * self.dims..][..self.dims];
            (asked.squared_distance(row, real(record, 8)), record)
        };
        let members = word(b, 24) as usize..(word(b, 24) + word(b, 20)) as usize;
        let nearest = members.map(squared).reduce(|best, next| if next.0 < best.0 { next } else { best });
        nearest.map(|(_, record)| checked_position(record))
    }

    fn record(&self, i: usize) -> &[u8] {
        &self.bytes[self.records_at() + i * RECORD..][..RECORD]
    }

    fn row(&self, i: usize) -> &[u8] {
        &self.bytes[self.rows_at() + i * self.dims..][..self.dims]
    }

    fn records_at(&self) -> usize {
        HEADER + 4 * (self.cells + 1)
    }

    fn rows_at(&self) -> usize {
        self.records_at() + self.count * RECORD
    }
}

fn word(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

fn real(b: &[u8], at: usize) -> f32 {
    f32::from_bits(word(b, at))
}

/// A position that [`Prototypes::over`] has seen to be on Earth.
fn checked_position(record: &[u8]) -> LatLon {
    LatLon::wrapped(f64::from(real(record, 0)), f64::from(real(record, 4)))
}

/// An embedding that is asked about, in 16 bits: its products with rows of bytes are then sums of whole numbers, exact, and
/// such as all processors have instructions for. Rounding to 16 bits moves a distance far less than the rows' 8 bits do.
pub(crate) struct Asked {
    numbers: heapless::Vec<i16, MOST_DIMS>,
    scale: f64,
    /// The sum of its squares.
    square: f64,
}

impl Asked {
    /// # Panics
    /// When the embedding has another length than `dims`.
    pub fn new(embedding: &[f32], dims: usize) -> Self {
        assert_eq!(embedding.len(), dims, "length of the embedding");
        let largest = embedding.iter().fold(0f32, |largest, e| largest.max(e.abs()));
        // Whole numbers such that no sum of products with bytes leaves 32 bits.
        let whole = (i32::MAX / (128 * dims.max(1) as i32)).min(i32::from(i16::MAX));
        let factor = if largest > 0.0 { whole as f32 / largest } else { 0.0 };
        // The format allows no more dimensions than there is room for.
        let numbers: heapless::Vec<i16, MOST_DIMS> = embedding.iter().map(|e| (e * factor).round() as i16).collect();
        let scale = f64::from(largest) / f64::from(whole);
        let square = numbers.iter().map(|&n| f64::from(n).powi(2)).sum::<f64>() * scale * scale;
        Asked { numbers, scale, square }
    }

    /// `|s q - e|^2 = s^2 q.q - 2 s q.e + e.e`.
    fn squared_distance(&self, row: &[u8], scale: f32) -> f64 {
        let (own, shared) = products(row, &self.numbers);
        let scale = f64::from(scale);
        (scale * scale * f64::from(own) - 2.0 * scale * self.scale * f64::from(shared) + self.square).max(0.0)
    }
}

/// The sums of the squares of a row's bytes, and of their products with numbers.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2"))]
fn products(row: &[u8], numbers: &[i16]) -> (i32, i32) {
    let (mut own, mut shared) = (0i32, 0i32);
    for (q, e) in row.iter().zip(numbers) {
        let q = i32::from(*q as i8);
        own += q * q;
        shared += q * i32::from(*e);
    }
    (own, shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lat: f64, lon: f64) -> LatLon {
        LatLon::new(lat, lon).unwrap()
    }

    fn sample(keep: bool) -> Vec<u8> {
        let e = [[0.5f32, -1.0, 0.25], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]];
        let mut w = PrototypesWriter::new(3);
        for (i, cell) in [2u32, 0, 2, 0].into_iter().enumerate() {
            w.push(&Cluster {
                cell: CellId(cell),
                embedding: &e[i],
                position: at(i as f64, -(i as f64)),
                place: ["Ulm", "Bonn", "Ulm", "Köln"][i],
                spread_km: i as f32,
                members: 2,
                member_rows: if keep {
                    vec![(at(10.0, i as f64), &e[i]), (at(20.0, i as f64), &e[3 - i])]
                } else {
                    vec![]
                },
            });
        }
        w.encode(4)
    }

    #[test]
    fn sorted_by_cell_and_read_back() {
        for keep in [false, true] {
            let p = Prototypes::from_bytes(sample(keep)).unwrap();
            let ranges: Vec<_> = (0..4).map(|c| p.range(CellId(c))).collect();
            assert_eq!(ranges, [0..2, 2..2, 2..4, 4..4]);
            let places: Vec<&str> = (0..4).map(|i| p.get(i).place).collect();
            assert_eq!(places, ["Bonn", "Köln", "Ulm", "Ulm"]);
            let ulm = p.get(2);
            assert_eq!((ulm.position, ulm.members, ulm.spread_km), (at(0.0, 0.0), 2, 0.0));
            for (q, v) in ulm.embedding().zip([0.5, -1.0, 0.25]) {
                assert!((q - v).abs() <= 0.5 / 127.0, "{q} for {v}");
            }
            assert_eq!(p.nearest(CellId(1), &[0.0; 3]), None);
        }
    }

    #[test]
    fn the_nearest_of_a_cell_is_the_one_that_asking_all_finds() {
        // No vector's multiple, and ties.
        let dims = 85;
        let mut state = 7u32;
        let mut number = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let mut rows: Vec<Vec<f32>> = (0..40).map(|_| (0..dims).map(|_| number()).collect()).collect();
        rows[30] = rows[3].clone();
        let mut w = PrototypesWriter::new(dims);
        for row in &rows {
            w.push(&Cluster {
                cell: CellId(0),
                embedding: row,
                position: at(0.0, 0.0),
                place: "",
                spread_km: 0.0,
                members: 2,
                member_rows: vec![],
            });
        }
        let p = Prototypes::from_bytes(w.encode(1)).unwrap();
        for asked in &rows {
            let asked: Vec<f32> = asked.iter().map(|x| x + 0.1 * number()).collect();
            let all = (0..rows.len() as u32).map(|i| {
                let prototype = p.get(i);
                let squares = prototype.embedding().zip(&asked).map(|(q, e)| f64::from(q - e).powi(2));
                (squares.sum::<f64>().sqrt(), i)
            });
            let (distance, index) = all.reduce(|a, b| if b.0 < a.0 { b } else { a }).unwrap();
            let found = p.nearest(CellId(0), &asked).unwrap();
            assert!(found.1 == index && (f64::from(found.0) - distance).abs() < 1e-4, "{found:?} {distance} {index}");
        }
    }

    #[test]
    fn the_longest_embeddings_leave_no_32_bits() {
        let writer = |dims: usize| {
            let mut w = PrototypesWriter::new(dims);
            w.push(&Cluster {
                cell: CellId(0),
                embedding: &vec![1.0; dims],
                position: at(0.0, 0.0),
                place: "",
                spread_km: 0.0,
                members: 2,
                member_rows: vec![],
            });
            Prototypes::from_bytes(w.encode(1))
        };
        let longest = writer(MOST_DIMS).unwrap();
        for (asked, expected) in [(-1.0, 128.0), (1.0, 0.0), (0.0, 64.0)] {
            let (distance, _) = longest.nearest(CellId(0), &vec![asked; MOST_DIMS]).unwrap();
            assert!((distance - expected).abs() < 0.01, "{distance}, not {expected}");
        }
        assert!(writer(MOST_DIMS + 1).err().unwrap().to_string().contains("4097 numbers, at most 4096"));
    }

    #[test]
    fn the_nearest_member_not_the_farthest() {
        let p = Prototypes::from_bytes(sample(true)).unwrap();
        // Prototype 2 is the first cluster: members at (10, 0) with (.5, -1, .25) and at (20, 0) with (1, 1, 1).
        assert_eq!(p.nearest_member(2, &[0.6, -0.9, 0.2]), Some(at(10.0, 0.0)));
        assert_eq!(p.nearest_member(2, &[0.6, 0.9, 0.7]), Some(at(20.0, 0.0)));
        assert_eq!(Prototypes::from_bytes(sample(false)).unwrap().nearest_member(2, &[0.0; 3]), None);
    }

    #[test]
    fn damage_is_named() {
        let good = sample(true);
        let fails = |bytes: Vec<u8>| Prototypes::from_bytes(bytes).err().expect("must be refused").to_string();
        assert!(fails(vec![]).contains("no prototype file"));
        assert!(fails(good[..60].to_vec()).contains("too early"));
        let with = |at: usize, bytes: [u8; 4]| {
            let mut b = good.clone();
            b[at..at + 4].copy_from_slice(&bytes);
            fails(b)
        };
        assert!(with(8, 7u32.to_le_bytes()).contains("its format is 7"));
        assert!(with(HEADER + 4, 3u32.to_le_bytes()).contains("not sorted"));
        let record = HEADER + 5 * 4;
        assert!(with(record, f32::NAN.to_le_bytes()).contains("prototype 0: latitude NaN"));
        assert!(with(record + RECORD + 8, f32::INFINITY.to_le_bytes()).contains("prototype 1 holds"));
        assert!(with(record + 24, 99u32.to_le_bytes()).contains("not there"));
    }

    #[test]
    fn mapped_like_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prototypes.bin");
        std::fs::write(&path, sample(true)).unwrap();
        let p = Prototypes::map(&path).unwrap().unwrap();
        assert_eq!(p.get(3), Prototypes::from_bytes(sample(true)).unwrap().get(3));
        std::fs::write(dir.path().join("empty"), []).unwrap();
        assert!(Prototypes::map(&dir.path().join("empty")).unwrap().is_err());
    }
}
