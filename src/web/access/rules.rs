//! Decides what a request needs and whether its client may have it. Pure.

use axum::http::Method;

use crate::{
    api::{
        Error, Kind, Role, search_picture,
        verb::{PREFIX, Route},
    },
    config::{BaseUrl, Listen},
};

/// The address where browsers sign in and out.
pub(super) const SESSION: &str = "/console/session";
/// What programs may read without a token, where the service listens only on this machine and has none. Everything else that was
/// added to the API needs a sign-in or a token.
const OPEN: [&str; 10] = [
    "alerts",
    "ask",
    "events",
    "explain",
    "marks",
    "near_misses",
    "openapi.json",
    "replay",
    "search",
    "watches",
];
/// The same for every picture of an alert.
const OPEN_PICTURES: &str = "pictures/";

/// How clients come in at one of the places where the service listens.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Rules {
    /// At the unix socket of the commands: they may do everything.
    pub(super) is_owner: bool,
    /// Programs may read without a token: there is none, and only this machine can connect.
    pub(super) is_open: bool,
    /// Programs may ask for the state of the service without a token: there is none. The health check of a container has to.
    pub(super) is_health_open: bool,
    /// Browsers connect with TLS.
    pub(super) is_https: bool,
    /// The address that people use.
    pub(super) base_url: Option<BaseUrl>,
    /// Home Assistant's supervisor is believed.
    pub(super) ingress: bool,
}

impl Rules {
    /// The unix socket of the commands.
    pub(in super::super) fn owner() -> Self {
        Self { is_owner: true, ..Self::default() }
    }

    /// The unix socket to which `stakeout console` forwards browsers.
    pub(in super::super) fn forwarded() -> Self {
        Self::default()
    }

    /// The address of `listen`.
    pub(in super::super) fn of(listen: &Listen) -> Self {
        let (base_url, has_token) = (listen.base_url.clone(), listen.any_token().is_some());
        Self {
            is_owner: false,
            // A proxy connects from this machine, for people on others.
            is_health_open: !has_token,
            is_open: !has_token && listen.address.ip().is_loopback() && base_url.is_none() && !listen.ingress,
            is_https: listen.tls.is_some() || base_url.as_ref().is_some_and(BaseUrl::is_https),
            base_url,
            ingress: listen.ingress,
        }
    }
}

/// What the verbs of the API need that their method of HTTP does not say.
#[derive(Debug, Default)]
pub(super) struct Verbs {
    /// Those that are sent with POST and change nothing.
    queries: Vec<&'static str>,
    /// Those for the unix socket.
    owners: Vec<&'static str>,
}

impl Verbs {
    /// Those of these routes.
    pub(super) fn of(routes: &[Route]) -> Self {
        let names = |is: fn(&Route) -> bool| routes.iter().filter(move |it| is(it)).map(|it| it.name);
        let queries = names(|it| it.method.name() == "POST" && it.method.needs() == Role::View);
        Self {
            // Its request is a picture, so it is no verb.
            queries: queries.chain([search_picture::NAME]).collect(),
            owners: names(|it| it.is_for_owner).collect(),
        }
    }
}

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: the files of the console and of the documentation, signing in and out, and the question what the client may do.
    Nothing,
    /// The right to look. Where the service is open, programs have it: `host` says that they must use a name of this machine.
    Open {
        /// Whether the host is checked.
        host: bool,
    },
    /// The right to ask for the state of the service, in one word.
    Health,
    /// The right to look, of a client that has shown who it is.
    View,
    /// The right to change.
    Change,
    /// The unix socket.
    Owner,
    /// No client can do that.
    Impossible,
}

/// What a request needs.
pub(super) fn need(method: &Method, path: &str, verbs: &Verbs) -> Need {
    let reads = [Method::GET, Method::HEAD].contains(method);
    let Some(name) = path.strip_prefix(PREFIX) else {
        return match reads {
            _ if path == SESSION => Need::Nothing,
            true if ["/", "/console", "/docs"].contains(&path) => Need::Nothing,
            true if path.starts_with("/console/") || path.starts_with("/docs/") => Need::Nothing,
            true if ["/healthz", "/readyz"].contains(&path) => Need::Health,
            true => Need::Open { host: false },
            false => Need::Impossible,
        };
    };
    let is_open = OPEN.contains(&name) || name.starts_with(OPEN_PICTURES);
    match reads || (*method == Method::POST && verbs.queries.contains(&name)) {
        true if name == "me" => Need::Nothing,
        true if is_open => Need::Open { host: true },
        true => Need::View,
        false if verbs.owners.contains(&name) => Need::Owner,
        false => Need::Change,
    }
}

