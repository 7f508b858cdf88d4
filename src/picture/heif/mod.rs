//! AVIF and HEIC: a still picture coded with AV1 or HEVC in a HEIF file, whole or as a grid of tiles.
//!
//! The rotation and the mirror of the file (`irot`, `imir`) turn the picture; EXIF does not, as in the reference. XMP does if the
//! file has neither. Alpha, depth and thumbnails are not decoded. Of an image sequence, the primary picture is decoded.

mod boxes;

use std::time::Duration;

use image::metadata::Orientation;

use self::boxes::{Bytes, Item, Meta};
use super::{
    coded::{self, Coding, Nclx, SAMPLES_AND_RGB, Samples, coded_pixels, plane_sizes},
    error::PictureError,
    limits::{Deadline, Limits},
    metadata::{Metadata, upright},
    pixels::Picture,
};

/// The most tiles of a grid: more than any camera writes, and each needs a decoder.
const MOST_TILES: usize = 4096;

/// The name of the format, by the first bytes of a file; `None` if it is another one.
pub(super) fn format(head: &[u8]) -> Option<&'static str> {
    let [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] = head else { return None };
    match brand.first_chunk()? {
        b"avif" | b"avis" => Some("AVIF"),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"hevm" | b"hevs" => Some("HEIC"),
        // Any coding: the other brands of the first bytes decide.
        b"mif1" | b"msf1" | b"miaf" => {
            let others = head.get(16..).unwrap_or_default().as_chunks::<4>().0;
            Some(if others.iter().any(|brand| brand.starts_with(b"avi")) { "AVIF" } else { "HEIC" })
        }
        _ => None,
    }
}

pub(super) fn decode(
    bytes: &[u8],
    format: &'static str,
    longest: Duration,
    limits: Limits,
) -> Result<Picture, PictureError> {
    let deadline = Deadline::new(longest);
    let meta = Meta::read(bytes);
    let meta = meta.ok_or_else(|| no_picture(bytes, format))?;
    let file = File { meta: &meta, format, max_pixels: limits.max_pixels };
    let item = file.primary()?;
    file.memory(item, limits)?;
    let samples =
        if item.kind == *b"grid" { file.grid(item, &deadline)? } else { file.coded(item, nclx(item))? };
    let mut picture = Picture::of_rgb(samples.width as u32, samples.height as u32, samples.rgb());
    drop(samples);
    // The reference does not crop AVIF.
    if let Some(Crop { left, top, width, height }) = Crop::of(item, &picture).filter(|_| format == "HEIC") {
        picture = picture.crop(left, top, width, height);
    }
    Ok(upright(picture, orientation(&meta, item)))
}

/// The most memory that [`decode`] takes.
pub(super) fn needed(bytes: &[u8], format: &'static str, limits: Limits) -> Result<u64, PictureError> {
    let meta = Meta::read(bytes).ok_or_else(|| no_picture(bytes, format))?;
    let file = File { meta: &meta, format, max_pixels: limits.max_pixels };
    file.memory(file.primary()?, limits)
}

/// The error for a file without a picture that can be found.
fn no_picture(bytes: &[u8], format: &'static str) -> PictureError {
    match boxes::boxes(bytes).any(|(kind, _)| kind == *b"mdat") {
        true => PictureError::Unsupported { format, reason: "it has no primary picture".to_owned() },
        false => PictureError::Truncated { format },
    }
}

/// The EXIF and XMP blocks of a file.
pub(super) fn metadata(bytes: &[u8]) -> Metadata<'static> {
    Meta::read(bytes).map_or_else(Metadata::default, |meta| blocks(&meta))
}

