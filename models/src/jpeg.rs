//! Whether a JPEG holds every block of its picture.
//!
//! Decoders paint what they can of a damaged file and say nothing, and half a picture looks like a place of its
//! own. A JPEG has no checksum, so only its coded blocks tell: this walks through the Huffman codes of each scan
//! without computing a pixel (ITU-T T.81, annexes B, F and G). A cut file ends too early; a garbled one falls out
//! of step and meets a code that does not exist, or has blocks too few or too many. Only the last bits of a
//! progressive picture's values can be garbled unseen: they are written as they are, without a code.

/// What is wrong with the coded data of a JPEG, if anything. Kinds that are not walked (lossless, arithmetic) are
/// left to the decoder.
pub fn fault(jpeg: &[u8]) -> Option<&'static str> {
    Walk::default().file(jpeg).err()
}

type Outcome<T> = Result<T, &'static str>;

const ENDS_EARLY: &str = "its data ends too early";
const GARBLED: &str = "its data is garbled";
const FINER: &str = "its colours have more samples than its brightness";

#[derive(Default)]
struct Component {
    id: u8,
    across: usize,
    down: usize,
    /// For each block, bit k: coefficient k is not zero, so that a later scan has a bit to refine it with.
    nonzero: Vec<u64>,
    /// Its DC coefficients were coded, which come first.
    scanned: bool,
}

/// What a scan codes: a band of coefficients, for the first time or with one more bit.
#[derive(Clone, Copy)]
struct Band {
    first: usize,
    last: usize,
    refines: bool,
}

#[derive(Default)]
struct Walk {
    /// Codes by destination: DC 0..4, AC 4..8.
    codes: [Option<Codes>; 8],
    components: Vec<Component>,
    width: usize,
    height: usize,
    progressive: bool,
    restart: usize,
}

impl Walk {
    fn file(&mut self, jpeg: &[u8]) -> Outcome<()> {
        let mut at = 2;
        loop {
            // Some cameras leave bytes between segments; decoders pass over them, and so does this.
            at += jpeg.get(at..).and_then(|rest| rest.iter().position(|b| *b == 0xff)).ok_or(ENDS_EARLY)?;
            let marker = *jpeg.get(at + 1).ok_or(ENDS_EARLY)?;
            match marker {
                0xff => {
                    at += 1;
                    continue;
                }
                0x00 | 0x01 | 0xd0..=0xd8 => {
                    at += 2;
                    continue;
                }
                0xd9 if !self.components.is_empty() && self.components.iter().all(|c| c.scanned) => return Ok(()),
                0xd9 => return Err(ENDS_EARLY),
                _ => {}
            }
            let length = jpeg.get(at + 2..at + 4).map_or(0, word);
            let segment = jpeg.get(at + 4..at + 2 + length).ok_or(ENDS_EARLY)?;
            at += 2 + length;
            match marker {
                0xc0..=0xc2 => self.frame(segment, marker == 0xc2)?,
                0xc4 => self.code_tables(segment)?,
                0xc3 | 0xc5..=0xcf => return Ok(()),
                0xda => at += self.scan(segment, &jpeg[at..])?,
                0xdd => self.restart = segment.get(..2).map_or(0, word),
                _ => {}
            }
        }
    }

    fn frame(&mut self, segment: &[u8], progressive: bool) -> Outcome<()> {
        // There is one frame. A second one would have a size that nobody has looked at.
        if !self.components.is_empty() {
            return Err(GARBLED);
        }
        let (head, rest) = segment.split_at_checked(6).ok_or(GARBLED)?;
        (self.height, self.width, self.progressive) = (word(&head[1..3]), word(&head[3..5]), progressive);
        let component = |c: &[u8]| Component {
            id: c[0],
            across: (c[1] >> 4).into(),
            down: (c[1] & 15).into(),
            ..Component::default()
        };
        self.components = rest.chunks_exact(3).map(component).collect();
        let sampling = |c: &Component| (1..=4).contains(&c.across) && (1..=4).contains(&c.down);
        let count = self.components.len();
        let sound = (1..=4).contains(&count) && count == usize::from(head[5]) && self.components.iter().all(sampling);
        if !sound || self.width == 0 || self.height == 0 {
            return Err(GARBLED);
        }
        // The decoder behind this one panics on what no camera makes.
        let first = &self.components[0];
        let finer = |c: &Component| c.across > first.across || c.down > first.down;
        if self.components.iter().any(finer) { Err(FINER) } else { Ok(()) }
    }

