//! JPEG 2000: a codestream, alone or in the boxes of a JP2 file. The reference applies no orientation to it.
//!
//! A picture is divided into tiles, precincts and blocks. The decoder keeps a structure for each of them. A small file can declare
//! tiles and precincts of one pixel, and so need a hundred times the memory of its pixels. So the memory is computed from the
//! number of tiles and from the coding styles, those in the headers of tiles included.

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

/// The structures of OpenJPEG for a block, a precinct and a tile (with an index of 255 parts of it), and for each component of a
/// tile.
const BLOCK: u64 = 800;
const PRECINCT: u64 = 700;
const TILE: u64 = 9000 + 255 * 24;
const TILE_COMPONENT: u64 = 1200;

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
    let (size, tiles) = size(stream).ok_or(PictureError::Truncated { format: FORMAT })?;
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
    let structures = structures(stream, size)?.saturating_mul(components.into());
    let tiles = tiles.saturating_mul(TILE + TILE_COMPONENT * u64::from(components));
    // The decoder has a copy of the bytes, and OpenJPEG one of a tile.
    let copies = (bytes.len() as u64).saturating_mul(2);
    let needed =
        [structures, tiles, copies].into_iter().fold(pixels.saturating_mul(each), u64::saturating_add);
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

/// Width and height of a codestream, and the number of its tiles.
fn size(stream: &[u8]) -> Option<((u64, u64), u64)> {
    let number = |at: usize| Some(u64::from(u32::from_be_bytes(*stream.get(at..)?.first_chunk()?)));
    let side = |to: usize, from: usize| Some(number(to)?.saturating_sub(number(from)?));
    stream.starts_with(&CODESTREAM).then_some(())?;
    // A tile of no size is an error of the decoder.
    let tiles = |to: usize, from: usize, tile: usize| Some(side(to, from)?.div_ceil(number(tile)?.max(1)));
    let tiles = tiles(8, 32, 24)?.saturating_mul(tiles(12, 36, 28)?);
    Some(((side(8, 16)?, side(12, 20)?), tiles))
}

/// The bytes of the structures for one component, with the most demanding coding styles of the codestream.
fn structures(stream: &[u8], size: (u64, u64)) -> Result<u64, PictureError> {
    const COD: u8 = 0x52;
    const COC: u8 = 0x53;
    let (mut layers, mut resolutions, mut precincts, mut bytes) = (1, 1, 1, 0);
    for read in segments(stream) {
        let (has_precincts, style) = match read? {
            // Progression, layers, transform of components; then the style.
            (COD, [flags, _, high, low, _, style @ ..]) => {
                layers = layers.max(u64::from(u16::from_be_bytes([*high, *low])));
                (flags & 1 != 0, style)
            }
            // There are at most 4 components, so the number of one has a byte.
            (COC, [_, flags, style @ ..]) => (flags & 1 != 0, style),
            _ => continue,
        };
        let [levels, across, down, _, _, sizes @ ..] = style else { continue };
        let sizes = if has_precincts { sizes } else { &[] };
        let style = Style { levels: *levels, block: (*across, *down), precincts: sizes };
        let of_style = style.structures(size);
        resolutions = resolutions.max(u64::from(*levels) + 1);
        precincts = precincts.max(of_style.precincts);
        bytes = bytes.max(of_style.bytes);
    }
    // The order of packets: a mark for each layer of each precinct, with as many precincts for every resolution.
    let marks = precincts.saturating_mul(resolutions).saturating_mul(layers * 2);
    Ok(bytes.saturating_add(marks))
}

/// The structures for one component.
struct Structures {
    bytes: u64,
    /// The most precincts of a resolution.
    precincts: u64,
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
    fn structures(&self, (width, height): (u64, u64)) -> Structures {
        let parts = |side: u64, exponent: u8| side.div_ceil(1 << exponent.min(62));
        let levels = self.levels.min(32);
        let mut all = Structures { bytes: 0, precincts: 0 };
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
            all.bytes = all
                .bytes
                .saturating_add(blocks.saturating_mul(BLOCK))
                .saturating_add(precincts.saturating_mul(PRECINCT));
            all.precincts = all.precincts.max(precincts);
        }
        all
    }
}