/// Why a client may not do what its request needs; `None`: it may. `is_known_host` says whether the request names this machine in a
/// way that no web page of someone else can.
pub(super) fn refusal(need: Need, role: Option<Role>, rules: &Rules, is_known_host: bool) -> Option<Error> {
    let may = |needed| role.is_some_and(|role: Role| role.may(needed));
    match need {
        Need::Nothing => None,
        Need::Impossible => Some(Error::new(Kind::Method, "the methods are GET and HEAD")),
        Need::Owner if rules.is_owner => None,
        Need::Owner => Some(
            Error::new(Kind::Forbidden, "this is only possible at the unix socket of the service")
                .remedy("Run `stakeout console` on the machine of the service."),
        ),
        Need::Open { .. } | Need::Health | Need::View if may(Role::View) => None,
        Need::Health if rules.is_health_open => None,
        Need::Change if may(Role::Change) => None,
        Need::Change if role.is_some() => Some(
            Error::new(Kind::Forbidden, "this client may only look").remedy(
                "Sign in with a link of `stakeout console` without `--view`, or with `listen.token`.",
            ),
        ),
        Need::Open { host } if rules.is_open => {
            let error = Error::new(Kind::Forbidden, "the name of the host is neither `localhost` nor an address");
            (host && !is_known_host)
                .then(|| error.remedy("Use `localhost` or the address, or set `listen.token`."))
        }
        Need::Change if rules.is_open => Some(
            Error::new(Kind::Forbidden, "changes over HTTP need a token or a sign-in, and `listen` has no token")
                .remedy("Set `listen.token`, or use the unix socket, as the commands do; people use `stakeout console`."),
        ),
        Need::View if rules.is_open => Some(
            Error::new(Kind::Unauthorized, "this needs a sign-in or a token, and `listen` has no token")
                .remedy("Run `stakeout console` and open its link, or set `listen.token`."),
        ),
        Need::Open { .. } | Need::Health | Need::View | Need::Change => Some(
            Error::new(Kind::Unauthorized, "the token is missing or wrong")
                .remedy("Send `Authorization: Bearer TOKEN`; people run `stakeout console` and open its link."),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{openapi, routes},
        config::Secret,
    };

    #[test]
    fn what_each_address_needs() {
        let verbs = Verbs { queries: vec!["preview"], owners: vec!["sign-in"] };
        let (get, head, post, delete) = (Method::GET, Method::HEAD, Method::POST, Method::DELETE);
        for (method, path, expected) in [
            (&get, "/", Need::Nothing),
            (&get, "/console", Need::Nothing),
            (&get, "/console/", Need::Nothing),
            (&get, "/console/main-ABCD1234.js", Need::Nothing),
            (&head, "/docs", Need::Nothing),
            (&get, "/docs/rules.html", Need::Nothing),
            (&post, "/docs/", Need::Impossible),
            (&get, "/docsx", Need::Open { host: false }),
            (&post, "/console/session", Need::Nothing),
            (&delete, "/console/session", Need::Nothing),
            (&post, "/console/", Need::Impossible),
            (&get, "/consolex", Need::Open { host: false }),
            (&get, "/metrics", Need::Open { host: false }),
            (&head, "/healthz", Need::Health),
            (&get, "/readyz", Need::Health),
            (&post, "/metrics", Need::Impossible),
            (&get, "/api/v1/me", Need::Nothing),
            (&post, "/api/v1/me", Need::Change),
            (&get, "/api/v1/alerts", Need::Open { host: true }),
            (&head, "/api/v1/events", Need::Open { host: true }),
            (&get, "/api/v1/pictures/7", Need::Open { host: true }),
            (&get, "/api/v1/configuration", Need::View),
            (&get, "/api/v1/", Need::View),
            (&get, "/api/v1/alerts/more", Need::View),
            (&post, "/api/v1/preview", Need::View),
            (&delete, "/api/v1/preview", Need::Change),
            (&post, "/api/v1/mark", Need::Change),
            (&post, "/api/v1/sign-in", Need::Owner),
            (&get, "/api/v1/sign-in", Need::View),
            (&delete, "/api/v1/alerts", Need::Change),
            (&Method::OPTIONS, "/api/v1/alerts", Need::Change),
        ] {
            assert_eq!(need(method, path, &verbs), expected, "{method} {path}");
        }
    }

    #[test]
    fn every_address_needs_what_the_document_says() {
        let routes = routes::all();
        let (verbs, document) = (Verbs::of(&routes), openapi::document(&routes));
        let mut words = std::collections::BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let word = operation["x-needs"].as_str().unwrap();
                let needed = need(&method.to_uppercase().parse().unwrap(), path, &verbs);
                let expected = match word {
                    "view" => matches!(needed, Need::View | Need::Open { .. } | Need::Nothing),
                    "change" => needed == Need::Change,
                    "socket" => needed == Need::Owner,
                    other => panic!("{path}: {other}"),
                };
                assert!(expected, "{method} {path}: {word}, {needed:?}");
                words.insert(word.to_owned());
            }
        }
        assert_eq!(words.len(), 3);
        for open in OPEN {
            assert!(document["paths"][format!("{PREFIX}{open}")]["get"].is_object(), "{open}");
        }
    }

    #[test]
    fn what_is_open_is_documented() {
        let pages = [
            (include_str!("../../../docs/security.md"), "\n- of the API "),
            (include_str!("../../../docs/api.md"), "| read `/metrics`, and of the API "),
        ];
        for (page, begin) in pages {
            let line = page.split(begin).nth(1).unwrap().lines().next().unwrap();
            let mut named: Vec<_> = line.split('`').skip(1).step_by(2).collect();
            named.retain(|name| !["listen.token", "pictures/ID"].contains(name));
            named.sort_unstable();
            assert_eq!(named, OPEN, "{begin}");
            assert!(page.contains("`pictures/ID`") && page.contains("`/metrics`"), "{begin}");
        }
    }

    #[test]
    fn who_may_do_what() {
        let of = |token: Option<&str>, address: &str| {
            let token = token.map(|token| Secret::new(token.to_owned()));
            Rules::of(&Listen { token, ..Listen::at(address.parse().unwrap()) })
        };
        let (open, closed) = (of(None, "127.0.0.1:1"), of(Some("0123456789abcdef"), "0.0.0.0:1"));
        let (owner, forwarded) = (Rules::owner(), Rules::forwarded());
        let proxied = Rules { is_open: false, ..open.clone() };
        let (anyone, view, change) = (None, Some(Role::View), Some(Role::Change));
        let (read, api) = (Need::Open { host: false }, Need::Open { host: true });
        for (rules, role, host, expected) in [
            // read, api, Health, View, Change, Owner, Nothing, Impossible
            (&owner, change, false, [0, 0, 0, 0, 0, 0, 0, 405]),
            (&open, anyone, true, [0, 0, 0, 401, 403, 403, 0, 405]),
            (&open, anyone, false, [0, 403, 0, 401, 403, 403, 0, 405]),
            (&open, view, false, [0, 0, 0, 0, 403, 403, 0, 405]),
            (&open, change, false, [0, 0, 0, 0, 0, 403, 0, 405]),
            (&closed, anyone, true, [401, 401, 401, 401, 401, 403, 0, 405]),
            (&closed, view, true, [0, 0, 0, 0, 403, 403, 0, 405]),
            (&closed, change, false, [0, 0, 0, 0, 0, 403, 0, 405]),
            (&proxied, anyone, true, [401, 401, 0, 401, 401, 403, 0, 405]),
            (&forwarded, anyone, true, [401, 401, 401, 401, 401, 403, 0, 405]),
            (&forwarded, view, true, [0, 0, 0, 0, 403, 403, 0, 405]),
        ] {
            let needs = [
                read,
                api,
                Need::Health,
                Need::View,
                Need::Change,
                Need::Owner,
                Need::Nothing,
                Need::Impossible,
            ];
            let statuses =
                needs.map(|need| refusal(need, role, rules, host).map_or(0, |it| it.kind.status()));
            assert_eq!(statuses, expected, "{rules:?} {role:?} {host}");
        }
    }

    #[test]
    fn a_proxy_or_a_token_closes_the_service() {
        let address = "127.0.0.1:9464".parse().unwrap();
        let token = || Some(Secret::new("0123456789abcdef".to_owned()));
        let base_url = |listen: &str| {
            let text = format!("listen: {{ address: \"127.0.0.1:1\", base_url: \"{listen}\" }}\n");
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("stakeout.yaml");
            std::fs::write(&path, text).unwrap();
            crate::config::listen(&path).unwrap().unwrap()
        };
        for (what, listen, is_open, is_https) in [
            ("nothing", Listen::at(address), true, false),
            ("a token", Listen { token: token(), ..Listen::at(address) }, false, false),
            ("a token for looking", Listen { view_token: token(), ..Listen::at(address) }, false, false),
            ("ingress", Listen { ingress: true, ..Listen::at(address) }, false, false),
            ("a proxy", base_url("http://home.lan/eyes"), false, false),
            ("a proxy with TLS", base_url("https://home.example.org"), false, true),
        ] {
            let rules = Rules::of(&listen);
            assert_eq!((rules.is_open, rules.is_https), (is_open, is_https), "{what}");
            // The supervisor's watchdog, and the health check of a container, know no token.
            assert_eq!(rules.is_health_open, listen.any_token().is_none(), "{what}");
        }
    }
}
