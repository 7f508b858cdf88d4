//! Packets of RTP that were lost on their way. FFmpeg notices that, and tells nobody but its log.
//!
//! It is told on the thread that reads, so a thread that reads one stream knows what was lost of it. It refuses to look at
//! anything else that FFmpeg prints, and to print it: that may hold a password.

use std::{
    cell::Cell,
    ffi::{CStr, c_char, c_int, c_void},
    mem,
};

use ffmpeg_next::ffi;

/// How the lines begin that tell of it: since 2008, and still so in FFmpeg 8.
const MISSED: &[u8] = b"RTP: missed ";
/// The frame that is put together while the loss is noticed, and the one after it.
const DAMAGED: u32 = 2;

thread_local! {
    static LEFT: Cell<u32> = const { Cell::new(0) };
}

/// From now on losses are noticed, and nothing is printed.
pub(crate) fn listen() {
    // SAFETY: `heard` may be called on any thread at any time. It takes one argument less than it is given, the values of the
    // text, whose type is another one on each processor: where the caller clears away the arguments, as with C functions on
    // every processor that this is built for, one that is not looked at does no harm.
    #[allow(
        unsafe_code,
        clippy::missing_transmute_annotations,
        reason = "the other type differs by processor"
    )]
    unsafe {
        ffi::av_log_set_callback(Some(mem::transmute::<
            unsafe extern "C" fn(*mut c_void, c_int, *const c_char),
            _,
        >(heard)));
    }
}

/// Whether the packet that was just read may be one with a gap.
pub(crate) fn is_damaged() -> bool {
    let left = LEFT.get();
    LEFT.set(left.saturating_sub(1));
    left > 0
}

/// Forgets what was lost of an earlier stream.
pub(crate) fn forget() {
    LEFT.set(0);
}

// SAFETY: FFmpeg calls it with a text that ends with zero.
#[allow(unsafe_code)]
unsafe extern "C" fn heard(_: *mut c_void, _: c_int, text: *const c_char) {
    // SAFETY: as above; null is looked for all the same.
    let is_loss = !text.is_null() && unsafe { CStr::from_ptr(text) }.to_bytes().starts_with(MISSED);
    if is_loss {
        LEFT.set(DAMAGED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_spoils_two_packets() {
        listen();
        let say = |text: &CStr| {
            // SAFETY: the text is a constant, and has no values.
            #[allow(unsafe_code)]
            unsafe {
                ffi::av_log(std::ptr::null_mut(), ffi::AV_LOG_WARNING, text.as_ptr());
            }
        };
        say(c"something else\n");
        assert!(!is_damaged());
        say(c"RTP: missed 3 packets\n");
        assert_eq!([is_damaged(), is_damaged(), is_damaged()], [true, true, false]);
        say(c"RTP: missed 3 packets\n");
        forget();
        assert!(!is_damaged());
    }
}
