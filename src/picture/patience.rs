//! The time that a picture may take: a reader that hands out its bytes only until then.
//!
//! Every decoder but the JPEG one reads through it, so none of them works much longer than that on what was made to keep
//! it busy: strips without number that all point at the same stream of nothing, a small file that unpacks to gigabytes
//! that nobody sees. It refuses to end a decoder that reads no more: what is left to do then grows with the pixels, and
//! those are limited.

use std::{
    io::{self, BufRead, Cursor, ErrorKind, Read, Seek, SeekFrom},
    time::{Duration, Instant},
};

/// Handed out at once: what unpacks a thousandfold is then asked again after a few megabytes.
const PIECE: usize = 8 << 10;

/// Bytes in memory, for a limited time.
pub(super) struct Patience<'b> {
    bytes: Cursor<&'b [u8]>,
    began: Instant,
    longest: Duration,
    /// What was handed out since the clock was last looked at.
    unwatched: usize,
}

impl<'b> Patience<'b> {
    pub(super) fn new(bytes: &'b [u8], longest: Duration) -> Self {
        Self { bytes: Cursor::new(bytes), began: Instant::now(), longest, unwatched: PIECE }
    }

    /// Counts what is asked for, and looks at the clock now and then: small reads come by the million.
    fn go_on(&mut self, bytes: usize) -> io::Result<()> {
        // Asking costs something even if it brings nothing.
        const ASKING: usize = 64;
        self.unwatched = self.unwatched.saturating_add(bytes).saturating_add(ASKING);
        if self.unwatched < PIECE {
            return Ok(());
        }
        self.unwatched = 0;
        if self.began.elapsed() < self.longest { Ok(()) } else { Err(ErrorKind::TimedOut.into()) }
    }
}

impl Read for Patience<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = buffer.len().min(PIECE);
        self.go_on(piece)?;
        self.bytes.read(&mut buffer[..piece])
    }
}

impl BufRead for Patience<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.go_on(0)?;
        let rest = self.bytes.fill_buf()?;
        Ok(&rest[..rest.len().min(PIECE)])
    }

    fn consume(&mut self, amount: usize) {
        self.unwatched = self.unwatched.saturating_add(amount);
        self.bytes.consume(amount);
    }
}

impl Seek for Patience<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_hands_out_every_byte_in_time_and_none_afterwards() {
        let bytes = (0..100_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>();
        let mut all = Vec::new();
        Patience::new(&bytes, Duration::MAX).read_to_end(&mut all).unwrap();
        assert_eq!(all, bytes);

        let mut reader = Patience::new(&bytes, Duration::MAX);
        assert_eq!(reader.fill_buf().unwrap().len(), PIECE);
        reader.consume(PIECE);
        reader.seek(SeekFrom::Current(5)).unwrap();
        assert_eq!(reader.fill_buf().unwrap()[0], bytes[PIECE + 5]);

        let mut late = Patience::new(&bytes, Duration::ZERO);
        assert_eq!(late.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        let mut late = Patience::new(&bytes, Duration::ZERO);
        assert_eq!(late.fill_buf().unwrap_err().kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn small_reads_are_counted_too() {
        let mut reader = Patience::new(&[0; 100_000], Duration::MAX);
        reader.read_exact(&mut [0]).unwrap();
        reader.longest = Duration::ZERO;
        let read = (0..PIECE).take_while(|_| reader.read(&mut [0]).is_ok()).count();
        assert!(read < PIECE / 64, "{read} bytes one by one before it looked at the clock");
    }
}
