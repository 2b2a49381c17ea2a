//! An SSD1306 from the side of its wires: it takes messages of the bus and keeps the picture.

/// Pixels in a row.
const WIDTH: usize = 128;
/// Rows of bytes; a byte is eight pixels of a column, the lowest bit on top.
const PAGES: usize = 8;

/// The display's memory and registers, as far as pictures need them (datasheet SSD1306, sections 8.1.5 and 10).
pub struct Display {
    memory: [u8; WIDTH * PAGES],
    columns: (u8, u8),
    pages: (u8, u8),
    at: (u8, u8),
    /// A command whose arguments have not all come.
    command: Vec<u8>,
    horizontal: bool,
    on: bool,
}

impl Default for Display {
    fn default() -> Self {
        // After power-up the memory holds noise.
        let memory = std::array::from_fn(|i| (i * 37 % 251) as u8);
        let (columns, pages) = ((0, WIDTH as u8 - 1), (0, PAGES as u8 - 1));
        Display { memory, columns, pages, at: (0, 0), command: Vec::new(), horizontal: false, on: false }
    }
}

impl Display {
    /// Takes one message of the bus. The first byte says what follows: commands or pixels.
    pub fn message(&mut self, bytes: &[u8]) {
        match bytes {
            [0x00, commands @ ..] => commands.iter().for_each(|b| self.command(*b)),
            [0x40, pixels @ ..] => pixels.iter().for_each(|b| self.pixels(*b)),
            _ => println!("guest: the display does not understand {bytes:02x?}"),
        }
    }

    fn command(&mut self, byte: u8) {
        self.command.push(byte);
        let arguments = match self.command[0] {
            0x26 | 0x27 => 6,
            0x29 | 0x2a => 5,
            0x21 | 0x22 | 0xa3 => 2,
            0x20 | 0x81 | 0x8d | 0xa8 | 0xd3 | 0xd5 | 0xd9 | 0xda | 0xdb => 1,
            _ => 0,
        };
        if self.command.len() <= arguments {
            return;
        }
        match std::mem::take(&mut self.command)[..] {
            [0x20, mode] => self.horizontal = mode & 3 == 0,
            [0x21, first, last] => (self.columns, self.at.0) = ((first & 127, last & 127), first & 127),
            [0x22, first, last] => (self.pages, self.at.1) = ((first & 7, last & 7), first & 7),
            [0xae] => self.on = false,
            [0xaf] => self.on = true,
            _ => (),
        }
    }

    fn pixels(&mut self, byte: u8) {
        let (column, page) = self.at;
        self.memory[usize::from(page) * WIDTH + usize::from(column)] = byte;
        self.at = match (column == self.columns.1, page == self.pages.1) {
            (false, _) => ((column + 1) & 127, page),
            (true, false) if self.horizontal => (self.columns.0, (page + 1) & 7),
            (true, true) if self.horizontal => (self.columns.0, self.pages.0),
            (true, _) => (self.columns.0, page),
        };
    }

    /// The picture row by row from the top, eight pixels a byte, the leftmost in the highest bit; `off` when it is dark.
    pub fn hex(&self) -> String {
        if !self.on {
            return "off".to_owned();
        }
        let lit = |x: usize, y: usize| self.memory[y / 8 * WIDTH + x] >> (y % 8) & 1;
        let byte = |i: usize| (0..8).fold(0, |byte, bit| byte << 1 | lit(i * 8 % WIDTH + bit, i * 8 / WIDTH));
        (0..WIDTH * PAGES).map(|i| format!("{:02x}", byte(i))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rectangle_is_written_where_it_belongs() {
        let mut display = Display::default();
        display.message(&[0x00, 0xa8, 63, 0x20, 0x00]);
        assert_eq!(display.hex(), "off");
        display.message(&[0x00, 0xaf, 0x21, 0, 127, 0x22, 0, 7]);
        display.message(&[&[0x40][..], &[0; 1024]].concat());
        // Two columns of two pages, in two messages; the command is cut between them too.
        display.message(&[0x00, 0x21, 8]);
        display.message(&[0x00, 9, 0x22, 1, 2]);
        display.message(&[0x40, 0x01, 0x80]);
        display.message(&[0x40, 0xff, 0x00]);
        let hex = display.hex();
        let rows: Vec<&str> = (0..64).map(|y| &hex[32 * y..][..32]).collect();
        let lit = |y: usize| u128::from_str_radix(rows[y], 16).unwrap();
        assert_eq!(lit(8), 1 << 119, "column 8, row 8");
        assert_eq!(lit(15), 1 << 118, "column 9, row 15");
        assert!((16..24).all(|y| lit(y) == 1 << 119));
        assert_eq!((0..64).filter(|y| lit(*y) != 0).count(), 10);
    }
}
