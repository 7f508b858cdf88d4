//! Speaks HTTP with the hub: lists the files of a repository, asks for a file's hash and size, and reads its bytes.
//!
//! An answer has a limit before it is read: the size of the file, or one for its kind.
//! The token is sent to the hub's own host only, also after a redirect. A request is sent once; `retry` repeats it.

use std::{
    io::{self, Read},
    time::Duration,
};

use ureq::{Agent, Body, http::Response};
use url::{Origin, Url};

use super::{
    content::{Announced, Content},
    environment::Environment,
    error::HubError,
    listing::{Listing, ListingError},
    retry::AttemptError,
};
use crate::{config::Secret, https, model::digest, shortage::Shortage, tls::Trust};

/// The limit for opening a connection.
const CONNECT: Duration = Duration::from_secs(15);
/// The limit for a pause between two bytes.
const SILENCE: Duration = Duration::from_secs(30);

/// More redirects are taken for a circle.
const MOST_REDIRECTS: usize = 10;

/// The hub.
pub(super) struct Client {
    agent: Agent,
    /// It may have a password. [`Self::host`] is for messages.
    endpoint: String,
    shown: String,
    /// `None` if the endpoint is not an address.
    origin: Option<Origin>,
    token: Option<Secret>,
}

/// The bytes of a file, starting at `offset`.
pub(super) struct FilePart {
    pub offset: u64,
    pub reader: Box<dyn Read>,
}

/// A file of a repository at a revision.
#[derive(Debug, Clone, Copy)]
pub(super) struct FilePath<'a> {
    pub id: &'a str,
    pub revision: &'a str,
    pub file: &'a str,
}

