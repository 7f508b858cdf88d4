//! Addresses of cameras and web servers: a URL that is shown without its secrets.
//!
//! User and password are kept apart from it. Many cameras take the password in the query, so the query is hidden. A path is hidden
//! where it is the secret (webhooks of chats), where it contains a word for a password, and from a part that looks like a key. Only
//! [`Address::reveal`] gives all of it, for the one place that connects.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    net::IpAddr,
};

use url::{Host, Url};

use super::mask::{self, Secret};

/// The address of a camera or web server. `Display` and `Debug` show it without secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Without user and password.
    url: String,
    username: Option<String>,
    password: Option<Secret>,
    /// The path is a secret, whatever it contains.
    has_secret_path: bool,
}

impl Address {
    /// The whole address, with user, password and query, for the one place that connects. It must not be shown.
    #[must_use]
    pub fn reveal(&self) -> Cow<'_, str> {
        let (Some((username, password)), Some((scheme, rest))) = (self.login(), self.url.split_once("://"))
        else {
            return Cow::Borrowed(&self.url);
        };
        Cow::Owned(format!("{scheme}://{}:{}@{rest}", encoded(username, ":"), encoded(password, "")))
    }

    /// The scheme: `https`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.url.split_once("://").map_or("", |(scheme, _)| scheme)
    }

    /// Host and port as they were typed.
    #[must_use]
    pub fn authority(&self) -> &str {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        rest.split(['/', '?', '#']).next().unwrap_or_default()
    }

    /// The host and the port of its TCP connection; `None` without TCP, or without a known port.
    #[must_use]
    pub fn door(&self) -> Option<(String, u16)> {
        let url = Url::parse(&self.url).ok()?;
        let usual = match url.scheme() {
            "rtsp" => Some(554),
            "rtsps" => Some(322),
            "http" => Some(80),
            "https" | "rtmps" => Some(443),
            "rtmp" => Some(1935),
            "tcp" => None,
            _ => return None,
        };
        let host = match url.host()? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        Some((host, url.port().or(usual)?))
    }

    /// Whether the connection uses TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        ["https", "rtsps", "rtmps"].contains(&self.scheme())
    }

    /// Whether what is sent there can be read on the network: without TLS, to another machine.
    #[must_use]
    pub fn is_readable_by_others(&self) -> bool {
        let host = Url::parse(&self.url).ok().and_then(|url| Some(url.host_str()?.to_owned()));
        !self.is_tls() && !host.is_some_and(|host| is_this_machine(&host))
    }

    /// Whether it has a password, or what looks like one in its path or its query.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        let (_, path, query) = self.parts();
        let has_password = self.password.as_ref().is_some_and(|password| !password.reveal().is_empty());
        let is_secret = |word: &str| mask::is_secret(word) || mask::is_key(word);
        has_password || self.hides(path) || query.split(['?', '&', '=', '#']).any(is_secret)
    }

    /// Whether [`Self::has_secret`], and others on the network can read it.
    #[must_use]
    pub fn sends_a_readable_secret(&self) -> bool {
        self.is_readable_by_others() && self.has_secret()
    }

    /// The address without TLS and at another host and port.
    #[must_use]
    pub fn plain_at(&self, host: &str) -> Self {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("", &self.url));
        let path = rest.find(['/', '?', '#']).map_or("", |at| &rest[at..]);
        Self { url: format!("{}://{host}{path}", scheme.strip_suffix('s').unwrap_or(scheme)), ..self.clone() }
    }

    /// User and password, if there is a user.
    #[must_use]
    pub fn login(&self) -> Option<(&str, &str)> {
        let username = self.username.as_deref()?;
        Some((username, self.password.as_ref().map_or("", Secret::reveal)))
    }

    /// The address without user and password.
    #[must_use]
    pub fn without_login(&self) -> Self {
        Self { username: None, password: None, ..self.clone() }
    }

    /// The part that everyone may know, for a message that everyone can read: without user, password and query, and without a path
    /// that would be hidden. A valid address.
    #[must_use]
    pub fn public(&self) -> String {
        let (host, path, _) = self.parts();
        if self.hides(path) { format!("{host}/") } else { format!("{host}{path}") }
    }

    pub(crate) fn with_login(self, username: Option<String>, password: Option<Secret>) -> Self {
        Self { username: username.or(self.username), password: password.or(self.password), ..self }
    }

    /// The address of a server whose path is a secret: the addresses for incoming messages of Slack, Discord and Teams.
    pub(crate) fn with_secret_path(self) -> Self {
        Self { has_secret_path: true, ..self }
    }

    /// Scheme and host, path, and query or fragment.
    fn parts(&self) -> (&str, &str, &str) {
        let (place, query) = self.url.find(['?', '#']).map_or((&*self.url, ""), |at| self.url.split_at(at));
        let host = place.find("://").map_or(0, |at| at + 3);
        let (host, path) = place.split_at(place[host..].find('/').map_or(place.len(), |at| host + at));
        (host, path, query)
    }

    fn hides(&self, path: &str) -> bool {
        path.len() > 1 && (self.has_secret_path || mask::is_secret_path(path))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, path, query) = self.parts();
        let is_hidden = self.hides(path);
        let shown = if is_hidden { "" } else { path };
        host.chars().chain(shown.chars()).try_for_each(|letter| f.write_char(mask::printable(letter)))?;
        f.write_str(if is_hidden {
            "/***"
        } else if query.is_empty() {
            ""
        } else {
            "?***"
        })
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Whether a host is this machine. Other names are not resolved.
pub(crate) fn is_this_machine(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).trim_end_matches('.');
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    let is_name = |name: &str| name.eq_ignore_ascii_case("localhost");
    host.parse().is_ok_and(is_loopback) || is_name(host) || host.rsplit('.').next().is_some_and(is_name)
}

