//! Decodes AV1, HEVC and JPEG 2000 stills with FFmpeg's decoders, to raw samples.
//!
//! Only the decoders of libavcodec are used, on bytes that [`super::heif`] and [`super::jp2`] have found in their containers:
//! FFmpeg's demuxers of older releases read no HEIF, and none of them reads pictures made of tiles. Decoders are chosen for
//! pixels that equal the reference's: dav1d gives what the standard defines, and OpenJPEG is what the reference uses.

mod colours;

pub mod declared;

use std::sync::Once;

use ffmpeg_next::{
    Dictionary, Packet, codec, color, decoder,
    format::Pixel,
    frame,
    util::{
        error,
        log::{self, Level},
    },
};

use super::{error::PictureError, planes::Matrix};

/// The edges of a coded picture may be longer than those of the picture by this many pixels: codecs have blocks of up to 64.
const BLOCK: u64 = 64;

/// An encoding that FFmpeg decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Av1,
    Hevc,
    Jpeg2000,
}

impl Coding {
    fn decoder(self) -> Option<ffmpeg_next::Codec> {
        let (names, id): (&[&str], _) = match self {
            Self::Av1 => (&["libdav1d", "libaom-av1"], codec::Id::AV1),
            Self::Hevc => (&["hevc"], codec::Id::HEVC),
            Self::Jpeg2000 => (&["libopenjpeg"], codec::Id::JPEG2000),
        };
        names.iter().find_map(|name| decoder::find_by_name(name)).or_else(|| decoder::find(id))
    }

    /// The bytes for a pixel at the peak, for the most samples and bits that the encoding has: the frame of the decoder, what it
    /// needs besides, the raw samples here, and RGB. What a header says about samples and bits may be wrong.
    pub(super) fn bytes_a_pixel(self) -> u64 {
        match self {
            // A second frame has the film grain.
            Self::Av1 => 6 + 6 + 2 + 6,
            Self::Hevc => 6 + 2 + 6,
            // The frame and the samples; `jp2` adds what depends on the picture.
            Self::Jpeg2000 => 8 + 6,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Av1 => "AV1",
            Self::Hevc => "HEVC",
            Self::Jpeg2000 => "JPEG 2000",
        }
    }
}

/// The raw samples of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Samples {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Bits of a sample.
    pub(super) depth: u32,
    pub(super) colours: Model,
    /// Grey, or red, green and blue, or brightness, blue and red difference; row by row without padding.
    pub(super) planes: Vec<Vec<u16>>,
}

/// What the planes hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    Grey {
        full_range: bool,
    },
    Rgb {
        full_range: bool,
    },
    /// Whether colour has half the width and half the height.
    Yuv {
        halved: (bool, bool),
        matrix: Matrix,
        full_range: bool,
    },
}

/// What a container says about the colours; it overrides the bitstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nclx {
    /// ITU-T H.273.
    pub(super) matrix: u16,
    pub(super) full_range: bool,
}

/// The bytes for a pixel of [`Samples`] and of their RGB.
pub(super) const SAMPLES_AND_RGB: u64 = 6 + 3;

/// The most pixels of a coded picture whose container says that it has this size.
pub(super) fn coded_pixels((width, height): (u64, u64)) -> u64 {
    width.saturating_add(BLOCK).saturating_mul(height.saturating_add(BLOCK))
}

