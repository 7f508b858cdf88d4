//! BMP and WebP, decoded with the `image` crate, which gives the reference's pixels for these formats.

use image::{
    ColorType, ImageDecoder, ImageError,
    codecs::{bmp::BmpDecoder, webp::WebPDecoder},
    metadata::Orientation,
};

use super::{
    containers,
    error::PictureError,
    limits::{Limits, TimedReader},
    metadata::upright,
    pixels::Picture,
};

const WEBP: &str = "WebP";
const BMP: &str = "BMP";

pub(super) fn webp(bytes: &[u8], reader: TimedReader<'_>, limits: Limits) -> Result<Picture, PictureError> {
    let decoder = opened_webp(bytes, reader)?;
    webp_memory(bytes, &decoder, limits)?;
    read(WEBP, decoder, limits, containers::webp(bytes).orientation())
}

pub(super) fn bmp(bytes: &[u8], reader: TimedReader<'_>, limits: Limits) -> Result<Picture, PictureError> {
    let decoder = BmpDecoder::new(reader).map_err(|error| broken(BMP, error))?;
    memory(BMP, &decoder, (0, bytes.len()), Orientation::NoTransforms, limits)?;
    read(BMP, decoder, limits, Orientation::NoTransforms)
}

/// The most memory that [`webp`] takes.
pub(super) fn webp_needed(
    bytes: &[u8],
    reader: TimedReader<'_>,
    limits: Limits,
) -> Result<u64, PictureError> {
    webp_memory(bytes, &opened_webp(bytes, reader)?, limits)
}

/// A decoder that has read the header.
fn opened_webp<'b>(
    bytes: &[u8],
    reader: TimedReader<'b>,
) -> Result<WebPDecoder<TimedReader<'b>>, PictureError> {
    // Bytes 4 to 7 hold the length of everything after the first eight bytes.
    let length = bytes.get(4..8).and_then(|length| length.try_into().ok()).map_or(0, u32::from_le_bytes);
    if u64::from(length) + 8 > bytes.len() as u64 {
        return Err(PictureError::Truncated { format: WEBP });
    }
    WebPDecoder::new(reader).map_err(|error| broken(WEBP, error))
}

/// The most memory that [`bmp`] takes.
pub(super) fn bmp_needed(bytes: &[u8], reader: TimedReader<'_>, limits: Limits) -> Result<u64, PictureError> {
    let decoder = BmpDecoder::new(reader).map_err(|error| broken(BMP, error))?;
    memory(BMP, &decoder, (0, bytes.len()), Orientation::NoTransforms, limits)
}

/// Checks a WebP, whose decoder decodes into buffers of its own.
fn webp_memory<D: ImageDecoder>(bytes: &[u8], decoder: &D, limits: Limits) -> Result<u64, PictureError> {
    const ANIMATED: u8 = 0x02;
    let (width, height) = decoder.dimensions();
    let pixels = limits.pixels(WEBP, (width.into(), height.into()))?;
    // Bytes a pixel, beside the output: VP8L has its own four samples; an animation a canvas, a frame and its alpha; and another
    // picture its alpha, which is decoded like a picture.
    let each = match (bytes.get(12..16), bytes.get(20)) {
        (Some(b"VP8 "), _) => 0,
        (Some(b"VP8L"), _) => 5,
        (_, Some(flags)) if flags & ANIMATED != 0 => 4 + 4 + 5,
        _ => 5,
    };
    // VP8 has its samples, in whole blocks of 16 x 16 and half as many of each colour, and a size of its own, which the decoder
    // compares only after it has decoded them.
    let samples =
        |(width, height): (u64, u64)| width.next_multiple_of(16) * height.next_multiple_of(16) * 3 / 2;
    let own = containers::vp8_sizes(bytes).map(samples).max().unwrap_or(0);
    let beside = pixels.saturating_mul(each).saturating_add(own);
    memory(WEBP, decoder, (beside, bytes.len()), containers::webp(bytes).orientation(), limits)
}

/// Checks the size, and computes the memory: the decoder's output, its conversion to RGB, what the decoder needs `beside` that, and
/// a turned copy.
fn memory<D: ImageDecoder>(
    format: &'static str,
    decoder: &D,
    (beside, length): (u64, usize),
    orientation: Orientation,
    limits: Limits,
) -> Result<u64, PictureError> {
    let (width, height) = decoder.dimensions();
    let pixels = limits.pixels(format, (width.into(), height.into()))?;
    let rgb = pixels.saturating_mul(3);
    let converted = if decoder.color_type() == ColorType::Rgb8 { 0 } else { rgb };
    let decoding = decoder.total_bytes().saturating_add(beside.max(converted));
    let turning = if orientation == Orientation::NoTransforms { 0 } else { rgb.saturating_mul(2) };
    limits.memory(width.into(), decoding.max(turning).saturating_add(length as u64))
}

fn read<D: ImageDecoder>(
    format: &'static str,
    mut decoder: D,
    limits: Limits,
    orientation: Orientation,
) -> Result<Picture, PictureError> {
    let broken = |error| broken(format, error);
    let (width, height) = decoder.dimensions();
    let mut own = image::Limits::no_limits();
    own.max_alloc = Some(limits.memory);
    decoder.set_limits(own).map_err(broken)?;
    let colours = decoder.color_type();
    // The memory was checked, so this is smaller than the address space.
    let mut raw = vec![0; usize::try_from(decoder.total_bytes()).unwrap_or(usize::MAX)];
    decoder.read_image(&mut raw).map_err(broken)?;

    let rgb = rgb(raw, colours)
        .ok_or_else(|| PictureError::Unsupported { format, reason: format!("its pixels are {colours:?}") })?;
    Ok(upright(Picture::of_rgb(width, height, rgb), orientation))
}

/// RGB as the reference converts it: alpha dropped, 16-bit colour by its high byte, 16-bit grey clipped.
fn rgb(raw: Vec<u8>, colours: ColorType) -> Option<Vec<u8>> {
    let wide = |bytes: &[u8], at: usize| u16::from_ne_bytes([bytes[2 * at], bytes[2 * at + 1]]);
    let high = |bytes: &[u8], at: usize| wide(bytes, at).to_be_bytes()[0];
    Some(match colours {
        ColorType::Rgb8 => raw,
        ColorType::Rgba8 => raw.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect(),
        ColorType::L8 => raw.into_iter().flat_map(|level| [level; 3]).collect(),
        ColorType::La8 => raw.chunks_exact(2).flat_map(|p| [p[0]; 3]).collect(),
        ColorType::L16 => {
            raw.chunks_exact(2).flat_map(|p| [u8::try_from(wide(p, 0)).unwrap_or(u8::MAX); 3]).collect()
        }
        ColorType::La16 => raw.chunks_exact(4).flat_map(|p| [high(p, 0); 3]).collect(),
        ColorType::Rgb16 => raw.chunks_exact(6).flat_map(|p| [high(p, 0), high(p, 1), high(p, 2)]).collect(),
        ColorType::Rgba16 => raw.chunks_exact(8).flat_map(|p| [high(p, 0), high(p, 1), high(p, 2)]).collect(),
        _ => return None,
    })
}

fn broken(format: &'static str, error: ImageError) -> PictureError {
    match error {
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            PictureError::Truncated { format }
        }
        ImageError::Unsupported(error) => PictureError::Unsupported { format, reason: error.to_string() },
        error => PictureError::Corrupt { format, reason: error.to_string() },
    }
}
