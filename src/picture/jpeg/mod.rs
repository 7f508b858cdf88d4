//! JPEG with libjpeg-turbo, the only decoder with the reference's pixels: others differ by a few levels.

mod scans;

use std::borrow::Cow;

use image::metadata::Orientation;
use turbojpeg::{
    Colorspace, Compressor, DecompressHeader, Decompressor, Image, PixelFormat, ScalingFactor, Subsamp,
};

use super::{containers, error::PictureError, limits::Limits, metadata::upright, pixels::Picture};

const FORMAT: &str = "JPEG";

/// The least and the most scans that a JPEG may have, by its size: this limits the time that a JPEG takes.
///
/// A progressive JPEG has about ten scans, and each of them covers the whole picture: a small file with thousands of scans
/// would keep a core busy for minutes. Every limit is higher than what encoders write.
const SCANS: (u64, u64) = (20, 500);
/// Pixels of all scans together. A pixel takes 0.4 to 1.6 ns, depending on the kind of scan, so all of them take seconds.
const SCANNED: u64 = 4_000_000_000;

pub(in crate::picture) fn decode(bytes: &[u8], limits: Limits) -> Result<Picture, PictureError> {
    let (mut decoder, bytes, header) = opened(bytes)?;
    memory(&bytes, &header, limits)?;
    let pixels = header.width as u64 * header.height as u64;
    decoder.set_scan_limit(max_scans(pixels)).map_err(|error| broken(&error, &bytes))?;

    let four_inks = has_four_inks(&header);
    let format = if four_inks { PixelFormat::CMYK } else { PixelFormat::RGB };
    let pitch = header.width * format.size();
    let mut image = Image {
        pixels: vec![0; pitch * header.height],
        width: header.width,
        pitch,
        height: header.height,
        format,
    };
    if let Err(error) = decoder.decompress(&bytes, image.as_deref_mut())
        && !(is_warning(&error) && scans::are_complete(&bytes))
    {
        return Err(broken(&error, &bytes));
    }
    let rgb = if four_inks { cmyk_to_rgb(&image.pixels) } else { image.pixels };
    let side = |length: usize| u32::try_from(length).expect("a JPEG side has 16 bits");
    let picture = Picture::of_rgb(side(header.width), side(header.height), rgb);
    Ok(upright(picture, containers::jpeg(&bytes).orientation()))
}

/// The most memory that [`decode`] takes.
pub(in crate::picture) fn needed(bytes: &[u8], limits: Limits) -> Result<u64, PictureError> {
    let (_, bytes, header) = opened(bytes)?;
    memory(&bytes, &header, limits)
}

/// A decoder that has read the header, and the bytes that it takes.
fn opened(bytes: &[u8]) -> Result<(Decompressor, Cow<'_, [u8]>, DecompressHeader), PictureError> {
    let mut decoder = Decompressor::new().map_err(|error| broken(&error, bytes))?;
    match decoder.read_header(bytes) {
        Ok(header) => Ok((decoder, bytes.into(), header)),
        // libjpeg has skipped something in the header, and does not return what it has read.
        Err(warning) if is_warning(&warning) => {
            let repaired = with_plain_header(bytes);
            let header = decoder.read_header(&repaired).map_err(|error| broken(&error, bytes))?;
            Ok((decoder, repaired.into(), header))
        }
        Err(error) => Err(broken(&error, bytes)),
    }
}

/// Checks the size, and computes the memory: the pixels, the coefficients if libjpeg has to keep them, and a turned copy.
fn memory(bytes: &[u8], header: &DecompressHeader, limits: Limits) -> Result<u64, PictureError> {
    let (width, height) = (header.width as u64, header.height as u64);
    let pixels = limits.pixels(FORMAT, (width, height))?;
    let four_inks = has_four_inks(header);
    // Of four inks, the inks and their conversion.
    let output = pixels.saturating_mul(if four_inks { 7 } else { 3 });
    let unknown = pixels.saturating_mul(if four_inks { 8 } else { 6 });
    let coefficients = scans::coefficients(bytes).unwrap_or(unknown);
    // The check for missing pixels notes which of the 64 coefficients of a block, 128 bytes, are not zero.
    let decoding = output.saturating_add(coefficients).saturating_add(coefficients / 16);
    let is_turned = containers::jpeg(bytes).orientation() != Orientation::NoTransforms;
    let turning = if is_turned { pixels.saturating_mul(6) } else { 0 };
    limits.memory(width, decoding.max(turning).saturating_add(bytes.len() as u64))
}