/// The segments of the headers, by the second byte of their marker: those of the codestream, and those of its tiles. They end where
/// the decoder reports an error.
///
/// # Errors
/// There is another marker than those of JPEG 2000, part 1. The decoder searches for the next known marker behind it, also
/// inside of its segment, so a coding style could be hidden there.
fn segments(stream: &[u8]) -> impl Iterator<Item = Result<(u8, &[u8]), PictureError>> {
    const TILE_PART: u8 = 0x90;
    const DATA: u8 = 0x93;
    const END: u8 = 0xD9;
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
            if *marker == END {
                return None;
            }
            if !matches!(*marker, 0x50..=0x53 | 0x55 | 0x57..=0x59 | 0x5C..=0x61 | 0x63 | 0x64 | TILE_PART) {
                let reason = format!("its header has the marker 0xFF{marker:02X}");
                return Some(Err(PictureError::Unsupported { format: FORMAT, reason }));
            }
            let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
            let segment = rest.get(2..length)?;
            if *marker == TILE_PART {
                // The length of this part of the tile, from its marker; 0 means up to the end.
                let part =
                    segment.get(2..6)?.first_chunk().map_or(0, |part| u32::from_be_bytes(*part) as usize);
                after_tile = if part == 0 { stream.len() } else { at.checked_add(part)? };
            }
            at = at.checked_add(2)?.checked_add(length)?;
            return Some(Ok((*marker, segment)));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of a block in a coding style, and the size of each precinct.
    const USUAL: [u8; 11] = [5, 4, 4, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
    const SMALL_BLOCKS: [u8; 11] = [5, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
    const SMALL_PRECINCTS: [u8; 11] = [5, 4, 4, 0, 1, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11];

    /// The header of a codestream of 4096 x 4096 grey pixels, with the coding style in its own header or in that of a tile.
    fn header(style: &[u8], in_tile: bool) -> Vec<u8> {
        tiled_header(style, in_tile, 4096)
    }

    fn tiled_header(style: &[u8], in_tile: bool, tile: u32) -> Vec<u8> {
        let segment = |marker: u8, content: &[u8]| {
            [&[0xFF, marker][..], &(content.len() as u16 + 2).to_be_bytes(), content].concat()
        };
        let sides = |a: u32, b: u32| [a.to_be_bytes(), b.to_be_bytes()].concat();
        let size = [&[0, 0][..], &sides(4096, 4096), &sides(0, 0), &sides(tile, tile), &sides(0, 0)].concat();
        let size = segment(0x51, &[&size[..], &[0, 1, 7, 1, 1]].concat());
        let coding = |style: &[u8]| segment(0x52, &[&[1, 0, 0, 1, 0][..], style].concat());
        let usual = coding(&USUAL);
        let (first, second) = if in_tile { (usual, coding(style)) } else { (coding(style), vec![]) };
        let tile = segment(0x90, &[0, 0, 0, 0, 0, 0, 0, 1]);
        [&[0xFF, 0x4F][..], &size, &first, &tile, &second, &[0xFF, 0x93, 0, 0xFF, 0xD9]].concat()
    }

    #[test]
    fn small_blocks_and_precincts_need_memory() {
        let limits = |memory| Limits { max_pixels: 1 << 24, memory };
        let needed = |bytes: &[u8]| needed(bytes, limits(u64::MAX)).unwrap();
        let usual = needed(&header(&USUAL, false));
        let pixels = 1 << 24;
        assert!((22 * pixels..24 * pixels).contains(&usual), "{usual}");
        for in_tile in [false, true] {
            let blocks = header(&SMALL_BLOCKS, in_tile);
            assert!(needed(&blocks) > 60 * pixels, "{in_tile}: {}", needed(&blocks));
            let precincts = header(&SMALL_PRECINCTS, in_tile);
            assert!(needed(&precincts) > 180 * pixels, "{in_tile}: {}", needed(&precincts));
            let error = decode(&precincts, limits(512_000_000)).unwrap_err();
            assert!(matches!(error, PictureError::NeedsMemory { .. }), "{error}");
        }
    }

    #[test]
    fn small_tiles_and_many_layers_need_memory() {
        let limits = Limits { max_pixels: 1 << 24, memory: u64::MAX };
        let needed = |bytes: &[u8]| needed(bytes, limits).unwrap();
        let usual = needed(&header(&USUAL, false));
        let tiles = needed(&tiled_header(&USUAL, false, 16));
        assert_eq!(tiles - usual, (256 * 256 - 1) * (TILE + TILE_COMPONENT));
        // Precincts of 256 x 256 pixels at the last of 33 resolutions.
        let style = [&[32, 4, 4, 0, 1][..], &[0xFF; 32], &[0x88]].concat();
        let mut layered = header(&style, false);
        let coding = layered.windows(2).position(|marker| marker == [0xFF, 0x52]).unwrap();
        layered[coding + 6..coding + 8].copy_from_slice(&[0xFF, 0xFF]);
        assert!(needed(&layered) - usual > 16 * 16 * 33 * 0xFFFF * 2);
    }

    #[test]
    fn a_coding_style_is_not_hidden_behind_an_unknown_marker() {
        let plain = header(&SMALL_PRECINCTS, false);
        let coding = plain.windows(2).position(|marker| marker == [0xFF, 0x52]).unwrap();
        let hidden: [(&[u8], _); 3] =
            [(&[0xFF, 0x30], "30"), (&[0xFF, 0x99, 0, 100], "99"), (&[0xFF, 0x74], "74")];
        for (hidden, marker) in hidden {
            let bytes = [&plain[..coding], hidden, &plain[coding..]].concat();
            let error = needed(&bytes, Limits::of(1 << 24)).unwrap_err().to_string();
            assert!(error.ends_with(&format!("its header has the marker 0xFF{marker}")), "{error}");
        }
    }
}
