//! TIFF as the reference (Pillow, with libtiff) reads it, with the same pixels.
//!
//! | what | kinds |
//! |---|---|
//! | compression | none, PackBits, LZW, deflate, JPEG, fax (modified Huffman, group 3, group 4) |
//! | pixels | black and white, grey of 2 to 32 bits, palette, RGB, CMYK, YCbCr, Lab, signed and floating-point grey |
//! | layout | strips, tiles, separate planes, extra samples, both bit orders, BigTIFF |
//!
//! Only the first picture is read. Lab differs from the reference for colours that no screen shows.

mod chunks;
mod error;
mod fax;
mod layout;
mod pixels;

use std::time::Duration;

use image::metadata::Orientation;

use self::{error::FORMAT, layout::Layout};
use super::{
    error::PictureError,
    ifd::Tiff,
    limits::{Deadline, Limits},
    metadata::{Metadata, upright},
    pixels::Picture,
};

pub(super) fn decode(bytes: &[u8], longest: Duration, limits: Limits) -> Result<Picture, PictureError> {
    let deadline = Deadline::new(longest);
    let (file, layout) = opened(bytes)?;
    let Needed { jpeg, .. } = memory(&file, &layout, limits)?;
    let (width, height) = (layout.width, layout.height);
    let mut rgb = vec![0; width * height * 3];
    for number in 0..layout.chunks_across * layout.chunks_down {
        if deadline.has_passed() {
            return Err(deadline.error(FORMAT));
        }
        let (left, top) = layout.place(number);
        let columns = layout.chunk_width.min(width - left);
        let rows = layout.chunk_height.min(height - top);
        let mut targets = rgb.chunks_exact_mut(width * 3).skip(top);
        let paint = |row: &[u8]| {
            if let Some(target) = targets.next() {
                target[left * 3..(left + columns) * 3].copy_from_slice(&row[..columns * 3]);
            }
        };
        let chunk = chunks::Chunk { file: &file, layout: &layout, number, rows, deadline: &deadline };
        chunk.paint(jpeg, paint)?;
    }
    let picture = Picture::of_rgb(width as u32, height as u32, rgb);
    Ok(upright(picture, Metadata::of_tiff(bytes).orientation()))
}

/// The most memory that [`decode`] takes.
pub(super) fn needed(bytes: &[u8], limits: Limits) -> Result<u64, PictureError> {
    let (file, layout) = opened(bytes)?;
    memory(&file, &layout, limits).map(|needed| needed.all)
}

fn opened(bytes: &[u8]) -> Result<(Tiff<'_>, Layout<'_>), PictureError> {
    let file = Tiff::new(bytes).ok_or(PictureError::Truncated { format: FORMAT })?;
    let tags = file.first();
    let layout = Layout::read(&tags, file.is_big_endian(), bytes.len())
        .map_err(|error| if tags.is_cut() { PictureError::Truncated { format: FORMAT } } else { error })?;
    Ok((file, layout))
}

/// The memory for a picture.
struct Needed {
    all: u64,
    /// The part of it for the JPEG of a chunk.
    jpeg: u64,
}

/// Checks the sizes, and computes the memory: the pixels, a chunk without compression, and a turned copy.
fn memory(file: &Tiff<'_>, layout: &Layout<'_>, limits: Limits) -> Result<Needed, PictureError> {
    layout.check_sizes(limits)?;
    let length = (file.bytes().len() as u64).saturating_add(layout.tables());
    let pixels = (layout.width as u64).saturating_mul(layout.height as u64);
    let jpeg = chunks::jpeg_memory(file, layout, limits).saturating_add(length);
    let chunk = match layout.compression {
        layout::Compression::Jpeg => jpeg,
        // With its bits in the other order, and rows as samples of 32 bits.
        _ => {
            let samples = (layout.chunk_width as u64).saturating_mul(layout.samples as u64 * 12);
            layout.unpacked(layout.rows()).saturating_add(samples)
        }
    };
    let is_turned = Metadata::of_tiff(file.bytes()).orientation() != Orientation::NoTransforms;
    let rgb = pixels.saturating_mul(3);
    let peak = rgb.saturating_add(chunk.max(if is_turned { rgb } else { 0 }));
    let width = layout.width.max(layout.chunk_width) as u64;
    Ok(Needed { all: limits.memory(width, peak.saturating_add(length))?, jpeg })
}
