//! The progress of a download, for the caller to show.

use std::time::Duration;

use crate::config::Device;

/// The progress of a download.
#[derive(Debug)]
pub enum Event<'a> {
    /// `auto` is this variant, the best that the repository has.
    Chosen {
        /// The hub's name of the variant.
        variant: &'static str,
        /// The device that it was chosen for.
        device: Device,
    },
    /// There are no ONNX files of this variant: the graphs are built from the weights.
    FromWeights {
        /// The repository.
        id: &'a str,
        /// The hub's name of the variant.
        variant: &'static str,
    },
    /// The download of a file begins.
    Begins {
        /// Its name in the repository.
        file: &'a str,
        /// The bytes that an earlier download has left.
        have: u64,
        /// Its size in bytes, if the hub gives it.
        size: Option<u64>,
    },
    /// This number of the file's bytes is on this machine.
    At(u64),
    /// The file is complete.
    Ends {
        /// Its name in the repository.
        file: &'a str,
    },
    /// A file in the cache has another hash than the hub says, and is fetched again.
    Damaged {
        /// Its name in the repository.
        file: &'a str,
    },
    /// Another process downloads the same file; this one waits for it.
    OtherProcess {
        /// The file's name in the repository.
        file: &'a str,
    },
    /// A request failed and is sent again.
    Again {
        /// Why it failed, in short.
        why: String,
        /// The delay before the next request.
        wait: Duration,
    },
}
