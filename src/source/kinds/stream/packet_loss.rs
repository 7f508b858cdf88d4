//! Detects lost RTP packets, which FFmpeg reports nowhere but in its log.
//!
//! Neither the packet's flags nor the demuxer's state show a gap in the RTP sequence numbers, and decoders conceal some
//! gaps without an error flag. FFmpeg logs a gap on the thread that reads, so a thread that reads one stream knows which
//! stream lost a packet. All other log lines are ignored and never printed: they may hold a password.

use std::{
    cell::Cell,
    ffi::{CStr, c_char, c_int, c_void},
};

use ffmpeg_next::ffi;

/// The start of the format string of FFmpeg's log line for a gap: since 2008, and still in FFmpeg 8.
const MISSED: &[u8] = b"RTP: missed ";
/// The frame that FFmpeg assembles when it notices the gap, and the frame after it.
const DAMAGED: u32 = 2;

thread_local! {
    static DAMAGED_LEFT: Cell<u32> = const { Cell::new(0) };
}

/// Starts to detect lost packets, and silences FFmpeg's log.
pub(crate) fn install() {
    // SAFETY: `on_log` may be called on any thread at any time: it reads one text and a variable of its own thread. Its
    // type is exactly the one that FFmpeg's header declares on this processor (`A` becomes the type of `va_list`).
    #[allow(unsafe_code)]
    unsafe {
        ffi::av_log_set_callback(Some(on_log));
    }
}

/// Whether the packet that was read last may have a gap.
pub(crate) fn is_damaged() -> bool {
    let left = DAMAGED_LEFT.get();
    DAMAGED_LEFT.set(left.saturating_sub(1));
    left > 0
}

/// Whether packets were lost before the one that was read last, without a parser in between.
pub(crate) fn take_gap() -> bool {
    DAMAGED_LEFT.replace(0) > 0
}

/// Resets the state of this thread before it reads another stream.
pub(crate) fn reset() {
    DAMAGED_LEFT.set(0);
}

/// FFmpeg's log callback. `A` is `va_list`, whose type differs by processor; the arguments of the line are not needed.
// SAFETY: FFmpeg calls it with a text that ends with zero.
#[allow(unsafe_code)]
unsafe extern "C" fn on_log<A>(_: *mut c_void, _: c_int, format: *const c_char, _: A) {
    // SAFETY: as above; null is handled all the same.
    let is_loss = !format.is_null() && unsafe { CStr::from_ptr(format) }.to_bytes().starts_with(MISSED);
    if is_loss {
        DAMAGED_LEFT.set(DAMAGED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_damages_two_packets() {
        install();
        let log = |format: &CStr, missed: c_int| {
            // SAFETY: the text is a constant with one place for an integer, which follows.
            #[allow(unsafe_code)]
            unsafe {
                ffi::av_log(std::ptr::null_mut(), ffi::AV_LOG_WARNING, format.as_ptr(), missed);
            }
        };
        log(c"something else %d\n", 3);
        assert!(!is_damaged());
        log(c"RTP: missed %d packets\n", 3);
        assert_eq!([is_damaged(), is_damaged(), is_damaged()], [true, true, false]);
        log(c"RTP: missed %d packets\n", 3);
        assert_eq!([take_gap(), take_gap()], [true, false]);
        log(c"RTP: missed %d packets\n", 3);
        reset();
        assert!(!is_damaged());
    }
}
