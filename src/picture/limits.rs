//! The limits of decoding: pixels, edge length, memory and time.
//!
//! Every decoder computes the memory that it needs from the header of a picture, before it allocates anything for the pixels.
//! The computed memory is that of the peak: the decoder's own buffers, its output, and the conversion to upright RGB.
//!
//! [`TimedReader`] limits the time: it hands out its bytes only until a deadline. Every decoder reads through it, except those of
//! JPEG and of FFmpeg (AVIF, HEIC, JPEG 2000), whose work is limited by the pixels. Decoders of pictures that consist of many
//! parts (TIFF, AVIF and HEIC) also check a [`Deadline`] before each part, because thousands of parts may share their bytes. A
//! decoder that has stopped reading cannot be interrupted; the work left then grows with the pixels, which are limited.

use std::{
    io::{self, BufRead, Cursor, ErrorKind, Read, Seek, SeekFrom},
    time::{Duration, Instant},
};

use super::error::PictureError;

/// The default of `max_pixels`: an RGB picture of this size takes 300 MB.
pub const MAX_PIXELS: u64 = 100_000_000;

/// The least and the most that `max_pixels` may be.
pub const MAX_PIXELS_RANGE: (u64, u64) = (1, 10_000_000_000);

/// The default of `memory`.
pub const MEMORY: u64 = 512_000_000;

/// The limits of one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Pictures with more pixels are rejected.
    pub max_pixels: u64,
    /// Pictures that need more bytes of memory than this while they are decoded are rejected.
    pub memory: u64,
}

/// What every decoder needs for its tables and for some rows of pixels, in addition to what its picture needs.
const TABLES: u64 = 2 << 20;
/// For each column of a picture: the decoders' buffers of some rows, with up to four samples of 16 bits a pixel.
const ROWS: u64 = 256;

impl Limits {
    /// These pixels, and the default of `memory`.
    #[must_use]
    pub fn of(max_pixels: u64) -> Self {
        Self { max_pixels, memory: MEMORY }
    }

    /// Checks the size in a picture's header, and returns its pixels.
    pub(super) fn pixels(
        self,
        format: &'static str,
        (width, height): (u64, u64),
    ) -> Result<u64, PictureError> {
        let Self { max_pixels, .. } = self;
        if width == 0 || height == 0 {
            return Err(PictureError::Corrupt { format, reason: format!("its size is {width} x {height}") });
        }
        if width.max(height) > LONGEST_EDGE {
            let reason =
                format!("its size is {width} x {height}, and no edge may be longer than {LONGEST_EDGE}");
            return Err(PictureError::Unsupported { format, reason });
        }
        match width.checked_mul(height) {
            Some(pixels) if pixels <= max_pixels => Ok(pixels),
            _ => Err(PictureError::TooLarge { width, height, max_pixels }),
        }
    }

    /// Checks the bytes that a decoder needs for a picture of `width`, in addition to its tables and rows. Returns all of them.
    pub(super) fn memory(self, width: u64, needed: u64) -> Result<u64, PictureError> {
        let needed = needed.saturating_add(TABLES).saturating_add(width.saturating_mul(ROWS));
        if needed > self.memory {
            return Err(PictureError::NeedsMemory { needed, memory: self.memory });
        }
        Ok(needed)
    }
}

/// The time limit of decoding: more than ten times what any camera picture takes on the smallest machine. JPEG has a limit of
/// scans instead (see `jpeg`).
pub const LONGEST: Duration = Duration::from_secs(20);

/// JPEG's limit, which no camera exceeds. Resizing a line of millions of pixels would take more memory than its pixels.
const LONGEST_EDGE: u64 = 65_535;

/// When decoding has to end.
pub(super) struct Deadline {
    began: Instant,
    longest: Duration,
}

impl Deadline {
    /// A deadline that is `longest` away.
    pub(super) fn new(longest: Duration) -> Self {
        Self { began: Instant::now(), longest }
    }

    pub(super) fn has_passed(&self) -> bool {
        self.began.elapsed() >= self.longest
    }

    /// The error of a picture that is not decoded before the deadline.
    pub(super) fn error(&self, format: &'static str) -> PictureError {
        PictureError::TooSlow { format, longest: self.longest }
    }

    /// A reader that fails after the deadline.
    pub(super) fn reader<'b>(&self, bytes: &'b [u8]) -> TimedReader<'b> {
        TimedReader::new(bytes, self.longest.saturating_sub(self.began.elapsed()))
    }
}

