//! The embedded data file: places, outlines and elevation in at most 3 MB.
//!
//! `data/make.py` writes it from GeoNames, Natural Earth and ETOPO1. The layout, little endian: the magic
//! `HPLANET1`, then sections of a four-letter tag, the raw and the packed length (u32 each) and a zlib stream.
//! Numbers in sections are LEB128 varints, signed ones zigzag; coordinates are whole 1e-4 degrees.
//!
//! | tag | content |
//! |---|---|
//! | `CTRY` | a line a country: ISO code, name, inhabitants, separated by tabs |
//! | `ARCS` | outlines: per arc the number of points, then lon and lat differences |
//! | `RING` | per ring the country, the number of arcs, then the arcs (negative: `!arc`, walked backwards) |
//! | `ELEV` | 1081 x 2160 nodes, 90 N and 180 W first: residuals of the median edge detector, all low bytes before all high bytes |
//! | `UNIT` | places are sorted by country and unit; per second unit: 1 and the country (a new first unit) or 0, then its number of places |
//! | `ADM1` `ADM2` | names of the first and second units, in that order, a line each |
//! | `LATS` `LONS` | differences along the places |
//! | `POPS` | 16 bits a place, low bytes first: two significant digits (0..90 as is, then 90 numbers a decade) |
//! | `NAME` | names of the places, a line each |

use std::io::Read;

/// The data file as it was committed.
pub(crate) static EMBEDDED: &[u8] = include_bytes!("../data/planet.bin");

const MAGIC: &[u8] = b"HPLANET1";

/// The data file is not one this reader understands.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file does not begin with the magic of this version.
    #[error("the planet's data does not begin with HPLANET1: make it anew with board/planet/data/make.py")]
    Magic,
    /// A section is absent.
    #[error("the planet's data has no section {0}: make it anew with board/planet/data/make.py")]
    Missing(&'static str),
    /// A section is cut short or does not unpack to the stated length.
    #[error("section {0} of the planet's data is damaged: make it anew with board/planet/data/make.py")]
    Damaged(&'static str),
}

/// Reads the sections of a data file by tag.
pub(crate) struct Sections<'f>(&'f [u8]);

impl<'f> Sections<'f> {
    /// Checks the magic.
    pub(crate) fn open(file: &'f [u8]) -> Result<Self, DataError> {
        file.strip_prefix(MAGIC).map(Sections).ok_or(DataError::Magic)
    }

    /// Unpacks one section.
    pub(crate) fn unpack(&self, tag: &'static str) -> Result<Vec<u8>, DataError> {
        let mut rest = self.0;
        while let Some((head, tail)) = rest.split_at_checked(12) {
            let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
            let (packed, next) = tail.split_at_checked(word(8)).ok_or(DataError::Damaged(tag))?;
            if &head[..4] == tag.as_bytes() {
                let mut raw = Vec::with_capacity(word(4));
                flate2::read::ZlibDecoder::new(packed)
                    .take(word(4) as u64 + 1)
                    .read_to_end(&mut raw)
                    .map_err(|_| DataError::Damaged(tag))?;
                return if raw.len() == word(4) { Ok(raw) } else { Err(DataError::Damaged(tag)) };
            }
            rest = next;
        }
        Err(DataError::Missing(tag))
    }

    /// Unpacks a section of UTF-8 text.
    pub(crate) fn text(&self, tag: &'static str) -> Result<String, DataError> {
        String::from_utf8(self.unpack(tag)?).map_err(|_| DataError::Damaged(tag))
    }
}

/// Takes numbers off a section, one after the other.
pub(crate) struct Numbers<'s> {
    tag: &'static str,
    bytes: std::slice::Iter<'s, u8>,
}

impl<'s> Numbers<'s> {
    /// Begins at the front of the section named `tag`.
    pub(crate) fn of(tag: &'static str, raw: &'s [u8]) -> Self {
        Numbers { tag, bytes: raw.iter() }
    }

    /// Whether the section is used up.
    pub(crate) fn at_end(&self) -> bool {
        self.bytes.len() == 0
    }

    /// The next varint.
    pub(crate) fn unsigned(&mut self) -> Result<u32, DataError> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = *self.bytes.next().ok_or(DataError::Damaged(self.tag))?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return u32::try_from(value).map_err(|_| DataError::Damaged(self.tag));
            }
        }
        Err(DataError::Damaged(self.tag))
    }

    /// The next zigzag varint.
    pub(crate) fn signed(&mut self) -> Result<i32, DataError> {
        self.unsigned().map(unzigzag)
    }
}

/// 0, -1, 1, -2, ... from 0, 1, 2, 3, ...
pub(crate) fn unzigzag(v: u32) -> i32 {
    (v >> 1) as i32 ^ -((v & 1) as i32)
}

/// 16-bit values from a plane of low bytes and a plane of high bytes.
pub(crate) fn words(raw: &[u8]) -> impl Iterator<Item = u16> + '_ {
    let (low, high) = raw.split_at(raw.len() / 2);
    low.iter().zip(high).map(|(&l, &h)| u16::from_le_bytes([l, h]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_small_enough_to_embed() {
        assert!(EMBEDDED.len() <= 3_000_000, "{} bytes", EMBEDDED.len());
    }

    #[test]
    fn a_damaged_file_is_an_error_and_no_panic() {
        assert!(matches!(Sections::open(b"HPLANET0"), Err(DataError::Magic)));
        let cut = Sections::open(&EMBEDDED[..EMBEDDED.len() - 1000]).unwrap();
        assert!(matches!(cut.unpack("NAME"), Err(DataError::Damaged("NAME"))));
        let mut flipped = EMBEDDED.to_vec();
        flipped[40] ^= 0x55;
        assert!(matches!(Sections::open(&flipped).unwrap().unpack("CTRY"), Err(DataError::Damaged("CTRY"))));
        assert!(matches!(Sections::open(EMBEDDED).unwrap().unpack("none"), Err(DataError::Missing("none"))));
        assert!(Numbers::of("ARCS", &[255; 9]).unsigned().is_err());
    }

    #[test]
    fn zigzag_alternates() {
        assert_eq!([0, 1, 2, 3, 4].map(unzigzag), [0, -1, 1, -2, 2]);
    }
}
