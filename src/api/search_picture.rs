//! `search_picture`: finds stored frames that are similar to a picture that a person sends. Its bytes are the body of the request, and
//! the parameters are those of [`search`]. The picture is decoded as those of sources are, within a budget of memory of its own, and
//! nothing of it is stored.

use tokio::task::{JoinError, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::{
    error::{Error, Kind},
    search::{self, Request, Response},
    service::{Live, Service},
};
use crate::{
    classify::PictureEncodingError,
    source::decoders::{Decoded, NotDecoded, PersonError},
};

/// The last part of the address.
pub const NAME: &str = "search_picture";
/// What the address does.
pub const SUMMARY: &str =
    "Finds stored frames that are similar to the picture in the body, or to it and to words.";
/// The largest picture, in bytes.
pub const LARGEST: usize = 16 * 1024 * 1024;

/// Searches with the model of the running service, by a picture of at most [`LARGEST`] bytes.
///
/// # Errors
/// The bytes are no usable picture, the request is wrong, the service keeps no embeddings, or the model is busy.
pub async fn answer(
    service: &Service,
    request: Request,
    picture: impl AsRef<[u8]> + Send + 'static,
) -> Result<Response, Error> {
    let live = service.live()?;
    let mut vectors = match &*request.text {
        "" => Vec::new(),
        text => search::of_words(live, text).await?,
    };
    vectors.push(vector(live, picture).await?);
    search::find_like(service, live, request, vectors).await
}

/// The error for a picture of more than [`LARGEST`] bytes.
#[must_use]
pub fn too_large() -> Error {
    Error::new(
        Kind::TooLarge,
        format!("the picture has more than {} MB, or was cut off", LARGEST / 1024 / 1024),
    )
    .at("picture")
    .remedy("Send a smaller one.")
}

/// The vector of a picture.
pub(super) async fn vector(
    live: &Live,
    picture: impl AsRef<[u8]> + Send + 'static,
) -> Result<Vec<f32>, Error> {
    let stop = CancellationToken::new();
    // The client may leave before the picture is decoded.
    let _stops = stop.clone().drop_guard();
    let decoder = live.decoders.of_people(live.newest.config().max_pixels, stop.clone())?;
    let model = live.pictures.clone();
    let work = async move {
        let decode = move || (decoder.decode(picture.as_ref(), "a picture to search by"), decoder);
        let (decoded, _decoder) = spawn_blocking(decode).await.map_err(failed)?;
        let Decoded { picture, share: _share } = decoded?;
        if stop.is_cancelled() {
            return Err(PersonError::from(NotDecoded::Stopped).into());
        }
        Ok(model.encode(picture.into()).await?.to_vec())
    };
    // The work goes on when the client leaves. So the work keeps the memory and the decoder's place until the picture has a vector.
    tokio::spawn(work).await.map_err(failed)?
}

fn failed(_: JoinError) -> Error {
    Error::new(Kind::Failed, "decoding the picture failed").remedy("The log of the service says why.")
}

impl From<PersonError> for Error {
    fn from(error: PersonError) -> Self {
        let text = error.to_string();
        match error {
            PersonError::NotDecoded(NotDecoded::Picture(error)) => {
                let kind = if error.cause() == "too_large" { Kind::TooLarge } else { Kind::BadRequest };
                Self::new(kind, text)
                    .at("picture")
                    .remedy("Send another picture: a JPEG, or one of the other formats.")
            }
            PersonError::NeedsMemory { .. } => Self::new(Kind::TooLarge, text)
                .at("picture")
                .remedy("Send a picture with fewer pixels, or raise `memory`."),
            PersonError::NotDecoded(NotDecoded::Crashed) => Self::new(Kind::BadRequest, text).at("picture"),
            PersonError::NotDecoded(NotDecoded::Stopped) | PersonError::Busy => {
                Self::new(Kind::Unavailable, text).remedy("Repeat the request in a few seconds.")
            }
        }
    }
}

impl From<PictureEncodingError> for Error {
    fn from(error: PictureEncodingError) -> Self {
        let text = error.to_string();
        match error {
            PictureEncodingError::Model(_) => Self::new(Kind::Failed, text),
            PictureEncodingError::Busy | PictureEncodingError::Stopping => {
                Self::new(Kind::Unavailable, text).remedy("Repeat the request in a few seconds.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::service::tests::starting, picture::PictureError};

    #[test]
    fn what_is_wrong_with_a_picture_is_said() {
        let hungry = PictureError::NeedsMemory { needed: 200_000_000, memory: 128_000_000 };
        let large = PictureError::TooLarge { width: 20_000, height: 20_000, max_pixels: 100_000_000 };
        for (error, status, what) in [
            (NotDecoded::Picture(PictureError::NotAPicture).into(), 400, "it is not a picture"),
            (NotDecoded::Picture(large).into(), 413, "20000 x 20000 pixels"),
            (
                NotDecoded::Picture(hungry).into(),
                413,
                "needs 200 MB of memory to be decoded, and people may use 128 MB",
            ),
            (NotDecoded::Crashed.into(), 400, "ended unexpectedly twice"),
            (NotDecoded::Stopped.into(), 503, "stops"),
            (PersonError::Busy, 503, "is busy"),
        ] {
            let error = Error::from(error);
            assert_eq!(error.kind.status(), status, "{error}");
            assert!(error.what.contains(what), "{error}");
        }
        assert!(too_large().what.contains("16 MB"));
    }

    #[tokio::test]
    async fn a_picture_before_the_model_is_loaded_is_sent_again_later() {
        let folder = tempfile::tempdir().unwrap();
        let error = answer(&starting(folder.path()), Request::default(), b"").await.unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable);
    }
}