fn has_four_inks(header: &DecompressHeader) -> bool {
    matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK)
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

/// Whether libjpeg went on after this error. Its pixels are then complete or not: [`scans::are_complete`] decides.
fn is_warning(error: &turbojpeg::Error) -> bool {
    const WARNINGS: [&str; 9] = [
        "Corrupt JPEG data: ",
        "Inconsistent progression sequence",
        "Invalid SOS parameters for sequential JPEG",
        "Premature end of JPEG file",
        "Unknown Adobe color transform code",
        "Warning: ",
        "extraneous bytes before marker",
        "premature end of data segment",
        "transferred too many scanlines",
    ];
    let text = error.to_string();
    WARNINGS.iter().any(|warning| text.contains(warning))
}

/// The bytes without what libjpeg would warn of before the first scan: stray bytes between segments, an unknown revision of JFIF
/// and an unknown colour transform of Adobe. libjpeg ignores all of them.
fn with_plain_header(bytes: &[u8]) -> Vec<u8> {
    let mut plain = bytes[..bytes.len().min(2)].to_vec();
    let mut at = plain.len();
    while let Some(marker) = containers::next_marker(bytes, at) {
        let length = bytes
            .get(marker + 1..)
            .and_then(|rest| rest.first_chunk())
            .map(|length| u16::from_be_bytes(*length));
        let segment = bytes.get(marker..marker + 1 + usize::from(length.unwrap_or(0)));
        match (bytes[marker], segment) {
            // Markers without a segment, which libjpeg skips.
            (0x01 | 0xD0..=0xD7, _) => at = marker + 1,
            // The first scan, or something that libjpeg reports.
            (0xD8..=0xDA, _) | (_, None) => {
                plain.extend_from_slice(&bytes[marker - 1..]);
                break;
            }
            (_, Some(segment)) => {
                at = marker + segment.len();
                plain.push(0xFF);
                let start = plain.len();
                plain.extend_from_slice(segment);
                match segment {
                    [0xE0, _, _, b'J', b'F', b'I', b'F', 0, _, ..] => plain[start + 8] = 1,
                    [0xEE, _, _, b'A', b'd', b'o', b'b', b'e', ..] if segment.len() > 14 => {
                        plain[start + 14] = segment[14].min(2);
                    }
                    _ => {}
                }
            }
        }
    }
    plain
}

fn ends(bytes: &[u8]) -> bool {
    bytes.ends_with(&[0xFF, 0xD9])
}

