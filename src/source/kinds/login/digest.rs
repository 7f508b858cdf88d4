//! Digest authentication (RFC 7616, and RFC 2069 for old cameras), compatible with curl. Pure.
//!
//! `qop=auth` is chosen where the camera offers it: cameras that also offer `auth-int` often do not implement it.

use md5::Md5;
use sha2::{Digest as _, Sha256, Sha512_256};

use super::challenge::Challenge;

/// What is needed for one request besides the challenge.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) username: &'a str,
    pub(super) password: &'a str,
    /// The method: `GET`.
    pub(super) method: &'a str,
    /// What follows the method in the request: path and query with HTTP, the whole address with RTSP.
    pub(super) uri: &'a str,
    /// A random text.
    pub(super) cnonce: &'a str,
    /// How often this nonce was used, with this request.
    pub(super) count: u32,
}

/// A challenge that can be answered. Text is bytes, because a realm may be in any encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digest {
    realm: Vec<u8>,
    nonce: Vec<u8>,
    opaque: Option<Vec<u8>>,
    hash: Hash,
    /// The algorithm as the camera has written it.
    algorithm: Option<Vec<u8>>,
    /// The hash covers the nonce, too.
    is_session: bool,
    qop: Option<Qop>,
    has_userhash: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Md5,
    Sha256,
    Sha512,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Qop {
    Auth,
    AuthInt,
}

impl Qop {
    fn word(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }
}

impl Hash {
    /// The hash of the parts, joined by colons, in hexadecimal.
    fn of(self, parts: &[&[u8]]) -> String {
        let text = parts.join(&b':');
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Md5 => hex(&Md5::digest(&text)),
            Self::Sha256 => hex(&Sha256::digest(&text)),
            Self::Sha512 => hex(&Sha512_256::digest(&text)),
        }
    }
}

impl Digest {
    /// The challenge; `None` if it is of another scheme, or uses an unknown algorithm.
    pub(super) fn of(challenge: &Challenge) -> Option<Self> {
        if challenge.scheme != "digest" {
            return None;
        }
        let word =
            |name| challenge.get(name).map(|value| String::from_utf8_lossy(value).to_ascii_lowercase());
        let algorithm = word("algorithm").unwrap_or_else(|| "md5".to_owned());
        let (name, is_session) =
            algorithm.strip_suffix("-sess").map_or((&*algorithm, false), |name| (name, true));
        let hash = match name {
            "md5" => Hash::Md5,
            "sha-256" => Hash::Sha256,
            "sha-512-256" => Hash::Sha512,
            _ => return None,
        };
        let qop = match word("qop").filter(|offered| !offered.trim().is_empty()) {
            None => None,
            Some(offered) => {
                let offers = |word| offered.split([',', ' ']).any(|offer| offer.trim() == word);
                Some(if offers("auth") {
                    Qop::Auth
                } else if offers("auth-int") {
                    Qop::AuthInt
                } else {
                    return None;
                })
            }
        };
        Some(Self {
            realm: challenge.get("realm").unwrap_or_default().to_vec(),
            nonce: challenge.get("nonce")?.to_vec(),
            opaque: challenge.get("opaque").map(<[u8]>::to_vec),
            hash,
            algorithm: challenge.get("algorithm").map(<[u8]>::to_vec),
            is_session,
            qop,
            has_userhash: word("userhash").is_some_and(|word| word == "true"),
        })
    }

    /// The value of `Authorization` for a request without a body.
    pub(super) fn answer(&self, request: Request<'_>) -> Vec<u8> {
        let Request { username, password, method, uri, cnonce, count } = request;
        let hash = |parts: &[&[u8]]| self.hash.of(parts);
        let mut user = hash(&[username.as_bytes(), &self.realm, password.as_bytes()]);
        if self.is_session {
            user = hash(&[user.as_bytes(), &self.nonce, cnonce.as_bytes()]);
        }
        let asked = match self.qop {
            Some(Qop::AuthInt) => hash(&[method.as_bytes(), uri.as_bytes(), hash(&[b""]).as_bytes()]),
            Some(Qop::Auth) | None => hash(&[method.as_bytes(), uri.as_bytes()]),
        };
        let count = format!("{count:08x}");
        let response = match self.qop {
            Some(qop) => hash(&[
                user.as_bytes(),
                &self.nonce,
                count.as_bytes(),
                cnonce.as_bytes(),
                qop.word().as_bytes(),
                asked.as_bytes(),
            ]),
            None => hash(&[user.as_bytes(), &self.nonce, asked.as_bytes()]),
        };
        let hashed = self.has_userhash.then(|| hash(&[username.as_bytes(), &self.realm]));
        let mut answer = b"Digest ".to_vec();
        append_quoted(&mut answer, "username", hashed.as_deref().unwrap_or(username).as_bytes());
        append_quoted(&mut answer, "realm", &self.realm);
        append_quoted(&mut answer, "nonce", &self.nonce);
        append_quoted(&mut answer, "uri", uri.as_bytes());
        if let Some(qop) = self.qop {
            append(&mut answer, "nc", count.as_bytes());
            append(&mut answer, "qop", qop.word().as_bytes());
        }
        if self.qop.is_some() || self.is_session {
            append_quoted(&mut answer, "cnonce", cnonce.as_bytes());
        }
        append_quoted(&mut answer, "response", response.as_bytes());
        if let Some(opaque) = &self.opaque {
            append_quoted(&mut answer, "opaque", opaque);
        }
        if let Some(algorithm) = &self.algorithm {
            append(&mut answer, "algorithm", algorithm);
        }
        if self.has_userhash {
            append(&mut answer, "userhash", b"true");
        }
        answer
    }
}

