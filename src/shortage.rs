//! Recognises errors that say nothing about a file, a server or a picture: the process or the machine has no descriptor or no
//! memory left. The same attempt may succeed a second later, so nothing is damaged, missing or invalid.
//!
//! Every part that opens a file or a socket asks here before it draws a conclusion from an error.

use std::{error::Error, fmt, fs::File, io, thread, time::Duration};

/// [`patiently`] tries this often ...
const TRIES: u32 = 50;
/// ... with this pause.
const PAUSE: Duration = Duration::from_millis(100);

/// What is used up for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// The process has as many open files as its limit (`EMFILE`).
    Files,
    /// The machine has as many open files as its limit (`ENFILE`).
    FilesOfMachine,
    /// The kernel or the process has no memory (`ENOMEM`, `ENOBUFS`).
    Memory,
}

impl Shortage {
    /// The shortage that caused an error of input and output; `None` if the error has another cause.
    #[must_use]
    pub fn of_io(error: &io::Error) -> Option<Self> {
        match error.raw_os_error() {
            Some(code) => Self::of_code(code),
            None if error.kind() == io::ErrorKind::OutOfMemory => Some(Self::Memory),
            None => {
                let inner: &(dyn Error + 'static) = error.get_ref()?;
                Self::of(inner)
            }
        }
    }

    /// The shortage in an error or in one of its sources.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref::<io::Error>().and_then(Self::of_io) {
                return Some(found);
            }
            cause = error.source();
        }
        None
    }

    /// The shortage that an error number of the system means, as FFmpeg reports it.
    #[must_use]
    pub fn of_code(code: i32) -> Option<Self> {
        match code {
            libc::EMFILE => Some(Self::Files),
            libc::ENFILE => Some(Self::FilesOfMachine),
            libc::ENOMEM | libc::ENOBUFS => Some(Self::Memory),
            _ => None,
        }
    }

    /// Whether the process cannot open a file now, and why. For libraries that report a failure without its cause.
    #[must_use]
    pub fn now() -> Option<Self> {
        File::open("/dev/null").err().as_ref().and_then(Self::of_io)
    }

    /// What to do if it lasts.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Files => "Raise the limit of open files of this process (systemd: `LimitNOFILE=`)",
            Self::FilesOfMachine => {
                "Raise `fs.file-max` with sysctl, or stop the program that opens too many files"
            }
            Self::Memory => "Give this machine or this service more memory",
        }
    }
}

/// The result of `attempt`, which is repeated for some seconds while a shortage lasts. For files that are read once at the start.
/// Blocks.
///
/// # Errors
/// Those of the last attempt.
pub fn patiently<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..TRIES {
        match attempt() {
            Err(error) if Shortage::of_io(&error).is_some() => thread::sleep(PAUSE),
            done => return done,
        }
    }
    attempt()
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Files => "this process has too many open files for now",
            Self::FilesOfMachine => "this machine has too many open files for now",
            Self::Memory => "there is not enough memory for now",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("a library reports this")]
    struct Wrapped(#[source] io::Error);

    #[test]
    fn a_shortage_is_found_below_any_number_of_errors() {
        let of = |code| io::Error::from_raw_os_error(code);
        let cases = [
            (of(libc::EMFILE), Some(Shortage::Files)),
            (of(libc::ENFILE), Some(Shortage::FilesOfMachine)),
            (of(libc::ENOMEM), Some(Shortage::Memory)),
            (of(libc::ENOBUFS), Some(Shortage::Memory)),
            (io::ErrorKind::OutOfMemory.into(), Some(Shortage::Memory)),
            (io::Error::other(of(libc::EMFILE)), Some(Shortage::Files)),
            (io::Error::other(Wrapped(of(libc::ENFILE))), Some(Shortage::FilesOfMachine)),
            (of(libc::ENOENT), None),
            (of(libc::EACCES), None),
            (of(libc::ENOSPC), None),
            (io::ErrorKind::UnexpectedEof.into(), None),
            (io::Error::other("a text"), None),
        ];
        for (error, expected) in cases {
            assert_eq!(Shortage::of_io(&error), expected, "{error:?}");
            assert_eq!(Shortage::of(&Wrapped(error)), expected);
        }
        assert_eq!(Shortage::now(), None, "this test has descriptors");
    }

    #[test]
    fn only_a_shortage_is_waited_for() {
        let tried = |errors: &[i32]| {
            let (mut errors, mut tries) = (errors.iter(), 0);
            let done = patiently(|| {
                tries += 1;
                errors.next().map_or(Ok("read"), |code| Err(io::Error::from_raw_os_error(*code)))
            });
            (done.map_err(|error| error.raw_os_error().unwrap()), tries)
        };
        assert_eq!(tried(&[]), (Ok("read"), 1));
        assert_eq!(tried(&[libc::EMFILE, libc::ENOMEM]), (Ok("read"), 3));
        assert_eq!(tried(&[libc::EMFILE, libc::ENOENT]), (Err(libc::ENOENT), 2));
    }
}
