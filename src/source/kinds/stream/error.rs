//! Why a stream cannot continue, for people. Addresses are shown without user and password.

use ffmpeg_next as ffmpeg;

use super::{relay, transport::Outcome};
use crate::{
    picture::PictureError,
    shortage::Shortage,
    source::{context::Status, kind::Failure},
};

/// Why a stream cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// It cannot be opened.
    #[error("{address} cannot be opened: {cause}")]
    NotOpened {
        /// The stream.
        address: String,
        /// The cause, for people.
        cause: String,
    },
    /// Its host cannot be reached.
    #[error("{address} cannot be opened: {cause}")]
    Unreachable {
        /// The stream.
        address: String,
        /// The cause, for people.
        cause: String,
    },
    /// No file and no connection can be opened for now, which says nothing about it.
    #[error("{address} is opened again soon: {shortage}")]
    NotNow {
        /// The stream.
        address: String,
        /// What is used up.
        shortage: Shortage,
    },
    /// The camera does not support the transport.
    #[error("{0} does not support this transport: remove `transport:`, so that TCP and UDP are tried")]
    Transport(String),
    /// It did not answer.
    #[error("{address} did not answer within {seconds} s: check the camera, or raise `open_timeout`")]
    NoAnswer {
        /// The stream.
        address: String,
        /// The limit.
        seconds: f64,
    },
    /// It redirects to another host.
    #[error(
        "{address} redirects to {target}, which is not followed: write that address, or set `redirects: any_host`"
    )]
    Redirected {
        /// The stream.
        address: String,
        /// Scheme, host and port.
        target: String,
    },
    /// The camera requires other credentials.
    #[error("{address} denies access: {remedy}")]
    Denied {
        /// The stream.
        address: String,
        /// What to do.
        remedy: &'static str,
    },
    /// There is nothing at this address.
    #[error("{0} does not exist: the camera has no stream of this name")]
    Missing(String),
    /// It has no video, or none that can be decoded.
    #[error("{0} has no video that can be decoded")]
    NoVideo(String),
    /// It ended or broke.
    #[error("{address} was lost: {cause}")]
    Lost {
        /// The stream.
        address: String,
        /// The cause, for people.
        cause: String,
    },
    /// It is connected, and no packet arrives.
    #[error("{address} stalled: nothing arrived for {seconds} s")]
    Stalled {
        /// The stream.
        address: String,
        /// The limit.
        seconds: f64,
    },
    /// Packets arrive that form no frame.
    #[error("{0} sends packets that form no frame: restart the camera")]
    NoFrame(String),
    /// Packets arrive, and no intact frame.
    #[error("{0} delivers no intact frame")]
    NoIntactFrame(String),
    /// The frames cannot be converted to pictures.
    #[error("the frames of {address} cannot be used: {cause}")]
    NotConverted {
        /// The stream.
        address: String,
        /// Why.
        cause: PictureError,
    },
}

impl StreamError {
    /// The meaning of an error while the stream was opened or read.
    pub(crate) fn of_opening(error: ffmpeg::Error, origin: &str, has_login: bool) -> Self {
        let address = origin.to_owned();
        if let ffmpeg::Error::Other { errno } = error
            && let Some(shortage) = Shortage::of_code(errno)
        {
            return Self::NotNow { address, shortage };
        }
        let remedy = match error {
            ffmpeg::Error::HttpUnauthorized if has_login => "the user or the password is wrong",
            ffmpeg::Error::HttpUnauthorized => "give it a `username:` and a `password:`",
            ffmpeg::Error::HttpForbidden => "this user may not see the stream",
            ffmpeg::Error::HttpNotFound => return Self::Missing(address),
            ffmpeg::Error::Other { errno: libc::EPROTONOSUPPORT } => return Self::Transport(address),
            // FFmpeg's answer to a format that is not in the list.
            ffmpeg::Error::Other { errno: libc::EINVAL } => {
                let cause = "its format is not one of a video, or only names other files".to_owned();
                return Self::NotOpened { address, cause };
            }
            other if is_of_the_network(other) => {
                return Self::Unreachable { address, cause: other.to_string() };
            }
            other => return Self::NotOpened { address, cause: other.to_string() },
        };
        Self::Denied { address, remedy }
    }

    /// The meaning of a failure of the relay.
    pub(crate) fn of_relay(failure: relay::Failure, origin: &str) -> Self {
        let address = origin.to_owned();
        match failure {
            relay::Failure::Connection(cause) => Self::NotOpened { address, cause },
            relay::Failure::Login(refusal) => Self::Denied { address, remedy: refusal.remedy() },
            relay::Failure::Redirected(target) => Self::Redirected { address, target },
        }
    }

    /// Whether another transport may help.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Transport(_) | Self::NotOpened { .. } => Outcome::Refused,
            _ => Outcome::Unrelated,
        }
    }
}

/// Whether the camera could not be reached at all.
fn is_of_the_network(error: ffmpeg::Error) -> bool {
    let errors = [
        libc::ECONNREFUSED,
        libc::EHOSTUNREACH,
        libc::ENETUNREACH,
        libc::ENETDOWN,
        libc::EHOSTDOWN,
        libc::ETIMEDOUT,
        libc::EADDRNOTAVAIL,
    ];
    matches!(error, ffmpeg::Error::Other { errno } if errors.contains(&errno))
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        use StreamError::{
            Denied, Missing, NoFrame, NoIntactFrame, NoVideo, NotConverted, Redirected, Stalled,
        };

        let refused = matches!(
            error,
            Denied { .. } | Redirected { .. } | Missing(_) | NoVideo(_) | NotConverted { .. }
        );
        let stalled = matches!(error, Stalled { .. } | NoFrame(_) | NoIntactFrame(_));
        let status = if stalled { Status::Stalled } else { Status::Offline };
        Self { cause: error.into(), status, refused }
    }
}
