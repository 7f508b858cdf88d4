//! JPEG by libjpeg-turbo, whose pixels are the reference's: any other decoder differs by a few levels.

use turbojpeg::{Colorspace, Compressor, Decompressor, Image, PixelFormat, ScalingFactor, Subsamp};

use super::{Picture, PictureError, check_size, exif};

const FORMAT: &str = "JPEG";

/// A progressive JPEG has about ten scans, and each goes over the whole picture: a small file with thousands of them
/// would keep a core busy for minutes. So large pictures may have fewer than small ones, but all of them more than any
/// encoder writes. That is a JPEG's limit of time.
const SCANS: (u64, u64) = (20, 500);
/// So many pixels may be gone over, all scans together: 0.4 to 1.6 ns each, measured with four kinds of scans repeated 200
/// times on a busy machine, so seconds in all.
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

pub(super) fn encode(picture: &Picture, quality: u8) -> Result<Vec<u8>, PictureError> {
    let rgb = picture.rgb();
    let image = Image {
        pixels: &*rgb,
        width: picture.width as usize,
        pitch: picture.width as usize * 3,
        height: picture.height as usize,
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

/// First the same pixels at a lower quality, then a half, a quarter and an eighth of them in each direction.
pub(super) fn shrink(bytes: &[u8], most: usize) -> Option<Vec<u8>> {
    const QUALITIES: [u8; 3] = [75, 60, 40];
    let scales =
        [ScalingFactor::ONE, ScalingFactor::ONE_HALF, ScalingFactor::ONE_QUARTER, ScalingFactor::ONE_EIGHTH];
    scales.into_iter().find_map(|scale| {
        let picture = scaled(bytes, scale)?;
        QUALITIES
            .into_iter()
            .find_map(|quality| encode(&picture, quality).ok().filter(|jpeg| jpeg.len() <= most))
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

/// Whether the pixels are whole although libjpeg warned: after a warning it has still decoded everything.
///
/// Two kinds are common with real cameras: bytes too many before the end marker, and a header field that sequential
/// JPEG does not use. Only the first warning is told, so the second kind must show its end marker as well.
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
    // Where the bytes end libjpeg pretends an end marker, and misses what should have come before it.
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
    fn the_larger_the_fewer_scans() {
        for (pixels, scans) in
            [(1, 500), (8_000_000, 500), (12_000_000, 333), (100_000_000, 40), (10_000_000_000, 20)]
        {
            assert_eq!(max_scans(pixels), scans, "{pixels}");
        }
    }
}
