//! JPEG 2000: a codestream, alone or in the boxes of a JP2 file. The reference applies no orientation to it.
//!
//! A picture is divided into precincts and blocks, for each of which the decoder keeps a structure. A small file can declare
//! blocks of 4 x 4 pixels and precincts of one pixel, and so need a hundred times the memory of its pixels. So the memory is
//! computed from the coding styles, those in the headers of tiles included.

use super::{
    coded::{self, Coding, Model},
    error::PictureError,
    limits::Limits,
    pixels::Picture,
};

const FORMAT: &str = "JPEG 2000";

/// The first bytes of a JP2 file.
pub(super) const SIGNATURE: [u8; 12] = *b"\0\0\0\x0CjP  \r\n\x87\n";
/// The first bytes of a codestream: its start, and the marker of its size.
pub(super) const CODESTREAM: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];

/// The structures of OpenJPEG for a block and for a precinct.
const BLOCK: u64 = 800;
const PRECINCT: u64 = 700;

/// The most memory that [`decode`] takes.
pub(super) fn needed(bytes: &[u8], limits: Limits) -> Result<u64, PictureError> {
    checked(bytes, limits).map(|checked| checked.needed)
}

/// A codestream whose header is within the limits.
struct Checked<'b> {
    stream: &'b [u8],
    size: (u64, u64),
    /// Bytes of memory.
    needed: u64,
}

fn checked(bytes: &[u8], limits: Limits) -> Result<Checked<'_>, PictureError> {
    let stream = codestream(bytes)?;
    let size = size(stream).ok_or(PictureError::Truncated { format: FORMAT })?;
    let pixels = limits.pixels(FORMAT, size)?;
    // As in the reference: grey or colours, with or without alpha.
    let components = stream.get(40..42).map_or(0, |count| u16::from_be_bytes([count[0], count[1]]));
    if !(1..=4).contains(&components) {
        return Err(PictureError::Unsupported {
            format: FORMAT,
            reason: format!("its pixels have {components} components"),
        });
    }
    // Samples of 32 bits, twice while wavelets are undone.
    let each = Coding::Jpeg2000.bytes_a_pixel() + 8 * u64::from(components);
    let structures = structures(stream, size).saturating_mul(components.into());
    // The decoder has a copy of the bytes, and OpenJPEG one of a tile.
    let copies = (bytes.len() as u64).saturating_mul(2);
    let needed = pixels.saturating_mul(each).saturating_add(structures).saturating_add(copies);
    Ok(Checked { stream, size, needed: limits.memory(size.0, needed)? })
}

pub(super) fn decode(bytes: &[u8], limits: Limits) -> Result<Picture, PictureError> {
    let Checked { stream, size: (width, height), .. } = checked(bytes, limits)?;
    // The decoder replaces missing parts without an error.
    if !stream.ends_with(&[0xFF, 0xD9]) {
        return Err(PictureError::Truncated { format: FORMAT });
    }
    let samples = coded::decode(FORMAT, Coding::Jpeg2000, bytes, None, (width, height))?;
    if (samples.width as u64, samples.height as u64) != (width, height) {
        let reason = format!(
            "its header says {width} x {height}, its pixels are {} x {}",
            samples.width, samples.height
        );
        return Err(PictureError::Corrupt { format: FORMAT, reason });
    }
    let rgb = match samples.colours {
        // As in the reference: grey levels above 255 become 255, and colours lose their low bits.
        Model::Grey { .. } if samples.depth > 8 => {
            samples.planes[0].iter().flat_map(|level| [u8::try_from(*level).unwrap_or(u8::MAX); 3]).collect()
        }
        Model::Grey { .. } => samples.planes[0].iter().flat_map(|level| [*level as u8; 3]).collect(),
        Model::Rgb { .. } => {
            let shift = samples.depth - 8;
            let pixels = samples.planes[0].iter().zip(&samples.planes[1]).zip(&samples.planes[2]);
            pixels
                .flat_map(|((red, green), blue)| [red, green, blue].map(|level| (level >> shift) as u8))
                .collect()
        }
        Model::Yuv { .. } => samples.rgb(),
    };
    Ok(Picture::of_rgb(samples.width as u32, samples.height as u32, rgb))
}

