//! Little-endian reading and writing of the two binary files, with a check before every step.

/// Something in a binary file is not as its format says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The file begins with something else.
    #[error("this is no {expected} file")]
    WrongKind {
        /// What the file should have been, in words.
        expected: &'static str,
    },
    /// A newer program wrote it.
    #[error("its format is {found}, this program knows {known}: update the program")]
    Newer {
        /// Version in the file.
        found: u32,
        /// Newest version known here.
        known: u32,
    },
    /// The content contradicts itself.
    #[error("{0}")]
    Damaged(String),
}

/// A cursor over bytes that never reads past the end.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub fn take(&mut self, n: usize) -> Result<&'a [u8], FormatError> {
        let (head, rest) = self
            .rest
            .split_at_checked(n)
            .ok_or_else(|| FormatError::Damaged(format!("it ends {} bytes too early", n - self.rest.len())))?;
        self.rest = rest;
        Ok(head)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn f32(&mut self) -> Result<f32, FormatError> {
        Ok(f32::from_le_bytes(self.array()?))
    }

    pub fn f64(&mut self) -> Result<f64, FormatError> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// Checks the eight letters at the start and the version behind them.
    pub fn header(&mut self, magic: &[u8; 8], expected: &'static str, known: u32) -> Result<(), FormatError> {
        match self.array::<8>() {
            Ok(found) if &found == magic => {}
            _ => return Err(FormatError::WrongKind { expected }),
        }
        match self.u32()? {
            found if found == known => Ok(()),
            found if found > known => Err(FormatError::Newer { found, known }),
            found => Err(FormatError::Damaged(format!("its format number {found} was never in use"))),
        }
    }

    pub fn end(&self) -> Result<(), FormatError> {
        match self.rest.len() {
            0 => Ok(()),
            n => Err(FormatError::Damaged(format!("{n} bytes too many at its end"))),
        }
    }
}

/// Strings kept once each; a string is named by its number.
#[derive(Default)]
pub(crate) struct StringTable {
    numbers: std::collections::HashMap<String, u32>,
    order: Vec<String>,
}

impl StringTable {
    pub fn number(&mut self, s: &str) -> u32 {
        if let Some(&n) = self.numbers.get(s) {
            return n;
        }
        let n = self.order.len() as u32;
        self.numbers.insert(s.to_owned(), n);
        self.order.push(s.to_owned());
        n
    }

    /// Count, then the end of each string, then their bytes; padded to four bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = (self.order.len() as u32).to_le_bytes().to_vec();
        let mut end = 0u32;
        for s in &self.order {
            end += s.len() as u32;
            out.extend(end.to_le_bytes());
        }
        self.order.iter().for_each(|s| out.extend(s.as_bytes()));
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }
}

/// Reads back a [`StringTable`].
pub(crate) fn strings(r: &mut Reader<'_>) -> Result<Vec<Box<str>>, FormatError> {
    let count = r.u32()? as usize;
    let ends = Reader::new(r.take(count.checked_mul(4).ok_or_else(too_large)?)?);
    let ends: Vec<usize> =
        ends.rest.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize).collect();
    let total = ends.last().copied().unwrap_or(0);
    let text = r.take(total)?;
    r.take(total.next_multiple_of(4) - total)?;
    let mut start = 0;
    ends.into_iter()
        .map(|end| {
            let s = text.get(start..end).and_then(|b| std::str::from_utf8(b).ok());
            start = end;
            s.map(Box::from).ok_or_else(|| FormatError::Damaged("a name in it is no text".to_owned()))
        })
        .collect()
}

pub(crate) fn too_large() -> FormatError {
    FormatError::Damaged("a count in it is impossibly large".to_owned())
}