fn blocks(meta: &Meta<'_>) -> Metadata<'static> {
    let primary = meta.primary.unwrap_or(0);
    let exif = meta.description(primary, |item| item.kind == *b"Exif").and_then(|item| {
        // A number says how many bytes precede the block.
        let mut reader = Bytes(&item);
        let before = usize::try_from(reader.number(4)?).ok()?;
        reader.skip(before)?;
        Some(reader.0.to_vec())
    });
    let xmp = meta.description(primary, |item| item.content_type == b"application/rdf+xml");
    Metadata { exif: exif.map(Into::into), xmp: xmp.map(Into::into) }
}

/// The orientation as in the reference: that of rotation and mirror. Without both of them, and without an orientation in EXIF,
/// that of XMP.
fn orientation(meta: &Meta<'_>, item: &Item<'_>) -> Orientation {
    let angle = item.property(b"irot").and_then(|content| content.first()).map(|angle| angle & 3);
    let axis = item.property(b"imir").and_then(|content| content.first()).map(|axis| axis & 1);
    let number = match (angle.unwrap_or(0), axis) {
        (0, None) => {
            let Metadata { exif, xmp } = blocks(meta);
            // EXIF does not turn the picture, and hides an XMP packet that would.
            let by_exif = Metadata { exif: exif.clone(), xmp: None }.orientation();
            return match by_exif {
                Orientation::NoTransforms => Metadata { exif, xmp }.orientation(),
                _ => Orientation::NoTransforms,
            };
        }
        (0, Some(0)) => 4,
        (0, Some(_)) => 2,
        (1, None) => 8,
        (1, Some(0)) => 5,
        (1, Some(_)) => 7,
        (2, None) => 3,
        (2, Some(0)) => 2,
        (2, Some(_)) => 4,
        (_, None) => 6,
        (_, Some(0)) => 7,
        (_, Some(_)) => 5,
    };
    Orientation::from_exif(number).unwrap_or(Orientation::NoTransforms)
}

/// The colours as the file describes them.
fn nclx(item: &Item<'_>) -> Option<Nclx> {
    let descriptions = item.properties.iter().filter(|(kind, _)| kind == b"colr");
    let mut described = descriptions.filter_map(|(_, content)| content.strip_prefix(b"nclx"));
    // Primaries and transfer, which the conversion does not need, then the matrix.
    let [_, _, _, _, high, low, range] = *described.find_map(|nclx| nclx.first_chunk::<7>())?;
    Some(Nclx { matrix: u16::from_be_bytes([high, low]), full_range: range & 0x80 != 0 })
}

struct File<'f> {
    meta: &'f Meta<'f>,
    format: &'static str,
    max_pixels: u64,
}

