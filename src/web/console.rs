//! The console at `/console/`: the pages that `web/` builds. Their files are part of the program, compressed, and are the same for every
//! client. They contain nothing of the service: what a page shows, it requests from the API.
//!
//! The names of all files but the page contain the hash of their content, so a browser keeps them for a year. The page itself is
//! checked by its ETag each time. Every address in it is relative: it also works below the prefix of a proxy.

use std::{io::Read as _, sync::Arc};

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use flate2::read::GzDecoder;

use super::{Endpoint, line};

/// The beginning of every address of the console.
pub(super) const PREFIX: &str = "/console/";
/// The page, whose name has no hash.
const PAGE: &str = "index.html";

/// What a browser may do with the page: run and show files of this program, show pictures of it, and send requests to it. No text
/// becomes HTML: where browsers know trusted types, that is an error. No page of someone else may show it in a frame.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// A file of the console.
struct Asset {
    name: &'static str,
    /// The content type.
    kind: &'static str,
    /// The hash of its content.
    tag: &'static str,
    /// Its content, compressed with gzip.
    compressed: &'static [u8],
}

/// Every file, sorted by name.
const ASSETS: &[Asset] = include!("../../web/dist/assets.rs");

/// The addresses of the console. `/` leads there.
pub(super) fn router() -> Router<Arc<Endpoint>> {
    Router::new()
        .route("/", get(redirect))
        .route("/console", get(redirect))
        .route(PREFIX, get(async |headers: HeaderMap| respond(PAGE, &headers)))
        .route(
            &format!("{PREFIX}{{name}}"),
            get(async |Path(name): Path<String>, headers: HeaderMap| respond(&name, &headers)),
        )
}

/// Relative, because a proxy may have a prefix that this program does not know.
async fn redirect() -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "console/")]).into_response()
}

fn respond(name: &str, headers: &HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return line(StatusCode::NOT_FOUND, "the console has no such file: load the page /console/ again");
    };
    let accepts = |name: HeaderName, accepted: fn(&str, &str) -> bool, value: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|sent| sent.to_str().ok())
            .any(|sent| sent.split(',').any(|item| accepted(item.trim(), value)))
    };
    let mut fields = fields(asset);
    if accepts(header::IF_NONE_MATCH, is_tag, asset.tag) {
        return (StatusCode::NOT_MODIFIED, fields).into_response();
    }
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    if accepts(header::ACCEPT_ENCODING, is_coding, "gzip") {
        fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return (fields, asset.compressed).into_response();
    }
    (fields, asset.content()).into_response()
}

