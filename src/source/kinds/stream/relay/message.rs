//! The head of a message of HTTP or RTSP: its first line and its headers. Pure.
//!
//! A head is written from what was read of it, so FFmpeg finds in it exactly what the relay has checked. FFmpeg's own rules differ: it
//! ignores carriage returns, uses the last of two equal headers, and takes a line that starts with `$` for media.

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
    /// The head at the start of `bytes`, and its length with the empty line; `None` if its end is missing. No head ends within the
    /// first `searched` bytes.
    pub(super) fn parse_from(bytes: &[u8], searched: usize) -> Option<(Self, usize)> {
        let length = end(bytes, searched)?;
        // A realm may be in any encoding; the parameters that are hashed are ASCII in practice.
        let text = String::from_utf8_lossy(&bytes[..length]);
        let mut lines = text.lines().map(without_controls).filter(|line| !line.trim().is_empty());
        let first_line = lines.next().unwrap_or_default().trim_end().to_owned();
        let header = |line: String| {
            let (name, value) = line.split_once(':')?;
            let name = name.trim();
            is_name(name).then(|| (name.to_owned(), value.trim().to_owned()))
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

    /// Sets a header. It replaces all of this name.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        let at = self.headers.iter().position(|(known, _)| known.eq_ignore_ascii_case(name));
        let name = at.map_or(name, |at| &self.headers[at].0).to_owned();
        self.remove(&name);
        self.headers.insert(at.unwrap_or(self.headers.len()), (name, value.to_owned()));
    }

    /// Removes all headers of this name.
    pub(super) fn remove(&mut self, name: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// Removes `Location`, and returns its first value.
    pub(super) fn take_location(&mut self) -> Option<String> {
        let location = self.get("Location").map(str::to_owned);
        self.remove("Location");
        location
    }

    /// The status of a response; 0 if it is none.
    pub(super) fn status(&self) -> u16 {
        let status = self.first_line.split_ascii_whitespace().nth(1);
        status.and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// Writes the first line of a response so that every reader finds [`Self::status`] in it.
    pub(super) fn normalize_status(&mut self) {
        let mut words = self.first_line.split_ascii_whitespace();
        let protocol = words.next().unwrap_or_default();
        let reason: Vec<_> = words.skip(1).collect();
        self.first_line =
            format!("{protocol} {:03} {}", self.status(), reason.join(" ")).trim_end().to_owned();
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

fn without_controls(line: &str) -> String {
    line.chars().filter(|letter| *letter == '\t' || !letter.is_control()).collect()
}

/// Whether it can be the name of a header. FFmpeg would take a `$` for the start of a packet.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'$')
}

/// The length of a head, with the empty line at its end.
fn end(bytes: &[u8], searched: usize) -> Option<usize> {
    let head = &bytes[..bytes.len().min(LONGEST_HEAD)];
    // The line break before the empty line may be among the searched bytes.
    let start = searched.saturating_sub(2).min(head.len());
    let breaks = head[start..].iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    breaks.map(|(at, _)| start + at + 1).find_map(|next| match &head[next..] {
        [b'\n', ..] => Some(next + 1),
        [b'\r', b'\n', ..] => Some(next + 2),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Head {
        fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
            Self::parse_from(bytes, 0)
        }
    }

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
        assert_eq!(Head::parse_from(text, length - 1).unwrap().1, length, "the search goes on");
        for incomplete in [&b""[..], b"RTSP/1.0 200 OK\r\n", b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n"] {
            assert_eq!(Head::parse(incomplete), None);
        }
        assert_eq!(Head::parse(&vec![b'a'; LONGEST_HEAD + 10]), None);
    }

    #[test]
    fn a_head_is_written_as_it_was_understood() {
        let text = b"R\rTSP/1.0\t +302  Mov\x07ed\r\nLoca\rtion: a\0b\nLOCATION : c\n$ab: d\nno header\na b: c\n\t\nX: 1\nx: 2\n\r\n";
        let (mut head, length) = Head::parse(text).unwrap();
        assert_eq!((head.status(), length), (302, text.len()));
        head.normalize_status();
        head.set("x", "3");
        let written = b"RTSP/1.0 302 Moved\r\nLocation: ab\r\nLOCATION: c\r\nX: 3\r\n\r\n";
        assert_eq!(String::from_utf8(head.bytes(None)).unwrap(), String::from_utf8_lossy(written));
        assert_eq!(head.take_location().as_deref(), Some("ab"));
        assert_eq!(head.bytes(None), b"RTSP/1.0 302 Moved\r\nX: 3\r\n\r\n");
        let mut none = Head { first_line: "ICY".to_owned(), headers: vec![] };
        none.normalize_status();
        assert_eq!(none.first_line, "ICY 000");
    }
}