impl File<'_> {
    fn primary(&self) -> Result<&Item<'_>, PictureError> {
        let item = self.meta.primary.and_then(|id| self.meta.items.get(&id));
        item.ok_or_else(|| no_picture(self.meta.file, self.format))
    }

    fn corrupt(&self, reason: &str) -> PictureError {
        PictureError::Corrupt { format: self.format, reason: reason.to_owned() }
    }

    /// Width and height as the file says.
    fn size(&self, item: &Item<'_>) -> Result<(u64, u64), PictureError> {
        item.size().ok_or_else(|| self.corrupt("its picture or a part of it has no size"))
    }

    /// Checks the size, and computes the memory: of the coded picture, or of the largest tile and the joined picture.
    fn memory(&self, item: &Item<'_>, limits: Limits) -> Result<u64, PictureError> {
        let coded = |item: &Item<'_>| {
            let each = coding(item).map_or(0, Coding::bytes_a_pixel);
            self.size(item).map(|size| coded_pixels(size).saturating_mul(each))
        };
        let size = self.size(item)?;
        let mut pixels = limits.pixels(self.format, size)?;
        let (mut width, mut decoding) = (size.0, 0);
        if item.kind == *b"grid" {
            let grid = self.read_grid(item)?;
            width = width.max(grid.width as u64);
            pixels = pixels.max(limits.pixels(self.format, (grid.width as u64, grid.height as u64))?);
            for id in self.tiles() {
                let tile = self.meta.items.get(id).ok_or_else(|| self.corrupt("a tile is missing"))?;
                decoding = decoding.max(coded(tile)?);
            }
        } else {
            decoding = coded(item)?;
        }
        // The samples of the joined picture exist while its tiles are decoded, and then its RGB, which may be turned and cut.
        let joined = pixels.saturating_mul(SAMPLES_AND_RGB);
        let peak = if item.kind == *b"grid" { joined.saturating_add(decoding) } else { joined.max(decoding) };
        // The bytes of an item are copied to join them, for the decoder's form, and for the decoder.
        let copies = (self.meta.file.len() as u64).saturating_mul(3);
        limits.memory(width, peak.saturating_add(copies))
    }

    fn read_grid(&self, item: &Item<'_>) -> Result<Grid, PictureError> {
        let data = self.meta.bytes(item).ok_or(PictureError::Truncated { format: self.format })?;
        Grid::read(&data).ok_or_else(|| self.corrupt("its grid is broken"))
    }

    /// The items that are the tiles of the primary picture.
    fn tiles(&self) -> &[u64] {
        let id = self.meta.primary.unwrap_or(0);
        let tiles = self.meta.references.iter().find(|(kind, from, _)| kind == b"dimg" && *from == id);
        tiles.map(|(_, _, to)| to.as_slice()).unwrap_or_default()
    }

    /// Decodes an item that is one coded picture.
    fn coded(&self, item: &Item<'_>, nclx: Option<Nclx>) -> Result<Samples, PictureError> {
        let format = self.format;
        let (width, height) = self.size(item)?;
        let data = self.meta.bytes(item).ok_or(PictureError::Truncated { format })?;
        let Some(coding) = coding(item) else {
            let reason = format!("it is coded as `{}`", item.kind.escape_ascii());
            return Err(PictureError::Unsupported { format, reason });
        };
        let stream = match coding {
            Coding::Hevc => {
                hevc(item, &data).ok_or_else(|| self.corrupt("it has no valid HEVC configuration"))?
            }
            _ => av1(item, &data),
        };
        drop(data);
        let samples = coded::decode(format, coding, &stream, nclx, (width, height))?;
        let fits = samples.width as u64 >= width && samples.height as u64 >= height;
        if !fits {
            let reason = format!(
                "it should have {width} x {height} pixels, and has {} x {}",
                samples.width, samples.height
            );
            return Err(PictureError::Corrupt { format, reason });
        }
        Ok(samples.cut(width as usize, height as usize))
    }

    /// Decodes the tiles of a grid and joins them.
    fn grid(&self, item: &Item<'_>, deadline: &Deadline) -> Result<Samples, PictureError> {
        let format = self.format;
        let corrupt = |reason: &str| self.corrupt(reason);
        let Grid { columns, rows, width, height } = self.read_grid(item)?;
        let tiles = self.tiles();
        if tiles.len() != columns * rows || tiles.len() > MOST_TILES {
            return Err(corrupt("its grid has another number of tiles"));
        }
        let mut whole: Option<Samples> = None;
        for (number, id) in tiles.iter().enumerate() {
            // Many tiles may refer to one large picture, and show few of its pixels.
            if deadline.has_passed() {
                return Err(deadline.error(format));
            }
            let tile = self.meta.items.get(id).ok_or_else(|| corrupt("a tile is missing"))?;
            let samples = self.coded(tile, nclx(item).or_else(|| nclx(tile)))?;
            // Tiles may extend beyond the picture, but not by more than its pixels.
            let decoded = (samples.width * columns) as u64 * (samples.height * rows) as u64;
            if decoded > self.max_pixels.saturating_mul(2).max(1 << 24) {
                return Err(corrupt("its tiles are far larger than it"));
            }
            let canvas = match &mut whole {
                Some(canvas) => canvas,
                None if samples.width * columns >= width && samples.height * rows >= height => {
                    whole.insert(samples.canvas(width, height))
                }
                None => return Err(corrupt("its tiles do not cover it")),
            };
            let place = (number % columns * samples.width, number / columns * samples.height);
            canvas.paste(&samples, place).ok_or_else(|| corrupt("its tiles do not fit together"))?;
        }
        whole.ok_or_else(|| corrupt("its grid is empty"))
    }
}

fn coding(item: &Item<'_>) -> Option<Coding> {
    match &item.kind {
        b"av01" => Some(Coding::Av1),
        b"hvc1" | b"hev1" => Some(Coding::Hevc),
        _ => None,
    }
}

