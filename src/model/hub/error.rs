//! What can be wrong with a model's name, the hub, the way to it, or the cache: each with what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a model is not here, or could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// The name is no name of the hub.
    #[error(
        "{0:?} is not a model's name; it is written as `organisation/name`, or as a folder that starts with `./` or `/`"
    )]
    Name(String),
    /// The cache does not hold the model.
    #[error(
        "the model {id} is not on this machine (looked in {}). Fetch it with `stakeout models pull {id}`, or name a \
         folder that holds its files",
        .cache.display()
    )]
    NotCached {
        /// The model's name.
        id: String,
        /// The cache.
        cache: PathBuf,
    },
    /// The network is not to be used.
    #[error(
        "the model {id} is not on this machine (looked in {}), and HF_HUB_OFFLINE forbids to fetch it. Unset it, or name \
         a folder that holds its files",
        .cache.display()
    )]
    Offline {
        /// The model's name.
        id: String,
        /// The cache.
        cache: PathBuf,
    },
    /// There is no home folder to look in.
    #[error(
        "the model {0} cannot be looked up: set HF_HOME to the folder of the hub's cache, since HOME is not set"
    )]
    NoCache(String),
    /// 401 or 403.
    #[error(
        "the hub at {host} refuses {id} ({status}): it is private, it asks for its conditions to be accepted, or it does \
         not exist. Check the name; {}",
        if *.token { "accept its conditions on its page, or use a token that may read it" }
        else { "if it is right, accept its conditions on its page and give a token in HF_TOKEN" }
    )]
    Refused {
        /// The hub.
        host: String,
        /// The repository.
        id: String,
        /// What it answered.
        status: u16,
        /// Whether a token was sent.
        token: bool,
    },
    /// 404.
    #[error("the hub at {host} does not have {what}: check the name and the revision")]
    Unknown {
        /// The hub.
        host: String,
        /// The repository, with the revision or file.
        what: String,
    },
    /// 429, for longer than one can wait.
    #[error(
        "the hub at {host} allows no more requests for now{}: try again later; with a token in HF_TOKEN it allows more",
        .wait.map_or(String::new(), |seconds| format!(" (for {seconds} s)"))
    )]
    TooMany {
        /// The hub.
        host: String,
        /// The seconds it named.
        wait: Option<u64>,
    },
    /// It cannot be reached, breaks off, or answers with an error of its own.
    #[error(
        "the hub at {host} cannot be used: {reason}. What has arrived is kept: the same command goes on from there. \
         HF_ENDPOINT names another hub, HTTPS_PROXY a proxy"
    )]
    Unreachable {
        /// The hub, or where it sent us.
        host: String,
        /// What happened last.
        reason: String,
    },
    /// An answer that makes no sense.
    #[error(
        "the hub at {host} answers unlike a hub: {reason}. Is HF_ENDPOINT right, and no proxy in between?"
    )]
    Answer {
        /// The hub.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The repository has no such graphs.
    #[error(
        "{id} on the hub has no ONNX files{}. Name the repository that has them: `model: {{ id: {id}, onnx: \
         organisation/name }}`; many are named Xenova/... or onnx-community/...",
        if .variant.is_empty() { String::new() } else { format!(" of the variant {} (there are: {})", .variant, .there) }
    )]
    NoGraphs {
        /// The repository.
        id: String,
        /// The variant that was asked for; empty if none will do.
        variant: String,
        /// The variants that are there.
        there: String,
    },
    /// The repository has graphs, but not what belongs to them.
    #[error(
        "{id} on the hub lacks {missing}, without which its ONNX files cannot be used: name another repository with `onnx:`"
    )]
    Lacks {
        /// The repository.
        id: String,
        /// The files.
        missing: String,
    },
    /// Neither the combined graph nor weights nor the table tell how similarities become scores.
    #[error(
        "nothing on the hub tells how the similarities of {id} become scores (looked for a combined `onnx/model.onnx` and \
         a `model.safetensors`). Put its files into a folder of your own, with a `stakeout.json` that holds \
         {{\"logit_scale\": N, \"logit_bias\": N}} (the multiplier itself: 100 for OpenAI's CLIP), and name that folder"
    )]
    NoScale {
        /// The repository.
        id: String,
    },
    /// What arrived is not what the hub said it would be.
    #[error(
        "{file} of {id} arrived damaged: its hash is {found}, and the hub says {expected}. It was thrown away; try again, \
         and if it stays so, something between here and the hub changes it"
    )]
    Damaged {
        /// The repository.
        id: String,
        /// The file.
        file: String,
        /// The hub's hash.
        expected: String,
        /// The hash of what arrived.
        found: String,
    },
    /// The cache cannot be read or written.
    #[error("{} cannot be {action}: {reason}. {remedy}", .path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// "written" or "read".
        action: &'static str,
        /// Why.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl HubError {
    /// Without the remedy: the program itself does something about it.
    pub(crate) fn in_short(&self) -> String {
        match self {
            Self::Unreachable { host, reason } => format!("the hub at {host}: {reason}"),
            Self::TooMany { host, .. } => format!("the hub at {host} allows no more requests for now"),
            other => other.to_string(),
        }
    }

    /// A failure of the disk while writing, in words for people.
    pub(crate) fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::disk(path, "written", &error)
    }

    /// Likewise while reading.
    pub(crate) fn reading(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::disk(path, "read", &error)
    }

    fn disk(path: PathBuf, action: &'static str, error: &io::Error) -> Self {
        let remedy = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "Free some space, or let HF_HOME name a folder on another disk; what has arrived is kept"
            }
            _ => "Let HF_HOME name a folder that this user may write to",
        };
        Self::Disk { path, action, reason: error.to_string(), remedy }
    }
}
