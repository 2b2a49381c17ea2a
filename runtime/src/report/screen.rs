//! The small screen: place, position, radius, verdict.

use std::fmt::Write;

use chrono::{DateTime, Timelike, Utc};
use embedded_graphics::{
    Drawable,
    mono_font::{
        MonoTextStyle,
        iso_8859_1::{FONT_4X6, FONT_5X8, FONT_6X10},
    },
    pixelcolor::BinaryColor,
    prelude::{Point, Primitive, Size},
    primitives::{PrimitiveStyle, Rectangle},
    text::{Baseline, Text},
};
use homing_board::Screen;

use super::Fix;
use crate::{compare::Verdict, locate::Place};

/// Letters of a line of 6x10 pixels.
const COLUMNS: usize = 21;

/// Draws one fix; the screen is wiped before.
pub fn draw(screen: &mut Screen, fix: &Fix, place: Option<Place<'_>>, simulated_planet: bool) {
    *screen = Screen::new();
    let on = |font| MonoTextStyle::new(font, BinaryColor::On);
    let mut line = heapless::String::<64>::new();
    let mut text = |at: Point, style: MonoTextStyle<'_, BinaryColor>, s: &str| {
        // Drawing on a Screen cannot fail.
        let _ = Text::with_baseline(s, at, style, Baseline::Top).draw(screen);
    };

    match (&fix.tracked, place) {
        (Some(t), Some(place)) => {
            let _ = write!(line, "{}", shortened(place.town, COLUMNS - 3));
            text(Point::new(1, 12), on(&FONT_6X10), &line);
            text(Point::new(115, 12), on(&FONT_6X10), place.country);
            line.clear();
            let (lat, lon) = (t.position.lat(), t.position.lon());
            let (ns, ew) = (if lat < 0.0 { 'S' } else { 'N' }, if lon < 0.0 { 'W' } else { 'E' });
            let _ = write!(line, "{:.3}\u{b0}{ns} {:.3}\u{b0}{ew}", lat.abs(), lon.abs());
            text(Point::new(1, 24), on(&FONT_6X10), &line);
            line.clear();
            let _ = write!(line, "\u{b1}{:.0}/{:.0} km (50/95%)", t.radius.p50_km, t.radius.p95_km);
            text(Point::new(1, 37), on(&FONT_5X8), &line);
        }
        _ => text(Point::new(1, 18), on(&FONT_6X10), "no view: no estimate"),
    }
    line.clear();
    let verdict = fix.comparison.verdict;
    let _ = match (verdict, fix.comparison.distance_km) {
        (Verdict::Agree | Verdict::Disagree, Some(km)) => write!(line, "GPS {} {km:.0} km", verdict.words()),
        _ => write!(line, "{}", verdict.words()),
    };
    text(Point::new(1, 50), on(&FONT_6X10), shortened(&line, COLUMNS));

    // The title bar: name or origin of the model's world, cameras, time.
    let _ = Rectangle::new(Point::zero(), Size::new(Screen::WIDTH, 9))
        .into_styled(PrimitiveStyle::with_fill(BinaryColor::On))
        .draw(screen);
    let inverse = MonoTextStyle::new(&FONT_5X8, BinaryColor::Off);
    let mut text = |at: Point, style: MonoTextStyle<'_, BinaryColor>, s: &str| {
        let _ = Text::with_baseline(s, at, style, Baseline::Top).draw(screen);
    };
    text(Point::new(2, 1), inverse, if simulated_planet { "HOMING simulated" } else { "HOMING" });
    let utc = DateTime::<Utc>::from(fix.time);
    line.clear();
    let _ = write!(line, "{:02}:{:02}", utc.hour(), utc.minute());
    text(Point::new(101, 1), inverse, &line);
    line.clear();
    let _ = write!(line, "{}v", fix.views);
    text(Point::new(87, 2), MonoTextStyle::new(&FONT_4X6, BinaryColor::Off), &line);
}

/// The first letters of a text that would not fit.
fn shortened(text: &str, letters: usize) -> &str {
    text.char_indices().nth(letters).map_or(text, |(end, _)| &text[..end])
}