/// The part of a picture that is shown.
struct Crop {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

impl Crop {
    /// `None` if there is none, or it is not inside of the picture.
    fn of(item: &Item<'_>, picture: &Picture) -> Option<Self> {
        let mut reader = Bytes(item.property(b"clap")?);
        let mut fraction = || {
            let above = reader.number(4)? as u32 as i32;
            let below = reader.number(4)? as u32 as i32;
            (below != 0).then(|| f64::from(above) / f64::from(below))
        };
        let (width, height) = (fraction()?, fraction()?);
        // The distances of the centres.
        let (right, down) = (fraction()?, fraction()?);
        let start = |whole: u32, part: f64, distance: f64| {
            let start = ((f64::from(whole) - part) / 2.0 + distance).round();
            (part >= 1.0 && start >= 0.0 && start + part <= f64::from(whole)).then_some(start as u32)
        };
        let (left, top) = (start(picture.width, width, right)?, start(picture.height, height, down)?);
        Some(Self { left, top, width: width as u32, height: height as u32 })
    }
}

/// How many tiles a picture has, and its size.
struct Grid {
    columns: usize,
    rows: usize,
    width: usize,
    height: usize,
}

impl Grid {
    fn read(data: &[u8]) -> Option<Self> {
        let mut reader = Bytes(data);
        reader.skip(1)?;
        let size = if reader.number(1)? & 1 == 0 { 2 } else { 4 };
        let (rows, columns) = (reader.number(1)? as usize + 1, reader.number(1)? as usize + 1);
        let (width, height) = (reader.number(size)? as usize, reader.number(size)? as usize);
        Some(Self { columns, rows, width, height })
    }
}

/// The AV1 units of an item, after those of its configuration.
fn av1(item: &Item<'_>, data: &[u8]) -> Vec<u8> {
    let configured = item.property(b"av1C").and_then(|content| content.get(4..)).unwrap_or_default();
    [configured, data].concat()
}

/// The HEVC units of an item, after those of its configuration, with start codes instead of lengths.
fn hevc(item: &Item<'_>, data: &[u8]) -> Option<Vec<u8>> {
    const START: &[u8] = &[0, 0, 0, 1];
    let mut stream = Vec::with_capacity(data.len() + 256);
    let mut reader = Bytes(item.property(b"hvcC")?);
    reader.skip(21)?;
    let length_size = reader.number(1)? as usize & 3;
    for _ in 0..reader.number(1)? {
        reader.skip(1)?;
        for _ in 0..reader.number(2)? {
            let length = reader.number(2)? as usize;
            stream.extend([START, reader.0.get(..length)?].concat());
            reader.skip(length)?;
        }
    }
    let mut reader = Bytes(data);
    while !reader.0.is_empty() {
        let length = reader.number(length_size + 1)? as usize;
        stream.extend([START, reader.0.get(..length)?].concat());
        reader.skip(length)?;
    }
    Some(stream)
}

impl Samples {
    /// The upper left part of this size.
    fn cut(self, width: usize, height: usize) -> Self {
        if (self.width, self.height) == (width, height) {
            return self;
        }
        let old = plane_sizes(self.colours, self.width, self.height);
        let new = plane_sizes(self.colours, width, height);
        let planes = self.planes.iter().zip(old).zip(new).map(|((plane, (across, _)), (width, height))| {
            plane.chunks(across).take(height).flat_map(|row| &row[..width]).copied().collect()
        });
        let planes = planes.collect();
        Self { width, height, planes, ..self }
    }

    /// An empty picture of this size and of the same kind.
    fn canvas(&self, width: usize, height: usize) -> Self {
        let sizes = plane_sizes(self.colours, width, height);
        let planes = sizes.into_iter().map(|(width, height)| vec![0; width * height]).collect();
        Self { width, height, planes, ..*self }
    }

    /// Copies `tile` to `place`; what is outside is cut off. `None` if the tile is of another kind or its place is between samples.
    fn paste(&mut self, tile: &Self, place: (usize, usize)) -> Option<()> {
        ((self.colours, self.depth) == (tile.colours, tile.depth)).then_some(())?;
        let whole = plane_sizes(self.colours, self.width, self.height);
        let own = plane_sizes(tile.colours, tile.width, tile.height);
        let start = plane_sizes(self.colours, place.0, place.1);
        for number in 0..whole.len() {
            let ((across, down), (width, height), (left, top)) = (whole[number], own[number], start[number]);
            // Half a sample: the tiles before this one have an odd side.
            let doubled = |side: usize, start: usize| side == start || side == 2 * start;
            (doubled(place.0, left) && doubled(place.1, top)).then_some(())?;
            let width = width.min(across.saturating_sub(left));
            // The tile is to the right of the picture.
            if width == 0 {
                continue;
            }
            for row in 0..height.min(down.saturating_sub(top)) {
                let from = &tile.planes[number][row * own[number].0..][..width];
                self.planes[number][(top + row) * across + left..][..width].copy_from_slice(from);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_cut_at_the_edges_of_the_picture() {
        let grey = |side: usize, level: u16| Samples {
            width: side,
            height: side,
            depth: 8,
            colours: coded::Model::Grey { full_range: true },
            planes: vec![vec![level; side * side]],
        };
        let mut picture = grey(3, 0);
        for (place, level) in [((0, 0), 1), ((2, 0), 2), ((2, 2), 3), ((4, 0), 4), ((0, 40), 5), ((40, 1), 6)]
        {
            picture.paste(&grey(2, level), place).unwrap();
        }
        assert_eq!(picture.planes, [[1, 1, 2, 1, 1, 2, 0, 0, 3]]);
    }
}
