//! GIF: decodes the first frame from its palette, because the reference keeps the colour of the transparent index.

use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, DecodingError, Frame, MemoryLimit};

use super::{
    error::PictureError,
    limits::{Limits, TimedReader},
    pixels::Picture,
};

const FORMAT: &str = "GIF";

type Decoder<'b> = gif::Decoder<TimedReader<'b>>;

/// The most memory that [`decode`] takes.
pub(super) fn needed(reader: TimedReader<'_>, limits: Limits) -> Result<u64, PictureError> {
    opened(reader, limits).map(|(_, _, needed)| needed)
}

/// A decoder that has read up to the pixels of the first frame, the size of the picture, and the memory that it needs.
fn opened(reader: TimedReader<'_>, limits: Limits) -> Result<(Decoder<'_>, (u32, u32), u64), PictureError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    // One byte a pixel.
    let most = NonZeroU64::new(limits.max_pixels.min(limits.memory));
    options.set_memory_limit(most.map_or(MemoryLimit::Unlimited, MemoryLimit::Bytes));
    let mut decoder = options.read_info(reader).map_err(broken)?;
    let screen = (u32::from(decoder.width()), u32::from(decoder.height()));
    let frame =
        decoder.next_frame_info().map_err(broken)?.ok_or(PictureError::Truncated { format: FORMAT })?;
    let right = u32::from(frame.left) + u32::from(frame.width);
    let bottom = u32::from(frame.top) + u32::from(frame.height);
    // A frame that extends beyond the screen enlarges the picture, as in the reference.
    let (width, height) = (screen.0.max(right), screen.1.max(bottom));
    let pixels = limits.pixels(FORMAT, (width.into(), height.into()))?;
    // The indices of the frame, those of the picture, and its colours.
    let needed = limits.memory(width.into(), pixels.saturating_mul(1 + 1 + 3))?;
    Ok((decoder, (width, height), needed))
}

pub(super) fn decode(reader: TimedReader<'_>, limits: Limits) -> Result<Picture, PictureError> {
    let (mut decoder, (width, height), _) = opened(reader, limits)?;
    let global = decoder.global_palette().map(<[u8]>::to_vec);
    let mut indices = vec![0; decoder.buffer_size()];
    decoder.read_into_buffer(&mut indices).map_err(broken)?;
    let frame = decoder.current_frame_info().ok_or(PictureError::Truncated { format: FORMAT })?;
    Ok(picture(width, height, frame, &indices, global.as_deref()))
}

/// Paints the frame on a canvas of the transparent index, or of index 0 if there is none.
fn picture(width: u32, height: u32, frame: &Frame<'_>, indices: &[u8], global: Option<&[u8]>) -> Picture {
    let palette = frame.palette.as_deref().or(global);
    let colour = |index: u8| match palette {
        Some(palette) => palette.as_chunks::<3>().0.get(usize::from(index)).copied().unwrap_or_default(),
        // Without a palette the index is a level of grey.
        None => [index; 3],
    };
    let mut canvas = vec![frame.transparent.unwrap_or(0); width as usize * height as usize];
    if frame.width > 0 {
        for (row, pixels) in indices.chunks_exact(frame.width.into()).enumerate() {
            let start = (usize::from(frame.top) + row) * width as usize + usize::from(frame.left);
            canvas[start..start + pixels.len()].copy_from_slice(pixels);
        }
    }
    let rgb = canvas.into_iter().flat_map(colour).collect();
    Picture { transparent: frame.transparent.map(colour), ..Picture::of_rgb(width, height, rgb) }
}

fn broken(error: DecodingError) -> PictureError {
    match error {
        DecodingError::UnexpectedEof => PictureError::Truncated { format: FORMAT },
        DecodingError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            PictureError::Truncated { format: FORMAT }
        }
        error => PictureError::Corrupt { format: FORMAT, reason: error.to_string() },
    }
}
