//! `try_source`: opens a camera that is not configured yet, once, and answers with its picture or with what is wrong. For the first steps
//! in the console. Nothing is stored, and the picture is sent to no one else.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{task::spawn_blocking, time::timeout};

use super::{
    error::{Error, Kind},
    service::Service,
    verb::{Answer, Method, Verb},
};
use crate::{
    config::{Config, Http, Secret, SourceKind, Stream},
    model::preprocess::thumbnail,
    observe::pictures::LONGEST,
    picture::{Limits, Picture},
    remedy,
    source::{self, Access, Decoders, Surroundings},
    yaml::{Address, address},
};

/// The JPEG quality of the picture.
const QUALITY: u8 = 85;
/// The longest that a camera may take.
const PATIENCE: Duration = Duration::from_secs(45);
/// The longest address, user or password in bytes.
const LONGEST_TEXT: usize = 2000;

/// The verb.
pub const VERB: Verb<Request, Response> = Verb {
    name: "try_source",
    method: Method::Post,
    summary: "Opens a camera that is not configured yet, once, and answers with its picture or with what is wrong.",
    answer: Answer::Live(|service, request| Box::pin(async move { answer(&service, request).await })),
};

/// The camera. It has no `Debug`, because it has a password.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The address: `rtsp://` or `rtsps://` of a stream, `http://` or `https://` of a picture. References such as `${env:NAME}` are taken
    /// as they are written.
    pub address: String,
    /// The user, if the camera requires one and the address has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// The picture of the camera, or what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// The key of this kind of source in the configuration: `rtsp` or `http`.
    pub kind: String,
    /// The picture; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<TriedPicture>,
    /// Why there is no picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<TryProblem>,
}

/// The picture of a camera.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TriedPicture {
    /// The width of the camera's picture in pixels.
    pub width: u32,
    /// The height of the camera's picture in pixels.
    pub height: u32,
    /// The picture as JPEG, at most 640 pixels wide and high, in base64.
    pub jpeg: String,
}

/// Why a camera gives no picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TryProblem {
    /// What is wrong, for people.
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
}

/// Tries a camera.
///
/// # Errors
/// The address is wrong, other cameras are being tried, other people's pictures take the memory, or the service is starting.
pub async fn answer(service: &Service, request: Request) -> Result<Response, Error> {
    let kind = kind(&request)?;
    let live = service.live()?;
    let place = service.try_place()?;
    let (config, decoders) = (live.newest.config(), Arc::clone(&live.decoders));
    let share = decoders.share_of_people(|budget| part(&kind, budget))?;
    let limits = Limits { memory: share.bytes(), ..config.limits() };
    let key = kind.settings().key().to_owned();
    // The camera may take longer than its client waits, so the work keeps the place and the memory, and not this future.
    let work = move || {
        let _keeps = (place, share);
        look(&kind, &config, limits, &decoders)
    };
    let looked = timeout(PATIENCE, spawn_blocking(work)).await;
    let looked = match looked {
        Ok(Ok(looked)) => looked,
        Ok(Err(_)) => return Err(Error::new(Kind::Failed, "a bug in the program; please report it")),
        Err(_) => Err(format!("the camera gave no picture within {} s", PATIENCE.as_secs())),
    };
    Ok(match looked {
        Ok(picture) => Response { kind: key, picture: Some(picture), problem: None },
        Err(text) => Response { kind: key, picture: None, problem: Some(problem(&text)) },
    })
}

/// The settings of the camera.
fn kind(request: &Request) -> Result<SourceKind, Error> {
    let Request { address, username, password } = request;
    for (place, text) in
        [("address", Some(address)), ("username", username.as_ref()), ("password", password.as_ref())]
    {
        if text.is_some_and(|text| text.len() > LONGEST_TEXT) {
            return Err(Error::parameter(place, format!("it is longer than {LONGEST_TEXT} bytes")));
        }
    }
    let address = address.trim();
    let is_http = address.starts_with("http://") || address.starts_with("https://");
    let schemes: &[&str] = if is_http { &["http", "https"] } else { &["rtsp", "rtsps"] };
    let address = address::parse(address, schemes)
        .map_err(|(what, remedy)| Error::parameter("address", what).remedy(remedy))?;
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let address: Address = match (filled(username), filled(password)) {
        (None, Some(_)) if address.login().is_none() => {
            return Err(Error::parameter("username", "there is a password without a user")
                .remedy("Write the user, too."));
        }
        (username, password) => address.with_login(username, password.map(Secret::new)),
    };
    Ok(if is_http {
        SourceKind::Http(Http::tried(address))
    } else {
        SourceKind::Stream(Stream::tried(address))
    })
}

/// The bytes of memory for a camera that is tried, of the `budget` of people. A stream takes much more than a picture, and the rest is
/// enough for small pictures that are scored meanwhile ([`ask_picture`](super::ask_picture)).
fn part(kind: &SourceKind, budget: u64) -> u64 {
    let most = budget - budget / 8;
    if matches!(kind, SourceKind::Stream(_)) { most } else { most / 2 }
}

