//! The documentation at `/docs/`: the site that `web/docs.mjs` builds from the pages in `docs/`. It can be searched, and needs no network.
//!
//! The names of its files stay the same, so that a change of one page changes no other. Every address in it is relative.

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

/// The beginning of every address of the documentation.
const PREFIX: &str = "/docs/";

/// What a browser may do with a page: run and show files of this program, and open the page that searches. No text becomes HTML.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const FILES: Files = Files {
    assets: include!("../../web/dist-docs/assets.rs"),
    policy: POLICY,
    have_hashes: false,
    missing: "the documentation has no such page: /docs/ lists all pages",
};

/// The addresses of the documentation.
pub(super) fn router() -> Router<Arc<Endpoint>> {
    Router::new()
        .route("/docs", get(redirect))
        .route(PREFIX, get(async |headers: HeaderMap| FILES.respond(PAGE, &headers)))
        .route(
            &format!("{PREFIX}{{name}}"),
            get(async |Path(name): Path<String>, headers: HeaderMap| FILES.respond(&name, &headers)),
        )
}

/// Relative, because a proxy may have a prefix that this program does not know.
async fn redirect() -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "docs/")]).into_response()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path as FilePath};

    use super::*;
    use crate::web::embedded::tests::{faults, field};

    /// The largest size of all files, compressed.
    const LARGEST: usize = 2_500_000;

    fn text(name: &str) -> String {
        let asset = FILES.assets.iter().find(|asset| asset.name == name).unwrap_or_else(|| panic!("{name}"));
        String::from_utf8(asset.content()).unwrap()
    }

    fn pages() -> Vec<&'static str> {
        FILES.assets.iter().map(|asset| asset.name).filter(|name| name.ends_with(".html")).collect()
    }

    /// The values of an attribute in a page.
    fn attribute<'t>(page: &'t str, name: &str) -> Vec<&'t str> {
        page.split(&format!(" {name}=\"")).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn every_file_is_complete_and_small_and_checked_each_time() {
        assert_eq!(faults(&FILES), [""; 0]);
        let size: usize = FILES.assets.iter().map(|asset| asset.compressed.len()).sum();
        assert!(size < LARGEST, "{size} bytes");
        let response = FILES.respond(PAGE, &HeaderMap::new());
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(field(&response, header::CACHE_CONTROL), "no-cache");
        assert_eq!(field(&response, header::CONTENT_SECURITY_POLICY), POLICY);
        assert_eq!(FILES.respond("../Cargo.toml", &HeaderMap::new()).status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn the_policy_allows_no_code_of_a_page_and_no_other_machine() {
        for word in ["unsafe-inline", "unsafe-eval", "data:", "http:", "https:", "*"] {
            assert!(!POLICY.contains(word), "{word}");
        }
        for name in pages() {
            let page = text(name);
            assert_eq!(page.matches("<script").count(), page.matches("<script src=\"").count(), "{name}");
            for word in ["<style", " style=\"", " onload=", " onclick=", "javascript:"] {
                assert!(!page.contains(word), "{word} in {name}");
            }
            let loaded = attribute(&page, "src").into_iter();
            for address in loaded.chain(attribute(&page, "action")) {
                assert!(FILES.assets.iter().any(|asset| asset.name == address), "{name} loads {address}");
            }
        }
    }

    #[test]
    fn every_page_of_the_repository_is_one_of_the_site_and_every_link_has_a_target() {
        let docs = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let (names, mut links) = (pages(), 0);
        for (folder, prefix) in [(docs.clone(), ""), (docs.join("measurements"), "measurements-")] {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|kind| kind == "md") {
                    let name = format!("{prefix}{}.html", path.file_stem().unwrap().to_str().unwrap());
                    assert!(names.contains(&&*name), "{name} is missing: run `npm run build` in web/");
                }
            }
        }
        for name in &names {
            let page = text(name);
            for link in attribute(&page, "href") {
                let (file, part) = link.split_once('#').unwrap_or((link, ""));
                if link.starts_with("https://") || link.starts_with("http://") || link == "../console/" {
                    continue;
                }
                links += 1;
                let file = if file.is_empty() { *name } else { file };
                assert!(FILES.assets.iter().any(|asset| asset.name == file), "{name} links to {link}");
                let has_part = || attribute(&text(file), "id").contains(&part);
                assert!(part.is_empty() || has_part(), "{name}: {link}: there is no such heading");
            }
        }
        assert!(links > 500, "{links}");
    }
}
