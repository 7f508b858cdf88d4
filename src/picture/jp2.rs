//! JPEG 2000: a codestream, alone or in the boxes of a JP2 file. The reference applies no orientation to it.

use super::{
    coded::{self, Coding, Model},
    error::PictureError,
    limits::check_size,
    pixels::Picture,
};

const FORMAT: &str = "JPEG 2000";

/// The first bytes of a JP2 file.
pub(super) const SIGNATURE: [u8; 12] = *b"\0\0\0\x0CjP  \r\n\x87\n";
/// The first bytes of a codestream: its start, and the marker of its size.
pub(super) const CODESTREAM: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];

pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<Picture, PictureError> {
    let stream = codestream(bytes)?;
    let (width, height) = size(stream).ok_or(PictureError::Truncated { format: FORMAT })?;
    check_size(FORMAT, width, height, max_pixels)?;
    // As in the reference: grey or colours, with or without alpha.
    let components = stream.get(40..42).map_or(0, |count| u16::from_be_bytes([count[0], count[1]]));
    if !(1..=4).contains(&components) {
        return Err(PictureError::Unsupported {
            format: FORMAT,
            reason: format!("its pixels have {components} components"),
        });
    }
    // The decoder replaces missing parts without an error.
    if !stream.ends_with(&[0xFF, 0xD9]) {
        return Err(PictureError::Truncated { format: FORMAT });
    }
    let samples = coded::decode(FORMAT, Coding::Jpeg2000, bytes, None, max_pixels)?;
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
        rest = &rest[header + content.len()..];
    }
}

/// Width and height of a codestream.
fn size(stream: &[u8]) -> Option<(u64, u64)> {
    let number = |at: usize| Some(u64::from(u32::from_be_bytes(*stream.get(at..)?.first_chunk()?)));
    let side = |to: usize, from: usize| Some(number(to)?.saturating_sub(number(from)?));
    stream.starts_with(&CODESTREAM).then_some(())?;
    Some((side(8, 16)?, side(12, 20)?))
}
