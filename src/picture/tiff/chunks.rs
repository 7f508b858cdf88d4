//! Unpacks one strip or tile of a TIFF to RGB.

use std::io::{ErrorKind, Read};

use flate2::read::ZlibDecoder;
use weezl::{BitOrder, LzwStatus, decode::Decoder as Lzw};

use super::{
    error::{FORMAT, corrupt, unsupported},
    fax,
    layout::{Colours, Compression, Layout, Predictor},
    pixels::{self, Subsampled, number},
};
use crate::picture::{
    PictureError,
    ifd::Tiff,
    jpeg,
    limits::{Deadline, Limits},
};

/// A strip or a tile.
#[derive(Clone, Copy)]
pub(super) struct Chunk<'c, 'b> {
    pub(super) file: &'c Tiff<'b>,
    pub(super) layout: &'c Layout<'b>,
    /// The number of its first plane.
    pub(super) number: usize,
    /// Its rows that are in the picture.
    pub(super) rows: usize,
    pub(super) deadline: &'c Deadline,
}

impl Chunk<'_, '_> {
    /// Calls `paint` with each row as RGB: `chunk_width * 3` bytes. Rows are converted one by one, because samples take several
    /// times the memory of RGB. A JPEG may take `jpeg` bytes of memory.
    pub(super) fn paint(self, jpeg: u64, mut paint: impl FnMut(&[u8])) -> Result<(), PictureError> {
        let Self { file, layout, number, rows, deadline } = self;
        if layout.compression == Compression::Jpeg {
            let rgb = from_jpeg(stored(file, layout, number)?, layout, rows, jpeg)?;
            rgb.chunks_exact(layout.chunk_width * 3).take(rows).for_each(paint);
            return Ok(());
        }
        let row = usize::try_from(layout.row()).map_err(|_| PictureError::Truncated { format: FORMAT })?;
        if layout.is_subsampled() {
            let units = rows.div_ceil(layout.subsampling.1);
            let packed = unpacked(file, layout, number, (row, units), deadline)?;
            let blocks = Subsampled::new(layout, &packed, row);
            (0..rows).for_each(|y| paint(&blocks.row(y)));
            return Ok(());
        }
        let (planes, in_plane) = layout.planes();
        let per_plane = layout.chunks_across * layout.chunks_down;
        let unpacked = |plane: usize| {
            let mut bytes = unpacked(file, layout, number + plane * per_plane, (row, rows), deadline)?;
            unpredict(&mut bytes, layout, row, in_plane)?;
            Ok::<_, PictureError>(bytes)
        };
        let planes = (0..planes).map(unpacked).collect::<Result<Vec<_>, _>>()?;
        for y in 0..rows {
            let samples = |plane: &Vec<u8>| pixels::samples(&plane[y * row..][..row], layout, in_plane);
            let samples = planes.iter().map(samples).collect::<Vec<_>>();
            match &samples[..] {
                [samples] => paint(&pixels::rgb(layout, samples)),
                several => paint(&pixels::rgb(layout, &pixels::interleaved(several))),
            }
        }
        Ok(())
    }
}

/// The memory that the JPEG of a chunk may take: that of the first one. 0 for another compression.
pub(super) fn jpeg_memory(file: &Tiff<'_>, layout: &Layout<'_>, limits: Limits) -> u64 {
    if layout.compression != Compression::Jpeg {
        return 0;
    }
    let limits = Limits { max_pixels: jpeg_pixels(layout), memory: limits.memory };
    let first = stored(file, layout, 0).and_then(|bytes| jpeg::needed(&whole_jpeg(bytes, layout)?, limits));
    // What cannot be read is reported when the chunk is decoded.
    first.unwrap_or_else(|error| match error {
        PictureError::NeedsMemory { needed, .. } => needed,
        _ => 0,
    })
}

/// The bytes of a chunk as stored, which may be fewer than announced.
fn stored<'b>(file: &Tiff<'b>, layout: &Layout<'_>, number: usize) -> Result<&'b [u8], PictureError> {
    let (offset, length) = layout.bytes_of(number);
    let rest = file.rest(offset).ok_or(PictureError::Truncated { format: FORMAT })?;
    Ok(&rest[..rest.len().min(usize::try_from(length).unwrap_or(usize::MAX))])
}

