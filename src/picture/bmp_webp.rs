//! BMP and WebP, decoded with the `image` crate, which gives the reference's pixels for these formats.

use image::{
    ColorType, ImageDecoder, ImageError, Limits,
    codecs::{bmp::BmpDecoder, webp::WebPDecoder},
    metadata::Orientation,
};

use super::{
    containers,
    error::PictureError,
    limits::{TimedReader, check_size},
    metadata::upright,
    pixels::Picture,
};

/// The decoder's memory for its tables, in addition to the pixels.
const DECODER_BYTES: u64 = 64 << 20;

pub(super) fn webp(bytes: &[u8], reader: TimedReader<'_>, max_pixels: u64) -> Result<Picture, PictureError> {
    const FORMAT: &str = "WebP";
    // Bytes 4 to 7 hold the length of everything after the first eight bytes.
    let length = bytes.get(4..8).and_then(|length| length.try_into().ok()).map_or(0, u32::from_le_bytes);
    if u64::from(length) + 8 > bytes.len() as u64 {
        return Err(PictureError::Truncated { format: FORMAT });
    }
    let orientation = containers::webp(bytes).orientation();
    read(FORMAT, WebPDecoder::new(reader), max_pixels, orientation)
}

pub(super) fn bmp(reader: TimedReader<'_>, max_pixels: u64) -> Result<Picture, PictureError> {
    read("BMP", BmpDecoder::new(reader), max_pixels, Orientation::NoTransforms)
}

fn read<D: ImageDecoder>(
    format: &'static str,
    decoder: Result<D, ImageError>,
    max_pixels: u64,
    orientation: Orientation,
) -> Result<Picture, PictureError> {
    let broken = |error| broken(format, error);
    let mut decoder = decoder.map_err(broken)?;
    let (width, height) = decoder.dimensions();
    check_size(format, width.into(), height.into(), max_pixels)?;

    let total = decoder.total_bytes();
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(total.saturating_mul(4).saturating_add(DECODER_BYTES));
    decoder.set_limits(limits).map_err(broken)?;
    let colours = decoder.color_type();
    let size = usize::try_from(total).map_err(|_| PictureError::TooLarge {
        width: width.into(),
        height: height.into(),
        max_pixels,
    })?;
    let mut raw = vec![0; size];
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
