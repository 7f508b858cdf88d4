//! What a graph takes of memory while it is read, given back as soon as it is free.
//!
//! A graph that holds its weights itself is read into one block for each of them; ONNX Runtime then makes copies of most that are
//! laid out as the processor likes them, and frees the blocks. With glibc's ways these stay with the process from the second
//! one on: seen with CLIP ViT-B/16, 509 MB instead of 392 MB at full precision and 201 instead of 149 with 8 bits.
//! It refuses to change anything beyond that: frames come and go all day, and are faster in memory that stays.

/// While it lives, large blocks are taken from the system and go back to it.
pub(crate) struct GivesBack(());

/// Most weights are larger, and little else is while a graph is read.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: i32 = 1 << 20;
/// Where glibc itself arrives once a block of this size or a larger one was freed, and what it then leaves untouched.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const AS_IT_WOULD_BE: (i32, i32) = (32 << 20, 64 << 20);

impl GivesBack {
    pub(crate) fn from_now_on() -> Self {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        set(libc::M_MMAP_THRESHOLD, LARGE);
        Self(())
    }
}

impl Drop for GivesBack {
    fn drop(&mut self) {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        {
            set(libc::M_MMAP_THRESHOLD, AS_IT_WOULD_BE.0);
            set(libc::M_TRIM_THRESHOLD, AS_IT_WOULD_BE.1);
        }
    }
}

/// Only ever too much or too little is given back, so whether it was taken does not matter.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn set(parameter: i32, value: i32) {
    // SAFETY: it takes two numbers, under the allocator's own lock. Threads that ask for memory meanwhile read the old number or
    // the new one, as they do where `free` raises it by itself.
    unsafe { libc::mallopt(parameter, value) };
}