/// The bytes of a chunk without compression: `rows` times `row` bytes.
fn unpacked(
    file: &Tiff<'_>,
    layout: &Layout<'_>,
    number: usize,
    (row, rows): (usize, usize),
    deadline: &Deadline,
) -> Result<Vec<u8>, PictureError> {
    let truncated = PictureError::Truncated { format: FORMAT };
    // Rows that were never written (a tile that extends beyond the picture) are stored, too.
    let size = row.checked_mul(rows).ok_or(truncated.clone())?;
    let (offset, _) = layout.bytes_of(number);
    let mut reversed = Vec::new();
    let mut bytes = match layout.compression {
        // The length may be wrong: the size of the picture decides.
        Compression::Raw => file.rest(offset).and_then(|rest| rest.get(..size)).ok_or(truncated)?,
        _ => stored(file, layout, number)?,
    };
    if layout.reversed_bits {
        reversed.extend(bytes.iter().map(|byte| byte.reverse_bits()));
        bytes = &reversed;
    }
    let broken = |what: &str| corrupt(format!("its {what} data are broken"));
    let mut all = vec![0; size];
    match layout.compression {
        Compression::Raw => all.copy_from_slice(bytes),
        Compression::Deflate => {
            ZlibDecoder::new(deadline.reader(bytes)).read_exact(&mut all).map_err(|error| {
                match error.kind() {
                    ErrorKind::UnexpectedEof => truncated_or(file, layout, number, || broken("deflate")),
                    _ => broken("deflate"),
                }
            })?;
        }
        Compression::Lzw => {
            lzw(bytes, &mut all).ok_or_else(|| truncated_or(file, layout, number, || broken("LZW")))?
        }
        Compression::PackBits => {
            pack_bits(bytes, &mut all)
                .ok_or_else(|| truncated_or(file, layout, number, || broken("PackBits")))?;
        }
        Compression::FaxRows | Compression::Fax3 { .. } | Compression::Fax4 => {
            fax::decode(bytes, layout.compression, layout.chunk_width, &mut all)
                .ok_or_else(|| truncated_or(file, layout, number, || broken("fax")))?;
        }
        Compression::Jpeg => return Err(broken("JPEG")),
    }
    Ok(all)
}

/// What is wrong with a chunk that has too few bytes: the end of the file may be missing.
fn truncated_or(
    file: &Tiff<'_>,
    layout: &Layout<'_>,
    number: usize,
    otherwise: impl FnOnce() -> PictureError,
) -> PictureError {
    let (offset, length) = layout.bytes_of(number);
    let is_cut = file.rest(offset).is_none_or(|rest| (rest.len() as u64) < length);
    if is_cut { PictureError::Truncated { format: FORMAT } } else { otherwise() }
}

fn lzw(bytes: &[u8], all: &mut [u8]) -> Option<()> {
    let mut decoder = Lzw::with_tiff_size_switch(BitOrder::Msb, 8);
    let (mut from, mut to) = (0, 0);
    while to < all.len() {
        let result = decoder.decode_bytes(&bytes[from..], &mut all[to..]);
        from += result.consumed_in;
        to += result.consumed_out;
        match result.status.ok()? {
            LzwStatus::Ok if result.consumed_in + result.consumed_out > 0 => {}
            _ => break,
        }
    }
    (to == all.len()).then_some(())
}

fn pack_bits(mut bytes: &[u8], all: &mut [u8]) -> Option<()> {
    let mut to = 0;
    while to < all.len() {
        let (count, rest) = bytes.split_first()?;
        let room = all.len() - to;
        bytes = match *count {
            count @ 0..=127 => {
                let count = usize::from(count) + 1;
                let literal = rest.get(..count)?;
                let used = count.min(room);
                all[to..to + used].copy_from_slice(&literal[..used]);
                to += used;
                &rest[count..]
            }
            128 => rest,
            count => {
                let used = (257 - usize::from(count)).min(room);
                all[to..to + used].fill(*rest.first()?);
                to += used;
                &rest[1..]
            }
        };
    }
    Some(())
}