/// Parses `text`; an error is a message and a remedy, without any part of `text`.
pub(crate) fn parse(text: &str, schemes: &[&str]) -> Result<Address, (String, String)> {
    let wrong = |message: &str, remedy: String| Err((message.to_owned(), remedy));
    let example = format!("write `{}://HOST/PATH`", schemes[0]);
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong("the address has no scheme", example);
    };
    if !schemes.contains(&scheme) {
        let known = schemes.iter().map(|scheme| format!("`{scheme}://`")).collect::<Vec<_>>().join(" or ");
        return wrong(
            "the scheme of the address does not suit this kind of source",
            format!("write {known}"),
        );
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        let remedy = "write spaces as `%20`; `password:` takes a password as it is";
        return wrong("the address has spaces or control characters", remedy.to_owned());
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (login, host) =
        authority.rsplit_once('@').map_or((None, authority), |(login, host)| (Some(login), host));
    let special = "`username:` and `password:` take special characters as they are";
    // A `/` in a password ends the host too early: the rest must not be taken for a path, which is shown.
    if path.split('?').next().is_some_and(|path| path.contains('@')) {
        return wrong("the address has an `@` after its host", format!("{special}; in a path write `%40`"));
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_host = |url: Url| match url.host() {
        Some(Host::Domain(name)) => !name.is_empty() && name.chars().all(is_name) && url.port() != Some(0),
        host => host.is_some() && url.port() != Some(0),
    };
    if host.ends_with(':') || !Url::parse(text).is_ok_and(is_host) {
        return wrong("the address has no usable host and port", format!("{example}; {special}"));
    }
    let (username, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        None => (None, None),
        Some((username, password)) => match (decoded(username), decoded(password)) {
            (Some(username), Some(password)) => (Some(username), Some(Secret::new(password))),
            _ => {
                return wrong(
                    "the user or the password in the address is not percent-encoded",
                    special.to_owned(),
                );
            }
        },
    };
    Ok(Address { url: format!("{scheme}://{host}{path}"), username, password, has_secret_path: false })
}

fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(if byte == b'%' { digit()? * 16 + digit()? } else { byte });
    }
    String::from_utf8(bytes).ok()
}

