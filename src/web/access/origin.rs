//! Decides whether a request comes from a page of this service, from a program, or from a page of someone else. Pure.

use core::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, header};

use crate::config::BaseUrl;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_SCHEME: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How browsers reach the service.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnAddress<'r> {
    /// The address that people use.
    pub(super) base_url: Option<&'r BaseUrl>,
    /// Browsers connect with TLS.
    pub(super) is_https: bool,
    /// The request comes from a proxy that is believed.
    pub(super) is_forwarded: bool,
}

/// Why a change is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForeignOrigin {
    /// It comes from a page of someone else.
    Page,
    /// Its address is not the one in its `Host`: from a page of someone else, or through a proxy that changes the host.
    Host,
    /// It has a cookie, and does not say where it comes from, as every browser does.
    Unknown,
}

/// Whether a change may not be made because of where it comes from. A browser says that in `Sec-Fetch-Site` and in `Origin`; a program
/// says nothing. `has_cookie`: the right of the request is that of a session.
pub(super) fn foreign_origin(
    headers: &HeaderMap,
    own: OwnAddress<'_>,
    has_cookie: bool,
) -> Option<ForeignOrigin> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let (site, origin) = (text(&FETCH_SITE), text(&header::ORIGIN));
    if site.is_some_and(|site| site != "same-origin") {
        return Some(ForeignOrigin::Page);
    }
    let Some(origin) = origin else {
        return (has_cookie && site.is_none()).then_some(ForeignOrigin::Unknown);
    };
    let OwnAddress { base_url, is_https, is_forwarded } = own;
    let scheme = match is_forwarded {
        // The supervisor says how the browser has connected to Home Assistant. The first proxy comes first.
        true => text(&FORWARDED_SCHEME).map(|sent| sent.split(',').next().unwrap_or_default().trim()),
        false => Some(if is_https { "https" } else { "http" }),
    };
    // A browser that sends `same-origin` has compared the schemes itself, also where a proxy with TLS is not configured.
    let scheme = scheme.filter(|_| site.is_none());
    let forwarded = text(&FORWARDED_HOST).filter(|_| is_forwarded);
    let is_own = base_url.is_some_and(|own| own.origin() == origin)
        || [text(&header::HOST), forwarded].into_iter().flatten().any(|host| is_of(origin, scheme, host))
        // Home Assistant may be behind another proxy. No page can set this field.
        || is_forwarded && site.is_some();
    (!is_own).then_some(ForeignOrigin::Host)
}

