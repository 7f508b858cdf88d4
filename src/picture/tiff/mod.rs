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

use self::{error::FORMAT, layout::Layout};
use super::{
    error::PictureError,
    ifd::Tiff,
    limits::{Deadline, check_size},
    metadata::{Metadata, upright},
    pixels::Picture,
};

pub(super) fn decode(bytes: &[u8], longest: Duration, max_pixels: u64) -> Result<Picture, PictureError> {
    let deadline = Deadline::new(longest);
    let file = Tiff::new(bytes).ok_or(PictureError::Truncated { format: FORMAT })?;
    let tags = file.first();
    let layout = Layout::read(&tags, file.is_big_endian(), bytes.len())
        .map_err(|error| if tags.is_cut() { PictureError::Truncated { format: FORMAT } } else { error })?;
    let (width, height) = (layout.width, layout.height);
    check_size(FORMAT, width as u64, height as u64, max_pixels)?;
    layout.check_chunks(max_pixels)?;
    let mut rgb = vec![0; width * height * 3];
    for number in 0..layout.chunks_across * layout.chunks_down {
        if deadline.has_passed() {
            return Err(deadline.error(FORMAT));
        }
        let (left, top) = layout.place(number);
        let columns = layout.chunk_width.min(width - left);
        let rows = layout.chunk_height.min(height - top);
        let pixels = chunks::rgb(&file, &layout, number, rows, &deadline)?;
        let source = pixels.chunks_exact(layout.chunk_width * 3);
        let target = rgb.chunks_exact_mut(width * 3).skip(top);
        for (from, to) in source.take(rows).zip(target) {
            to[left * 3..(left + columns) * 3].copy_from_slice(&from[..columns * 3]);
        }
    }
    let picture = Picture::of_rgb(width as u32, height as u32, rgb);
    Ok(upright(picture, Metadata::of_tiff(bytes).orientation()))
}
