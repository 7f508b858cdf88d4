//! Numbers as bytes: as few as they need. Reading never panics, whatever the bytes are. Pure.

/// The content is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored scores are damaged")]
pub struct Damaged;

/// Appends a number, 7 bits a byte, lowest first.
pub(super) fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// Appends a number with a sign: small numbers on both sides of 0 need one byte.
pub(super) fn put_signed(bytes: &mut Vec<u8>, number: i64) {
    put(bytes, folded(number));
}

/// A number with a sign as one without: 0, -1, 1, -2 are 0, 1, 2, 3.
pub(super) fn folded(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

/// The number that was [`folded`].
pub(super) fn unfolded(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Writes numbers that are mostly zero: zeros that follow each other are written as one zero and the number of further zeros.
#[derive(Debug, Default)]
pub(super) struct SparseWriter {
    bytes: Vec<u8>,
    zeros: u64,
}

impl SparseWriter {
    pub(super) fn add(&mut self, number: u64) {
        if number == 0 {
            self.zeros += 1;
            return;
        }
        self.end_zeros();
        put(&mut self.bytes, number);
    }

    fn end_zeros(&mut self) {
        if let Some(further) = std::mem::take(&mut self.zeros).checked_sub(1) {
            self.bytes.push(0);
            put(&mut self.bytes, further);
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.end_zeros();
        self.bytes
    }
}

/// Reads what a [`SparseWriter`] has written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sparse<'b> {
    bytes: Bytes<'b>,
    zeros: u64,
}

impl<'b> Sparse<'b> {
    pub(super) fn new(bytes: Bytes<'b>) -> Self {
        Self { bytes, zeros: 0 }
    }

    pub(super) fn next(&mut self) -> Result<u64, Damaged> {
        if let Some(further) = self.zeros.checked_sub(1) {
            self.zeros = further;
            return Ok(0);
        }
        let number = self.bytes.number()?;
        if number == 0 {
            self.zeros = self.bytes.number()?;
        }
        Ok(number)
    }

    /// What follows the numbers that were read.
    pub(super) fn rest(self) -> Bytes<'b> {
        self.bytes
    }
}

/// Reads what the functions above have written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'b> {
    rest: &'b [u8],
}

impl<'b> Bytes<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.rest.split_first().ok_or(Damaged)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64, Damaged> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            // The tenth byte has room for one bit.
            if shift == 63 && byte > 1 {
                return Err(Damaged);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Damaged)
    }

    pub(super) fn signed(&mut self) -> Result<i64, Damaged> {
        self.number().map(unfolded)
    }

    /// A number that must not be above `most`.
    pub(super) fn count(&mut self, most: usize) -> Result<usize, Damaged> {
        usize::try_from(self.number()?).ok().filter(|count| *count <= most).ok_or(Damaged)
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'b [u8], Damaged> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Damaged)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Damaged)?;
        self.rest = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_numbers_need_one_byte() {
        for (number, length) in [(0, 1), (-64, 1), (63, 1), (64, 2), (-65, 2), (i64::MAX, 10), (i64::MIN, 10)]
        {
            let mut bytes = vec![];
            put_signed(&mut bytes, number);
            assert_eq!(bytes.len(), length, "{number}");
        }
        assert_eq!(Bytes::new(&[0xFF; 10]).number(), Err(Damaged), "more than 64 bits");
        assert_eq!(Bytes::new(&[0x80; 30]).number(), Err(Damaged));
        assert_eq!(Bytes::new(&[5]).count(4), Err(Damaged));
    }

    proptest! {
        #[test]
        fn zeros_are_counted(numbers in prop::collection::vec(prop_oneof![3 => Just(0), 1 => any::<u64>()], 0..100)) {
            let mut writer = SparseWriter::default();
            numbers.iter().for_each(|number| writer.add(*number));
            let bytes = writer.finish();
            let mut read = Sparse::new(Bytes::new(&bytes));
            for number in &numbers {
                prop_assert_eq!(read.next(), Ok(*number));
            }
            prop_assert_eq!(read.rest().byte(), Err(Damaged));
        }

        #[test]
        fn numbers_are_read_as_they_were_written(numbers in prop::collection::vec((any::<u64>(), any::<i64>()), 0..20)) {
            let mut bytes = vec![];
            for (number, signed) in &numbers {
                put(&mut bytes, *number);
                put_signed(&mut bytes, *signed);
            }
            let mut read = Bytes::new(&bytes);
            for (number, signed) in &numbers {
                prop_assert_eq!((read.number(), read.signed()), (Ok(*number), Ok(*signed)));
            }
            prop_assert_eq!(read.byte(), Err(Damaged));
        }
    }
}
