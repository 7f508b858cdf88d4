//! Converts a decoder's frame to a picture, upright and with the colours that the stream declares. Streams, recordings and
//! `replay` all convert here.
//!
//! Brightness has full range if the stream declares it (MJPEG does), and the matrix is that of the stream. By default the
//! matrix is BT.709 for high definition and BT.601 below. The planes of nearly all cameras are used as they are; other
//! formats (10 bits, RGB) are converted to RGB here. What a source masks is hidden here. The size only changes for pixels that are not square ([`super::upright`]).

use std::{borrow::Cow, sync::Arc};

use ffmpeg_next::{
    color::Space,
    ffi,
    format::Pixel,
    frame,
    software::scaling::{self, Flags},
};

use super::{input::check, upright::View};
use crate::picture::{
    Colour, Limits, Matrix, Meaning, Picture, PictureError, Pixels, Planes, declared,
    mask::{self, Masked, Polygon},
};

/// Chroma at full resolution and exact rounding: a frame a second may take some time.
const QUALITY: Flags =
    Flags::BILINEAR.union(Flags::FULL_CHR_H_INT).union(Flags::FULL_CHR_H_INP).union(Flags::ACCURATE_RND);

/// Converts the frames of one stream.
#[derive(Default)]
pub(crate) struct Converter {
    view: View,
    /// What is hidden, in the frame as it is shown.
    mask: Arc<[Polygon]>,
    /// Fits one format and size, and is recreated when they change.
    context: Option<(Conversion, scaling::Context)>,
}

/// What a context converts: from this format, to RGB of this size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Conversion {
    format: FrameFormat,
    size: (u32, u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FrameFormat {
    format: Pixel,
    width: u32,
    height: u32,
    full_range: bool,
    matrix: Matrix,
}

impl Converter {
    /// A converter for a stream whose frames are shown like this, and hide what `mask` covers.
    pub(crate) fn new(view: View, mask: Arc<[Polygon]>) -> Self {
        Self { view, mask, context: None }
    }

    /// The size of a frame as it is shown.
    pub(crate) fn shown_size(&self, frame: &frame::Video) -> (u32, u32) {
        self.view.of_frame(frame).shown((frame.width(), frame.height()))
    }

    /// The plane of brightness, one byte a pixel, and the number of bytes of a row; `None` if the format has no such plane, or the
    /// frame is not shown as it is stored.
    pub(crate) fn luma<'a>(&self, frame: &'a frame::Video) -> Option<(Cow<'a, [u8]>, usize)> {
        let is_plain = self.view.of_frame(frame).is_plain((frame.width(), frame.height()));
        Layout::of(frame).filter(|_| is_plain)?;
        if self.mask.is_empty() {
            return Some((Cow::Borrowed(frame.data(0)), frame.stride(0)));
        }
        let size = (frame.width() as usize, frame.height() as usize);
        let mut levels = without_padding(frame, 0, size);
        mask::fill_plane(&mut levels, size, FrameFormat::of(frame).meaning().grey(), &self.mask);
        Some((Cow::Owned(levels), size.0))
    }

    /// The frame as an upright picture with square pixels, without what is masked.
    pub(crate) fn picture(&mut self, frame: &frame::Video, limits: Limits) -> Result<Masked, PictureError> {
        let stored = (frame.width(), frame.height());
        let view = self.view.of_frame(frame);
        let size = view.stretched(stored);
        for (width, height) in [stored, size] {
            check(width.into(), height.into(), limits)?;
        }
        let planes = planes(frame).filter(|_| size == stored);
        let picture = match planes {
            Some(planes) => {
                let (width, height) = size;
                Picture { width, height, pixels: Pixels::Planes(planes), transparent: None }
            }
            None => self.rgb(frame, size)?,
        };
        Ok(Masked::new(picture.turned(view.turn()), &self.mask))
    }

    /// Converts with FFmpeg, which supports every format and size.
    fn rgb(&mut self, frame: &frame::Video, size: (u32, u32)) -> Result<Picture, PictureError> {
        let unsupported = |what: &str| PictureError::Unsupported {
            format: "video",
            reason: format!("{what} ({:?}, {} x {})", frame.format(), frame.width(), frame.height()),
        };
        let conversion = Conversion { format: FrameFormat::of(frame), size };
        let context = match &mut self.context {
            Some((made_for, context)) if *made_for == conversion => context,
            made => {
                let context = conversion.context().ok_or_else(|| unsupported("colours"))?;
                &mut made.insert((conversion, context)).1
            }
        };
        let mut rgb = frame::Video::empty();
        context.run(frame, &mut rgb).map_err(|_| unsupported("conversion"))?;
        let (width, height) = size;
        let pixels = without_padding(&rgb, 0, (width as usize * 3, height as usize));
        Ok(Picture::of_rgb(width, height, pixels))
    }
}