impl Client {
    pub fn new(environment: &Environment) -> Self {
        let agent = https::options(CONNECT)
            // A slow download may take hours, so only a single read is limited: a dead connection must be noticed.
            .timeout_global(None)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(SILENCE))
            // The lengths in the answers are then those of the files.
            .accept_encoding("identity")
            // Redirects are followed by `follow`, which keeps the token from other hosts.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .build();
        let endpoint = environment.endpoint();
        let origin = Url::parse(&endpoint).ok().map(|url| url.origin());
        Self {
            agent: https::Client::new(agent, &Trust::System).agent().clone(),
            shown: shown(&endpoint),
            endpoint,
            origin,
            token: environment.token(),
        }
    }

    /// The hub's address, for messages.
    pub fn host(&self) -> &str {
        &self.shown
    }

    pub fn listing(&self, id: &str, revision: &str) -> Result<Listing, AttemptError> {
        // With `blobs` the list names the hash and the size of each file.
        let url = format!("{}/api/models/{id}/revision/{}?blobs=true", self.endpoint, quoted(revision));
        let response = self.follow(Method::Get, &url, None, id, true)?;
        Listing::read(response.into_body().into_reader()).map_err(|error| match error {
            ListingError::Broken(reason) => AttemptError::passing(self.unreachable(&self.shown, reason)),
            ListingError::Invalid(reason) => self.nonsense(&reason).into(),
        })
    }

    /// What the headers say about a file.
    pub fn announced(&self, path: FilePath<'_>) -> Result<Announced, AttemptError> {
        let what = format!("{} of {}", path.file, path.id);
        // The redirect to the content is not followed: only the hub itself gives the hash.
        let response = self.follow(Method::Head, &self.url(path), None, &what, false)?;
        let header = |name| header(&response, name);
        let tag = header("x-linked-etag").or_else(|| header("etag"));
        let tag = tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_ascii_lowercase());
        let own_length = || header("content-length").filter(|_| !response.status().is_redirection());
        let size = header("x-linked-size").or_else(own_length).and_then(|size| size.parse().ok());
        Ok(Announced { tag, size })
    }

    /// The content of a file, from the headers and from the list of files.
    pub fn content(&self, path: FilePath<'_>, listed: Option<&Content>) -> Result<Content, AttemptError> {
        let lacks = |what| self.nonsense(&format!("it gives {what} of {} of {}", path.file, path.id)).into();
        self.announced(path)?.content(listed).map_err(lacks)
    }

    /// A file starting at `offset`, or the whole file if the server does not support parts.
    pub fn open(&self, path: FilePath<'_>, offset: u64) -> Result<FilePart, AttemptError> {
        let range = (offset > 0).then(|| format!("bytes={offset}-"));
        let what = format!("{} of {}", path.file, path.id);
        let response = self.follow(Method::Get, &self.url(path), range, &what, true)?;
        let offset = match response.status().as_u16() {
            206 => {
                let begin = header(&response, "content-range").and_then(|range| begin(&range));
                begin
                    .ok_or_else(|| self.nonsense(&format!("it does not say which part of {what} it sends")))?
            }
            _ => 0,
        };
        Ok(FilePart { offset, reader: Box::new(response.into_body().into_reader()) })
    }

    /// A few bytes of a file.
    pub fn bytes(&self, path: FilePath<'_>, begin: u64, length: u64) -> Result<Vec<u8>, AttemptError> {
        let range = format!("bytes={begin}-{}", begin + length - 1);
        let what = format!("{} of {}", path.file, path.id);
        let response = self.follow(Method::Get, &self.url(path), Some(range), &what, true)?;
        if response.status().as_u16() != 206 {
            let reason = format!("it does not send parts of files ({what})");
            return Err(self.nonsense(&reason).into());
        }
        if header(&response, "content-range").and_then(|range| self::begin(&range)) != Some(begin) {
            return Err(self
                .nonsense(&format!("it sends another part of {what} than the requested one"))
                .into());
        }
        self.read_exactly(response.into_body().into_reader(), length)
    }

    /// The whole of a small file, whose hash is checked. `most` is the limit of its size in bytes.
    pub fn small(&self, path: FilePath<'_>, most: u64) -> Result<Vec<u8>, AttemptError> {
        let content = self.content(path, None)?;
        HubError::check_size(path.id, path.file, content.size, most)?;
        let part = self.open(path, 0)?;
        let bytes = self.read_exactly(part.reader, content.size)?;
        let found = digest::of_bytes(&bytes, content.kind);
        if found == content.hash {
            return Ok(bytes);
        }
        let (id, file) = (path.id.to_owned(), path.file.to_owned());
        Err(HubError::Damaged { id, file, expected: content.hash, found }.into())
    }

    pub fn unreachable(&self, host: &str, reason: String) -> HubError {
        HubError::Unreachable { host: host.to_owned(), reason }
    }

    fn url(&self, path: FilePath<'_>) -> String {
        let file = path.file.split('/').map(quoted).collect::<Vec<_>>().join("/");
        format!("{}/{}/resolve/{}/{file}", self.endpoint, path.id, quoted(path.revision))
    }

    /// The first `length` bytes of an answer that has at least as many. The caller has limited `length`.
    fn read_exactly(&self, reader: impl Read, length: u64) -> Result<Vec<u8>, AttemptError> {
        let broken = |reason| AttemptError::passing(self.unreachable(&self.shown, reason));
        let mut bytes = Vec::new();
        reader.take(length).read_to_end(&mut bytes).map_err(|error| broken(reading(&error)))?;
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(broken("the answer broke off".to_owned())) }
    }

    /// Sends a request and follows redirects: all of them, or only those before the hub has given the hash of a file.
    fn follow(
        &self,
        method: Method,
        url: &str,
        range: Option<String>,
        what: &str,
        to_the_content: bool,
    ) -> Result<Response<Body>, AttemptError> {
        let mut url =
            Url::parse(url).map_err(|_| self.nonsense(&format!("the address of {what} is invalid")))?;
        for _ in 0..=MOST_REDIRECTS {
            let response = self.send(method, &url, range.as_deref())?;
            let location = header(&response, "location").filter(|_| response.status().is_redirection());
            let Some(location) = location else {
                return self.judge(response, &url, what);
            };
            // The address of the content often holds a signature that gives access.
            let next = url
                .join(&location)
                .map_err(|_| self.nonsense(&format!("it redirects {what} to an invalid address")))?;
            let has_hash = header(&response, "x-linked-etag").is_some() || next.origin() != url.origin();
            if has_hash && !to_the_content {
                return Ok(response);
            }
            url = next;
        }
        Err(self.nonsense(&format!("it redirects in circles ({what})")).into())
    }

    fn send(&self, method: Method, url: &Url, range: Option<&str>) -> Result<Response<Body>, AttemptError> {
        let mut request = match method {
            Method::Get => self.agent.get(url.as_str()),
            Method::Head => self.agent.head(url.as_str()),
        };
        if let Some(range) = range {
            request = request.header("range", range);
        }
        if let Some(token) = self.token.as_ref().filter(|_| self.is_own(url)) {
            request = request.header("authorization", format!("Bearer {}", token.reveal()));
        }
        request.call().map_err(|error| match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                AttemptError::Final(self.nonsense("it redirects to an invalid address"))
            }
            error => {
                let shortage =
                    if let ureq::Error::Io(error) = &error { Shortage::of_io(error) } else { None };
                let reason =
                    shortage.map_or_else(|| https::explain(&error, "hub"), |shortage| shortage.to_string());
                AttemptError::passing(self.unreachable(&host(url), reason))
            }
        })
    }

    fn judge(&self, response: Response<Body>, url: &Url, what: &str) -> Result<Response<Body>, AttemptError> {
        let (status, host) = (response.status().as_u16(), host(url));
        match status {
            200..=299 => Ok(response),
            401 | 403 if self.is_own(url) => {
                let token = self.token.is_some();
                Err(HubError::Refused { host, id: what.to_owned(), status, token }.into())
            }
            404 => Err(HubError::Unknown { host, what: what.to_owned() }.into()),
            // The permission to read a large file from its storage expires; the hub issues a new one with the next attempt.
            401 | 403 | 408 | 429 | 500..=599 => {
                let wait: Option<u64> =
                    header(&response, "retry-after").and_then(|wait| wait.trim().parse().ok());
                let error = match status {
                    429 => HubError::TooMany { host, wait },
                    _ => self.unreachable(&host, format!("it answers with the error {status}")),
                };
                Err(AttemptError::Passing { error, wait: wait.map(Duration::from_secs), gained: false })
            }
            _ => Err(self.nonsense(&format!("the status {status} for {what}")).into()),
        }
    }

    fn is_own(&self, url: &Url) -> bool {
        self.origin.as_ref() == Some(&url.origin())
    }

    /// The error of an answer that no hub gives.
    pub fn nonsense(&self, reason: &str) -> HubError {
        HubError::Answer { host: self.shown.clone(), reason: reason.to_owned() }
    }
}

