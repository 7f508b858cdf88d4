//! PNG: converts raw samples, because the reference keeps what a general decoder drops (colours under alpha, and the colour
//! that is declared transparent).

use std::time::Duration;

use flate2::Crc;
use image::metadata::Orientation;
use png::{BitDepth, ColorType, Decoder, DecodingError, Info, InterlaceInfo, Reader, Transformations};

use super::{
    containers,
    error::PictureError,
    limits::{LONGEST, Limits, TimedReader},
    metadata::upright,
    pixels::Picture,
};

const FORMAT: &str = "PNG";

/// Memory for a row of the widest picture and for small chunks, in addition to the pixels.
const BESIDE_PIXELS: usize = 4 << 20;

pub(super) fn decode(bytes: &[u8], longest: Duration, limits: Limits) -> Result<Picture, PictureError> {
    let picture = match decode_chunks(bytes, longest, limits) {
        // The decoder needs the end of a chunk to give its last rows. They may be there without it.
        Err(truncated @ PictureError::Truncated { .. }) => {
            decode_chunks(&closed(bytes), longest, limits).map_err(|_| truncated)
        }
        decoded => decoded,
    }?;
    Ok(upright(picture, containers::png(bytes).orientation()))
}

/// The most memory that [`decode`] takes.
pub(super) fn needed(bytes: &[u8], limits: Limits) -> Result<u64, PictureError> {
    let mut decoder = decoder(bytes, LONGEST);
    memory(decoder.read_header_info().map_err(broken)?, bytes, limits)
}

fn decoder(bytes: &[u8], longest: Duration) -> Decoder<TimedReader<'_>> {
    let limits = png::Limits { bytes: bytes.len().saturating_add(BESIDE_PIXELS) };
    let mut decoder = Decoder::new_with_limits(TimedReader::new(bytes, longest), limits);
    decoder.set_transformations(Transformations::IDENTITY);
    // Text and colour profiles are not used here, and may unpack to any size.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder
}

/// Checks the size, and computes the memory: the pixels, the samples of an interlaced picture, and a turned copy.
fn memory(info: &Info<'_>, bytes: &[u8], limits: Limits) -> Result<u64, PictureError> {
    let (width, height) = (u64::from(info.width), u64::from(info.height));
    let pixels = limits.pixels(FORMAT, (width, height))?;
    let row = width.saturating_mul(info.bits_per_pixel() as u64).div_ceil(8);
    let samples = if info.interlaced { row.saturating_mul(height) } else { 0 };
    let decoding = pixels.saturating_mul(3).saturating_add(samples);
    let is_turned = containers::png(bytes).orientation() != Orientation::NoTransforms;
    let turning = if is_turned { pixels.saturating_mul(6) } else { 0 };
    // A file that is cut off is copied, and the decoder may hold a chunk.
    let copies = (bytes.len() as u64).saturating_mul(2).saturating_add(BESIDE_PIXELS as u64);
    limits.memory(width, decoding.max(turning).saturating_add(copies))
}

/// The first picture, if all of its rows are there. What follows them is not read.
fn decode_chunks(bytes: &[u8], longest: Duration, limits: Limits) -> Result<Picture, PictureError> {
    let mut decoder = decoder(bytes, longest);
    let header = decoder.read_header_info().map_err(broken)?;
    memory(header, bytes, limits)?;
    let (width, height) = header.size();
    let mut reader = decoder.read_info().map_err(broken)?;
    let rgb = read_rows(&mut reader).map_err(broken)?;
    Ok(Picture { transparent: transparent(reader.info()), ..Picture::of_rgb(width, height, rgb) })
}

/// The pixels of every row. Rows are converted one by one; only an interlaced picture needs its samples all at once.
fn read_rows(reader: &mut Reader<TimedReader<'_>>) -> Result<Vec<u8>, DecodingError> {
    let (width, height) = reader.info().size();
    let Some(line) = reader.output_line_size(width) else { return Err(DecodingError::LimitsExceeded) };
    let size = reader.output_buffer_size().ok_or(DecodingError::LimitsExceeded)?;
    let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
    if !reader.info().interlaced {
        let mut row = vec![0; line];
        for _ in 0..height {
            reader.read_row(&mut row)?;
            append_rgb(&mut rgb, &row, reader.info());
        }
        return Ok(rgb);
    }
    let mut raw = vec![0; size];
    let bits = reader.info().bits_per_pixel() as u8;
    for _ in 0..rows_of_passes(width, height) {
        let Some(row) = reader.next_interlaced_row()? else { break };
        if let InterlaceInfo::Adam7(place) = row.interlace() {
            png::expand_interlaced_row(&mut raw, line, row.data(), place, bits);
        }
    }
    append_rgb(&mut rgb, &raw, reader.info());
    Ok(rgb)
}

/// The rows of the seven passes of an interlaced picture.
fn rows_of_passes(width: u32, height: u32) -> u32 {
    // The first column and row of a pass, and the distance to the next ones.
    const PASSES: [[u32; 4]; 7] =
        [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];
    let passes = PASSES.iter().filter(|[column, ..]| *column < width);
    passes.map(|[_, row, _, step]| height.saturating_sub(*row).div_ceil(*step)).sum()
}

/// The bytes with an end: a last chunk that is cut off is as long as its data are, and has their checksum.
fn closed(bytes: &[u8]) -> Vec<u8> {
    let (mut whole, mut cut) = (8, None);
    for (kind, data) in containers::png_chunks(bytes) {
        let end = whole + 12 + data.len();
        if end > bytes.len() {
            cut = Some((kind, data));
            break;
        }
        whole = end;
    }
    let mut closed = bytes[..whole.min(bytes.len())].to_vec();
    for (kind, data) in cut.into_iter().chain([(b"IEND", &[][..])]) {
        let mut checksum = Crc::new();
        checksum.update(kind);
        checksum.update(data);
        closed.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
        closed.extend_from_slice(kind);
        closed.extend_from_slice(data);
        closed.extend(checksum.sum().to_be_bytes());
    }
    closed
}

/// Appends every pixel of some rows as Pillow's `convert("RGB")` makes it: alpha dropped, 16-bit colour by its high byte, 16-bit
/// grey clipped.
fn append_rgb(rgb: &mut Vec<u8>, raw: &[u8], info: &Info<'_>) {
    let wide = info.bit_depth == BitDepth::Sixteen;
    let sample = if wide { 2 } else { 1 };
    let grey = |level: u8| [level; 3];
    match info.color_type {
        ColorType::Rgb if !wide => rgb.extend_from_slice(raw),
        ColorType::Rgb => rgb.extend(raw.chunks_exact(6).flat_map(|p| [p[0], p[2], p[4]])),
        ColorType::Rgba => {
            rgb.extend(raw.chunks_exact(4 * sample).flat_map(|p| [p[0], p[sample], p[2 * sample]]));
        }
        ColorType::GrayscaleAlpha => rgb.extend(raw.chunks_exact(2 * sample).flat_map(|p| grey(p[0]))),
        ColorType::Grayscale if wide => {
            rgb.extend(raw.chunks_exact(2).flat_map(|p| grey(if p[0] > 0 { 255 } else { p[1] })));
        }
        ColorType::Grayscale => {
            let steps = (1u16 << info.bit_depth as u8) - 1;
            let step = u8::try_from(255 / steps).expect("at most 255");
            rgb.extend(samples(raw, info).flat_map(|level| grey(level * step)));
        }
        ColorType::Indexed => rgb.extend(samples(raw, info).flat_map(|index| palette(info, index))),
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
