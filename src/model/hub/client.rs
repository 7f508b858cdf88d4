//! Speaks HTTP with the hub: which files a repository has, what a file is, and its bytes.
//!
//! It refuses to follow a redirect with the token to any other host than the hub's own, and to try anything twice: that
//! is `retry`.

use std::{
    io::{self, Read},
    time::Duration,
};

use serde_json::Value;
use ureq::{Agent, Body, http::Response};

use super::{HubError, environment::Environment, retry::Trouble};
use crate::{
    config::{Secret, is_plain_path},
    https,
};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(15);
/// After so long without a byte the other side is gone.
const SILENCE: Duration = Duration::from_secs(30);

/// Redirects after which something goes in circles.
const MOST_REDIRECTS: usize = 10;
/// The list of a repository's files, and headers of weight files, are far smaller.
const LONGEST_ANSWER: u64 = 32 << 20;

/// The hub.
pub(crate) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<Secret>,
}

/// What a repository holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listing {
    pub commit: String,
    pub files: Vec<String>,
}

impl Listing {
    /// The hub's answer; an error says what is missing in it.
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

/// What the hub says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    /// The name of its content: a sha256, a git hash, or whatever another server makes of it.
    pub hash: String,
    pub size: Option<u64>,
}

/// The bytes of a file from `offset` on.
pub(crate) struct Part {
    pub offset: u64,
    pub reader: Box<dyn Read>,
}

/// A file of a repository at a revision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub id: &'a str,
    pub revision: &'a str,
    pub file: &'a str,
}

impl Client {
    pub fn new(environment: &Environment) -> Self {
        let agent = https::options(CONNECT)
            // Not of the whole, but of one read: a slow line may take hours, a dead one must be noticed.
            .timeout_global(None)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(SILENCE))
            // So that the lengths told are those of the files.
            .accept_encoding("identity")
            // Redirects are followed here, since the token may not go everywhere.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .build();
        Self { agent: agent.into(), endpoint: environment.endpoint(), token: environment.token() }
    }

    /// Where the hub is, for messages.
    pub fn host(&self) -> &str {
        &self.endpoint
    }

    pub fn listing(&self, id: &str, revision: &str) -> Result<Listing, Trouble> {
        let url = format!("{}/api/models/{id}/revision/{}", self.endpoint, quoted(revision));
        let response = self.follow(Method::Get, url, None, id, true)?;
        let bytes = self.read(response.into_body().into_reader())?;
        Ok(Listing::from_json(&bytes).map_err(|reason| self.nonsense(&reason))?)
    }

    pub fn meta(&self, place: Place<'_>) -> Result<Meta, Trouble> {
        let what = format!("{} of {}", place.file, place.id);
        // Not to where the content is: only the hub itself tells its hash.
        let response = self.follow(Method::Head, self.url(place), None, &what, false)?;
        let header = |name| header(&response, name);
        let tag = header("x-linked-etag").or_else(|| header("etag"));
        let hash = tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
        let hash = hash.filter(|hash| is_plain_path(hash) && !hash.contains('/'));
        let hash = hash.ok_or_else(|| self.nonsense(&format!("it does not tell the hash of {what}")))?;
        let own_length = || header("content-length").filter(|_| !response.status().is_redirection());
        let size = header("x-linked-size").or_else(own_length).and_then(|size| size.parse().ok());
        Ok(Meta { hash, size })
    }

    /// A file from `offset` on, or from its beginning if whoever has it does not do parts.
    pub fn open(&self, place: Place<'_>, offset: u64) -> Result<Part, Trouble> {
        let range = (offset > 0).then(|| format!("bytes={offset}-"));
        let what = format!("{} of {}", place.file, place.id);
        let response = self.follow(Method::Get, self.url(place), range, &what, true)?;
        let offset = match response.status().as_u16() {
            206 => {
                let told = header(&response, "content-range").and_then(|range| begin(&range));
                told.ok_or_else(|| self.nonsense(&format!("it does not tell which part of {what} it sends")))?
            }
            _ => 0,
        };
        Ok(Part { offset, reader: Box::new(response.into_body().into_reader()) })
    }

    /// A few bytes of a file.
    pub fn bytes(&self, place: Place<'_>, begin: u64, length: u64) -> Result<Vec<u8>, Trouble> {
        let range = format!("bytes={begin}-{}", begin + length - 1);
        let what = format!("{} of {}", place.file, place.id);
        let response = self.follow(Method::Get, self.url(place), Some(range), &what, true)?;
        if response.status().as_u16() != 206 {
            let reason = format!("it does not send parts of files ({what})");
            return Err(self.nonsense(&reason).into());
        }
        let bytes = self.read(response.into_body().into_reader().take(length))?;
        if bytes.len() as u64 == length {
            return Ok(bytes);
        }
        Err(Trouble::passing(self.unreachable(&self.endpoint, "the answer broke off".to_owned())))
    }

    /// A small file as a whole.
    pub fn small(&self, place: Place<'_>) -> Result<Vec<u8>, Trouble> {
        self.read(self.open(place, 0)?.reader)
    }

    pub fn unreachable(&self, url: &str, reason: String) -> HubError {
        HubError::Unreachable { host: origin(url).to_owned(), reason }
    }

    fn url(&self, place: Place<'_>) -> String {
        format!("{}/{}/resolve/{}/{}", self.endpoint, place.id, quoted(place.revision), place.file)
    }

    fn read(&self, reader: impl Read) -> Result<Vec<u8>, Trouble> {
        let mut bytes = Vec::new();
        let read = reader.take(LONGEST_ANSWER).read_to_end(&mut bytes);
        read.map_err(|error| Trouble::passing(self.unreachable(&self.endpoint, error.to_string())))?;
        Ok(bytes)
    }

    /// Sends a request and follows redirects: everywhere, or only until the hub has told the hash of a file.
    fn follow(
        &self,
        method: Method,
        mut url: String,
        range: Option<String>,
        what: &str,
        everywhere: bool,
    ) -> Result<Response<Body>, Trouble> {
        for _ in 0..=MOST_REDIRECTS {
            let response = self.send(method, &url, range.as_deref())?;
            let location = header(&response, "location").filter(|_| response.status().is_redirection());
            let Some(next) = location.map(|location| joined(&url, &location)) else {
                return self.judge(response, &url, what);
            };
            let told = header(&response, "x-linked-etag").is_some() || origin(&next) != origin(&url);
            if told && !everywhere {
                return Ok(response);
            }
            url = next;
        }
        Err(self.nonsense(&format!("it redirects in circles ({what})")).into())
    }

    fn send(&self, method: Method, url: &str, range: Option<&str>) -> Result<Response<Body>, Trouble> {
        let mut request = match method {
            Method::Get => self.agent.get(url),
            Method::Head => self.agent.head(url),
        };
        if let Some(range) = range {
            request = request.header("range", range);
        }
        if let Some(token) = self.token.as_ref().filter(|_| origin(url) == origin(&self.endpoint)) {
            request = request.header("authorization", format!("Bearer {}", token.reveal()));
        }
        request.call().map_err(|error| {
            let reason = match &error {
                ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                    return Trouble::Final(self.nonsense(&format!("{url} is no address")));
                }
                error => error.to_string(),
            };
            Trouble::passing(self.unreachable(url, reason))
        })
    }

    fn judge(&self, response: Response<Body>, url: &str, what: &str) -> Result<Response<Body>, Trouble> {
        let status = response.status().as_u16();
        let host = || origin(url).to_owned();
        match status {
            200..=299 => Ok(response),
            401 | 403 if origin(url) == origin(&self.endpoint) => {
                let token = self.token.is_some();
                Err(HubError::Refused { host: host(), id: what.to_owned(), status, token }.into())
            }
            404 => Err(HubError::Unknown { host: host(), what: what.to_owned() }.into()),
            // Where large files are, leave to fetch them runs out, and the hub gives a new one with each try.
            401 | 403 | 408 | 429 | 500..=599 => {
                let wait: Option<u64> =
                    header(&response, "retry-after").and_then(|wait| wait.trim().parse().ok());
                let error = match status {
                    429 => HubError::TooMany { host: host(), wait },
                    _ => self.unreachable(url, format!("it answers with the error {status}")),
                };
                Err(Trouble::Passing { error, wait: wait.map(Duration::from_secs), gained: false })
            }
            _ => Err(self.nonsense(&format!("the status {status} for {what}")).into()),
        }
    }

    fn nonsense(&self, reason: &dyn std::fmt::Display) -> HubError {
        HubError::Answer { host: self.endpoint.clone(), reason: reason.to_string() }
    }
}

