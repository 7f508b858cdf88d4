//! Decoding by the machine's video hardware, where it is asked for and there.
//!
//! FFmpeg goes back to the processor by itself where the hardware does not know a stream. Frames are fetched into ordinary
//! memory before anybody looks at them. It refuses to let a stream wait for hardware: where there is none, it says why, once,
//! and frames flow all the same.

use std::{ffi::CStr, ptr};

use ffmpeg_next::{Codec, Error, codec, ffi, frame};

use crate::config::Hwaccel;

/// The kinds, the one first that is tried first.
const KINDS: [Hwaccel; 5] = [Hwaccel::Cuda, Hwaccel::Vaapi, Hwaccel::Drm, Hwaccel::Vdpau, Hwaccel::Vulkan];

/// Which kinds are tried, in this order, by a decoder that knows some.
fn tried(wish: Hwaccel, known: &[Hwaccel]) -> Vec<Hwaccel> {
    let wished = |kind: &Hwaccel| wish == Hwaccel::Auto || *kind == wish;
    KINDS.into_iter().filter(|kind| wished(kind) && known.contains(kind)).collect()
}

/// Gives a decoder that is not open yet its hardware: which it got, or why none.
pub(crate) fn attach(
    wish: Hwaccel,
    context: &mut codec::Context,
    codec: Codec,
) -> Result<Option<Hwaccel>, String> {
    if wish == Hwaccel::None {
        return Ok(None);
    }
    let mut why = format!("FFmpeg decodes no {} with it", codec.name());
    for kind in tried(wish, &known(codec)) {
        match open(kind) {
            Ok(device) => {
                // SAFETY: the context is ours alone and not open yet; the reference that is given to it is its own from now
                // on, and it frees it.
                #[allow(unsafe_code)]
                unsafe {
                    (*context.as_mut_ptr()).hw_device_ctx = device;
                }
                return Ok(Some(kind));
            }
            Err(error) => why = format!("{}: {error}", kind.as_str()),
        }
    }
    Err(why)
}

/// The kinds that a decoder can work with.
fn known(codec: Codec) -> Vec<Hwaccel> {
    let mut known = vec![];
    for index in 0.. {
        // SAFETY: the codec is one of FFmpeg's own, which are there for ever, and so is what is said of them; null is the end
        // of it. The name of a kind is a constant, or null for a kind without one.
        #[allow(unsafe_code)]
        let kind = unsafe {
            let Some(said) = ffi::avcodec_get_hw_config(codec.as_ptr(), index).as_ref() else { break };
            if said.methods & ffi::AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX as i32 == 0 {
                continue;
            }
            let name = ffi::av_hwdevice_get_type_name(said.device_type);
            if name.is_null() {
                continue;
            }
            CStr::from_ptr(name)
        };
        known.extend(KINDS.into_iter().find(|known| kind.to_str() == Ok(known.as_str())));
    }
    known
}

/// A reference to the first device of a kind.
fn open(kind: Hwaccel) -> Result<*mut ffi::AVBufferRef, Error> {
    let name = std::ffi::CString::new(kind.as_str()).map_err(|_| Error::Bug)?;
    let mut device = ptr::null_mut();
    // SAFETY: the name is a text that ends with zero; the device is written to a pointer of ours, which is only used if the
    // call went well.
    #[allow(unsafe_code)]
    let result = unsafe {
        let kind = ffi::av_hwdevice_find_type_by_name(name.as_ptr());
        ffi::av_hwdevice_ctx_create(&raw mut device, kind, ptr::null(), ptr::null_mut(), 0)
    };
    if result < 0 || device.is_null() { Err(Error::from(result)) } else { Ok(device) }
}

/// Whether a frame lies in the hardware's own memory.
pub(crate) fn is_there(frame: &frame::Video) -> bool {
    // SAFETY: a frame always points to a structure of FFmpeg's, of which this field is read.
    #[allow(unsafe_code)]
    unsafe {
        !(*frame.as_ptr()).hw_frames_ctx.is_null()
    }
}

/// Fetches a frame from the hardware's memory into ours.
pub(crate) fn fetch(frame: &frame::Video) -> Result<frame::Video, Error> {
    let mut here = frame::Video::empty();
    // SAFETY: both are frames of FFmpeg's; the new one has no buffers yet, and is given some that fit.
    #[allow(unsafe_code)]
    let result = unsafe {
        match ffi::av_hwframe_transfer_data(here.as_mut_ptr(), frame.as_ptr(), 0) {
            result if result < 0 => result,
            _ => ffi::av_frame_copy_props(here.as_mut_ptr(), frame.as_ptr()),
        }
    };
    if result < 0 { Err(Error::from(result)) } else { Ok(here) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Hwaccel::{Auto, Cuda, None, Vaapi, Vdpau};

    #[test]
    fn what_is_tried() {
        let cases = [
            (None, vec![Cuda, Vaapi], vec![]),
            (Auto, vec![Vdpau, Vaapi, Cuda], vec![Cuda, Vaapi, Vdpau]),
            (Auto, vec![], vec![]),
            (Vaapi, vec![Cuda, Vaapi], vec![Vaapi]),
            (Vaapi, vec![Cuda], vec![]),
        ];
        for (wish, known, expected) in cases {
            assert_eq!(tried(wish, &known), expected, "{wish:?} of {known:?}");
        }
    }
}
