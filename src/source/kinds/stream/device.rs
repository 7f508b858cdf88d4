//! Local cameras: `/dev/video0`, by Video4Linux.
//!
//! FFmpeg's library for devices depends on dozens of libraries for screens and sound, so it is loaded only if a local camera
//! is configured. Other kinds of devices are not supported.

use std::{ffi::CString, fs, path::Path, sync::OnceLock};

use ffmpeg_next::format;

/// Whether a path is a local camera. A name below `/dev/v4l/by-id` is one while it links to a camera.
pub(crate) fn is_camera(path: &Path) -> bool {
    let is_video = |path: &Path| path.as_os_str().as_encoded_bytes().starts_with(b"/dev/video");
    is_video(path) || fs::canonicalize(path).is_ok_and(|path| is_video(&path))
}

/// Registers local cameras with FFmpeg; an error names what is missing.
pub(crate) fn register() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(load).clone()
}

fn load() -> Result<(), String> {
    // The libraries of one FFmpeg have the same number since its release 5.
    let number = format::version() >> 16;
    let name = format!("libavdevice.so.{number}");
    let missing = || format!("local cameras need FFmpeg's {name}: `apt install libavdevice{number}`");
    let name = CString::new(name.as_str()).map_err(|_| missing())?;
    // SAFETY: the name ends with zero. The library belongs to the FFmpeg that is loaded already, as its number shows, and is
    // never unloaded; the function has no arguments and no result, and may be called at any time.
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
    fn which_paths_are_cameras() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("usb-Camera-index0");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let cases =
            [("/dev/video0", true), ("/dev/video12", true), ("/dev/null", false), ("/var/video0", false)];
        for (path, expected) in cases {
            assert_eq!(is_camera(Path::new(path)), expected, "{path}");
        }
        assert!(!is_camera(&link));
    }
}