/// Pillow's arithmetic on Adobe's inverted inks: `r = k - (255 - c) * k / 255`, rounded, where `c` and `k` are as stored.
pub(in crate::picture) fn cmyk_to_rgb(pixels: &[u8]) -> Vec<u8> {
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

    const LIMITS: Limits = Limits { max_pixels: 1_000_000, memory: 100_000_000 };

    /// A picture with detail, as JPEG.
    fn sample(progressive: bool, sampling: Subsamp) -> Vec<u8> {
        let (width, height) = (88, 75);
        let level = |at: usize| (at * at / 7 + at / 3 * 31) as u8;
        let pixels: Vec<u8> = (0..width * height * 3).map(level).collect();
        let image = Image { pixels: &pixels[..], width, pitch: width * 3, height, format: PixelFormat::RGB };
        let mut encoder = Compressor::new().unwrap();
        encoder.set_quality(80).unwrap();
        encoder.set_subsamp(sampling).unwrap();
        encoder.set_progressive(progressive).unwrap();
        encoder.compress_to_vec(image).unwrap()
    }

    fn decoded(bytes: &[u8]) -> Result<Picture, &'static str> {
        decode(bytes, LIMITS).map_err(|error| error.cause())
    }

    /// The places of a marker.
    fn places(bytes: &[u8], marker: u8) -> Vec<usize> {
        let pairs = bytes.windows(2).enumerate();
        pairs.filter(|(_, pair)| *pair == [0xFF, marker]).map(|(at, _)| at).collect()
    }

    /// `bytes` with `new` inserted at `at`.
    fn inserted(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
        [&bytes[..at], new, &bytes[at..]].concat()
    }

    #[test]
    fn a_picture_with_all_of_its_pixels_is_accepted_whatever_else_is_wrong() {
        for (progressive, sampling) in
            [(false, Subsamp::Sub2x2), (false, Subsamp::None), (true, Subsamp::Sub2x2)]
        {
            let whole = sample(progressive, sampling);
            let pixels = Ok(decode(&whole, LIMITS).unwrap());
            let (quantization, huffman) = (places(&whole, 0xDB)[0], places(&whole, 0xC4)[0]);
            let end = whole.len() - 2;
            let last_scan = *places(&whole, 0xDA).last().unwrap();
            let mut cases = vec![
                ("no end marker", whole[..end].to_vec()),
                ("half an end marker", whole[..end + 1].to_vec()),
                ("stray bytes before a table", inserted(&whole, quantization, &[0, 1, 2])),
                ("stray bytes before another table", inserted(&whole, huffman, &[7; 40])),
                ("fill bytes", inserted(&whole, huffman, &[0xFF; 5])),
                ("a stray escaped byte", inserted(&whole, quantization, &[0xFF, 0, 9])),
                ("a stray restart marker", inserted(&whole, quantization, &[0xFF, 0xD3])),
                ("stray bytes after the last scan", inserted(&whole, end, &[1, 2, 3])),
                ("both", inserted(&inserted(&whole, end, &[1, 2, 3]), quantization, &[4])),
                ("stray bytes and no end marker", inserted(&whole[..end], quantization, &[4])),
                ("stray bytes instead of the end marker", [&whole[..end], &[0; 9]].concat()),
            ];
            if progressive {
                let scans = places(&whole, 0xDA);
                cases.push(("stray bytes between scans", inserted(&whole, places(&whole, 0xC4)[3], &[5, 6])));
                assert!(scans.len() > 4);
            } else {
                // The last three bytes of the header of a scan, which sequential pictures do not use.
                let mut odd = whole.clone();
                odd[last_scan + 11..last_scan + 14].copy_from_slice(&[1, 2, 3]);
                cases.push(("an unused field", odd));
            }
            for (name, bytes) in cases {
                assert_eq!(decoded(&bytes), pixels, "{name}, progressive: {progressive}");
            }
        }
    }

    #[test]
    fn a_picture_that_lacks_pixels_is_damaged_however_it_ends() {
        for progressive in [false, true] {
            let whole = sample(progressive, Subsamp::Sub2x2);
            let (quantization, end) = (places(&whole, 0xDB)[0], whole.len() - 2);
            let cut = end - 40;
            let stray = inserted(&whole, quantization, &[1, 2, 3]);
            let cases = [
                ("cut off", whole[..cut].to_vec()),
                ("cut off, with an end marker", [&whole[..cut], &[0xFF, 0xD9]].concat()),
                ("cut off after stray bytes", stray[..cut].to_vec()),
                ("the same with an end marker", [&stray[..cut], &[0xFF, 0xD9]].concat()),
                ("cut off by one byte", whole[..end - 1].to_vec()),
            ];
            for (name, bytes) in cases {
                let cause = decoded(&bytes).expect_err(name);
                assert!(
                    ["truncated", "corrupt"].contains(&cause),
                    "{name}, progressive: {progressive}: {cause}"
                );
            }
        }
        // Refinements are missing, and no end marker says that this was intended.
        let whole = sample(true, Subsamp::Sub2x2);
        let last_scan = *places(&whole, 0xDA).last().unwrap();
        let last_table = *places(&whole[..last_scan], 0xC4).last().unwrap();
        assert!(decoded(&whole[..last_table]).is_err());
        assert!(
            decoded(&[&whole[..last_table], &[0xFF, 0xD9]].concat()).is_ok(),
            "fewer scans, but all of them"
        );
    }

    #[test]
    fn a_jpeg_of_several_scans_needs_memory_for_its_coefficients() {
        let needed = |progressive, sampling| needed(&sample(progressive, sampling), LIMITS).unwrap();
        let length = |progressive, sampling| sample(progressive, sampling).len() as u64;
        let of = |sampling| {
            let (one, several) = (needed(false, sampling), needed(true, sampling));
            let coefficients = several - one + length(false, sampling) - length(true, sampling);
            coefficients * 16 / 17
        };
        // 88 x 75 pixels are 11 x 10 blocks, or 12 x 10 if units have 2 x 2 of them.
        assert_eq!(of(Subsamp::None), 11 * 10 * 3 * 128);
        assert_eq!(of(Subsamp::Sub2x2), (12 * 10 + 2 * 6 * 5) * 128);
    }

    #[test]
    fn larger_pictures_may_have_fewer_scans() {
        for (pixels, scans) in
            [(1, 500), (8_000_000, 500), (12_000_000, 333), (100_000_000, 40), (10_000_000_000, 20)]
        {
            assert_eq!(max_scans(pixels), scans, "{pixels}");
        }
    }
}