#[derive(Debug, Clone, Copy)]
enum Method {
    Get,
    Head,
}

/// Why the exchange with the hub failed.
pub(super) fn reading(error: &io::Error) -> String {
    if let Some(shortage) = Shortage::of_io(error) {
        return shortage.to_string();
    }
    match error.kind() {
        io::ErrorKind::TimedOut => format!("nothing arrived for {} s", SILENCE.as_secs()),
        _ => format!("it broke off ({error})"),
    }
}

fn header(response: &Response<Body>, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// The first byte of a `Content-Range`: `bytes 5-9/10` begins at 5.
fn begin(range: &str) -> Option<u64> {
    range.trim().strip_prefix("bytes")?.trim().split('-').next()?.parse().ok()
}

/// A text as one segment of an address: a branch, even if its name contains a slash, or a part of a file's path.
fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let one = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

/// An address without user, password and query, for messages.
fn shown(endpoint: &str) -> String {
    let Ok(url) = Url::parse(endpoint) else { return "the address in HF_ENDPOINT".to_owned() };
    let host = url.origin().ascii_serialization();
    format!("{host}{}", url.path().trim_end_matches('/'))
}

/// Scheme, host and port, for messages.
fn host(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Parses headers and redirects, for the fuzzer.
#[cfg(fuzzing)]
pub(super) fn fuzz(text: &str) {
    let _ = begin(text);
    let _ = quoted(text);
    let url = Url::parse("https://hub.example/org/name/resolve/main/a.json").expect("it is an address");
    let _ = url.join(text).map(|url| host(&url));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_relative_to_the_address_that_sent_it() {
        let url = Url::parse("https://hub.example:8443/org/name/resolve/main/a.json?x=/y").unwrap();
        assert_eq!(host(&url), "https://hub.example:8443");
        for (location, expected) in [
            ("https://cdn/b", "https://cdn/b"),
            ("//cdn/b", "https://cdn/b"),
            ("/b?c", "https://hub.example:8443/b?c"),
            ("b.json", "https://hub.example:8443/org/name/resolve/main/b.json"),
        ] {
            assert_eq!(url.join(location).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn only_the_hubs_own_host_gets_the_token() {
        let client = Client::new(&Environment::of(&[("HF_ENDPOINT", "https://hub.example/mirror")]));
        for (url, own) in [
            ("https://hub.example/org/name", true),
            ("https://HUB.example:443/other", true),
            ("http://hub.example/org/name", false),
            ("https://hub.example:8443/org/name", false),
            ("https://hub.example.evil/org/name", false),
            ("https://evil/?https://hub.example/", false),
        ] {
            assert_eq!(client.is_own(&Url::parse(url).unwrap()), own, "{url}");
        }
    }

    #[test]
    fn names_are_quoted_in_addresses() {
        let client = Client::new(&Environment::of(&[("HF_ENDPOINT", "https://hub.example")]));
        let path = FilePath { id: "o/n", revision: "refs/pr/1", file: "onnx/a b#1?%\u{e9}.data" };
        let expected = "https://hub.example/o/n/resolve/refs%2Fpr%2F1/onnx/a%20b%231%3F%25%C3%A9.data";
        assert_eq!(client.url(path), expected);
    }

    #[test]
    fn a_range_says_where_it_begins() {
        assert_eq!(begin("bytes 5-9/10"), Some(5));
        assert_eq!(begin("bytes */10"), None);
    }
}