/// The codestream in the boxes of a JP2 file.
fn codestream(bytes: &[u8]) -> Result<&[u8], PictureError> {
    if bytes.starts_with(&CODESTREAM) {
        return Ok(bytes);
    }
    let truncated = PictureError::Truncated { format: FORMAT };
    let mut rest = bytes;
    loop {
        let Some((length, kind)) = rest.split_first_chunk::<4>() else { return Err(truncated) };
        let long = || Some((16, u64::from_be_bytes(*rest.get(8..)?.first_chunk()?)));
        let (header, length) = match u32::from_be_bytes(*length) {
            0 => (8, rest.len() as u64),
            1 => long().ok_or(truncated.clone())?,
            length => (8, length.into()),
        };
        let whole = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let Some(content) = whole.and_then(|whole| whole.get(header..)) else { return Err(truncated) };
        if kind.starts_with(b"jp2c") {
            return Ok(content);
        }
        rest = rest.get(header..).and_then(|rest| rest.get(content.len()..)).unwrap_or_default();
    }
}

/// Width and height of a codestream.
fn size(stream: &[u8]) -> Option<(u64, u64)> {
    let number = |at: usize| Some(u64::from(u32::from_be_bytes(*stream.get(at..)?.first_chunk()?)));
    let side = |to: usize, from: usize| Some(number(to)?.saturating_sub(number(from)?));
    stream.starts_with(&CODESTREAM).then_some(())?;
    Some((side(8, 16)?, side(12, 20)?))
}

/// The bytes of the structures for one component, with the most demanding coding style of the codestream.
fn structures(stream: &[u8], size: (u64, u64)) -> u64 {
    const COD: u8 = 0x52;
    const COC: u8 = 0x53;
    let (mut layers, mut worst) = (1, 0);
    for (marker, segment) in segments(stream) {
        let (has_precincts, style) = match (marker, segment) {
            // Progression, layers, transform of components; then the style.
            (COD, [flags, _, high, low, _, style @ ..]) => {
                layers = layers.max(u64::from(u16::from_be_bytes([*high, *low])));
                (flags & 1 != 0, style)
            }
            // There are at most 4 components, so the number of one has a byte.
            (COC, [_, flags, style @ ..]) => (flags & 1 != 0, style),
            _ => continue,
        };
        let [levels, across, down, _, _, precincts @ ..] = style else { continue };
        let precincts = if has_precincts { precincts } else { &[] };
        let style = Style { levels: *levels, block: (*across, *down), precincts };
        worst = worst.max(style.structures(size, layers));
    }
    worst
}

/// How a component is divided.
struct Style<'b> {
    /// The number of times that the size is halved.
    levels: u8,
    /// Exponents of the size of a block, less 2.
    block: (u8, u8),
    /// For each resolution, the smallest first: the exponents of the size of a precinct, that of the width in the low bits.
    precincts: &'b [u8],
}

impl Style<'_> {
    fn structures(&self, (width, height): (u64, u64), layers: u64) -> u64 {
        let parts = |side: u64, exponent: u8| side.div_ceil(1 << exponent.min(62));
        let levels = self.levels.min(32);
        let mut sum = 0_u64;
        for resolution in 0..=levels {
            let (width, height) = (parts(width, levels - resolution), parts(height, levels - resolution));
            let sizes = self.precincts.get(usize::from(resolution)).copied().unwrap_or(0xFF);
            let (across, down) = (sizes & 15, sizes >> 4);
            let precincts = parts(width, across).saturating_mul(parts(height, down));
            // Bands are half as large as their resolution, except for the smallest one. A block is inside of a precinct.
            let halved = u8::from(resolution > 0);
            let [across, down] = [(self.block.0, across), (self.block.1, down)]
                .map(|(block, precinct)| block.saturating_add(2).min(precinct.saturating_sub(halved)));
            let blocks = parts(width, across).saturating_mul(parts(height, down));
            // Each layer of a precinct has a mark in the order of packets.
            let precinct = PRECINCT.saturating_add(layers.saturating_mul(2));
            sum = sum
                .saturating_add(blocks.saturating_mul(BLOCK))
                .saturating_add(precincts.saturating_mul(precinct));
        }
        sum
    }
}

