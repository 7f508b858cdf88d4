//! JPEG with libjpeg-turbo, the only decoder with the reference's pixels: others differ by a few levels.

use turbojpeg::{Colorspace, Compressor, Decompressor, Image, PixelFormat, ScalingFactor, Subsamp};

use super::{error::PictureError, exif, limits::check_size, pixels::Picture};

const FORMAT: &str = "JPEG";

/// The least and the most scans that a JPEG may have, by its size: this limits the time that a JPEG takes.
///
/// A progressive JPEG has about ten scans, and each of them covers the whole picture: a small file with thousands of scans
/// would keep a core busy for minutes. Every limit is higher than what encoders write.
const SCANS: (u64, u64) = (20, 500);
/// Pixels of all scans together. One takes 0.4 to 1.6 ns (four kinds of scans, repeated 200 times on a busy machine), so all of
/// them take seconds.
const SCANNED: u64 = 4_000_000_000;

pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<Picture, PictureError> {
    let mut decoder = Decompressor::new().map_err(|error| broken(&error, bytes))?;
    let header = decoder.read_header(bytes).map_err(|error| broken(&error, bytes))?;
    let (width, height) = (header.width as u64, header.height as u64);
    check_size(FORMAT, width, height, max_pixels)?;
    decoder.set_scan_limit(max_scans(width * height)).map_err(|error| broken(&error, bytes))?;

    let four_inks = matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK);
    let format = if four_inks { PixelFormat::CMYK } else { PixelFormat::RGB };
    let pitch = header.width * format.size();
    let mut image = Image {
        pixels: vec![0; pitch * header.height],
        width: header.width,
        pitch,
        height: header.height,
        format,
    };
    if let Err(error) = decoder.decompress(bytes, image.as_deref_mut())
        && !is_harmless(&error, bytes)
    {
        return Err(broken(&error, bytes));
    }
    let rgb = if four_inks { cmyk_to_rgb(&image.pixels) } else { image.pixels };
    let side = |length: usize| u32::try_from(length).expect("a JPEG side has 16 bits");
    let picture = Picture::of_rgb(side(header.width), side(header.height), rgb);
    Ok(exif::upright(picture, exif::orientation(exif::of_jpeg(bytes))))
}

impl Picture {
    /// The picture as JPEG, 4:2:0, `quality` 1 to 100.
    ///
    /// # Errors
    /// JPEG holds at most 65 500 pixels a side.
    pub fn to_jpeg(&self, quality: u8) -> Result<Vec<u8>, PictureError> {
        let rgb = self.rgb();
        let image = Image {
            pixels: &*rgb,
            width: self.width as usize,
            pitch: self.width as usize * 3,
            height: self.height as usize,
            format: PixelFormat::RGB,
        };
        let encoded = || {
            let mut encoder = Compressor::new()?;
            encoder.set_quality(i32::from(quality.clamp(1, 100)))?;
            encoder.set_subsamp(Subsamp::Sub2x2)?;
            encoder.compress_to_vec(image)
        };
        encoded().map_err(|error: turbojpeg::Error| PictureError::Encode { reason: reason(&error) })
    }
}

/// Makes a JPEG smaller, to at most `most` bytes: first by quality, then to a half, a quarter and an eighth of its width and
/// height. `None` if that does not suffice, or if the JPEG cannot be decoded.
#[must_use]
pub fn shrink(bytes: &[u8], most: usize) -> Option<Vec<u8>> {
    const QUALITIES: [u8; 3] = [75, 60, 40];
    let scales =
        [ScalingFactor::ONE, ScalingFactor::ONE_HALF, ScalingFactor::ONE_QUARTER, ScalingFactor::ONE_EIGHTH];
    scales.into_iter().find_map(|scale| {
        let picture = scaled(bytes, scale)?;
        QUALITIES
            .into_iter()
            .find_map(|quality| picture.to_jpeg(quality).ok().filter(|jpeg| jpeg.len() <= most))
    })
}

fn scaled(bytes: &[u8], scale: ScalingFactor) -> Option<Picture> {
    let mut decoder = Decompressor::new().ok()?;
    decoder.set_scaling_factor(scale).ok()?;
    let header = decoder.read_header(bytes).ok()?.scaled(scale);
    let (format, pitch) = (PixelFormat::RGB, header.width * PixelFormat::RGB.size());
    let pixels = vec![0; pitch * header.height];
    let mut image = Image { pixels, width: header.width, pitch, height: header.height, format };
    decoder.decompress(bytes, image.as_deref_mut()).ok()?;
    let (width, height) = (u32::try_from(header.width).ok()?, u32::try_from(header.height).ok()?);
    Some(Picture::of_rgb(width, height, image.pixels))
}

fn max_scans(pixels: u64) -> u32 {
    let scans = (SCANNED / pixels.max(1)).clamp(SCANS.0, SCANS.1);
    u32::try_from(scans).expect("it is a few hundred")
}

/// Whether the pixels are complete in spite of a warning: after one, libjpeg has still decoded everything.
///
/// Two warnings are common with real cameras: extra bytes before the end marker, and a header field that sequential JPEG does
/// not use. libjpeg reports only the first warning, so the second kind also needs the end marker.
fn is_harmless(warning: &turbojpeg::Error, bytes: &[u8]) -> bool {
    let text = warning.to_string();
    text.ends_with("extraneous bytes before marker 0xd9")
        || text.contains("Invalid SOS parameters for sequential JPEG") && ends(bytes)
}

fn ends(bytes: &[u8]) -> bool {
    bytes.ends_with(&[0xFF, 0xD9])
}

/// Pillow's arithmetic on Adobe's inverted inks: `r = k - (255 - c) * k / 255`, rounded, where `c` and `k` are as stored.
fn cmyk_to_rgb(pixels: &[u8]) -> Vec<u8> {
    let ink = |stored: u8, k: u8| {
        let product = u32::from(255 - stored) * u32::from(k) + 128;
        let covered = ((product >> 8) + product) >> 8;
        u8::try_from(u32::from(k).saturating_sub(covered)).expect("k has 8 bits")
    };
    pixels
        .as_chunks::<4>()
        .0
        .iter()
        .flat_map(|&[cyan, magenta, yellow, k]| [ink(cyan, k), ink(magenta, k), ink(yellow, k)])
        .collect()
}

fn broken(error: &turbojpeg::Error, bytes: &[u8]) -> PictureError {
    let reason = reason(error);
    // At the end of the bytes libjpeg inserts an end marker and reports what is missing before it.
    let ends_early =
        ["missing SOS", "contains no image"].iter().any(|text| reason.contains(text)) && !ends(bytes);
    if reason.to_ascii_lowercase().contains("premature end") || ends_early {
        return PictureError::Truncated { format: FORMAT };
    }
    if reason.contains("nsupported") || reason.contains("precision") {
        return PictureError::Unsupported { format: FORMAT, reason };
    }
    PictureError::Corrupt { format: FORMAT, reason }
}

fn reason(error: &turbojpeg::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("TurboJPEG error: ").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_pictures_may_have_fewer_scans() {
        for (pixels, scans) in
            [(1, 500), (8_000_000, 500), (12_000_000, 333), (100_000_000, 40), (10_000_000_000, 20)]
        {
            assert_eq!(max_scans(pixels), scans, "{pixels}");
        }
    }
}
