//! PNG: converts raw samples, because the reference keeps what a general decoder drops (colours under alpha, and the colour
//! that is declared transparent).

use png::{BitDepth, ColorType, Decoder, DecodingError, Info, Limits, Transformations};

use super::{
    error::PictureError,
    exif,
    limits::{TimedReader, check_size},
    pixels::Picture,
};

const FORMAT: &str = "PNG";

/// Memory for a row of the widest picture and for small chunks, in addition to the pixels.
const BESIDE_PIXELS: usize = 4 << 20;

pub(super) fn decode(
    bytes: &[u8],
    reader: TimedReader<'_>,
    max_pixels: u64,
) -> Result<Picture, PictureError> {
    let limits = Limits { bytes: bytes.len().saturating_add(BESIDE_PIXELS) };
    let mut decoder = Decoder::new_with_limits(reader, limits);
    decoder.set_transformations(Transformations::IDENTITY);
    // Text and colour profiles are not used, and may unpack to any size.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let (width, height) = decoder.read_header_info().map_err(broken)?.size();
    check_size(FORMAT, width.into(), height.into(), max_pixels)?;

    let mut reader = decoder.read_info().map_err(broken)?;
    let size = reader.output_buffer_size().ok_or(PictureError::TooLarge {
        width: width.into(),
        height: height.into(),
        max_pixels,
    })?;
    let mut raw = vec![0; size];
    reader.next_frame(&mut raw).map_err(broken)?;

    let info = reader.info();
    let picture =
        Picture { transparent: transparent(info), ..Picture::of_rgb(width, height, rgb(&raw, info)) };
    Ok(exif::upright(picture, exif::orientation(info.exif_metadata.as_deref())))
}

/// Every pixel as Pillow's `convert("RGB")` makes it: alpha dropped, 16-bit colour by its high byte, 16-bit grey clipped.
fn rgb(raw: &[u8], info: &Info<'_>) -> Vec<u8> {
    let wide = info.bit_depth == BitDepth::Sixteen;
    let sample = if wide { 2 } else { 1 };
    let grey = |level: u8| [level; 3];
    match info.color_type {
        ColorType::Rgb if !wide => raw.to_vec(),
        ColorType::Rgb => raw.chunks_exact(6).flat_map(|p| [p[0], p[2], p[4]]).collect(),
        ColorType::Rgba => {
            raw.chunks_exact(4 * sample).flat_map(|p| [p[0], p[sample], p[2 * sample]]).collect()
        }
        ColorType::GrayscaleAlpha => raw.chunks_exact(2 * sample).flat_map(|p| grey(p[0])).collect(),
        ColorType::Grayscale if wide => {
            raw.chunks_exact(2).flat_map(|p| grey(if p[0] > 0 { 255 } else { p[1] })).collect()
        }
        ColorType::Grayscale => {
            let steps = (1u16 << info.bit_depth as u8) - 1;
            let step = u8::try_from(255 / steps).expect("at most 255");
            samples(raw, info).flat_map(|level| grey(level * step)).collect()
        }
        ColorType::Indexed => samples(raw, info).flat_map(|index| palette(info, index)).collect(),
    }
}

/// The samples of a picture of one channel and at most 8 bits, unpacked row by row.
fn samples<'a>(raw: &'a [u8], info: &Info<'_>) -> impl Iterator<Item = u8> + 'a {
    let bits = usize::from(info.bit_depth as u8);
    let width = info.width as usize;
    let mask = u8::MAX >> (8 - bits);
    raw.chunks_exact((width * bits).div_ceil(8))
        .flat_map(move |row| (0..width).map(move |x| row[x * bits / 8] >> (8 - bits - x * bits % 8) & mask))
}

/// An entry of the palette; black if the palette is too short.
fn palette(info: &Info<'_>, index: u8) -> [u8; 3] {
    let entries = info.palette.as_deref().unwrap_or_default().as_chunks::<3>().0;
    entries.get(usize::from(index)).copied().unwrap_or_default()
}

/// The transparent colour, where the reference carries it into RGB: for grey of at most 8 bits, for RGB, and for a palette
/// with exactly one fully transparent entry and no partly transparent one.
fn transparent(info: &Info<'_>) -> Option<[u8; 3]> {
    let trns = info.trns.as_deref()?;
    match (info.color_type, info.bit_depth) {
        (ColorType::Grayscale, BitDepth::One | BitDepth::Sixteen) => None,
        // As stored, not scaled to 8 bits, as in the reference.
        (ColorType::Grayscale, _) => trns.first().map(|&level| [level; 3]),
        (ColorType::Rgb, BitDepth::Sixteen) => {
            let clipped = |at: usize| if trns[at] > 0 { 255 } else { trns[at + 1] };
            (trns.len() >= 6).then(|| [clipped(0), clipped(2), clipped(4)])
        }
        (ColorType::Rgb, _) => trns.first_chunk::<3>().copied(),
        (ColorType::Indexed, _) => {
            let mut seen = trns.iter().enumerate().filter(|(_, alpha)| **alpha != 255);
            match (seen.next(), seen.next()) {
                (Some((index, 0)), None) => Some(palette(info, u8::try_from(index).ok()?)),
                _ => None,
            }
        }
        (ColorType::GrayscaleAlpha | ColorType::Rgba, _) => None,
    }
}

fn broken(error: DecodingError) -> PictureError {
    match error {
        DecodingError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            PictureError::Truncated { format: FORMAT }
        }
        DecodingError::LimitsExceeded => PictureError::Corrupt {
            format: FORMAT,
            reason: "a chunk unpacks to far more than the file holds".to_owned(),
        },
        error => PictureError::Corrupt { format: FORMAT, reason: error.to_string() },
    }
}