/// Decodes one picture. One that is larger than `size` says is rejected.
///
/// # Errors
/// The bytes are damaged or of a kind that is not supported, or the FFmpeg of this machine has no such decoder.
pub(super) fn decode(
    format: &'static str,
    coding: Coding,
    bytes: &[u8],
    nclx: Option<Nclx>,
    size: (u64, u64),
) -> Result<Samples, PictureError> {
    quiet();
    let unsupported = |reason: String| PictureError::Unsupported { format, reason };
    let codec = coding
        .decoder()
        .ok_or_else(|| unsupported(format!("this FFmpeg has no {} decoder", coding.name())))?;
    let mut options = Dictionary::new();
    options.set("threads", "1");
    options.set("max_pixels", &coded_pixels(size).min(i32::MAX as u64).to_string());
    options.set("err_detect", "explode");
    let mut video = codec::Context::new_with_codec(codec)
        .decoder()
        .open_as_with(codec, options)
        .and_then(|opened| opened.video())
        .map_err(|error| unsupported(format!("the {} decoder does not open: {error}", coding.name())))?;
    let corrupt = |reason: String| PictureError::Corrupt { format, reason };
    let failed =
        |error: ffmpeg_next::Error| corrupt(format!("the {} decoder reports: {error}", coding.name()));
    let mut frame = frame::Video::empty();
    video.send_packet(&Packet::copy(bytes)).map_err(failed)?;
    video.send_eof().map_err(failed)?;
    video.receive_frame(&mut frame).map_err(failed)?;
    if frame.is_corrupt() || frame.has_decode_errors() {
        return Err(corrupt("a part of the pixels is missing".to_owned()));
    }
    samples(&frame, nclx).ok_or_else(|| {
        let (pixels, space) = (frame.format(), declared::color_space(&frame));
        let space =
            space.map_or("an unknown colour space".to_owned(), |space| format!("the colour space {space:?}"));
        unsupported(format!("its pixels are {pixels:?} in {space}"))
    })
}

/// Silences FFmpeg's log: the errors are returned.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| log::set_level(Level::Quiet));
    register_error_texts();
}

/// Registers the texts of FFmpeg's errors, which are empty before. The process has one table of these texts, so only
/// this function fills it.
pub fn register_error_texts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(error::register_all);
}

/// How FFmpeg arranges samples.
enum Layout {
    /// One plane for each sample of a pixel.
    Planar,
    /// One plane with this many samples a pixel. The first samples are grey, or red, green and blue; the others are not used.
    Packed(usize),
}

fn samples(frame: &frame::Video, nclx: Option<Nclx>) -> Option<Samples> {
    use Pixel::{
        GBRAP, GBRAP10LE, GBRAP12LE, GBRP, GBRP10LE, GBRP12LE, GRAY8, GRAY10LE, GRAY12LE, GRAY16LE, RGB24,
        RGB48LE, RGBA, RGBA64LE, YA8, YA16LE, YUV420P, YUV420P10LE, YUV420P12LE, YUV422P, YUV422P10LE,
        YUV422P12LE, YUV440P, YUV444P, YUV444P10LE, YUV444P12LE, YUVA420P, YUVA422P, YUVA444P, YUVJ420P,
        YUVJ422P, YUVJ440P, YUVJ444P,
    };
    let full_range = nclx.map_or(declared::is_full_range(frame), |nclx| nclx.full_range);
    let grey = Model::Grey { full_range };
    let rgb = Model::Rgb { full_range: true };
    let of_range = |across, down, full_range| {
        Some(Model::Yuv { halved: (across, down), matrix: matrix(frame, nclx)?, full_range })
    };
    let yuv = |across, down| of_range(across, down, full_range);
    let full = |across, down| of_range(across, down, true);
    let (colours, depth, layout) = match frame.format() {
        GRAY8 => (Some(grey), 8, Layout::Planar),
        GRAY10LE => (Some(grey), 10, Layout::Planar),
        GRAY12LE => (Some(grey), 12, Layout::Planar),
        GRAY16LE => (Some(grey), 16, Layout::Planar),
        YA8 => (Some(grey), 8, Layout::Packed(2)),
        YA16LE => (Some(grey), 16, Layout::Packed(2)),
        RGB24 => (Some(rgb), 8, Layout::Packed(3)),
        RGBA => (Some(rgb), 8, Layout::Packed(4)),
        RGB48LE => (Some(rgb), 16, Layout::Packed(3)),
        RGBA64LE => (Some(rgb), 16, Layout::Packed(4)),
        GBRP | GBRAP => (Some(Model::Rgb { full_range }), 8, Layout::Planar),
        GBRP10LE | GBRAP10LE => (Some(Model::Rgb { full_range }), 10, Layout::Planar),
        GBRP12LE | GBRAP12LE => (Some(Model::Rgb { full_range }), 12, Layout::Planar),
        YUVJ420P => (full(true, true), 8, Layout::Planar),
        YUVJ422P => (full(true, false), 8, Layout::Planar),
        YUVJ440P => (full(false, true), 8, Layout::Planar),
        YUVJ444P => (full(false, false), 8, Layout::Planar),
        YUV420P | YUVA420P => (yuv(true, true), 8, Layout::Planar),
        YUV422P | YUVA422P => (yuv(true, false), 8, Layout::Planar),
        YUV440P => (yuv(false, true), 8, Layout::Planar),
        YUV444P | YUVA444P => (yuv(false, false), 8, Layout::Planar),
        YUV420P10LE => (yuv(true, true), 10, Layout::Planar),
        YUV422P10LE => (yuv(true, false), 10, Layout::Planar),
        YUV444P10LE => (yuv(false, false), 10, Layout::Planar),
        YUV420P12LE => (yuv(true, true), 12, Layout::Planar),
        YUV422P12LE => (yuv(true, false), 12, Layout::Planar),
        YUV444P12LE => (yuv(false, false), 12, Layout::Planar),
        _ => return None,
    };
    let colours = colours?;
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let wide = depth > 8;
    let planes = match layout {
        Layout::Planar => {
            let sizes = plane_sizes(colours, width, height);
            let order: &[usize] = match colours {
                // Green, blue, red.
                Model::Rgb { .. } => &[2, 0, 1],
                _ => &[0, 1, 2],
            };
            let plane = |(size, number): (&(usize, usize), &usize)| plane(frame, *number, *size, wide);
            sizes.iter().zip(order).map(plane).collect::<Option<Vec<_>>>()?
        }
        Layout::Packed(each) => {
            let all = plane(frame, 0, (width * each, height), wide)?;
            let count = if matches!(colours, Model::Grey { .. }) { 1 } else { 3 };
            (0..count).map(|first| all.iter().skip(first).step_by(each).copied().collect()).collect()
        }
    };
    Some(Samples { width, height, depth, colours, planes })
}