/// The header fields that every answer about a file has.
fn fields(asset: &Asset) -> HeaderMap {
    let cache = if asset.name == PAGE { "no-cache" } else { "public, max-age=31536000, immutable" };
    // Weak: the compressed and the plain form have the same tag.
    let tag = HeaderValue::try_from(format!("W/\"{}\"", asset.tag))
        .unwrap_or_else(|_| HeaderValue::from_static("W/\"\""));
    HeaderMap::from_iter([
        (header::ETAG, tag),
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
        (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    ])
}

/// Whether an item of `If-None-Match` is this tag.
fn is_tag(item: &str, tag: &str) -> bool {
    item == "*" || item.trim_start_matches("W/").trim_matches('"') == tag
}

/// Whether an item of `Accept-Encoding`, such as `gzip;q=0.5`, allows this coding.
fn is_coding(item: &str, coding: &str) -> bool {
    let (name, quality) = item.split_once(';').unwrap_or((item, "q=1"));
    let quality = quality.trim().trim_start_matches("q=").parse().unwrap_or(0.0);
    name.trim().eq_ignore_ascii_case(coding) && quality > 0.0
}

impl Asset {
    /// The content, for a client that accepts no gzip. No browser does that.
    fn content(&self) -> Vec<u8> {
        let mut content = Vec::new();
        // The file is part of the program; a test reads all of them.
        let _ = GzDecoder::new(self.compressed).read_to_end(&mut content);
        content
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The largest sizes of all files, and of what the first page loads, compressed.
    const LARGEST: usize = 300_000;
    const LARGEST_FIRST: usize = 120_000;

    fn text(name: &str) -> String {
        let asset = ASSETS.iter().find(|asset| asset.name == name).unwrap();
        String::from_utf8(asset.content()).unwrap()
    }

    fn named(start: &str, end: &str) -> &'static str {
        let found = ASSETS.iter().find(|asset| asset.name.starts_with(start) && asset.name.ends_with(end));
        found.unwrap_or_else(|| panic!("{start}*{end}")).name
    }

    #[test]
    fn what_each_request_is_answered_with() {
        let script = named("main-", ".js");
        let tag = |name: &str| ASSETS.iter().find(|asset| asset.name == name).unwrap().tag;
        let weak = |name: &str| format!("W/\"{}\"", tag(name));
        let listed = format!("\"other\", \"{}\"", tag(script));
        let immutable = "public, max-age=31536000, immutable";
        let none = String::new();
        for (name, encoding, known, status, cache, coding) in [
            (PAGE, "gzip, deflate, br", &none, 200, "no-cache", "gzip"),
            (PAGE, "", &none, 200, "no-cache", ""),
            (PAGE, "gzip;q=0", &none, 200, "no-cache", ""),
            (PAGE, "br;q=1.0, gzip;q=0.8", &none, 200, "no-cache", "gzip"),
            (PAGE, "gzip", &weak(PAGE), 304, "no-cache", ""),
            (PAGE, "gzip", &weak(script), 200, "no-cache", "gzip"),
            (script, "gzip", &none, 200, immutable, "gzip"),
            (script, "gzip", &listed, 304, immutable, ""),
            (script, "gzip", &"*".to_owned(), 304, immutable, ""),
            ("main.js", "gzip", &none, 404, "", ""),
            ("../Cargo.toml", "gzip", &none, 404, "", ""),
            ("assets.rs", "gzip", &none, 404, "", ""),
        ] {
            let case = format!("{name} {encoding} {known}");
            let sent = HeaderMap::from_iter([
                (header::ACCEPT_ENCODING, encoding.parse().unwrap()),
                (header::IF_NONE_MATCH, known.parse().unwrap()),
            ]);
            let response = respond(name, &sent);
            assert_eq!(response.status().as_u16(), status, "{case}");
            let field = |name: HeaderName| {
                response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
            };
            assert_eq!(field(header::CACHE_CONTROL), cache, "{case}");
            assert_eq!(field(header::CONTENT_ENCODING), coding, "{case}");
            if status == 404 {
                continue;
            }
            assert_eq!(field(header::CONTENT_SECURITY_POLICY), POLICY, "{case}");
            assert_eq!(field(header::ETAG), weak(name), "{case}");
            let kind =
                if name == PAGE { "text/html; charset=utf-8" } else { "text/javascript; charset=utf-8" };
            assert_eq!(field(header::CONTENT_TYPE), if status == 304 { "" } else { kind }, "{case}");
        }
    }

    #[test]
    fn the_policy_allows_no_code_of_a_page_and_no_other_machine() {
        for word in ["unsafe-inline", "unsafe-eval", "data:", "http:", "https:", "*"] {
            assert!(!POLICY.contains(word), "{word}");
        }
        let page = text(PAGE);
        assert_eq!(page.matches("<script").count(), page.matches("<script type=\"module\" src=\"").count());
        for word in ["<style", "style=", " onload", " onclick", "http:", "https:", "src=\"/", "href=\"/"] {
            assert!(!page.contains(word), "{word} in {page}");
        }
    }

    #[test]
    fn every_file_is_complete_and_sorted_and_has_a_hash() {
        assert!(ASSETS.is_sorted_by_key(|asset| asset.name));
        for asset in ASSETS {
            let mut content = Vec::new();
            let read = GzDecoder::new(asset.compressed).read_to_end(&mut content);
            assert!(read.is_ok_and(|length| length > 0), "{}", asset.name);
            assert!(HeaderValue::try_from(asset.tag).is_ok() && asset.tag.len() >= 16, "{}", asset.name);
            let stem = asset.name.rsplit_once('.').unwrap().0;
            let hash = stem.rsplit_once('-').map_or("", |(_, hash)| hash);
            let is_hash = hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_alphanumeric());
            assert!(
                asset.name == PAGE || is_hash,
                "{} has no hash, and would be kept for a year",
                asset.name
            );
        }
    }

    #[test]
    fn the_files_are_small() {
        let sizes = |names: &BTreeSet<&str>| -> usize {
            ASSETS.iter().filter(|asset| names.contains(asset.name)).map(|asset| asset.compressed.len()).sum()
        };
        let all = ASSETS.iter().map(|asset| asset.name).collect();
        assert!(sizes(&all) < LARGEST, "{} bytes", sizes(&all));
        let first = first_page();
        assert!(sizes(&first) < LARGEST_FIRST, "{} bytes: {first:?}", sizes(&first));
        assert!(first.len() > 4, "{first:?}");
    }

    /// What a browser loads to show the page Live: the page, what it names, and what these import; of the other pages nothing.
    fn first_page() -> BTreeSet<&'static str> {
        let mut found: BTreeSet<_> = [PAGE, named("main-", ".js"), named("live-", ".js")].into();
        loop {
            let before = found.len();
            for name in found.clone() {
                let content = text(name);
                found.extend(ASSETS.iter().map(|asset| asset.name).filter(|other| {
                    let forms = [
                        format!("from\"./{other}\""),
                        format!("import\"./{other}\""),
                        format!("href=\"{other}\""),
                        format!("src=\"{other}\""),
                    ];
                    forms.iter().any(|form| content.contains(form))
                }));
            }
            if found.len() == before {
                return found;
            }
        }
    }
}