/// Whether a page with this `Origin` has the address of this `Host`, and this scheme if it is known. Who controls the network can
/// invent a page of `http://host`, and none of `https://host`.
fn is_of(origin: &str, scheme: Option<&str>, host: &str) -> bool {
    let Some((sent, name)) = origin.split_once("://") else { return false };
    let default = match sent {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    if scheme.is_some_and(|scheme| !scheme.eq_ignore_ascii_case(sent)) {
        return false;
    }
    // Browsers leave the usual port out; not every proxy does.
    name.eq_ignore_ascii_case(host.strip_suffix(default).unwrap_or(host))
}

/// Whether a `Host` names this machine in a way that no web page of someone else can use: a page whose name is made to lead to this
/// machine (DNS rebinding) must not read what the service remembers.
pub(super) fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Listen;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn proxied() -> Listen {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stakeout.yaml");
        let text = "listen: { address: \"127.0.0.1:1\", base_url: \"https://home.example.org/eyes\" }\n";
        std::fs::write(&path, text).unwrap();
        crate::config::listen(&path).unwrap().unwrap()
    }

    #[test]
    fn changes_come_from_pages_of_this_service_or_from_programs() {
        let listen = proxied();
        let (host, own) = (("host", "127.0.0.1:9464"), ("origin", "http://127.0.0.1:9464"));
        let site = |site| ("sec-fetch-site", site);
        let (same, evil) = (site("same-origin"), ("origin", "https://evil.example"));
        for (what, fields, with_base, with_cookie, expected) in [
            ("a program", &[host][..], false, false, None),
            ("a program behind a proxy", &[host], true, false, None),
            ("the console", &[host, own, same], false, true, None),
            ("the console, in an old browser", &[host, own], false, true, None),
            ("without Origin, as for GET", &[host, same], false, true, None),
            (
                "with the usual port",
                &[("host", "cam.lan:80"), ("origin", "http://cam.lan")],
                false,
                true,
                None,
            ),
            ("in other letters", &[("host", "Cam.lan"), ("origin", "http://cam.lan")], false, true, None),
            ("through the proxy", &[host, ("origin", "https://home.example.org"), same], true, true, None),
            (
                "a proxy that is not configured",
                &[host, ("origin", "https://home.example.org"), same],
                false,
                true,
                Some(ForeignOrigin::Host),
            ),
            ("another site", &[host, evil, site("cross-site")], false, true, Some(ForeignOrigin::Page)),
            ("another site, in an old browser", &[host, evil], false, false, Some(ForeignOrigin::Host)),
            (
                "another port of this machine",
                &[host, ("origin", "http://127.0.0.1:8000"), site("same-site")],
                false,
                true,
                Some(ForeignOrigin::Page),
            ),
            (
                "the same, in an old browser",
                &[host, ("origin", "http://127.0.0.1:8000")],
                false,
                true,
                Some(ForeignOrigin::Host),
            ),
            ("an address that was typed", &[host, site("none")], false, true, Some(ForeignOrigin::Page)),
            (
                "a page without an address",
                &[host, ("origin", "null")],
                false,
                true,
                Some(ForeignOrigin::Host),
            ),
            ("both must agree", &[host, evil, same], false, true, Some(ForeignOrigin::Host)),
            ("a cookie of no browser", &[host], false, true, Some(ForeignOrigin::Unknown)),
            (
                "a host in a field that anyone can write",
                &[host, evil, ("x-forwarded-host", "evil.example")],
                false,
                true,
                Some(ForeignOrigin::Host),
            ),
            (
                "another scheme",
                &[host, ("origin", "ftp://127.0.0.1:9464")],
                false,
                true,
                Some(ForeignOrigin::Host),
            ),
        ] {
            let base_url = listen.base_url.as_ref().filter(|_| with_base);
            let is_https = base_url.is_some_and(BaseUrl::is_https);
            let own = OwnAddress { base_url, is_https, is_forwarded: false };
            assert_eq!(foreign_origin(&headers(fields), own, with_cookie), expected, "{what}");
        }
    }

    #[test]
    fn the_supervisor_says_which_host_the_browser_has_used() {
        let (host, own) = (("host", "172.30.33.4:9464"), ("origin", "http://homeassistant.local:8123"));
        let forwarded = ("x-forwarded-host", "homeassistant.local:8123");
        let scheme = |scheme| ("x-forwarded-proto", scheme);
        let secured = ("origin", "https://homeassistant.local:8123");
        let same = ("sec-fetch-site", "same-origin");
        for (fields, expected) in [
            (&[host, own, forwarded][..], None),
            (&[host, own, same], None),
            (&[host, own], Some(ForeignOrigin::Host)),
            (&[host, own, forwarded, ("sec-fetch-site", "cross-site")], Some(ForeignOrigin::Page)),
            (&[host, own, forwarded, scheme("http")], None),
            (&[host, own, forwarded, scheme("https")], Some(ForeignOrigin::Host)),
            (&[host, secured, forwarded], None),
            (&[host, secured, forwarded, scheme("https")], None),
            (&[host, secured, forwarded, scheme("HTTPS, http")], None),
            (&[host, secured, forwarded, scheme("http")], Some(ForeignOrigin::Host)),
            (&[host, secured, forwarded, scheme("http"), same], None),
        ] {
            for is_https in [false, true] {
                // The scheme of the service itself says nothing about that of Home Assistant.
                let own = OwnAddress { base_url: None, is_https, is_forwarded: true };
                assert_eq!(foreign_origin(&headers(fields), own, false), expected, "{fields:?} {is_https}");
            }
        }
    }

    #[test]
    fn a_page_without_tls_is_not_the_page_with_tls() {
        let listen = proxied();
        let (host, proxied) = (("host", "cam.lan"), ("host", "home.example.org"));
        let (http, https) = (("origin", "http://cam.lan"), ("origin", "https://cam.lan"));
        let base = |origin| ("origin", origin);
        let same = ("sec-fetch-site", "same-origin");
        for (what, fields, is_https, with_base, expected) in [
            ("http where http is", &[host, http][..], false, false, None),
            ("https where https is", &[host, https], true, false, None),
            ("http where https is", &[host, http], true, false, Some(ForeignOrigin::Host)),
            ("https where http is", &[host, https], false, false, Some(ForeignOrigin::Host)),
            (
                "http where https is, with the usual port",
                &[("host", "cam.lan:443"), ("origin", "http://cam.lan:443")],
                true,
                false,
                Some(ForeignOrigin::Host),
            ),
            ("a proxy that keeps the host", &[proxied, base("https://home.example.org")], true, true, None),
            (
                "a page without TLS at the host of the proxy",
                &[proxied, base("http://home.example.org")],
                true,
                true,
                Some(ForeignOrigin::Host),
            ),
            (
                "a proxy that is not configured, in a browser of today",
                &[host, https, same],
                false,
                false,
                None,
            ),
            (
                "a scheme in a field that anyone can write",
                &[host, http, ("x-forwarded-proto", "http")],
                true,
                false,
                Some(ForeignOrigin::Host),
            ),
        ] {
            let base_url = listen.base_url.as_ref().filter(|_| with_base);
            let own = OwnAddress { base_url, is_https, is_forwarded: false };
            assert_eq!(foreign_origin(&headers(fields), own, true), expected, "{what}");
        }
    }

    #[test]
    fn hosts_that_no_web_page_can_have() {
        for host in [
            "localhost",
            "LOCALHOST:9464",
            "127.0.0.1",
            "127.0.0.1:9464",
            "[::1]:9464",
            "[::1]",
            "192.0.2.7:80",
        ] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9464",
            "localhost.evil.example",
            "127.0.0.1.evil.example:1",
            ":9464",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