/// Percent-encodes what would end the text in an address, blanks, and the letters of `also`. Nothing else: FFmpeg takes the last `@`
/// for the end of the password.
fn encoded(text: &str, also: &str) -> String {
    let ends =
        |byte: u8| b"%/?#".contains(&byte) || byte <= b' ' || byte == 0x7f || also.as_bytes().contains(&byte);
    let encoded = text.bytes().fold(Vec::new(), |mut encoded, byte| {
        if ends(byte) {
            encoded.extend(format!("%{byte:02X}").into_bytes());
        } else {
            encoded.push(byte);
        }
        encoded
    });
    String::from_utf8(encoded).expect("only ASCII bytes of valid UTF-8 were replaced")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTSP: &[&str] = &["rtsp", "rtsps"];

    #[test]
    fn secrets_are_used_and_not_shown() {
        let cases = [
            ("rtsp://h/s", "rtsp://h/s", "rtsp://h/s", None),
            (
                "rtsp://me:hunter2@h:554/s",
                "rtsp://me:hunter2@h:554/s",
                "rtsp://h:554/s",
                Some(("me", "hunter2")),
            ),
            ("rtsp://me@h/s", "rtsp://me:@h/s", "rtsp://h/s", Some(("me", ""))),
            ("rtsp://a%40b:hunter2%2F@h", "rtsp://a@b:hunter2%2F@h", "rtsp://h", Some(("a@b", "hunter2/"))),
            ("rtsp://me:hun@ter2@h/s", "rtsp://me:hun@ter2@h/s", "rtsp://h/s", Some(("me", "hun@ter2"))),
            ("rtsp://[::1]:8554/s", "rtsp://[::1]:8554/s", "rtsp://[::1]:8554/s", None),
            ("rtsp://h/s?pwd=hunter2", "rtsp://h/s?pwd=hunter2", "rtsp://h/s?***", None),
            (
                "rtsp://h/user=a_password=hunter2_1",
                "rtsp://h/user=a_password=hunter2_1",
                "rtsp://h/***",
                None,
            ),
            // The keys of UniFi and of a recorder, and paths that are none.
            ("rtsp://h:7447/hunter2Kd83bQa71x", "rtsp://h:7447/hunter2Kd83bQa71x", "rtsp://h:7447/***", None),
            (
                "rtsp://h/play/0193b2de-83a1-7c3e-9d24-51f0b0d6a7aa/1?a",
                "rtsp://h/play/0193b2de-83a1-7c3e-9d24-51f0b0d6a7aa/1?a",
                "rtsp://h/***",
                None,
            ),
            (
                "rtsp://h/h264Preview_01_main",
                "rtsp://h/h264Preview_01_main",
                "rtsp://h/h264Preview_01_main",
                None,
            ),
            (
                "rtsp://h/Streaming/Channels/101",
                "rtsp://h/Streaming/Channels/101",
                "rtsp://h/Streaming/Channels/101",
                None,
            ),
        ];
        for (text, connects, shown, login) in cases {
            let address = parse(text, RTSP).unwrap();
            assert_eq!((&*address.reveal(), &*address.to_string()), (connects, shown), "{text}");
            assert_eq!(address.login(), login, "{text}");
            assert!(!format!("{address:?}{}", address.public()).contains("hunter2"), "{text}");
            let has_password = login.is_some_and(|(_, password)| !password.is_empty());
            let has_secret = has_password || text.contains("hunter2") || shown.ends_with("/***");
            assert_eq!(address.has_secret(), has_secret, "{text}");
            assert!(parse(&address.public(), RTSP).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_secret_path_is_not_shown() {
        let cases = [
            ("https://hooks.slack.com/services/T0/B0/hunter2", "https://hooks.slack.com/***"),
            ("https://h:8443/?hunter2", "https://h:8443/?***"),
            ("https://h/hunter2?a=hunter2#b", "https://h/***"),
            ("https://me:hunter2@h/", "https://h/"),
            ("https://h", "https://h"),
        ];
        for (text, shown) in cases {
            let address = parse(text, &["https"]).unwrap().with_secret_path();
            assert_eq!((address.to_string(), format!("{address:?}")), (shown.to_owned(), shown.to_owned()));
            assert_eq!(&*address.reveal(), text);
            assert!(!address.public().contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn what_other_machines_can_read() {
        let cases = [
            ("http://10.0.0.9/a", true),
            ("https://10.0.0.9/a", false),
            ("http://cam.lan", true),
            ("http://localhost.lan/", true),
            ("http://localhost:80/", false),
            ("http://cam.localhost./", false),
            ("http://127.1.2.3/", false),
            ("http://[::1]/", false),
            ("http://[::ffff:127.0.0.1]/", false),
            ("http://[fd00::1]/", true),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text, &["http", "https"]).unwrap().is_readable_by_others(), expected, "{text}");
        }
    }

    #[test]
    fn the_door_is_host_and_port() {
        let cases = [
            ("rtsp://me:x@h/s", Some(("h", 554))),
            ("rtsps://h?a:b", Some(("h", 322))),
            ("rtsp://[fd00::1]:80/s", Some(("fd00::1", 80))),
            ("rtsp://[fd00::1]", Some(("fd00::1", 554))),
            ("https://h:8443/", Some(("h", 8443))),
            ("tcp://h", None),
            ("udp://h:5", None),
        ];
        for (text, door) in cases {
            let address = parse(text, &["rtsp", "rtsps", "https", "tcp", "udp"]).unwrap();
            assert_eq!(address.door(), door.map(|(host, port)| (host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn the_same_address_elsewhere_without_tls() {
        let cases = [
            ("rtsps://me:x@h:322/a/b?c=d", "rtsp://me:x@127.0.0.1:5/a/b?c=d"),
            ("https://[fd00::1]?x=/", "http://127.0.0.1:5?x=/"),
            ("https://h", "http://127.0.0.1:5"),
        ];
        for (text, plain) in cases {
            let address = parse(text, &["rtsps", "https"]).unwrap();
            assert!(address.is_tls());
            assert_eq!(address.plain_at("127.0.0.1:5").reveal(), plain, "{text}");
        }
        assert!(!parse("rtsp://h", RTSP).unwrap().is_tls());
    }

    #[test]
    fn invalid_addresses_are_not_shown() {
        let bad = [
            "hunter2",
            "http://hunter2",
            "rtsp://",
            "rtsp://me:hunter2/@h/s",
            "rtsp://me:80/hunter2@h/s",
            "rtsp://h:0/s",
            "rtsp://h:x/hunter2",
            "rtsp://a b/hunter2",
            "rtsp://me:%zz@h/hunter2",
            "rtsp://me:%@h/hunter2",
            "rtsp://[zz]/s",
        ];
        for text in bad {
            let (message, remedy) = parse(text, RTSP).unwrap_err();
            assert!(
                !message.contains("hunter2") && !remedy.contains("hunter2"),
                "{text}: {message} {remedy}"
            );
        }
    }

    #[test]
    fn a_password_of_its_own_is_taken_as_it_is() {
        let address = parse("rtsp://h/s", RTSP).unwrap();
        let address = address.with_login(Some("me".to_owned()), Some(Secret::new("p@ss/w%rd".to_owned())));
        assert_eq!(address.reveal(), "rtsp://me:p@ss%2Fw%25rd@h/s");
        assert_eq!(address.without_login().reveal(), "rtsp://h/s");
        assert_eq!(address.authority(), "h");
        let address =
            parse("rtsp://me@h/s", RTSP).unwrap().with_login(None, Some(Secret::new("hush".to_owned())));
        assert_eq!(address.login(), Some(("me", "hush")));
    }
}
