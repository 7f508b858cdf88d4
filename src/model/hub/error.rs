//! What can be wrong with a model's name, the hub, the network, or the cache, and what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    config::{Device, HubModel},
    model::origin::NEVER_READ,
    shortage::Shortage,
};

/// Why a model is not on this machine, or could not be downloaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// The name is not a name of the hub.
    #[error(
        "{0:?} is not a model's name; it is written as `organisation/name`, or as a folder that starts with `./` or `/`"
    )]
    Name(String),
    /// The model is not in the cache, or only a part of it is.
    #[error(
        "the model {id} is not on this machine{} (searched {}). Fetch it with `{pull}`, or name a folder that contains its \
         files",
        lacking(.missing),
        .cache.display()
    )]
    NotCached {
        /// The model's name.
        id: String,
        /// The cache.
        cache: PathBuf,
        /// The files that are missing, if others are there.
        missing: String,
        /// The command that fetches the model as it was asked for.
        pull: String,
    },
    /// The environment forbids to use the network.
    #[error(
        "the model {id} is not on this machine{} (searched {}), and {variable} forbids to fetch it. Unset it and run \
         `{pull}`, or name a folder that contains its files",
        lacking(.missing),
        .cache.display()
    )]
    Offline {
        /// The model's name.
        id: String,
        /// The cache.
        cache: PathBuf,
        /// The files that are missing, if others are there.
        missing: Box<str>,
        /// The environment variable that says so.
        variable: &'static str,
        /// The command that fetches the model as it was asked for.
        pull: Box<str>,
    },
    /// The environment names no folder for a cache.
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
        /// The status of the answer.
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
    /// 429, with a wait that is too long.
    #[error(
        "the hub at {host} allows no more requests for now{}: try again later; with a token in HF_TOKEN it allows more",
        .wait.map_or(String::new(), |seconds| format!(" (for {seconds} s)"))
    )]
    TooMany {
        /// The hub.
        host: String,
        /// The wait in seconds that the hub asked for.
        wait: Option<u64>,
    },
    /// The hub cannot be reached, closes the connection early, or answers with an error of its own.
    #[error(
        "the hub at {host} cannot be used: {reason}. The bytes that arrived are kept: run the same command again to continue. \
         HF_ENDPOINT names another hub, HTTPS_PROXY a proxy"
    )]
    Unreachable {
        /// The hub, or the host that it redirected to.
        host: String,
        /// The reason of the last failure.
        reason: String,
    },
    /// An answer that no hub gives.
    #[error(
        "the hub at {host} does not answer like a hub: {reason}. Check HF_ENDPOINT, and any proxy on the path"
    )]
    Answer {
        /// The hub.
        host: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The repository has neither graphs of this variant nor weights that they can be built from.
    #[error(
        "{id} on the hub has no ONNX files{}. Name the repository that has them: `model: {{ id: {id}, onnx: \
         organisation/name }}`; many are named Xenova/... or onnx-community/...",
        no_graphs(.variant, .there, *.made, .others, .searched)
    )]
    NoGraphs {
        /// The repository.
        id: String,
        /// The variant that was named; empty if the repository has none at all.
        variant: Box<str>,
        /// The variants that the repository has as ONNX files.
        there: Box<str>,
        /// Whether other variants can be made from the weights.
        made: bool,
        /// ONNX files of the repository with other names.
        others: Box<[String]>,
        /// Other repositories that were searched.
        searched: Box<[String]>,
    },
    /// The only weights are in a file that may hold code.
    #[error(
        "{file} of {id} on the hub cannot be used: {NEVER_READ}. A conversion that waits to be merged is used by its number: \
         `model: {{ id: {id}, revision: refs/pr/N }}`"
    )]
    Pickle {
        /// The repository.
        id: String,
        /// The file.
        file: &'static str,
    },
    /// The type of the model, or the way it prepares pictures, is not supported. Nothing large was fetched.
    #[error("{id} on the hub cannot be used: {reason}")]
    Unsupported {
        /// The repository.
        id: String,
        /// What is not supported, and what is.
        reason: String,
    },
    /// A graph names a file outside of its folder.
    #[error(
        "{graph} of {id} keeps weights in {location:?}, which is outside of its folder, so it is not used: name another \
         repository with `onnx:`"
    )]
    Outside {
        /// The repository.
        id: String,
        /// The graph.
        graph: String,
        /// The file, as the graph names it.
        location: String,
    },
    /// The repository has graphs or weights, and lacks other files that they need.
    #[error(
        "{id} on the hub lacks {missing}, without which it cannot be used: name another repository with `onnx:`"
    )]
    Lacks {
        /// The repository.
        id: String,
        /// The files.
        missing: String,
    },
    /// Neither a combined graph nor weights nor the table of known models gives the scale.
    #[error(
        "nothing on the hub says how the similarities of {id} become scores (searched for a combined `onnx/model.onnx` and \
         a `model.safetensors`). Put its files into a folder of your own, with a `stakeout.json` that contains \
         {{\"logit_scale\": N, \"logit_bias\": N}} (the multiplier itself: 100 for OpenAI's CLIP), and name that folder"
    )]
    NoScale {
        /// The repository.
        id: String,
    },
    /// The content that arrived has another hash than the hub said.
    #[error(
        "{file} of {id} arrived damaged: its hash is {found}, and the hub says {expected}. It was deleted; try again. \
         If it happens again, a proxy between this machine and the hub changes the file"
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
    /// A file that is always small is announced as a large one. Nothing of it was fetched.
    #[error(
        "{file} of {id} on the hub has {size} bytes, and such a file has {most} at most: name another repository with `onnx:`"
    )]
    TooLarge {
        /// The repository.
        id: String,
        /// The file.
        file: String,
        /// In bytes.
        size: u64,
        /// The limit, in bytes.
        most: u64,
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
    /// The model is not in the cache.
    pub(super) fn not_cached(model: &HubModel, cache: &Path, missing: String) -> Self {
        let (id, cache) = (model.id.clone(), cache.to_owned());
        Self::NotCached { id, cache, missing, pull: model.pull_command(Device::Auto) }
    }

    /// The model is not in the cache, and this variable forbids to use the network.
    pub(super) fn offline(model: &HubModel, cache: &Path, missing: String, variable: &'static str) -> Self {
        let (id, cache) = (model.id.clone(), cache.to_owned());
        let (missing, pull) = (missing.into(), model.pull_command(Device::Auto).into());
        Self::Offline { id, cache, missing, variable, pull }
    }

    /// Checks the size of a file that is always small.
    pub(super) fn check_size(id: &str, file: &str, size: u64, most: u64) -> Result<(), Self> {
        if size <= most {
            return Ok(());
        }
        Err(Self::TooLarge { id: id.to_owned(), file: file.to_owned(), size, most })
    }

    /// Whether another repository may have what this one does not have.
    pub(super) fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::NoGraphs { .. } | Self::Pickle { .. } | Self::Unknown { .. } | Self::Refused { .. }
        )
    }

    /// The error without its remedy, for a failure that is retried.
    pub(super) fn in_short(&self) -> String {
        match self {
            Self::Unreachable { host, reason } => format!("the hub at {host}: {reason}"),
            Self::TooMany { host, .. } => format!("the hub at {host} allows no more requests for now"),
            other => other.to_string(),
        }
    }

    /// A failure of the disk while writing.
    pub(super) fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::disk(path, "written", &error)
    }

    /// A failure of the disk while reading.
    pub(super) fn reading(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::disk(path, "read", &error)
    }

    /// The cache cannot be searched for now.
    pub(super) fn short_of(cache: &Path, shortage: Shortage) -> Self {
        let (path, reason) = (cache.to_owned(), shortage.to_string());
        Self::Disk { path, action: "read", reason, remedy: shortage.remedy() }
    }

    fn disk(path: PathBuf, action: &'static str, error: &io::Error) -> Self {
        if let Some(shortage) = Shortage::of_io(error) {
            return Self::Disk { path, action, reason: shortage.to_string(), remedy: shortage.remedy() };
        }
        let remedy = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "Free some space, or set HF_HOME to a folder on another disk; the bytes that arrived are kept"
            }
            _ => "Set HF_HOME to a folder that this user may write to",
        };
        Self::Disk { path, action, reason: error.to_string(), remedy }
    }
}

fn lacking(missing: &str) -> String {
    if missing.is_empty() { String::new() } else { format!(", or not completely: it lacks {missing}") }
}

/// What a repository without usable graphs has instead.
fn no_graphs(variant: &str, there: &str, made: bool, others: &[String], searched: &[String]) -> String {
    let mut text = String::new();
    if !variant.is_empty() {
        text += &format!(" of the variant {variant}");
        if !there.is_empty() {
            text += &format!(" (there are: {there})");
        }
    } else if !others.is_empty() {
        text += &format!(
            " that fit together as `model.onnx`, or as `vision_model.onnx` and `text_model.onnx` of one variant (it has {})",
            others.join(", ")
        );
    } else if !made {
        text += " and no `model.safetensors`";
    }
    if made {
        text += "; fp32, fp16, bf16 and int8 can be made from the weights";
    }
    if !searched.is_empty() {
        text += &format!(" (searched as well: {})", searched.join(", "));
    }
    text
}
