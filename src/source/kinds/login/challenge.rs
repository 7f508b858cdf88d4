//! Reads the challenges of `WWW-Authenticate` (RFC 9110, 11.6.1) as leniently as curl: cameras leave out realms, quotes and commas,
//! and write `;` between parameters. Pure.

/// One challenge: a scheme and its parameters. Text is bytes, because a realm may be in any encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// The scheme in lower case: `basic`, `digest`.
    pub(super) scheme: String,
    /// The parameters, with their names in lower case and without quotes.
    parameters: Vec<(String, Vec<u8>)>,
}

impl Challenge {
    /// The value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

/// The challenges in one header, in their order.
pub(super) fn parse(header: &[u8]) -> Vec<Challenge> {
    let (mut challenges, mut rest) = (Vec::<Challenge>::new(), header);
    loop {
        rest = skip(rest, |byte| is_blank(byte) || is_separator(byte));
        if rest.is_empty() {
            return challenges;
        }
        let (word, after) = word(rest);
        match (value(after), challenges.last_mut()) {
            (Some((value, after)), Some(challenge)) => {
                challenge.parameters.push((lower(word), value));
                rest = after;
            }
            // A parameter without a scheme.
            (Some((_, after)), None) => rest = after,
            (None, _) if word.is_empty() => rest = &rest[1..],
            (None, _) => {
                challenges.push(Challenge { scheme: lower(word), parameters: Vec::new() });
                rest = after;
            }
        }
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn is_separator(byte: u8) -> bool {
    byte == b',' || byte == b';'
}

fn lower(word: &[u8]) -> String {
    String::from_utf8_lossy(word).to_ascii_lowercase()
}

fn skip(text: &[u8], is_skipped: impl Fn(u8) -> bool) -> &[u8] {
    let length = text.iter().take_while(|byte| is_skipped(**byte)).count();
    &text[length..]
}

/// The word at the start of a text, and what follows.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let ends = |byte: &u8| is_blank(*byte) || is_separator(*byte) || *byte == b'=' || *byte == b'"';
    text.split_at(text.iter().position(ends).unwrap_or(text.len()))
}

/// The value that follows the name of a parameter, and what follows the value; `None` if there is no `=`.
fn value(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let text = skip(text, is_blank).strip_prefix(b"=")?;
    let text = skip(text, is_blank);
    if let Some(quoted) = text.strip_prefix(b"\"") {
        return Some(unquoted(quoted));
    }
    let end = text.iter().position(|byte| is_separator(*byte)).unwrap_or(text.len());
    // `realm=My Camera` is one value, and in `realm=cam nonce=1` the blank separates two parameters.
    let next = (1..end).filter(|at| is_blank(text[*at]) && !is_blank(text[at - 1])).find(|at| {
        let (name, after) = word(skip(&text[*at..end], is_blank));
        !name.is_empty() && skip(after, is_blank).starts_with(b"=")
    });
    let (value, rest) = text.split_at(next.unwrap_or(end));
    Some((value.trim_ascii_end().to_vec(), rest))
}

/// The text up to the closing quote, or to the end if there is none, and what follows.
fn unquoted(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let (mut value, mut at) = (Vec::new(), 0);
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'"' => break,
            b'\\' if at < text.len() => {
                value.push(text[at]);
                at += 1;
            }
            byte => value.push(*byte),
        }
    }
    (value, &text[at..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `scheme name=value name=value`, separated by `|`.
    fn shown(header: &[u8]) -> String {
        let one = |challenge: &Challenge| {
            let parameters = challenge.parameters.iter();
            let parameters =
                parameters.map(|(name, value)| format!(" {name}={}", String::from_utf8_lossy(value)));
            format!("{}{}", challenge.scheme, parameters.collect::<String>())
        };
        parse(header).iter().map(one).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn challenges_of_real_cameras() {
        let cases: [(&[u8], &str); 22] = [
            (b"Basic realm=\"cam\"", "basic realm=cam"),
            (b"Basic", "basic"),
            (b"Basic ", "basic"),
            (b"BASIC realm=cam", "basic realm=cam"),
            (b"Basic realm=My Camera", "basic realm=My Camera"),
            (b"Basic realm=", "basic realm="),
            (b"Basic realm=\"\"", "basic realm="),
            (b"Basic, realm=\"cam\"", "basic realm=cam"),
            (b"Basic\trealm=\"cam", "basic realm=cam"),
            (b"Basic realm=\"a \\\"b\\\" \\\\\"", "basic realm=a \"b\" \\"),
            (b"Basic realm=\"Cam\xC3\xA9ra\"", "basic realm=Caméra"),
            (
                b"Digest realm=\"c\", nonce=\"1\", qop=\"auth,auth-int\"",
                "digest realm=c nonce=1 qop=auth,auth-int",
            ),
            (b"Digest realm=\"c\",nonce=\"1\",", "digest realm=c nonce=1"),
            (b"Digest realm=\"c\" nonce=\"1\" qop=\"auth\"", "digest realm=c nonce=1 qop=auth"),
            (b"Digest realm=c nonce=1== qop=auth", "digest realm=c nonce=1== qop=auth"),
            (b"Digest realm=My Cam, nonce=abc123==", "digest realm=My Cam nonce=abc123=="),
            (b"Digest  realm=\"c\"; nonce=\"1\"; qop=\"auth\"", "digest realm=c nonce=1 qop=auth"),
            (b"DIGEST REALM = \"c\" , NONCE= \"1\"", "digest realm=c nonce=1"),
            (b"Basic realm=\"c\", Digest realm=\"d\", nonce=\"1\"", "basic realm=c|digest realm=d nonce=1"),
            (b"NTLM, Basic realm=c", "ntlm|basic realm=c"),
            (b", ,;=", ""),
            (b"", ""),
        ];
        for (header, expected) in cases {
            assert_eq!(shown(header), expected, "{}", String::from_utf8_lossy(header));
        }
    }

    proptest! {
        #[test]
        fn no_header_panics_or_hangs(header in r#"[a-zA-Z=",; \\\t]{0,60}"#) {
            let _ = parse(header.as_bytes());
        }
    }
}
