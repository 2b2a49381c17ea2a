//! Geocells: the classes of the model. A position belongs to the cell of the nearest labelled site.
//!
//! That rule is exact on the sphere and knows neither antimeridian nor poles; outlines of cells are for maps
//! only and are not part of a bundle.
//!
//! `geocells.bin`, little endian: `HOMGCELL`, version u32, cell count u32, site count u32; a string table
//! (count, end of each, UTF-8 bytes padded to four); per cell latitude f64, longitude f64, place u32,
//! admin1 u32 (string numbers), ISO country code 2 bytes, two zero bytes, sample count u32; per site latitude
//! f32, longitude f32, cell u32.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

pub use crate::bytes::FormatError;
use crate::{
    bytes::{Reader, StringTable, strings, too_large},
    geo::LatLon,
    nearest::Nearest,
};

const MAGIC: &[u8; 8] = b"HOMGCELL";
const VERSION: u32 = 1;

/// The number of a geocell, from 0: its row in [`Geocells::cells`] and its logit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CellId(pub u32);

impl CellId {
    /// As an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One geocell.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Mean of its training sites on the unit sphere.
    pub centroid: LatLon,
    /// ISO 3166-1 alpha-2 code of the country that holds the cell.
    pub country: [u8; 2],
    /// Largest town of the cell.
    pub place: String,
    /// First-level administrative unit of that town.
    pub admin1: String,
    /// Training sites in the cell.
    pub samples: u32,
}

impl Cell {
    /// The country code as text; `??` when it is no text.
    pub fn country_code(&self) -> &str {
        std::str::from_utf8(&self.country).unwrap_or("??")
    }
}

/// A position whose cell is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelledSite {
    /// Where; kept to f32 (about a metre) in the file.
    pub position: LatLon,
    /// Its cell.
    pub cell: CellId,
}

/// All geocells of a model with the sites that define their extent.
pub struct Geocells {
    cells: Vec<Cell>,
    centroids: Vec<[f64; 3]>,
    sites: Vec<LabelledSite>,
    // Built on first use: a vehicle that only locates never asks for the cell of a position.
    index: OnceLock<Option<Nearest>>,
}

impl Geocells {
    /// Cells and their labelled sites.
    ///
    /// # Errors
    /// When there is no cell or a site names a cell that is not there.
    pub fn new(cells: Vec<Cell>, sites: Vec<LabelledSite>) -> Result<Self, FormatError> {
        if cells.is_empty() {
            return Err(FormatError::Damaged("it holds no geocell".to_owned()));
        }
        if let Some(s) = sites.iter().find(|s| s.cell.index() >= cells.len()) {
            return Err(FormatError::Damaged(format!("a site names cell {} of {}", s.cell.0, cells.len())));
        }
        let centroids = cells.iter().map(|c| c.centroid.unit()).collect();
        Ok(Geocells { cells, centroids, sites, index: OnceLock::new() })
    }

    /// All cells; [`CellId`] is the index.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The cell of this number.
    ///
    /// # Panics
    /// When there is no such cell.
    pub fn cell(&self, id: CellId) -> &Cell {
        &self.cells[id.index()]
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Never true: [`Geocells::new`] refuses it.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Unit vectors of the centroids, in the order of the cells.
    pub fn centroid_units(&self) -> &[[f64; 3]] {
        &self.centroids
    }

    /// The labelled sites.
    pub fn sites(&self) -> &[LabelledSite] {
        &self.sites
    }

    /// The cell of a position: that of the nearest labelled site, or without sites that of the nearest centroid.
    pub fn cell_of(&self, position: LatLon) -> CellId {
        let index = self.index.get_or_init(|| match self.sites.is_empty() {
            true => Nearest::of(self.cells.iter().map(|c| c.centroid)),
            false => Nearest::of(self.sites.iter().map(|s| s.position)),
        });
        // There is a cell: `new` refuses none.
        let nearest = index.as_ref().map_or(0, |index| index.to(position));
        self.sites.get(nearest).map_or(CellId(nearest as u32), |site| site.cell)
    }

    /// The bytes of `geocells.bin`.
    pub fn encode(&self) -> Vec<u8> {
        let mut names = StringTable::default();
        let numbers: Vec<(u32, u32)> =
            self.cells.iter().map(|c| (names.number(&c.place), names.number(&c.admin1))).collect();
        let mut out = MAGIC.to_vec();
        for n in [VERSION, self.cells.len() as u32, self.sites.len() as u32] {
            out.extend(n.to_le_bytes());
        }
        out.extend(names.encode());
        for (c, (place, admin1)) in self.cells.iter().zip(numbers) {
            out.extend(c.centroid.lat().to_le_bytes());
            out.extend(c.centroid.lon().to_le_bytes());
            out.extend(place.to_le_bytes());
            out.extend(admin1.to_le_bytes());
            out.extend(c.country);
            out.extend([0; 2]);
            out.extend(c.samples.to_le_bytes());
        }
        for s in &self.sites {
            out.extend((s.position.lat() as f32).to_le_bytes());
            out.extend((s.position.lon() as f32).to_le_bytes());
            out.extend(s.cell.0.to_le_bytes());
        }
        out
    }

    /// Reads the bytes of `geocells.bin`.
    ///
    /// # Errors
    /// When the bytes are of another kind, of a newer format, cut off, or hold a position that is not on Earth.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut r = Reader::new(bytes);
        r.header(MAGIC, "geocell", VERSION)?;
        let (cell_count, site_count) = (r.u32()? as usize, r.u32()? as usize);
        let names = strings(&mut r)?;
        let name = |n: u32| {
            names
                .get(n as usize)
                .map(|s| s.to_string())
                .ok_or_else(|| FormatError::Damaged(format!("it has no name {n}")))
        };
        // Both sections are taken at once, so that a wrong count cannot ask for more memory than the file has.
        let mut records = Reader::new(r.take(cell_count.checked_mul(32).ok_or_else(too_large)?)?);
        let mut cells = Vec::with_capacity(cell_count);
        for i in 0..cell_count {
            let centroid = position(records.f64()?, records.f64()?, "geocell", i)?;
            let (place, admin1) = (name(records.u32()?)?, name(records.u32()?)?);
            let [a, b, _, _] = records.array()?;
            cells.push(Cell { centroid, country: [a, b], place, admin1, samples: records.u32()? });
        }
        let mut records = Reader::new(r.take(site_count.checked_mul(12).ok_or_else(too_large)?)?);
        let mut sites = Vec::with_capacity(site_count);
        for i in 0..site_count {
            let at = position(f64::from(records.f32()?), f64::from(records.f32()?), "site", i)?;
            sites.push(LabelledSite { position: at, cell: CellId(records.u32()?) });
        }
        r.end()?;
        Geocells::new(cells, sites)
    }
}

