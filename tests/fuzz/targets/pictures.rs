//! Pictures: files to locate, and frames as cameras send them.
#![no_main]

use std::path::Path;

use homing_board::cameras::{
    CameraFormat,
    pixels::{Decoder, Layout},
};
use homing_models::{Frame, frame::SquareCutter, jpeg, pictures};

/// Side of the square that a model sees.
const SQUARE_PX: u32 = 32;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    jpeg::fault(bytes);
    match pictures::decode(bytes, Path::new("picture")) {
        Ok(frame) => is_seen(&frame),
        Err(fault) => assert!(!fault.to_string().contains('\n'), "{fault}"),
    }
    let mut decoder = Decoder::default();
    let mut frame = Frame::default();
    for format in [CameraFormat::Mjpeg, CameraFormat::Yuyv] {
        let layout = Layout { width: 16, height: 8, format, stride: 40 };
        if decoder.decode(layout, bytes, &mut frame).is_ok() {
            assert!(layout.may_be_whole(bytes));
            is_seen(&frame);
        }
    }
});

fn is_seen(frame: &Frame) {
    assert_eq!(frame.rgb.len(), 3 * frame.width as usize * frame.height as usize);
    let mut square = [0; 3 * (SQUARE_PX * SQUARE_PX) as usize];
    SquareCutter::default().cut(frame, SQUARE_PX, &mut square).expect("a frame with the bytes of its size");
}