    fn code_tables(&mut self, mut segment: &[u8]) -> Outcome<()> {
        while let [class, rest @ ..] = segment {
            let slot = self.codes.get_mut(usize::from((class >> 4 << 2) + (class & 15))).ok_or(GARBLED)?;
            let (counts, rest) = rest.split_at_checked(16).ok_or(GARBLED)?;
            let (symbols, rest) = rest.split_at_checked(counts.iter().map(|n| usize::from(*n)).sum()).ok_or(GARBLED)?;
            *slot = Some(Codes::new(counts, symbols)?);
            segment = rest;
        }
        Ok(())
    }

    /// Walks through one scan and answers with the length of its data.
    fn scan(&mut self, segment: &[u8], data: &[u8]) -> Outcome<usize> {
        let (count, rest) = segment.split_first().ok_or(GARBLED)?;
        let (parts, rest) = rest.split_at_checked(2 * usize::from(*count)).ok_or(GARBLED)?;
        let [first, last, bits, ..] = *rest else { return Err(GARBLED) };
        let band = match self.progressive {
            true => Band { first: first.into(), last: last.into(), refines: bits >> 4 > 0 },
            false => Band { first: 0, last: 63, refines: false },
        };
        let alone = parts.len() == 2;
        let sound = band.first <= band.last && band.last <= 63 && !parts.is_empty();
        // A progressive scan has either the DC coefficients or the others, and these of one component only.
        let separate = !self.progressive || (band.first == 0) == (band.last == 0);
        if !sound || !separate || (band.first > 0 && !alone) {
            return Err(GARBLED);
        }
        let across = self.components.iter().map(|c| c.across).max().unwrap_or(1);
        let down = self.components.iter().map(|c| c.down).max().unwrap_or(1);
        let mut units = self.width.div_ceil(8 * across) * self.height.div_ceil(8 * down);
        let mut members = Vec::new();
        for part in parts.chunks_exact(2) {
            let index = self.components.iter().position(|c| c.id == part[0]).ok_or(GARBLED)?;
            let c = &mut self.components[index];
            // A bit at least for each block has then been read, so that a picture that is large in its header only asks
            // for no memory.
            c.scanned |= band.first == 0 && !band.refines;
            if !c.scanned {
                return Err(GARBLED);
            }
            let mut blocks = c.across * c.down;
            if alone {
                // By itself a component is coded block by block, without those beyond the picture's rim.
                let wide = (self.width * c.across).div_ceil(across).div_ceil(8);
                (units, blocks) = (wide * (self.height * c.down).div_ceil(down).div_ceil(8), 1);
                c.nonzero.resize(if self.progressive { units } else { 0 }, 0);
            }
            members.push((index, blocks, usize::from(part[1] >> 4 & 3), 4 + usize::from(part[1] & 3)));
        }
        let mut bits = Bits { data, at: 0, held: 0, count: 0 };
        let mut zero_blocks = 0;
        for unit in 0..units {
            if self.restart > 0 && unit > 0 && unit % self.restart == 0 {
                bits.restart()?;
                zero_blocks = 0;
            }
            for &(component, blocks, dc, ac) in &members {
                let (dc, ac) = (self.codes[dc].as_ref().ok_or(GARBLED), self.codes[ac].as_ref().ok_or(GARBLED));
                for _ in 0..blocks {
                    match (band.first, band.refines) {
                        (0, true) => bits.skip(1)?,
                        (0, false) => {
                            bits.dc(dc?)?;
                            if band.last > 0 {
                                bits.whole_block(ac?)?;
                            }
                        }
                        (_, refines) => {
                            let nonzero = &mut self.components[component].nonzero[unit];
                            match refines {
                                true => bits.refine(ac?, band, &mut zero_blocks, nonzero)?,
                                false => bits.first_pass(ac?, band, &mut zero_blocks, nonzero)?,
                            }
                        }
                    }
                }
            }
        }
        bits.end()
    }
}

fn word(bytes: &[u8]) -> usize {
    u16::from_be_bytes([bytes[0], bytes[1]]).into()
}

/// A Huffman code: for any 16 bits, the length of the code at their front (0 for none) and its symbol.
struct Codes(Vec<(u8, u8)>);

impl Codes {
    fn new(counts: &[u8], symbols: &[u8]) -> Outcome<Self> {
        let mut of = Vec::with_capacity(1 << 16);
        let mut symbols = symbols.iter();
        for (length, count) in (1u8..).zip(counts) {
            for symbol in symbols.by_ref().take((*count).into()) {
                of.resize(of.len() + (1 << (16 - length)), (length, *symbol));
            }
        }
        if of.len() > 1 << 16 {
            return Err(GARBLED);
        }
        of.resize(1 << 16, (0, 0));
        Ok(Codes(of))
    }
}