/// The planes of a frame, if a picture can hold them.
fn planes(frame: &frame::Video) -> Option<Planes> {
    let layout = Layout::of(frame)?;
    let (width, height) = (frame.width(), frame.height());
    let half = |pixels: u32, halved: bool| pixels.div_ceil(if halved { 2 } else { 1 }) as usize;
    let colour = |halved: (bool, bool)| (half(width, halved.0), half(height, halved.1));
    let brightness = without_padding(frame, 0, (width as usize, height as usize));
    let colour = match layout {
        Layout::Grey => None,
        Layout::Planar(halved) => {
            let [blue, red] = [1, 2].map(|plane| without_padding(frame, plane, colour(halved)));
            Some(Colour { blue, red, halved })
        }
        Layout::Interleaved { blue_first } => {
            let halved = (true, true);
            let (across, down) = colour(halved);
            let both = without_padding(frame, 1, (across * 2, down));
            let [first, second] = [0, 1].map(|which| both.iter().skip(which).step_by(2).copied().collect());
            let (blue, red) = if blue_first { (first, second) } else { (second, first) };
            Some(Colour { blue, red, halved })
        }
    };
    Planes::new((width, height), brightness, colour, FrameFormat::of(frame).meaning())
}

/// The bytes of a plane, without the padding of its rows.
fn without_padding(frame: &frame::Video, plane: usize, (width, height): (usize, usize)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(width * height);
    let rows = frame.data(plane).chunks(frame.stride(plane)).take(height);
    rows.for_each(|row| bytes.extend_from_slice(&row[..width]));
    bytes
}

/// How planes of 8 bits are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Grey,
    /// Brightness, blue, red; whether blue and red have half the width and half the height.
    Planar((bool, bool)),
    /// Brightness, then both colours interleaved, with half the width and height.
    Interleaved {
        blue_first: bool,
    },
}

impl Layout {
    fn of(frame: &frame::Video) -> Option<Self> {
        use Pixel::{
            GRAY8, NV12, NV21, YUV420P, YUV422P, YUV440P, YUV444P, YUVJ420P, YUVJ422P, YUVJ440P, YUVJ444P,
        };
        let layout = match frame.format() {
            GRAY8 => Self::Grey,
            YUV420P | YUVJ420P => Self::Planar((true, true)),
            YUV422P | YUVJ422P => Self::Planar((true, false)),
            YUV440P | YUVJ440P => Self::Planar((false, true)),
            YUV444P | YUVJ444P => Self::Planar((false, false)),
            NV12 => Self::Interleaved { blue_first: true },
            NV21 => Self::Interleaved { blue_first: false },
            _ => return None,
        };
        // Pictures that are upside down have rows of a negative length: FFmpeg converts those.
        let upright = (0..frame.planes()).all(|plane| i32::try_from(frame.stride(plane)).is_ok());
        // In these colour spaces the planes do not hold brightness and colours.
        let mixed = matches!(declared::color_space(frame), Some(Space::RGB | Space::YCGCO | Space::ICTCP));
        (upright && !mixed).then_some(layout)
    }
}

impl FrameFormat {
    fn of(frame: &frame::Video) -> Self {
        let (width, height) = (frame.width(), frame.height());
        use Pixel::{GRAY8, YUVJ420P, YUVJ422P, YUVJ440P, YUVJ444P};
        // FFmpeg always assumes full range for grey.
        let j = matches!(frame.format(), GRAY8 | YUVJ420P | YUVJ422P | YUVJ444P | YUVJ440P);
        let matrix = match declared::color_space(frame).unwrap_or(Space::Unspecified) {
            Space::BT709 => Matrix::Bt709,
            Space::FCC => Matrix::Fcc,
            Space::SMPTE240M => Matrix::Smpte240,
            Space::BT2020NCL | Space::BT2020CL => Matrix::Bt2020,
            Space::Unspecified | Space::Reserved if width >= 1280 || height > 576 => Matrix::Bt709,
            _ => Matrix::Bt601,
        };
        let full_range = j || declared::is_full_range(frame);
        Self { format: frame.format(), width, height, full_range, matrix }
    }

    fn meaning(self) -> Meaning {
        Meaning { matrix: self.matrix, full_range: self.full_range }
    }
}

