//! What a frame declares about its colours. Files declare any number, some decoders pass it on unchecked, and the methods of the
//! bindings turn it into an enum without a check, which is undefined behaviour: `clippy.toml` forbids them elsewhere.

use std::ffi::c_uint;

use ffmpeg_next::{
    color::Space,
    ffi::{AVColorRange, AVColorSpace},
    frame::Video,
};

/// The colour space, from the matrix coefficients of ITU-T H.273; `None` for a number without a meaning.
#[allow(clippy::disallowed_methods)]
pub fn color_space(frame: &Video) -> Option<Space> {
    // SAFETY: a frame is never null, and a C enum has the size of this number, for which every value is valid.
    #[allow(unsafe_code)]
    let number = unsafe { (&raw const (*frame.as_ptr()).colorspace).cast::<c_uint>().read() };
    (number < AVColorSpace::AVCOL_SPC_NB as c_uint).then(|| frame.color_space())
}

/// Whether the samples use every value, and not only those that video uses.
pub fn is_full_range(frame: &Video) -> bool {
    // SAFETY: as above.
    #[allow(unsafe_code)]
    let number = unsafe { (&raw const (*frame.as_ptr()).color_range).cast::<c_uint>().read() };
    number == AVColorRange::AVCOL_RANGE_JPEG as c_uint
}

#[cfg(test)]
mod tests {
    use ffmpeg_next::format::Pixel;

    use super::*;

    #[test]
    fn any_number_is_read() {
        let mut frame = Video::new(Pixel::YUV420P, 2, 2);
        let mut declare = |space: c_uint, range: c_uint| {
            // SAFETY: the fields have the size of this number, and are read as numbers only.
            #[allow(unsafe_code)]
            unsafe {
                let frame = frame.as_mut_ptr();
                (&raw mut (*frame).colorspace).cast::<c_uint>().write(space);
                (&raw mut (*frame).color_range).cast::<c_uint>().write(range);
            }
            (color_space(&frame), is_full_range(&frame))
        };
        assert_eq!(declare(1, 2), (Some(Space::BT709), true));
        assert_eq!(declare(9, 1), (Some(Space::BT2020NCL), false));
        for number in [AVColorSpace::AVCOL_SPC_NB as c_uint, 200, 255, c_uint::MAX] {
            assert_eq!(declare(number, number), (None, false));
        }
    }
}
