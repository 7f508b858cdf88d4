//! The memory that the service shares with a decoder process: a file without a name, which never touches a disk.
//!
//! Both sides read and write it like a file instead of mapping it. That costs one copy of the pixels on each side, which the
//! service needs anyway: pixels in mapped memory could change while the service uses them. The memory is kept from picture
//! to picture, so its pages are only made once.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::{fd::OwnedFd, unix::fs::FileExt},
};

use rustix::{
    buffer::spare_capacity,
    fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fstat, ftruncate, memfd_create},
    io::{Errno, pread},
};

/// The most memory that is kept between pictures.
const KEPT: u64 = 64 << 20;
/// The unit in which the kernel counts the blocks of a file.
const BLOCK: u64 = 512;

/// Memory of a fixed size. Only what is written takes memory.
pub(super) struct SharedMemory {
    file: File,
    size: u64,
}

impl SharedMemory {
    pub(super) fn new(size: u64) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let created = match memfd_create("stakeout-pictures", flags | MemfdFlags::NOEXEC_SEAL) {
            // Before Linux 6.3.
            Err(Errno::INVAL) => memfd_create("stakeout-pictures", flags),
            created => created,
        };
        let file = created?;
        ftruncate(&file, size)?;
        // The decoder process cannot make it larger or smaller, nor change that.
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(Self { file: file.into(), size })
    }

    /// A descriptor for the decoder process.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    /// Writes `bytes` to the start.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, 0)
    }

    /// A copy of the first bytes. What the decoder process writes meanwhile may be in it, and harms no one.
    pub(super) fn read(&self, length: u64) -> io::Result<Vec<u8>> {
        let length = usize::try_from(length).map_err(|_| ErrorKind::OutOfMemory)?;
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let offset = bytes.len() as u64;
            match pread(&self.file, spare_capacity(&mut bytes), offset) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Returns memory to the system after a large picture. The kernel's count is used, because the decoder process may have
    /// written more than it said.
    pub(super) fn shrink(&self) -> io::Result<()> {
        let used = u64::try_from(fstat(&self.file)?.st_blocks).unwrap_or(0).saturating_mul(BLOCK);
        if used > KEPT {
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(&self.file, hole, 0, self.size)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_size_is_fixed_and_what_is_written_is_read() {
        let memory = SharedMemory::new(1 << 40).unwrap();
        memory.write(b"pixels").unwrap();
        assert_eq!(memory.read(8).unwrap(), b"pixels\0\0");
        let other = File::from(memory.descriptor().unwrap());
        assert!(other.set_len(0).is_err(), "no shorter");
        assert!(other.set_len(1 << 41).is_err(), "no longer");
        assert!(fcntl_add_seals(&other, SealFlags::WRITE).is_err(), "no other seal");
        assert!(SharedMemory::new(4).unwrap().write(b"pixels").is_err(), "nothing beyond its end");
    }

    #[test]
    fn memory_of_a_large_picture_is_returned() {
        let memory = SharedMemory::new(1 << 40).unwrap();
        let blocks = || u64::try_from(fstat(&memory.file).unwrap().st_blocks).unwrap() * BLOCK;
        memory.write(&[1; 1 << 20]).unwrap();
        memory.shrink().unwrap();
        assert!((1 << 20..2 << 20).contains(&blocks()), "{}: kept for the next picture", blocks());
        // Far behind what it says that it wrote.
        File::from(memory.descriptor().unwrap()).write_all_at(&vec![1; 65 << 20], 1 << 39).unwrap();
        memory.shrink().unwrap();
        assert_eq!(blocks(), 0);
    }
}
