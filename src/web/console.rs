//! The console at `/console/`: the pages that `web/` builds. They contain nothing of the service: what a page shows, it requests from the
//! API.
//!
//! The names of all files but the page contain the hash of their content. Every address in the page is relative: it also works below
//! the prefix of a proxy.

use std::sync::Arc;

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::{
    Endpoint,
    embedded::{Asset, Files, PAGE},
};

/// The beginning of every address of the console.
pub(super) const PREFIX: &str = "/console/";

/// What a browser may do with the page: run and show files of this program, show pictures of it, and send requests to it. No text
/// becomes HTML: where browsers know trusted types, that is an error. No page of someone else may show it in a frame.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const FILES: Files = Files {
    assets: include!("../../web/dist/assets.rs"),
    policy: POLICY,
    have_hashes: true,
    missing: "the console has no such file: load the page /console/ again",
};

/// The addresses of the console. `/` leads there.
pub(super) fn router() -> Router<Arc<Endpoint>> {
    Router::new()
        .route("/", get(redirect))
        .route("/console", get(redirect))
        .route(PREFIX, get(async |headers: HeaderMap| FILES.respond(PAGE, &headers)))
        .route(
            &format!("{PREFIX}{{name}}"),
            get(async |Path(name): Path<String>, headers: HeaderMap| FILES.respond(&name, &headers)),
        )
}

/// Relative, because a proxy may have a prefix that this program does not know.
async fn redirect() -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "console/")]).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::web::embedded::tests::{faults, field};

    /// The largest sizes of all files, and of what the first page loads, compressed.
    const LARGEST: usize = 300_000;
    const LARGEST_FIRST: usize = 120_000;

    fn text(name: &str) -> String {
        let asset = FILES.assets.iter().find(|asset| asset.name == name).unwrap();
        String::from_utf8(asset.content()).unwrap()
    }

    fn named(start: &str, end: &str) -> &'static str {
        let found =
            FILES.assets.iter().find(|asset| asset.name.starts_with(start) && asset.name.ends_with(end));
        found.unwrap_or_else(|| panic!("{start}*{end}")).name
    }

    #[test]
    fn what_each_request_is_answered_with() {
        let script = named("main-", ".js");
        let tag = |name: &str| FILES.assets.iter().find(|asset| asset.name == name).unwrap().tag;
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
            let response = FILES.respond(name, &sent);
            assert_eq!(response.status().as_u16(), status, "{case}");
            assert_eq!(field(&response, header::CACHE_CONTROL), cache, "{case}");
            assert_eq!(field(&response, header::CONTENT_ENCODING), coding, "{case}");
            if status == 404 {
                continue;
            }
            assert_eq!(field(&response, header::CONTENT_SECURITY_POLICY), POLICY, "{case}");
            assert_eq!(field(&response, header::ETAG), weak(name), "{case}");
            let kind =
                if name == PAGE { "text/html; charset=utf-8" } else { "text/javascript; charset=utf-8" };
            assert_eq!(
                field(&response, header::CONTENT_TYPE),
                if status == 304 { "" } else { kind },
                "{case}"
            );
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
        assert_eq!(faults(&FILES), [""; 0]);
        for asset in FILES.assets {
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
            FILES
                .assets
                .iter()
                .filter(|asset| names.contains(asset.name))
                .map(|asset| asset.compressed.len())
                .sum()
        };
        let all = FILES.assets.iter().map(|asset| asset.name).collect();
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
                found.extend(FILES.assets.iter().map(|asset| asset.name).filter(|other| {
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
