//! Speaks HTTP with the hub: lists the files of a repository, asks for a file's hash and size, and reads its bytes.
//!
//! The token is sent to the hub's own host only, also after a redirect. A request is sent once; `retry` repeats it.

use std::{
    io::{self, Read},
    time::Duration,
};

use serde_json::Value;
use ureq::{Agent, Body, http::Response};
use url::{Origin, Url};

use super::{environment::Environment, error::HubError, retry::AttemptError};
use crate::{
    config::{Secret, is_plain_path},
    https,
    tls::Trust,
};

/// The limit for opening a connection.
const CONNECT: Duration = Duration::from_secs(15);
/// The limit for a pause between two bytes.
const SILENCE: Duration = Duration::from_secs(30);

/// More redirects are taken for a circle.
const MOST_REDIRECTS: usize = 10;
/// Lists of files and headers of weight files are much smaller.
const LONGEST_ANSWER: u64 = 32 << 20;

/// The hub.
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    /// `None` if the endpoint is not an address.
    origin: Option<Origin>,
    token: Option<Secret>,
}

/// The files of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    pub commit: String,
    pub files: Vec<String>,
}

impl Listing {
    /// Reads the hub's answer. An error says what is missing in it.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let json: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let commit = json["sha"].as_str().filter(|commit| is_plain_path(commit));
        let files = json["siblings"].as_array().map(|siblings| {
            siblings.iter().filter_map(|sibling| sibling["rfilename"].as_str()).map(str::to_owned).collect()
        });
        match (commit, files) {
            (Some(commit), Some(files)) => Ok(Self { commit: commit.to_owned(), files }),
            _ => Err("the list of files has no `sha` or no `siblings`".to_owned()),
        }
    }
}

/// What the hub says about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    /// The name of its content: a sha256, a git hash, or another server's `ETag`.
    pub hash: String,
    pub size: Option<u64>,
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
            endpoint,
            origin,
            token: environment.token(),
        }
    }

    /// The hub's address, for messages.
    pub fn host(&self) -> &str {
        &self.endpoint
    }

    pub fn listing(&self, id: &str, revision: &str) -> Result<Listing, AttemptError> {
        let url = format!("{}/api/models/{id}/revision/{}", self.endpoint, quoted(revision));
        let response = self.follow(Method::Get, &url, None, id, true)?;
        let bytes = self.read(response.into_body().into_reader())?;
        Ok(Listing::from_json(&bytes).map_err(|reason| self.nonsense(&reason))?)
    }

    pub fn meta(&self, path: FilePath<'_>) -> Result<Meta, AttemptError> {
        let what = format!("{} of {}", path.file, path.id);
        // The redirect to the content is not followed: only the hub itself gives the hash.
        let response = self.follow(Method::Head, &self.url(path), None, &what, false)?;
        let header = |name| header(&response, name);
        let tag = header("x-linked-etag").or_else(|| header("etag"));
        let hash = tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
        let hash = hash.filter(|hash| is_plain_path(hash) && !hash.contains('/'));
        let hash = hash.ok_or_else(|| self.nonsense(&format!("it gives no hash of {what}")))?;
        let own_length = || header("content-length").filter(|_| !response.status().is_redirection());
        let size = header("x-linked-size").or_else(own_length).and_then(|size| size.parse().ok());
        Ok(Meta { hash, size })
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
        let bytes = self.read(response.into_body().into_reader().take(length))?;
        if bytes.len() as u64 == length {
            return Ok(bytes);
        }
        Err(AttemptError::passing(self.unreachable(&self.endpoint, "the answer broke off".to_owned())))
    }

    /// The whole of a small file.
    pub fn small(&self, path: FilePath<'_>) -> Result<Vec<u8>, AttemptError> {
        self.read(self.open(path, 0)?.reader)
    }

    pub fn unreachable(&self, host: &str, reason: String) -> HubError {
        HubError::Unreachable { host: host.to_owned(), reason }
    }

    fn url(&self, path: FilePath<'_>) -> String {
        let file = path.file.split('/').map(quoted).collect::<Vec<_>>().join("/");
        format!("{}/{}/resolve/{}/{file}", self.endpoint, path.id, quoted(path.revision))
    }

    fn read(&self, reader: impl Read) -> Result<Vec<u8>, AttemptError> {
        let mut bytes = Vec::new();
        let read = reader.take(LONGEST_ANSWER).read_to_end(&mut bytes);
        read.map_err(|error| AttemptError::passing(self.unreachable(&self.endpoint, error.to_string())))?;
        Ok(bytes)
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
        let mut url = Url::parse(url).map_err(|_| self.nonsense(&format!("{url} is no address")))?;
        for _ in 0..=MOST_REDIRECTS {
            let response = self.send(method, &url, range.as_deref())?;
            let location = header(&response, "location").filter(|_| response.status().is_redirection());
            let Some(location) = location else {
                return self.judge(response, &url, what);
            };
            let next =
                url.join(&location).map_err(|_| self.nonsense(&format!("{location} is no address")))?;
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
                AttemptError::Final(self.nonsense(&format!("{url} is no address")))
            }
            error => AttemptError::passing(self.unreachable(&host(url), error.to_string())),
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

    fn nonsense(&self, reason: &str) -> HubError {
        HubError::Answer { host: self.endpoint.clone(), reason: reason.to_owned() }
    }
}

#[derive(Debug, Clone, Copy)]
enum Method {
    Get,
    Head,
}

/// Why reading a body failed.
pub(super) fn reading(error: &io::Error) -> String {
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