#[derive(Debug, Clone, Copy)]
enum Method {
    Get,
    Head,
}

/// What a body's reader says in its own words.
pub(crate) fn reading(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => format!("nothing came for {} s", SILENCE.as_secs()),
        _ => format!("it broke off ({error})"),
    }
}

fn header(response: &Response<Body>, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// `bytes 5-9/10` begins at 5.
fn begin(range: &str) -> Option<u64> {
    range.trim().strip_prefix("bytes")?.trim().split('-').next()?.parse().ok()
}

/// A branch is one segment of an address, whatever is in it.
fn quoted(revision: &str) -> String {
    revision.replace('/', "%2F")
}

/// Scheme, host and port.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find(['/', '?', '#']).map_or(url, |end| &url[..host + end])
}

/// Where a `Location` leads, seen from `url`.
fn joined(url: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    if let Some(rest) = location.strip_prefix("//") {
        let scheme = url.split("://").next().unwrap_or("https");
        return format!("{scheme}://{rest}");
    }
    if location.starts_with('/') {
        return format!("{}{location}", origin(url));
    }
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let folder = path.rfind('/').map_or(path, |end| &path[..=end]);
    format!("{folder}{location}")
}

/// Texts of an answer's head, for the fuzzer.
#[cfg(fuzzing)]
pub(crate) fn fuzz(text: &str) {
    let _ = begin(text);
    let _ = quoted(text);
    let url = joined("https://hub.example/org/name/resolve/main/a.json", text);
    let _ = origin(&joined(&url, text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_seen_from_where_it_was_told() {
        let url = "https://hub.example:8443/org/name/resolve/main/a.json?x=/y";
        assert_eq!(origin(url), "https://hub.example:8443");
        assert_eq!(origin("http://hub"), "http://hub");
        for (location, expected) in [
            ("https://cdn/b", "https://cdn/b"),
            ("//cdn/b", "https://cdn/b"),
            ("/b?c", "https://hub.example:8443/b?c"),
            ("b.json", "https://hub.example:8443/org/name/resolve/main/b.json"),
        ] {
            assert_eq!(joined(url, location), expected);
        }
    }

    #[test]
    fn a_range_says_where_it_begins() {
        assert_eq!(begin("bytes 5-9/10"), Some(5));
        assert_eq!(begin("bytes */10"), None);
    }
}