/// One picture of the camera, small; the error is for people.
fn look(
    kind: &SourceKind,
    config: &Config,
    limits: Limits,
    decoders: &Decoders,
) -> Result<TriedPicture, String> {
    let access = Access::Own;
    let surroundings =
        Surroundings { limits, sandbox: decoders.sandbox(), broker: &config.mqtt, access: &access };
    // Streams and pictures over HTTP always have one.
    let picture = source::picture(kind, &surroundings).unwrap_or_else(|| Err("it has no picture".to_owned()));
    let picture: Arc<Picture> = picture.map_err(of_a_try)?;
    let small = thumbnail(&picture, LONGEST).to_jpeg(QUALITY).map_err(|error| error.to_string())?;
    Ok(TriedPicture { width: picture.width, height: picture.height, jpeg: STANDARD.encode(small) })
}

/// The same error. If the camera needs too much memory, the error says that a camera that is configured may use more.
fn of_a_try(error: String) -> String {
    if error.ends_with("that memory allows") { error + " to a camera that is tried" } else { error }
}

fn problem(text: &str) -> TryProblem {
    let otherwise =
        "check that the camera is on, that this machine reaches it, and its address, user and password";
    let (cause, remedy) = remedy::of_error(text, otherwise);
    TryProblem { cause: cause.to_owned(), remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::service::tests::starting, picture::PictureError};

    fn request(address: &str, login: Option<(&str, &str)>) -> Request {
        Request {
            address: address.to_owned(),
            username: login.map(|(username, _)| username.to_owned()),
            password: login.map(|(_, password)| password.to_owned()),
        }
    }

    #[test]
    fn an_address_says_which_kind_of_source_it_is() {
        let login = Some(("viewer", "p@ss ${env:HOME}"));
        for (address, login, key) in [
            ("rtsp://10.0.0.21/stream2", None, "rtsp"),
            (" rtsps://10.0.0.21/stream2 ", login, "rtsp"),
            ("http://10.0.0.9/snapshot.jpg", Some(("", "")), "http"),
            ("https://viewer:a@10.0.0.9/snapshot.jpg", None, "http"),
        ] {
            assert_eq!(kind(&request(address, login)).unwrap().settings().key(), key, "{address}");
        }
        let SourceKind::Stream(Stream { input: crate::config::Input::Rtsp(address), .. }) =
            kind(&request("rtsp://h/a", login)).unwrap()
        else {
            panic!("it is a stream");
        };
        assert_eq!(address.login(), login, "nothing is replaced");
    }

    #[test]
    fn a_wrong_address_says_what_to_write() {
        let long = format!("rtsp://h/{}", "x".repeat(LONGEST_TEXT));
        for (address, login, place, what) in [
            ("10.0.0.21", None, "address", "no scheme"),
            ("ftp://10.0.0.21/a", None, "address", "scheme"),
            ("rtsp://", None, "address", "no usable host"),
            ("file:///etc/passwd", None, "address", "scheme"),
            (&long, None, "address", "longer than"),
            ("rtsp://h/a", Some(("", "secret")), "username", "without a user"),
        ] {
            let error = kind(&request(address, login)).unwrap_err();
            assert_eq!((error.kind, error.place.as_deref()), (Kind::BadRequest, Some(place)), "{address}");
            assert!(error.what.contains(what), "{address}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_problem_says_what_to_do() {
        let denied = problem("rtsp://h/a denies access: the user or the password is wrong");
        assert_eq!(denied.remedy, "correct `username` and `password`");
        assert!(problem("something else").remedy.starts_with("check that the camera is on"));
    }

    #[test]
    fn two_pictures_or_a_stream_fit_into_the_memory_and_leave_some() {
        let kinds = ["http://h/a.jpg", "rtsp://h/a"].map(|address| kind(&request(address, None)).unwrap());
        for (budget, picture, stream) in [(128, 56, 112), (32, 14, 28), (0, 0, 0)] {
            assert_eq!(kinds.each_ref().map(|kind| part(kind, budget)), [picture, stream], "{budget}");
        }
    }

    #[test]
    fn a_camera_that_needs_too_much_memory_is_no_configured_one() {
        let large = PictureError::NeedsMemory { needed: 200_000_000, memory: 112_000_000 };
        let error = of_a_try(format!("the frames of rtsp://h/a cannot be used: {large}"));
        assert!(
            error.ends_with("more than the 112 MB that memory allows to a camera that is tried"),
            "{error}"
        );
        assert_eq!(of_a_try("http://h/a answers 401".to_owned()), "http://h/a answers 401");
    }

    #[tokio::test]
    async fn few_cameras_are_tried_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let service = starting(folder.path());
        let error = answer(&service, request("rtsp://h/a", None)).await.unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable, "the model is not loaded");
        let first = service.try_place().unwrap();
        let _second = service.try_place().unwrap();
        assert_eq!(service.try_place().unwrap_err().kind, Kind::TooMany);
        drop(first);
        assert!(service.try_place().is_ok());
    }
}
