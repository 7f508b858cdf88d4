//! From a decoder's frame to RGB, with the colours that the stream means.
//!
//! Brightness is full range where the stream says so (MJPEG does), and the matrix is the stream's own; where it says
//! nothing it is what everybody assumes: BT.709 for high definition, BT.601 below. It refuses to change the size.

use ffmpeg_next::{
    color::{Range, Space},
    ffi,
    format::Pixel,
    frame,
    software::scaling::{self, Flags},
};

use crate::picture::{Picture, PictureError};

/// Chroma at full resolution and exact rounding: a frame a second may cost a little.
const QUALITY: Flags =
    Flags::BILINEAR.union(Flags::FULL_CHR_H_INT).union(Flags::FULL_CHR_H_INP).union(Flags::ACCURATE_RND);

/// Made for one kind of frame, and made anew when the stream changes.
#[derive(Default)]
pub(super) struct Converter {
    made: Option<(Kind, scaling::Context)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    format: Pixel,
    width: u32,
    height: u32,
    full_range: bool,
    matrix: u32,
}

impl Converter {
    pub(super) fn picture(&mut self, frame: &frame::Video, max_pixels: u64) -> Result<Picture, PictureError> {
        let (width, height) = (frame.width(), frame.height());
        if u64::from(width) * u64::from(height) > max_pixels {
            let (width, height) = (width.into(), height.into());
            return Err(PictureError::TooLarge { width, height, max_pixels });
        }
        let unsupported = |what: &str| PictureError::Unsupported {
            format: "video",
            reason: format!("{what} ({:?}, {width} x {height})", frame.format()),
        };
        let kind = Kind::of(frame);
        let context = match &mut self.made {
            Some((made, context)) if *made == kind => context,
            made => &mut made.insert((kind, kind.context().ok_or_else(|| unsupported("colours"))?)).1,
        };
        let mut rgb = frame::Video::empty();
        context.run(frame, &mut rgb).map_err(|_| unsupported("conversion"))?;
        // Rows are padded to what the processor likes.
        let row = width as usize * 3;
        let rows = rgb.data(0).chunks_exact(rgb.stride(0)).take(height as usize);
        let pixels: Vec<u8> = rows.flat_map(|padded| &padded[..row]).copied().collect();
        Ok(Picture { width, height, rgb: pixels, transparent: None })
    }
}

/// The plane of brightness, one byte a pixel, and how many bytes a row of it takes; `None` where the format has no such
/// plane.
pub(super) fn luma(frame: &frame::Video) -> Option<(&[u8], usize)> {
    use Pixel::{
        GRAY8, NV12, NV21, YUV420P, YUV422P, YUV440P, YUV444P, YUVJ420P, YUVJ422P, YUVJ440P, YUVJ444P,
    };
    let planar = matches!(
        frame.format(),
        YUV420P
            | YUVJ420P
            | YUV422P
            | YUVJ422P
            | YUV440P
            | YUVJ440P
            | YUV444P
            | YUVJ444P
            | NV12
            | NV21
            | GRAY8
    );
    // Pictures that stand on their head have rows of a negative length: those are converted first.
    let upright = i32::try_from(frame.stride(0)).is_ok();
    (planar && upright).then(|| (frame.data(0), frame.stride(0)))
}

impl Kind {
    fn of(frame: &frame::Video) -> Self {
        let (width, height) = (frame.width(), frame.height());
        let j =
            matches!(frame.format(), Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P | Pixel::YUVJ440P);
        let matrix = match frame.color_space() {
            Space::BT709 => ffi::SWS_CS_ITU709,
            Space::FCC => ffi::SWS_CS_FCC,
            Space::SMPTE240M => ffi::SWS_CS_SMPTE240M,
            Space::BT2020NCL | Space::BT2020CL => ffi::SWS_CS_BT2020,
            Space::Unspecified | Space::Reserved if width >= 1280 || height > 576 => ffi::SWS_CS_ITU709,
            _ => ffi::SWS_CS_ITU601,
        };
        let full_range = j || frame.color_range() == Range::JPEG;
        Self { format: frame.format(), width, height, full_range, matrix: matrix.unsigned_abs() }
    }

    fn context(self) -> Option<scaling::Context> {
        let Self { format, width, height, full_range, matrix } = self;
        let mut context =
            scaling::Context::get(format, width, height, Pixel::RGB24, width, height, QUALITY).ok()?;
        // Brightness, contrast and saturation in 16.16 fixed point, unchanged.
        let (brightness, unchanged) = (0, 1 << 16);
        let (from, to) = (i32::from(full_range), 1);
        // SAFETY: the context was just made and is not null; the tables are constants of the library.
        // A format that has no such details (RGB, grey) says so, and needs none.
        #[allow(unsafe_code)]
        unsafe {
            let table = ffi::sws_getCoefficients(i32::try_from(matrix).ok()?);
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