/// The segments of the headers, by the second byte of their marker: those of the codestream, and those of its tiles.
fn segments(stream: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    const TILE: u8 = 0x90;
    const DATA: u8 = 0x93;
    let (mut at, mut after_tile) = (2, stream.len());
    std::iter::from_fn(move || {
        loop {
            let [0xFF, marker, rest @ ..] = stream.get(at..)? else { return None };
            if *marker == DATA {
                // A part of a tile that ends before its own header does would be read again and again.
                if after_tile <= at {
                    return None;
                }
                at = after_tile;
                continue;
            }
            let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
            let segment = rest.get(2..length)?;
            if *marker == TILE {
                // The length of this part of the tile, from its marker; 0 means up to the end.
                let part =
                    segment.get(2..6)?.first_chunk().map_or(0, |part| u32::from_be_bytes(*part) as usize);
                after_tile = if part == 0 { stream.len() } else { at.checked_add(part)? };
            }
            at = at.checked_add(2)?.checked_add(length)?;
            return Some((*marker, segment));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of a codestream of 4096 x 4096 grey pixels, with the coding style in its own header or in that of a tile.
    fn header(style: &[u8], in_tile: bool) -> Vec<u8> {
        let segment = |marker: u8, content: &[u8]| {
            [&[0xFF, marker][..], &(content.len() as u16 + 2).to_be_bytes(), content].concat()
        };
        let sides = |a: u32, b: u32| [a.to_be_bytes(), b.to_be_bytes()].concat();
        let size = [&[0, 0][..], &sides(4096, 4096), &sides(0, 0), &sides(4096, 4096), &sides(0, 0)].concat();
        let size = segment(0x51, &[&size[..], &[0, 1, 7, 1, 1]].concat());
        let coding = |style: &[u8]| segment(0x52, &[&[1, 0, 0, 1, 0][..], style].concat());
        let usual = coding(&[5, 4, 4, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
        let (first, second) = if in_tile { (usual, coding(style)) } else { (coding(style), vec![]) };
        let tile = segment(0x90, &[0, 0, 0, 0, 0, 0, 0, 1]);
        [&[0xFF, 0x4F][..], &size, &first, &tile, &second, &[0xFF, 0x93, 0, 0xFF, 0xD9]].concat()
    }

    #[test]
    fn small_blocks_and_precincts_need_memory() {
        let limits = |memory| Limits { max_pixels: 1 << 24, memory };
        let needed = |bytes: &[u8]| needed(bytes, limits(u64::MAX)).unwrap();
        let usual = needed(&header(&[5, 4, 4, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], false));
        let pixels = 1 << 24;
        assert!((22 * pixels..24 * pixels).contains(&usual), "{usual}");
        for in_tile in [false, true] {
            let blocks = header(&[5, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], in_tile);
            assert!(needed(&blocks) > 60 * pixels, "{in_tile}: {}", needed(&blocks));
            let precincts = header(&[5, 4, 4, 0, 1, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11], in_tile);
            assert!(needed(&precincts) > 180 * pixels, "{in_tile}: {}", needed(&precincts));
            let error = decode(&precincts, limits(512_000_000)).unwrap_err();
            assert!(matches!(error, PictureError::NeedsMemory { .. }), "{error}");
        }
    }
}
