//! Reads what the program's small display says, letter by letter, from its pixels.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, bail, ensure};
use embedded_graphics::{
    Drawable,
    mono_font::{
        MonoFont, MonoTextStyle,
        iso_8859_1::{FONT_4X6, FONT_5X8, FONT_6X10},
    },
    pixelcolor::BinaryColor,
    prelude::{DrawTarget, Point, Primitive, Size},
    primitives::{PrimitiveStyle, Rectangle},
    text::{Baseline, Text},
};
use homing_board::Screen;

/// A text of the screen: its name, left upper corner, letters at most, font, and whether it is dark on light.
struct Place(&'static str, Point, u32, &'static MonoFont<'static>, bool);

/// What stands where.
const LAYOUT: [Place; 8] = [
    Place("title", Point::new(2, 1), 17, &FONT_5X8, true),
    Place("views", Point::new(87, 2), 3, &FONT_4X6, true),
    Place("clock", Point::new(101, 1), 5, &FONT_5X8, true),
    Place("place", Point::new(1, 12), 19, &FONT_6X10, false),
    Place("country", Point::new(115, 12), 2, &FONT_6X10, false),
    Place("position", Point::new(1, 24), 21, &FONT_6X10, false),
    Place("radius", Point::new(1, 37), 25, &FONT_5X8, false),
    Place("verdict", Point::new(1, 50), 21, &FONT_6X10, false),
];
/// Height of the bar on top.
const BAR: u32 = 9;

/// What the display says, by name.
///
/// # Errors
/// When it is off, or shows anything but such text: text that was read is drawn again, and every pixel must be the same.
pub fn read(hex: &str) -> anyhow::Result<BTreeMap<&'static str, String>> {
    let seen = pixels(hex)?;
    let mut again = Screen::new();
    let bar = Rectangle::new(Point::zero(), Size::new(Screen::WIDTH, BAR));
    bar.into_styled(PrimitiveStyle::with_fill(BinaryColor::On)).draw(&mut again)?;
    let mut says = BTreeMap::new();
    for Place(name, at, letters, font, inverse) in LAYOUT {
        let known = letters_of(font);
        let letter = |n: u32| {
            let step = (font.character_size.width * n) as i32;
            let cell = cell(&seen, at + Point::new(step, 0), font, inverse);
            known.get(&cell).copied().unwrap_or('\u{fffd}')
        };
        let text = (0..letters).map(letter).collect::<String>().trim_end().to_owned();
        let colour = if inverse { BinaryColor::Off } else { BinaryColor::On };
        Text::with_baseline(&text, at, MonoTextStyle::new(font, colour), Baseline::Top).draw(&mut again)?;
        says.insert(name, text);
    }
    let differing = (0..Screen::HEIGHT).flat_map(|y| (0..Screen::WIDTH).map(move |x| (x, y)));
    let differing: Vec<_> = differing.filter(|(x, y)| seen.lit(*x, *y) != again.lit(*x, *y)).collect();
    ensure!(differing.is_empty(), "{} pixels are no text, as at {:?}; read: {says:?}", differing.len(), differing[0]);
    Ok(says)
}

fn pixels(hex: &str) -> anyhow::Result<Screen> {
    let bytes = (Screen::WIDTH * Screen::HEIGHT / 8) as usize;
    if hex == "off" {
        bail!("the display is off");
    }
    ensure!(hex.len() == 2 * bytes && hex.is_ascii(), "{} digits are no picture", hex.len());
    let mut screen = Screen::new();
    for i in 0..bytes {
        let byte = u8::from_str_radix(&hex[2 * i..][..2], 16).context("the picture")?;
        let at = |bit: usize| Point::new((8 * i % 128 + bit) as i32, (8 * i / 128) as i32);
        let lit = (0..8).filter(|bit| byte << bit & 0x80 != 0);
        let on = lit.map(|bit| embedded_graphics::Pixel(at(bit), BinaryColor::On));
        screen.draw_iter(on)?;
    }
    Ok(screen)
}

/// The pixels of one letter, row by row.
fn cell(screen: &Screen, at: Point, font: &MonoFont<'_>, inverse: bool) -> Vec<bool> {
    let Size { width, height } = font.character_size;
    let (left, top) = (at.x as u32, at.y as u32);
    let lit = |i: u32| screen.lit(left + i % width, top + i / width) != inverse;
    (0..width * height).map(lit).collect()
}

fn letters_of(font: &MonoFont<'static>) -> HashMap<Vec<bool>, char> {
    // The first of letters that look alike, which is the usual one.
    let letters = (' '..='~').chain('\u{a1}'..='\u{ff}').rev();
    let draw = |letter: char| {
        let mut screen = Screen::new();
        let style = MonoTextStyle::new(font, BinaryColor::On);
        // Drawing on a Screen cannot fail.
        let _ =
            Text::with_baseline(letter.encode_utf8(&mut [0; 4]), Point::zero(), style, Baseline::Top).draw(&mut screen);
        (cell(&screen, Point::zero(), font, false), letter)
    };
    letters.map(draw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(screen: &Screen) -> String {
        let byte = |i: u32| (0..8).fold(0u8, |b, bit| b << 1 | u8::from(screen.lit(8 * i % 128 + bit, 8 * i / 128)));
        (0..1024).map(|i| format!("{:02x}", byte(i))).collect()
    }

    #[test]
    fn what_is_written_is_read_and_a_stray_pixel_noticed() {
        let mut screen = Screen::new();
        let bar = Rectangle::new(Point::zero(), Size::new(128, BAR));
        bar.into_styled(PrimitiveStyle::with_fill(BinaryColor::On)).draw(&mut screen).unwrap();
        let texts = ["HOMING simulated", "4v", "10:24", "Saint-\u{c9}tienne", "FR", "45.440\u{b0}N 4.387\u{b0}E"];
        for (text, Place(_, at, _, font, inverse)) in texts.into_iter().zip(LAYOUT) {
            let colour = if inverse { BinaryColor::Off } else { BinaryColor::On };
            let style = MonoTextStyle::new(font, colour);
            Text::with_baseline(text, at, style, Baseline::Top).draw(&mut screen).unwrap();
        }
        let says = read(&hex(&screen)).unwrap();
        for (text, Place(name, ..)) in texts.into_iter().zip(LAYOUT) {
            assert_eq!(says[name], text);
        }
        assert_eq!(says["verdict"], "");
        screen.draw_iter([embedded_graphics::Pixel(Point::new(60, 62), BinaryColor::On)]).unwrap();
        assert!(read(&hex(&screen)).unwrap_err().to_string().contains("1 pixels are no text, as at (60, 62)"));
        assert!(read("off").unwrap_err().to_string().contains("off"));
    }
}
