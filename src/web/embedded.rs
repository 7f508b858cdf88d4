//! Files that are part of the program: those of the console and of the documentation. They are compressed, and the same for every client.
//!
//! A browser keeps files whose names contain the hash of their content for a year. It checks the others by their ETag each time.

use std::io::Read as _;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use flate2::read::GzDecoder;

use super::line;

/// The file at the address of the folder.
pub(super) const PAGE: &str = "index.html";
/// What a browser may do with a drawing: apply the styles in it and show the pictures in it.
const DRAWING_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox";
const DRAWING: &str = "image/svg+xml";

/// The files below one address.
pub(super) struct Files {
    /// Sorted by name.
    pub(super) assets: &'static [Asset],
    /// What a browser may do with them.
    pub(super) policy: &'static str,
    /// The names of all files but [`PAGE`] contain the hash of their content.
    pub(super) have_hashes: bool,
    /// The answer for any other name.
    pub(super) missing: &'static str,
}

/// A file.
pub(super) struct Asset {
    pub(super) name: &'static str,
    /// The content type.
    pub(super) kind: &'static str,
    /// The hash of its content.
    pub(super) tag: &'static str,
    /// Its content, compressed with gzip.
    pub(super) compressed: &'static [u8],
}

impl Files {
    /// The answer to a request with these header fields for a file.
    pub(super) fn respond(&self, name: &str, headers: &HeaderMap) -> Response {
        let Some(asset) = self.assets.iter().find(|asset| asset.name == name) else {
            return line(StatusCode::NOT_FOUND, self.missing);
        };
        let accepts = |name: HeaderName, accepted: fn(&str, &str) -> bool, value: &str| {
            headers
                .get_all(name)
                .iter()
                .filter_map(|sent| sent.to_str().ok())
                .any(|sent| sent.split(',').any(|item| accepted(item.trim(), value)))
        };
        let mut fields = self.fields(asset);
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
    fn fields(&self, asset: &Asset) -> HeaderMap {
        let is_kept = self.have_hashes && asset.name != PAGE;
        let cache = if is_kept { "public, max-age=31536000, immutable" } else { "no-cache" };
        let policy = if asset.kind == DRAWING { DRAWING_POLICY } else { self.policy };
        // Weak: the compressed and the plain form have the same tag.
        let tag = HeaderValue::try_from(format!("W/\"{}\"", asset.tag))
            .unwrap_or_else(|_| HeaderValue::from_static("W/\"\""));
        HeaderMap::from_iter([
            (header::ETAG, tag),
            (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
            (header::VARY, HeaderValue::from_static("accept-encoding")),
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
            (
                HeaderName::from_static("cross-origin-resource-policy"),
                HeaderValue::from_static("same-origin"),
            ),
        ])
    }
}

impl Asset {
    /// The content, for a client that accepts no gzip. No browser does that.
    pub(super) fn content(&self) -> Vec<u8> {
        let mut content = Vec::new();
        // The file is part of the program; a test reads all of them.
        let _ = GzDecoder::new(self.compressed).read_to_end(&mut content);
        content
    }
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What is wrong with a list of files: not sorted, not complete, without a tag.
    pub(in crate::web) fn faults(files: &Files) -> Vec<&'static str> {
        let mut faults = Vec::new();
        if !files.assets.is_sorted_by_key(|asset| asset.name) {
            faults.push("not sorted");
        }
        for asset in files.assets {
            let mut content = Vec::new();
            let read = GzDecoder::new(asset.compressed).read_to_end(&mut content);
            let has_tag = HeaderValue::try_from(asset.tag).is_ok() && asset.tag.len() >= 16;
            if !read.is_ok_and(|length| length > 0) || !has_tag {
                faults.push(asset.name);
            }
        }
        faults
    }

    /// A header field of an answer, or nothing.
    pub(in crate::web) fn field(response: &Response, name: HeaderName) -> String {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
    }

    #[test]
    fn what_is_kept_and_what_a_drawing_may_do() {
        // `gzip` of "a".
        const A: &[u8] = &[31, 139, 8, 0, 0, 0, 0, 0, 2, 255, 75, 4, 0, 67, 190, 183, 232, 1, 0, 0, 0];
        let asset = |name, kind| Asset { name, kind, tag: "0123456789abcdef", compressed: A };
        let assets: &'static [Asset] =
            Vec::leak(vec![asset("a.html", "text/html"), asset(PAGE, "text/html"), asset("z.svg", DRAWING)]);
        for (have_hashes, name, kept, policy) in [
            (true, "a.html", true, "of the site"),
            (true, PAGE, false, "of the site"),
            (true, "z.svg", true, DRAWING_POLICY),
            (false, "a.html", false, "of the site"),
            (false, "z.svg", false, DRAWING_POLICY),
        ] {
            let files = Files { assets, policy: "of the site", have_hashes, missing: "no" };
            let response = files.respond(name, &HeaderMap::new());
            assert_eq!(response.status(), StatusCode::OK, "{name}");
            assert_eq!(field(&response, header::CACHE_CONTROL).contains("immutable"), kept, "{name}");
            assert_eq!(field(&response, header::CONTENT_SECURITY_POLICY), policy, "{name}");
            assert_eq!(files.respond("b", &HeaderMap::new()).status(), StatusCode::NOT_FOUND);
            assert_eq!(faults(&files), [""; 0]);
        }
        assert_eq!(assets[0].content(), b"a");
    }
}
