//! Whatever comes from a GNSS receiver or from gpsd: NMEA 0183 and JSON, whole, cut and between noise.
#![no_main]

use std::time::{Duration, Instant};

use homing_board::{GnssFix, receiver::Transcript};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    understood_alike(Transcript::nmea, bytes);
    understood_alike(Transcript::gpsd, bytes);
});

/// The same bytes at once and in pieces, and then again a second later for each piece, which makes time go on, stand
/// still and jump.
fn understood_alike(transcript: fn() -> Transcript, bytes: &[u8]) {
    let start = Instant::now();
    let piece = 1 + bytes.len() % 97;
    let (mut whole, mut pieces) = (transcript(), transcript());
    let fix = whole.hear(bytes, start);
    let last = bytes.chunks(piece).map(|piece| pieces.hear(piece, start)).last().flatten();
    assert_eq!((fix, whole.counters()), (last, pieces.counters()));
    let mut at = start;
    for piece in bytes.chunks(piece) {
        at += Duration::from_secs(1);
        pieces.hear(piece, at).iter().for_each(is_sound);
    }
    fix.iter().for_each(is_sound);
    assert_eq!(pieces.counters().bytes, 2 * bytes.len() as u64);
}

fn is_sound(fix: &GnssFix) {
    assert!(fix.position.lat().abs() <= 90.0 && fix.position.lon().abs() <= 180.0, "{fix:?}");
    assert!(fix.accuracy_m.is_none_or(|m| m.is_finite() && m > 0.0), "{fix:?}");
}