impl Conversion {
    fn context(self) -> Option<scaling::Context> {
        let Self { format: FrameFormat { format, width, height, full_range, matrix }, size } = self;
        let mut context =
            scaling::Context::get(format, width, height, Pixel::RGB24, size.0, size.1, QUALITY).ok()?;
        let matrix = match matrix {
            Matrix::Bt601 => ffi::SWS_CS_ITU601,
            Matrix::Bt709 => ffi::SWS_CS_ITU709,
            Matrix::Bt2020 => ffi::SWS_CS_BT2020,
            Matrix::Fcc => ffi::SWS_CS_FCC,
            Matrix::Smpte240 => ffi::SWS_CS_SMPTE240M,
        };
        // Brightness, contrast and saturation in 16.16 fixed point, unchanged.
        let (brightness, unchanged) = (0, 1 << 16);
        let (from, to) = (i32::from(full_range), 1);
        // SAFETY: the context was just created and is not null; the tables are constants of the library.
        // A format without such details (RGB, grey) returns an error, and needs none.
        #[allow(unsafe_code)]
        unsafe {
            let table = ffi::sws_getCoefficients(i32::try_from(matrix.unsigned_abs()).ok()?);
            ffi::sws_setColorspaceDetails(
                context.as_mut_ptr(),
                table,
                from,
                table,
                to,
                brightness,
                unchanged,
                unchanged,
            );
        }
        Some(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with levels that change slowly and differently in each plane, as real colours do.
    fn frame(format: Pixel, width: u32, height: u32, space: Space) -> frame::Video {
        let mut frame = frame::Video::new(format, width, height);
        frame.set_color_space(space);
        for plane in 0..frame.planes() {
            let stride = frame.stride(plane);
            for (row, bytes) in frame.data_mut(plane).chunks_mut(stride).enumerate() {
                for (column, byte) in bytes.iter_mut().enumerate() {
                    let at = if plane == 0 { row + 2 * column } else { 3 * row + plane * column / 2 };
                    *byte = if at / 220 % 2 == 0 { 16 + at % 220 } else { 235 - at % 220 } as u8;
                }
            }
        }
        frame
    }

    /// Also the brightness that is compared, so that nothing under the mask counts as a change.
    #[test]
    fn what_is_masked_is_in_no_picture_and_in_no_comparison() {
        let unlimited = Limits { max_pixels: u64::MAX, memory: u64::MAX };
        let left = Polygon::new(vec![[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]).unwrap();
        for format in
            [Pixel::YUV420P, Pixel::YUVJ422P, Pixel::NV12, Pixel::GRAY8, Pixel::YUV420P10LE, Pixel::RGB24]
        {
            let frame = frame(format, 322, 50, Space::Unspecified);
            let mut masked = Converter::new(View::default(), [left.clone()].into());
            let rgb = masked.picture(&frame, unlimited).unwrap().rgb().into_owned();
            let plain = Converter::default().picture(&frame, unlimited).unwrap().rgb().into_owned();
            // A pixel next to the edge may have some of the colour on its other side.
            for (row, (masked, plain)) in rgb.chunks(322 * 3).zip(plain.chunks(322 * 3)).enumerate() {
                let hidden = &masked[..160 * 3];
                assert!(hidden.iter().all(|level| level.abs_diff(mask::GREY) <= 1), "{format:?} {row}");
                assert_eq!(&masked[163 * 3..], &plain[163 * 3..], "{format:?} {row}");
            }
            if let (Some((luma, stride)), Some((plain, wide))) =
                (masked.luma(&frame), Converter::default().luma(&frame))
            {
                let grey = FrameFormat::of(&frame).meaning().grey();
                for (masked, plain) in luma.chunks(stride).zip(plain.chunks(wide)).take(50) {
                    assert!(masked[..161].iter().all(|level| *level == grey), "{format:?}");
                    assert_eq!(&masked[161..322], &plain[161..322], "{format:?}");
                }
            }
        }
    }

    #[test]
    fn planes_convert_to_the_same_rgb_as_with_ffmpeg() {
        use Pixel::{GRAY8, NV12, NV21, YUV420P, YUV422P, YUV440P, YUV444P, YUVJ420P, YUVJ422P, YUVJ444P};
        let unlimited = Limits { max_pixels: u64::MAX, memory: u64::MAX };
        for format in [YUV420P, YUV422P, YUV440P, YUV444P, YUVJ420P, YUVJ422P, YUVJ444P, NV12, NV21, GRAY8] {
            for space in [Space::Unspecified, Space::BT709, Space::BT2020NCL] {
                for (width, height) in [(640, 480), (1280, 722), (322, 50)] {
                    let frame = frame(format, width, height, space);
                    let picture = Converter::default().picture(&frame, unlimited).unwrap();
                    assert!(matches!(picture.pixels, Pixels::Planes(_)), "{format:?}");
                    let expected = Converter::default().rgb(&frame, (width, height)).unwrap();
                    let (found, expected) = (picture.rgb(), expected.rgb());
                    let off = found.iter().zip(&*expected).map(|(a, b)| u32::from(a.abs_diff(*b)));
                    let (most, mean) = (off.clone().max(), off.sum::<u32>() as f64 / found.len() as f64);
                    // FFmpeg samples colour half a row higher if its height is halved.
                    assert!(
                        most <= Some(4) && mean < 1.0,
                        "{format:?} {space:?} {width} x {height}: {most:?}, {mean}"
                    );
                }
            }
        }
    }
}