/// Turns differences back into samples.
fn unpredict(bytes: &mut [u8], layout: &Layout<'_>, row: usize, in_plane: usize) -> Result<(), PictureError> {
    if !matches!(layout.compression, Compression::Lzw | Compression::Deflate) || row == 0 {
        return Ok(());
    }
    let rows = bytes.chunks_exact_mut(row);
    match (layout.predictor, layout.bits) {
        (Predictor::Nothing, _) => {}
        (Predictor::Differences, bits @ (8 | 16 | 32)) => {
            let width = bits / 8;
            for row in rows {
                for at in (in_plane * width..row.len()).step_by(width) {
                    let before = at - in_plane * width;
                    let sum = number(&row[before..before + width], layout.big_endian)
                        .wrapping_add(number(&row[at..at + width], layout.big_endian));
                    let (little, big) = (sum.to_le_bytes(), sum.to_be_bytes());
                    let sum = if layout.big_endian { &big[4 - width..] } else { &little[..width] };
                    row[at..at + width].copy_from_slice(sum);
                }
            }
        }
        (Predictor::FloatDifferences, 32) => {
            for row in rows {
                for at in in_plane..row.len() {
                    row[at] = row[at].wrapping_add(row[at - in_plane]);
                }
                // The highest bytes of all numbers come first.
                let planes = row.to_vec();
                let count = planes.len() / 4;
                for (at, number) in row.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                    let mut big = [0, 1, 2, 3].map(|byte| planes[byte * count + at]);
                    if !layout.big_endian {
                        big.reverse();
                    }
                    *number = big;
                }
            }
        }
        (predictor, bits) => {
            let what = if predictor == Predictor::FloatDifferences { "floating-point" } else { "horizontal" };
            return Err(unsupported(format!("it has the {what} predictor for samples of {bits} bits")));
        }
    }
    Ok(())
}

/// The most pixels of the JPEG of a chunk: its last rows may be padded.
fn jpeg_pixels(layout: &Layout<'_>) -> u64 {
    (layout.chunk_width as u64).saturating_mul((layout.chunk_height as u64).saturating_add(16))
}

/// The JPEG of a chunk with its tables, which may be in a tag.
fn whole_jpeg(bytes: &[u8], layout: &Layout<'_>) -> Result<Vec<u8>, PictureError> {
    // The colours of the JPEG are those that the TIFF declares: Adobe's segment declares them to libjpeg.
    let transform = match layout.colours {
        Colours::YCbCr => 1,
        _ => 0,
    };
    let adobe = [&[0xFF, 0xEE, 0, 14][..], b"Adobe", &[0, 100, 0, 0, 0, 0, transform]].concat();
    let tables = layout.jpeg_tables.and_then(|tables| tables.strip_prefix(&[0xFF, 0xD8]));
    let tables = tables.map_or(&[][..], |tables| tables.strip_suffix(&[0xFF, 0xD9]).unwrap_or(tables));
    let body = bytes.strip_prefix(&[0xFF, 0xD8]).ok_or_else(|| corrupt("its JPEG data are broken"))?;
    Ok([&[0xFF, 0xD8], &adobe[..], tables, body].concat())
}

/// The pixels of a chunk that is a JPEG.
fn from_jpeg(bytes: &[u8], layout: &Layout<'_>, rows: usize, memory: u64) -> Result<Vec<u8>, PictureError> {
    let limits = Limits { max_pixels: jpeg_pixels(layout), memory };
    let picture = jpeg::decode(&whole_jpeg(bytes, layout)?, limits).map_err(|error| match error {
        PictureError::Truncated { .. } => PictureError::Truncated { format: FORMAT },
        PictureError::Unsupported { reason, .. } => unsupported(format!("its JPEG data: {reason}")),
        other => corrupt(format!("its JPEG data: {other}")),
    })?;
    if picture.width as usize != layout.chunk_width || (picture.height as usize) < rows {
        return Err(corrupt("its JPEG data have another size"));
    }
    let mut rgb = picture.into_rgb();
    if layout.colours == (Colours::Grey { inverted: true }) {
        rgb.iter_mut().for_each(|level| *level = 255 - *level);
    }
    Ok(rgb)
}