/// The width and height of each plane.
pub(super) fn plane_sizes(colours: Model, width: usize, height: usize) -> Vec<(usize, usize)> {
    let half = |side: usize, halved: bool| if halved { side.div_ceil(2) } else { side };
    match colours {
        Model::Grey { .. } => vec![(width, height)],
        Model::Rgb { .. } => vec![(width, height); 3],
        Model::Yuv { halved, .. } => {
            let colour = (half(width, halved.0), half(height, halved.1));
            vec![(width, height), colour, colour]
        }
    }
}

/// The samples of a plane without the padding of its rows; `None` if rows are stored from below.
fn plane(
    frame: &frame::Video,
    number: usize,
    (width, height): (usize, usize),
    wide: bool,
) -> Option<Vec<u16>> {
    let stride = frame.stride(number);
    i32::try_from(stride).ok()?;
    let rows = frame.data(number).chunks(stride).take(height);
    Some(if wide {
        rows.flat_map(|row| row[..2 * width].as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)))
            .collect()
    } else {
        rows.flat_map(|row| row[..width].iter().map(|sample| u16::from(*sample))).collect()
    })
}

/// `None` for colour spaces in which the planes do not hold brightness and colour differences.
fn matrix(frame: &frame::Video, nclx: Option<Nclx>) -> Option<Matrix> {
    use color::Space;
    if let Some(Nclx { matrix, .. }) = nclx {
        return Some(match matrix {
            1 => Matrix::Bt709,
            2 | 5 | 6 => Matrix::Bt601,
            4 => Matrix::Fcc,
            7 => Matrix::Smpte240,
            9 | 10 => Matrix::Bt2020,
            _ => return None,
        });
    }
    Some(match declared::color_space(frame)? {
        Space::BT709 => Matrix::Bt709,
        Space::FCC => Matrix::Fcc,
        Space::SMPTE240M => Matrix::Smpte240,
        Space::BT2020NCL | Space::BT2020CL => Matrix::Bt2020,
        Space::Unspecified | Space::Reserved | Space::BT470BG | Space::SMPTE170M => Matrix::Bt601,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_decoder_has_a_text() {
        let error = decode("AVIF", Coding::Av1, b"no temporal unit", None, (30, 30)).unwrap_err().to_string();
        let (_, reported) = error.split_once("the AV1 decoder reports: ").expect(&error);
        assert!(!reported.trim().is_empty(), "{error}");
    }
}
