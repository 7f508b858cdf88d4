//! Cameras at the machine itself: `/dev/video0`, by Video4Linux.
//!
//! FFmpeg's part for devices brings dozens of libraries for screens and sound with it, so it is loaded only where a camera of
//! this kind is asked for. It refuses every other kind of device.

use std::{ffi::CString, fs, path::Path, sync::OnceLock};

use ffmpeg_next::format;

/// Whether a path means a camera; one of the names below `/dev/v4l/by-id` does, too, while it leads to one.
pub(crate) fn is_meant(path: &Path) -> bool {
    let is_camera = |path: &Path| path.as_os_str().as_encoded_bytes().starts_with(b"/dev/video");
    is_camera(path) || fs::canonicalize(path).is_ok_and(|path| is_camera(&path))
}

/// Makes cameras known to FFmpeg; an error says what is missing.
pub(crate) fn prepare() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(load).clone()
}

fn load() -> Result<(), String> {
    // The libraries of one FFmpeg have the same number since its release 5.
    let number = format::version() >> 16;
    let name = format!("libavdevice.so.{number}");
    let missing =
        || format!("cameras at the machine itself need FFmpeg's {name}: `apt install libavdevice{number}`");
    let name = CString::new(name.as_str()).map_err(|_| missing())?;
    // SAFETY: the name ends with zero. The library belongs to the FFmpeg that is loaded already, which its number says, and is
    // never unloaded; the function takes nothing, gives nothing back, and may be called at any time.
    #[allow(unsafe_code)]
    unsafe {
        let library = libc::dlopen(name.as_ptr(), libc::RTLD_NOW);
        if library.is_null() {
            return Err(missing());
        }
        let register = libc::dlsym(library, c"avdevice_register_all".as_ptr());
        if register.is_null() {
            return Err(missing());
        }
        let register: unsafe extern "C" fn() = std::mem::transmute::<*mut libc::c_void, _>(register);
        register();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_camera() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("usb-Camera-index0");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let cases =
            [("/dev/video0", true), ("/dev/video12", true), ("/dev/null", false), ("/var/video0", false)];
        for (path, expected) in cases {
            assert_eq!(is_meant(Path::new(path)), expected, "{path}");
        }
        assert!(!is_meant(&link));
    }
}
