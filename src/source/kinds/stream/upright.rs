//! How the frames of a stream are shown: turned upright, and with square pixels.
//!
//! A container or an encoder may declare that the stored picture is turned, mirrored, or has pixels that are wider than high.
//! What a frame declares overrides what its stream declares for the turn, and the other way round for the pixels, as in FFmpeg's
//! own programs.

use ffmpeg_next::{
    Rational, codec::packet::side_data, format::stream::Stream, frame, frame::side_data as of_frame,
};

use crate::picture::Turn;

/// How the frames of a stream are shown, as far as the stream declares it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct View {
    turn: Turn,
    /// Width by height of a pixel, if it is declared.
    pixel: Option<f64>,
}

impl View {
    /// What the stream of a container declares.
    pub(crate) fn of_stream(stream: &Stream<'_>) -> Self {
        let matrix = stream.side_data().find(|data| data.kind() == side_data::Type::DisplayMatrix);
        let turn = matrix.and_then(|data| turn(data.data())).unwrap_or_default();
        // SAFETY: the stream belongs to an open input, and points to a valid structure. One of its fields is read.
        #[allow(unsafe_code)]
        let ratio = unsafe { (*stream.as_ptr()).sample_aspect_ratio };
        Self { turn, pixel: pixel(ratio.into()) }
    }

    /// How `frame` of this stream is shown.
    pub(crate) fn of_frame(self, frame: &frame::Video) -> Self {
        let matrix = frame.side_data(of_frame::Type::DisplayMatrix);
        let turn = matrix.and_then(|data| turn(data.data())).unwrap_or(self.turn);
        Self { turn, pixel: self.pixel.or_else(|| pixel(frame.aspect_ratio())) }
    }

    /// The frame is shown as it is stored.
    pub(crate) fn is_plain(self, stored: (u32, u32)) -> bool {
        self.turn.is_none() && self.stretched(stored) == stored
    }

    pub(crate) fn turn(self) -> Turn {
        self.turn
    }

    /// The size of a stored frame with square pixels: its height stays.
    pub(crate) fn stretched(self, (width, height): (u32, u32)) -> (u32, u32) {
        let ratio = self.pixel.unwrap_or(1.0);
        ((f64::from(width) * ratio).round().max(1.0) as u32, height)
    }

    /// The size as it is shown.
    pub(crate) fn shown(self, stored: (u32, u32)) -> (u32, u32) {
        self.turn.size(self.stretched(stored))
    }
}

/// The turn of a display matrix.
fn turn(bytes: &[u8]) -> Option<Turn> {
    let numbers = bytes.as_chunks::<4>().0;
    let matrix: [i32; 9] =
        std::array::from_fn(|at| numbers.get(at).map_or(0, |bytes| i32::from_ne_bytes(*bytes)));
    (numbers.len() >= 9).then(|| Turn::of_display_matrix(&matrix))
}

/// Width by height of a pixel, if it is declared and plausible.
fn pixel(ratio: Rational) -> Option<f64> {
    const PLAUSIBLE: std::ops::RangeInclusive<f64> = 0.125..=8.0;
    let (across, down) = (ratio.numerator(), ratio.denominator());
    (across > 0 && down > 0)
        .then(|| f64::from(across) / f64::from(down))
        .filter(|ratio| PLAUSIBLE.contains(ratio))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_that_are_not_square_change_the_width() {
        let cases = [
            ((1, 1), (640, 480), (640, 480)),
            ((0, 1), (640, 480), (640, 480)),
            ((16, 11), (720, 576), (1047, 576)),
            ((8, 9), (720, 480), (640, 480)),
            ((1000, 1), (640, 480), (640, 480)),
            ((-1, 2), (640, 480), (640, 480)),
        ];
        for ((across, down), stored, shown) in cases {
            let view = View { turn: Turn::default(), pixel: pixel(Rational::new(across, down)) };
            assert_eq!(view.shown(stored), shown, "{across}:{down}");
            assert_eq!(view.is_plain(stored), stored == shown, "{across}:{down}");
        }
    }

    #[test]
    fn a_short_matrix_is_ignored() {
        let quarter: Vec<u8> = [0_i32, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]
            .iter()
            .flat_map(|number| number.to_ne_bytes())
            .collect();
        assert_eq!(turn(&quarter[..32]), None);
        assert_eq!(turn(&quarter).map(|turn| turn.size((4, 3))), Some((3, 4)));
    }
}