/// A position read from a file, refused with its row when it is not on Earth (NaN among others).
pub(crate) fn position(lat: f64, lon: f64, what: &str, row: usize) -> Result<LatLon, FormatError> {
    LatLon::new(lat, lon).map_err(|e| FormatError::Damaged(format!("{what} {row}: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(lat: f64, lon: f64, place: &str) -> Cell {
        let centroid = LatLon::new(lat, lon).unwrap();
        Cell { centroid, country: *b"FJ", place: place.into(), admin1: "Nord".into(), samples: 7 }
    }

    fn at(lat: f64, lon: f64, cell: u32) -> LabelledSite {
        LabelledSite { position: LatLon::new(lat, lon).unwrap(), cell: CellId(cell) }
    }

    fn sample() -> Geocells {
        let cells = vec![cell(-16.5, 179.9, "Labasa"), cell(-16.75, -179.5, "Tavëuni"), cell(89.0, 10.0, "")];
        Geocells::new(cells, vec![at(-16.5, 179.5, 0), at(-16.5, -179.5, 1), at(89.5, -170.0, 2)]).unwrap()
    }

    #[test]
    fn written_and_read_back() {
        let g = sample();
        let back = Geocells::decode(&g.encode()).unwrap();
        assert_eq!(back.cells(), g.cells());
        assert_eq!(back.sites(), g.sites());
    }

    #[test]
    fn a_cell_reaches_over_the_antimeridian_and_the_pole() {
        let g = sample();
        assert_eq!(g.cell_of(LatLon::new(-16.5, -179.9).unwrap()), CellId(1), "0.4 degrees east, 0.6 west");
        assert_eq!(g.cell_of(LatLon::new(-16.5, 179.95).unwrap()), CellId(0));
        assert_eq!(g.cell_of(LatLon::new(88.0, 20.0).unwrap()), CellId(2), "over the pole");
    }

    #[test]
    fn thousands_of_equal_sites_are_no_trouble() {
        let mut sites = vec![at(10.0, 10.0, 0); 5000];
        sites.push(at(11.0, 10.0, 1));
        let g = Geocells::new(vec![cell(10.0, 10.0, "a"), cell(11.0, 10.0, "b")], sites).unwrap();
        assert_eq!(g.cell_of(LatLon::new(10.4, 10.0).unwrap()), CellId(0));
        assert_eq!(g.cell_of(LatLon::new(10.6, 10.0).unwrap()), CellId(1));
    }

    #[test]
    fn damage_is_named() {
        let good = sample().encode();
        let fails = |bytes: &[u8]| Geocells::decode(bytes).err().expect("must be refused").to_string();
        assert!(fails(b"GIF89a").contains("no geocell file"));
        assert!(fails(&good[..good.len() - 5]).contains("too early"));
        assert!(fails(&[&good[..], &[0]].concat()).contains("too many"));
        let mut newer = good.clone();
        newer[8] = 2;
        assert!(fails(&newer).contains("update the program"));
        let mut huge = good.clone();
        huge[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(fails(&huge).contains("too early"));
        // The last 12 bytes are the last site; its latitude becomes NaN, then its cell becomes 9.
        let (mut nan, mut cell) = (good.clone(), good.clone());
        nan[good.len() - 12..good.len() - 8].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(fails(&nan).contains("site 2: latitude NaN"), "{}", fails(&nan));
        cell[good.len() - 4] = 9;
        assert!(fails(&cell).contains("cell 9 of 3"));
    }
}
