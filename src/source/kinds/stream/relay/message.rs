//! The head of a message of HTTP or RTSP: its first line and its headers. Pure.

/// A longer head is no message.
pub(super) const LONGEST_HEAD: usize = 64 << 10;

/// The head of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) first_line: String,
    /// Names and values, in their order.
    pub(super) headers: Vec<(String, String)>,
}

impl Head {
    /// The head at the start of `bytes`, and its length with the empty line; `None` if its end is missing.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let length = end(bytes)?;
        // A realm may be in any encoding; the parameters that are hashed are ASCII in practice.
        let text = String::from_utf8_lossy(&bytes[..length]);
        let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        let first_line = lines.next().unwrap_or_default().to_owned();
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        };
        Some((Self { first_line, headers: lines.filter_map(header).collect() }, length))
    }

    /// The values of all headers with this name.
    pub(super) fn all<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h str> {
        let is_it = move |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        self.headers.iter().filter(is_it).map(|(_, value)| &**value)
    }

    /// The value of the first header with this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// Sets a header. It replaces one of this name.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        match self.headers.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, old)) => *old = value.to_owned(),
            None => self.headers.push((name.to_owned(), value.to_owned())),
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// The status of a response; 0 if it is none.
    pub(super) fn status(&self) -> u16 {
        self.first_line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The number of bytes of the body, if it is declared.
    pub(super) fn body_length(&self) -> usize {
        self.get("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0)
    }

    /// The head as it is sent, with one more header whose value may be in any encoding.
    pub(super) fn bytes(&self, authorization: Option<&[u8]>) -> Vec<u8> {
        let mut bytes = format!("{}\r\n", self.first_line).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        if let Some(value) = authorization {
            bytes.extend([b"Authorization: ", value, b"\r\n"].concat());
        }
        bytes.extend(b"\r\n");
        bytes
    }
}

/// The length of a head, with the empty line at its end.
fn end(bytes: &[u8]) -> Option<usize> {
    let searched = &bytes[..bytes.len().min(LONGEST_HEAD)];
    let at = |end: &[u8]| searched.windows(end.len()).position(|part| part == end).map(|at| at + end.len());
    match (at(b"\r\n\r\n"), at(b"\n\n")) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_and_written() {
        let text = b"RTSP/1.0 401 No\r\nCSeq: 2\r\nwww-authenticate:Basic\r\nWWW-Authenticate: Digest a=b\r\n\r\nbody";
        let (mut head, length) = Head::parse(text).unwrap();
        assert_eq!(
            (head.status(), length, head.get("cseq"), head.body_length()),
            (401, text.len() - 4, Some("2"), 0)
        );
        assert_eq!(head.all("WWW-Authenticate").collect::<Vec<_>>(), ["Basic", "Digest a=b"]);
        head.set("CSEQ", "3");
        head.remove("www-authenticate");
        assert_eq!(head.bytes(Some(b"x")), b"RTSP/1.0 401 No\r\nCSeq: 3\r\nAuthorization: x\r\n\r\n");
        assert_eq!(Head::parse(b"GET / HTTP/1.1\nHost: h\n\n").unwrap().0.get("host"), Some("h"));
        for incomplete in [&b""[..], b"RTSP/1.0 200 OK\r\n", b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n"] {
            assert_eq!(Head::parse(incomplete), None);
        }
        assert_eq!(Head::parse(&vec![b'a'; LONGEST_HEAD + 10]), None);
    }
}
