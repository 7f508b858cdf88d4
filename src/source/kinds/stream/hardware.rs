//! Decodes on the machine's video hardware, if it is configured and works.
//!
//! FFmpeg falls back to the processor automatically if the hardware does not support a stream. Frames are copied into
//! ordinary memory before they are used. Without hardware the source says why, once, and the processor decodes.

use std::{ffi::CStr, ptr};

use ffmpeg_next::{Codec, Error, codec, ffi, frame};

use super::settings::Hwaccel;

/// The kinds of hardware, in the order in which they are tried.
const KINDS: [Hwaccel; 5] = [Hwaccel::Cuda, Hwaccel::Vaapi, Hwaccel::Drm, Hwaccel::Vdpau, Hwaccel::Vulkan];

/// Which kinds are tried, in this order, for a decoder that supports some.
fn tried(setting: Hwaccel, supported: &[Hwaccel]) -> Vec<Hwaccel> {
    let wanted = |kind: &Hwaccel| setting == Hwaccel::Auto || *kind == setting;
    KINDS.into_iter().filter(|kind| wanted(kind) && supported.contains(kind)).collect()
}

/// Assigns hardware to a decoder that is not open yet. Which hardware, or why none.
pub(crate) fn attach(
    setting: Hwaccel,
    context: &mut codec::Context,
    codec: Codec,
) -> Result<Option<Hwaccel>, String> {
    if setting == Hwaccel::None {
        return Ok(None);
    }
    let mut why = format!("FFmpeg supports no {} on it", codec.name());
    for kind in tried(setting, &supported(codec)) {
        match open(kind) {
            Ok(device) => {
                // SAFETY: this function has the only reference to the context, which is not open yet. The context takes over
                // the reference to the device and frees it.
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

/// The kinds that a decoder supports.
fn supported(codec: Codec) -> Vec<Hwaccel> {
    let mut supported = vec![];
    for index in 0.. {
        // SAFETY: FFmpeg's codecs and their hardware configurations are constants; null ends the list. The name of a kind is
        // a constant, or null for a kind without a name.
        #[allow(unsafe_code)]
        let kind = unsafe {
            let Some(config) = ffi::avcodec_get_hw_config(codec.as_ptr(), index).as_ref() else { break };
            if config.methods & ffi::AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX as i32 == 0 {
                continue;
            }
            let name = ffi::av_hwdevice_get_type_name(config.device_type);
            if name.is_null() {
                continue;
            }
            CStr::from_ptr(name)
        };
        supported.extend(KINDS.into_iter().find(|known| kind.to_str() == Ok(known.as_str())));
    }
    supported
}

/// A reference to the first device of a kind.
fn open(kind: Hwaccel) -> Result<*mut ffi::AVBufferRef, Error> {
    let name = std::ffi::CString::new(kind.as_str()).map_err(|_| Error::Bug)?;
    let mut device = ptr::null_mut();
    // SAFETY: the name ends with zero; the device is written to a local pointer, which is only used if the call succeeded.
    #[allow(unsafe_code)]
    let result = unsafe {
        let kind = ffi::av_hwdevice_find_type_by_name(name.as_ptr());
        ffi::av_hwdevice_ctx_create(&raw mut device, kind, ptr::null(), ptr::null_mut(), 0)
    };
    if result < 0 || device.is_null() { Err(Error::from(result)) } else { Ok(device) }
}

/// Whether a frame is in the memory of the hardware.
pub(crate) fn is_remote(frame: &frame::Video) -> bool {
    // SAFETY: a frame always points to a valid structure of FFmpeg. One of its fields is read.
    #[allow(unsafe_code)]
    unsafe {
        !(*frame.as_ptr()).hw_frames_ctx.is_null()
    }
}

/// Copies a frame from the memory of the hardware.
pub(crate) fn fetch(frame: &frame::Video) -> Result<frame::Video, Error> {
    let mut copy = frame::Video::empty();
    // SAFETY: both are valid frames; the new one has no buffers yet, and FFmpeg allocates some that fit.
    #[allow(unsafe_code)]
    let result = unsafe {
        match ffi::av_hwframe_transfer_data(copy.as_mut_ptr(), frame.as_ptr(), 0) {
            result if result < 0 => result,
            _ => ffi::av_frame_copy_props(copy.as_mut_ptr(), frame.as_ptr()),
        }
    };
    if result < 0 { Err(Error::from(result)) } else { Ok(copy) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kinds::stream::settings::Hwaccel::{Auto, Cuda, None, Vaapi, Vdpau};

    #[test]
    fn which_hardware_is_tried() {
        let cases = [
            (None, vec![Cuda, Vaapi], vec![]),
            (Auto, vec![Vdpau, Vaapi, Cuda], vec![Cuda, Vaapi, Vdpau]),
            (Auto, vec![], vec![]),
            (Vaapi, vec![Cuda, Vaapi], vec![Vaapi]),
            (Vaapi, vec![Cuda], vec![]),
        ];
        for (setting, supported, expected) in cases {
            assert_eq!(tried(setting, &supported), expected, "{setting:?} of {supported:?}");
        }
    }
}