/// Bytes per read and per check of the clock: even a stream that unpacks a thousandfold is checked every few megabytes.
const PIECE: usize = 8 << 10;

/// A reader of bytes in memory that fails after its time limit.
pub(super) struct TimedReader<'b> {
    bytes: Cursor<&'b [u8]>,
    began: Instant,
    longest: Duration,
    /// Bytes handed out since the clock was last checked.
    unchecked: usize,
}

impl<'b> TimedReader<'b> {
    pub(super) fn new(bytes: &'b [u8], longest: Duration) -> Self {
        Self { bytes: Cursor::new(bytes), began: Instant::now(), longest, unchecked: PIECE }
    }

    /// Counts a request and checks the clock once per [`PIECE`]: small reads come by the million.
    fn check(&mut self, bytes: usize) -> io::Result<()> {
        // A call takes time even if it returns nothing.
        const CALL: usize = 64;
        self.unchecked = self.unchecked.saturating_add(bytes).saturating_add(CALL);
        if self.unchecked < PIECE {
            return Ok(());
        }
        self.unchecked = 0;
        if self.began.elapsed() < self.longest { Ok(()) } else { Err(ErrorKind::TimedOut.into()) }
    }
}

impl Read for TimedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = buffer.len().min(PIECE);
        self.check(piece)?;
        self.bytes.read(&mut buffer[..piece])
    }
}

impl BufRead for TimedReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.check(0)?;
        let rest = self.bytes.fill_buf()?;
        Ok(&rest[..rest.len().min(PIECE)])
    }

    fn consume(&mut self, amount: usize) {
        self.unchecked = self.unchecked.saturating_add(amount);
        self.bytes.consume(amount);
    }
}

impl Seek for TimedReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_checked_before_anything_is_allocated() {
        let limits = Limits { max_pixels: 1000, memory: TABLES + 10 * ROWS + 100 };
        let cause = |size| limits.pixels("PNG", size).map_err(|error| error.cause());
        for (size, expected) in [
            ((10, 100), Ok(1000)),
            ((10, 101), Err("too_large")),
            ((0, 1), Err("corrupt")),
            ((1, 0), Err("corrupt")),
            ((1, 65_536), Err("unsupported")),
            ((u64::MAX, u64::MAX), Err("unsupported")),
        ] {
            assert_eq!(cause(size), expected, "{size:?}");
        }
        assert_eq!(limits.memory(10, 100), Ok(limits.memory));
        let refused = |width, needed| limits.memory(width, needed).unwrap_err();
        assert_eq!(refused(10, 101).cause(), "too_large");
        assert_eq!(
            refused(u64::MAX, u64::MAX),
            PictureError::NeedsMemory { needed: u64::MAX, memory: limits.memory }
        );
        let limits = Limits { max_pixels: 1, memory: 512_000_000 };
        assert_eq!(
            limits.memory(1, 799_999_000).unwrap_err().to_string(),
            "it needs 803 MB of memory to be decoded, more than the 512 MB that memory allows"
        );
    }

    #[test]
    fn bytes_are_read_before_the_time_limit_and_not_after_it() {
        let bytes = (0..100_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>();
        let mut all = Vec::new();
        TimedReader::new(&bytes, Duration::MAX).read_to_end(&mut all).unwrap();
        assert_eq!(all, bytes);

        let mut reader = TimedReader::new(&bytes, Duration::MAX);
        assert_eq!(reader.fill_buf().unwrap().len(), PIECE);
        reader.consume(PIECE);
        reader.seek(SeekFrom::Current(5)).unwrap();
        assert_eq!(reader.fill_buf().unwrap()[0], bytes[PIECE + 5]);

        let mut late = TimedReader::new(&bytes, Duration::ZERO);
        assert_eq!(late.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        let mut late = TimedReader::new(&bytes, Duration::ZERO);
        assert_eq!(late.fill_buf().unwrap_err().kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn small_reads_are_counted_too() {
        let mut reader = TimedReader::new(&[0; 100_000], Duration::MAX);
        reader.read_exact(&mut [0]).unwrap();
        reader.longest = Duration::ZERO;
        let read = (0..PIECE).take_while(|_| reader.read(&mut [0]).is_ok()).count();
        assert!(read < PIECE / 64, "{read} bytes one by one before the clock was checked");
    }
}