/// The bits of a scan, up to the next marker.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    held: u64,
    count: u32,
}

impl Bits<'_> {
    /// Takes in whole bytes as far as they go; a stuffed zero after 0xff is none of them.
    fn fill(&mut self) {
        while self.count <= 48 {
            let byte = match self.data[self.at..] {
                [0xff, 0, ..] => {
                    self.at += 2;
                    0xff
                }
                [0xff, ..] | [] => return,
                [byte, ..] => {
                    self.at += 1;
                    byte
                }
            };
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    fn take(&mut self, bits: u32) -> Outcome<u32> {
        if self.count < bits {
            self.fill();
        }
        self.count = self.count.checked_sub(bits).ok_or(ENDS_EARLY)?;
        Ok((self.held >> self.count) as u32 & ((1 << bits) - 1))
    }

    fn skip(&mut self, bits: u32) -> Outcome<()> {
        self.take(bits).map(drop)
    }

    fn symbol(&mut self, codes: &Codes) -> Outcome<u8> {
        if self.count < 16 {
            self.fill();
        }
        let front = match self.count {
            0..16 => self.held << (16 - self.count),
            _ => self.held >> (self.count - 16),
        };
        let (length, symbol) = codes.0[usize::from(front as u16)];
        if length == 0 {
            return Err(GARBLED);
        }
        self.skip(length.into()).map(|()| symbol)
    }

    fn dc(&mut self, codes: &Codes) -> Outcome<()> {
        match self.symbol(codes)? {
            size @ 0..=16 => self.skip(size.into()),
            _ => Err(GARBLED),
        }
    }

    /// The 63 others of a block.
    fn whole_block(&mut self, codes: &Codes) -> Outcome<()> {
        let (mut zero_blocks, mut nonzero) = (0, 0);
        self.first_pass(codes, Band { first: 1, last: 63, refines: false }, &mut zero_blocks, &mut nonzero)?;
        // Only progressive scans say that further blocks are zero.
        if zero_blocks == 0 { Ok(()) } else { Err(GARBLED) }
    }

    fn first_pass(&mut self, codes: &Codes, band: Band, zero_blocks: &mut u32, nonzero: &mut u64) -> Outcome<()> {
        if *zero_blocks > 0 {
            *zero_blocks -= 1;
            return Ok(());
        }
        let mut k = band.first;
        while k <= band.last {
            let symbol = self.symbol(codes)?;
            let (run, size) = (symbol >> 4, symbol & 15);
            match (run, size) {
                (15, 0) => k += 16,
                (_, 0) => {
                    *zero_blocks = (1 << run) - 1 + self.take(run.into())?;
                    return Ok(());
                }
                _ => {
                    k += usize::from(run);
                    if k > band.last {
                        return Err(GARBLED);
                    }
                    self.skip(size.into())?;
                    *nonzero |= 1 << k;
                    k += 1;
                }
            }
        }
        if k == band.last + 1 { Ok(()) } else { Err(GARBLED) }
    }

    fn refine(&mut self, codes: &Codes, band: Band, zero_blocks: &mut u32, nonzero: &mut u64) -> Outcome<()> {
        let mut k = band.first;
        while *zero_blocks == 0 && k <= band.last {
            let symbol = self.symbol(codes)?;
            let (mut run, size) = (symbol >> 4, symbol & 15);
            match (run, size) {
                (15, 0) => {}
                (_, 0) => {
                    *zero_blocks = (1 << run) + self.take(run.into())?;
                    break;
                }
                (_, 1) => self.skip(1)?,
                _ => return Err(GARBLED),
            }
            // The run counts coefficients that are zero so far; each other one on the way has its bit.
            while k <= band.last {
                match (*nonzero >> k & 1, run) {
                    (1, _) => self.skip(1)?,
                    (_, 0) => break,
                    _ => run -= 1,
                }
                k += 1;
            }
            if size == 1 {
                if k > band.last {
                    return Err(GARBLED);
                }
                *nonzero |= 1 << k;
            }
            k += 1;
        }
        if *zero_blocks > 0 {
            let left = (k..=band.last).filter(|k| *nonzero >> k & 1 == 1).count();
            *zero_blocks -= 1;
            for _ in 0..left {
                self.skip(1)?;
            }
        }
        Ok(())
    }

    /// Passes over a restart marker, which must be due here.
    fn restart(&mut self) -> Outcome<()> {
        let at = self.end()?;
        match self.data[at..] {
            [0xff, 0xd0..=0xd7, ..] => {
                (self.at, self.count) = (at + 2, 0);
                Ok(())
            }
            [] => Err(ENDS_EARLY),
            _ => Err(GARBLED),
        }
    }

    /// Where the marker after the data is; less than a byte may be left over.
    fn end(&mut self) -> Outcome<usize> {
        self.fill();
        if self.count >= 8 {
            return Err(GARBLED);
        }
        // A marker may be preceded by any number of 0xff.
        while matches!(self.data[self.at..], [0xff, 0xff, ..]) {
            self.at += 1;
        }
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage, codecs::jpeg::JpegEncoder};

    use super::*;

    fn sequential() -> Vec<u8> {
        let pixel = |x: u32, y: u32| Rgb([(x * x / 9 + y) as u8, ((y * 5) ^ x) as u8, (x * y / 40) as u8]);
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, 90).encode_image(&RgbImage::from_fn(307, 211, pixel)).unwrap();
        jpeg
    }

    /// 117 x 83 pixels, colours halved both ways, a restart every 4 units, refined twice.
    const PROGRESSIVE: &[u8] = include_bytes!("../tests/support/progressive.jpg");

    #[test]
    fn whole_pictures_have_no_fault() {
        assert_eq!(fault(&sequential()), None);
        assert_eq!(fault(PROGRESSIVE), None);
        let mut followed = sequential();
        followed.extend(b"more behind the picture's end, as phones put there");
        assert_eq!(fault(&followed), None);
    }

    #[test]
    fn colours_finer_than_brightness_are_refused() {
        let mut jpeg = sequential();
        let frame = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
        // Behind the head of the frame three bytes for each component, the second of them its sampling.
        jpeg[frame + 10 + 3 + 1] = 0x24;
        assert_eq!(fault(&jpeg), Some(FINER));
    }

    #[test]
    fn a_cut_is_seen_wherever_it_is() {
        for whole in [&sequential()[..], PROGRESSIVE] {
            let steps = (2..whole.len()).step_by(97).chain([whole.len() - 1, whole.len() - 2]);
            steps.for_each(|n| assert!(fault(&whole[..n]).is_some(), "cut after {n} of {}", whole.len()));
            let marked = [&whole[..whole.len() / 2], &[0xff, 0xd9]].concat();
            assert!(fault(&marked).is_some(), "an end mark does not make it whole");
        }
    }

    #[test]
    fn garbled_data_is_seen_whatever_it_is() {
        let mut state = 5u32;
        let mut noise = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for (whole, unseen_at_most) in [(&sequential()[..], 0.0), (PROGRESSIVE, 0.05)] {
            let length = 3000.min(whole.len() / 8);
            let (mut seen, mut unseen) = (0, Vec::new());
            for start in (whole.len() / 4..whole.len() - length - 2).step_by(whole.len() / 31) {
                for kind in ["noise", "zeros", "ones", "words"] {
                    let mut garbled = whole.to_vec();
                    for b in &mut garbled[start..start + length] {
                        *b = match kind {
                            "noise" => noise(),
                            "zeros" => 0,
                            "ones" => 0xff,
                            _ => b'a' + noise() % 26,
                        };
                    }
                    match fault(&garbled) {
                        Some(_) => seen += 1,
                        None => unseen.push((kind, start)),
                    }
                }
            }
            assert!(unseen.len() as f64 <= unseen_at_most * f64::from(seen), "{unseen:?} of {}", whole.len());
        }
    }

    #[test]
    fn a_size_that_only_a_header_claims_asks_for_no_memory() {
        let head = |kind: u8| [0xff, kind, 0, 17, 8, 0xff, 0xff, 0xff, 0xff, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0];
        // One code of one bit, and a scan of all coefficients but the first of one component.
        let codes = [&[0xff, 0xc4, 0, 20, 0x10, 1], &[0; 16][..]].concat();
        let scan = [0xff, 0xda, 0, 8, 1, 1, 0, 1, 63, 0];
        let claimed = [&[0xff, 0xd8], &head(0xc2)[..], &codes, &scan].concat();
        assert_eq!(fault(&claimed), Some(GARBLED), "they come after the first");
        for whole in [&sequential()[..], PROGRESSIVE] {
            let (scans, end) = whole.split_at(whole.len() - 2);
            let claimed = [scans, &head(0xc2), &codes, &scan, end].concat();
            assert_eq!(fault(&claimed), Some(GARBLED), "a second frame");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut state = 9u64;
        for whole in [&sequential()[..], PROGRESSIVE] {
            for _ in 0..3000 {
                let mut bytes = whole.to_vec();
                for _ in 0..4 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let at = (state >> 33) as usize % bytes.len().min(1200);
                    bytes[at] = (state >> 17) as u8;
                }
                let _ = fault(&bytes);
            }
        }
    }
}
