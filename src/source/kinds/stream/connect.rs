//! Connects FFmpeg to an input, and lets it open only what this input may name.

use std::{
    ffi::{CStr, CString, c_char, c_int},
    ptr,
};

use ffmpeg_next::{self as ffmpeg, Dictionary, ffi, format::context, util::interrupt};

use super::allowed::Nested;

/// Connects to `url`, without reading any frame. `interrupt` is called while FFmpeg waits, and ends the call if it is true. The
/// gate must live as long as the input.
pub(crate) fn connect(
    url: &str,
    interrupt: impl FnMut() -> bool + Send + 'static,
    options: Dictionary<'_>,
    nested: Nested,
) -> Result<(context::Input, Box<Gate>), ffmpeg::Error> {
    let url = CString::new(url).map_err(|_| ffmpeg::Error::InvalidData)?;
    let interrupt = interrupt::new(Box::new(interrupt));
    // SAFETY: the context is new and not null. `avformat_open_input` frees it if it fails. Otherwise the input takes it over
    // together with the callback, which so lives as long as FFmpeg may call it. The options are freed once, below. The gate is on the
    // heap, so it stays in its place; FFmpeg opens nothing while it closes an input.
    #[allow(unsafe_code)]
    unsafe {
        let mut context = ffi::avformat_alloc_context();
        if context.is_null() {
            return Err(ffmpeg::Error::Other { errno: libc::ENOMEM });
        }
        (*context).interrupt_callback = interrupt.interrupt;
        let gate = Box::new(Gate { open: (*context).io_open, main: url.clone(), nested });
        (*context).opaque = ptr::from_ref(&*gate).cast_mut().cast();
        (*context).io_open = Some(open_allowed);
        let mut options = options.disown();
        let result =
            ffi::avformat_open_input(&raw mut context, url.as_ptr(), ptr::null_mut(), &raw mut options);
        drop(Dictionary::own(options));
        if result < 0 {
            return Err(ffmpeg::Error::from(result));
        }
        Ok((context::Input::wrap_with_interrupt(context, interrupt.guard), gate))
    }
}

/// What FFmpeg's callback for opening needs. It lives as long as the input.
pub(crate) struct Gate {
    /// FFmpeg's own function.
    open: Option<OpenInput>,
    /// What the caller opens.
    main: CString,
    nested: Nested,
}

type OpenInput = unsafe extern "C" fn(
    *mut ffi::AVFormatContext,
    *mut *mut ffi::AVIOContext,
    *const c_char,
    c_int,
    *mut *mut ffi::AVDictionary,
) -> c_int;

/// Opens what FFmpeg wants to open for an input, if the input may name it.
///
/// # Safety
/// FFmpeg calls it with a context whose `opaque` is a valid [`Gate`], and with its own valid arguments.
#[allow(unsafe_code)]
unsafe extern "C" fn open_allowed(
    context: *mut ffi::AVFormatContext,
    opened: *mut *mut ffi::AVIOContext,
    url: *const c_char,
    flags: c_int,
    options: *mut *mut ffi::AVDictionary,
) -> c_int {
    // SAFETY: `connect` has set `opaque` to a gate that outlives the context, and nothing changes it. The other arguments are
    // FFmpeg's, whose function gets them as they are, but for the address, which lives until that function returns.
    unsafe {
        let gate = &*(*context).opaque.cast::<Gate>();
        let Some(open) = gate.open else { return ffi::AVERROR(libc::EPERM) };
        // The relay is on this machine: no proxy leads there.
        if gate.nested != Nested::None && !options.is_null() {
            ffi::av_dict_set(options, c"http_proxy".as_ptr(), c"".as_ptr(), 0);
        }
        let named = CStr::from_ptr(url);
        if named == gate.main.as_c_str() {
            return open(context, opened, url, flags, options);
        }
        let allowed = named.to_str().ok().and_then(|named| gate.nested.opened(named));
        match allowed.and_then(|allowed| CString::new(allowed).ok()) {
            Some(allowed) => open(context, opened, allowed.as_ptr(), flags, options),
            None => ffi::AVERROR(libc::EPERM),
        }
    }
}