fn append(answer: &mut Vec<u8>, name: &str, value: &[u8]) {
    if !answer.ends_with(b"Digest ") {
        answer.extend(b", ");
    }
    answer.extend(name.as_bytes());
    answer.push(b'=');
    answer.extend(value);
}

fn append_quoted(answer: &mut Vec<u8>, name: &str, value: &[u8]) {
    let mut quoted = vec![b'"'];
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
    append(answer, name, &quoted);
}

#[cfg(test)]
mod tests {
    use super::{super::challenge::parse, *};

    fn answer(header: &str, username: &str, password: &str, uri: &str, cnonce: &str) -> Option<String> {
        let digest = Digest::of(&parse(header.as_bytes())[0])?;
        let request = Request { username, password, method: "GET", uri, cnonce, count: 1 };
        Some(String::from_utf8(digest.answer(request)).unwrap())
    }

    /// RFC 7616, 3.9.1, and RFC 2617, 3.5.
    #[test]
    fn the_answers_of_the_standards() {
        let (nonce, opaque, cnonce) = (
            "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        );
        let header = |algorithm| {
            format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, nonce=\"{nonce}\", opaque=\"{opaque}\""
            )
        };
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let answer =
                answer(&header(algorithm), "Mufasa", "Circle of Life", "/dir/index.html", cnonce).unwrap();
            for part in [
                &format!("response=\"{response}\""),
                "qop=auth,",
                "nc=00000001",
                &format!("opaque=\"{opaque}\""),
            ] {
                assert!(answer.contains(part), "{part} in {answer}");
            }
        }
        let header = "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
        let answer = answer(header, "Mufasa", "Circle Of Life", "/dir/index.html", "0a4f113b").unwrap();
        assert!(answer.contains("response=\"6629fae49393a05397450978507c4ef1\""), "{answer}");
        assert!(!answer.contains("algorithm"), "only if the camera names it: {answer}");
    }

    /// RFC 2326 has the method and the whole address in the hash. The expected value is that of `printf ... | md5sum`.
    #[test]
    fn a_request_of_rtsp() {
        let digest = Digest::of(&parse(b"Digest realm=\"cam\", nonce=\"1\"")[0]).unwrap();
        let uri = "rtsp://10.0.0.21/stream2";
        let request =
            Request { username: "me", password: "pw", method: "DESCRIBE", uri, cnonce: "c", count: 1 };
        let answer = String::from_utf8(digest.answer(request)).unwrap();
        assert!(
            answer.contains(&format!("uri=\"{uri}\", response=\"b1eba90a2bd29bb340e9ce9054a7324c\"")),
            "{answer}"
        );
    }

    /// The expected values are those of `printf ... | md5sum`.
    #[test]
    fn what_cameras_leave_out() {
        let answer = |header: &str| answer(header, "me", "pw", "/a", "c");
        let old = answer("Digest realm=\"cam\", nonce=\"1\"").unwrap();
        assert!(old.contains("response=\"7e8afd3d163537a07cec7a71ed5b028f\""), "{old}");
        assert!(!old.contains("cnonce") && !old.contains("qop"), "{old}");
        assert!(answer("Digest nonce=\"1\"").unwrap().contains("realm=\"\""), "a realm is not needed");
        assert_eq!(answer("Digest realm=\"cam\""), None, "a nonce is");
        assert_eq!(answer("Digest nonce=\"1\", algorithm=SHA-1024"), None);
        assert_eq!(answer("Digest nonce=\"1\", qop=\"token\""), None);
        assert!(
            answer("Digest nonce=\"1\", qop=\"auth-int\"").unwrap().contains("qop=auth-int"),
            "if there is no other"
        );
        assert!(answer("Digest nonce=\"1\", qop=\"\"").is_some_and(|answer| !answer.contains("qop")));
        let quoted = answer("Digest realm=\"a \\\"b\\\"\", nonce=\"1\"").unwrap();
        assert!(quoted.contains("realm=\"a \\\"b\\\"\""), "{quoted}");
        let hashed = answer("Digest realm=\"cam\", nonce=\"1\", userhash=true").unwrap();
        assert!(hashed.contains("userhash=true") && !hashed.contains("username=\"me\""), "{hashed}");
    }
}
