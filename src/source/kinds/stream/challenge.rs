//! Asks an RTSP camera how a client may log in, where FFmpeg's client cannot.
//!
//! FFmpeg ignores a `Basic` challenge without parameters, which some cameras send, and cuts off user and password after 127 bytes.
//! With basic authentication the header can be sent without FFmpeg's help. Digest authentication needs the password in FFmpeg.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The limit of each step. The camera has just answered FFmpeg.
const LIMIT: Duration = Duration::from_secs(3);
/// Longer answers are cut off.
const MOST: u64 = 64 << 10;

/// The value of the header `Authorization` for basic authentication.
pub(crate) fn basic((username, password): (&str, &str)) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// The ways to log in that the camera at `host` offers for `url`, as it names them.
///
/// # Errors
/// The camera does not answer, or does not require a login.
pub(crate) fn offered(host: (&str, u16), url: &str) -> io::Result<Vec<String>> {
    let address = host.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    write!(stream, "DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n")?;
    let mut head = Vec::new();
    for line in BufReader::new(stream.take(MOST)).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        head.push(line);
    }
    Ok(challenges(&head))
}

/// The challenges in the lines of an answer. Pure.
fn challenges(head: &[String]) -> Vec<String> {
    let is_refusal = head.first().is_some_and(|line| line.split(' ').nth(1) == Some("401"));
    let challenge = |line: &String| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("WWW-Authenticate").then(|| value.trim().to_owned())
    };
    head.iter().filter(|_| is_refusal).filter_map(challenge).collect()
}

/// Whether the camera accepts basic authentication and FFmpeg did not use it: `sent` if FFmpeg had user and password. Pure.
pub(crate) fn needs_basic(challenges: &[String], sent: bool) -> bool {
    let scheme =
        |challenge: &str| challenge.split([' ', '\t', ',']).next().unwrap_or_default().to_lowercase();
    // FFmpeg recognises a scheme by the blank after it.
    let by_ffmpeg = |challenge: &str| {
        let challenge = challenge.to_lowercase();
        challenge.starts_with("digest ") || challenge.starts_with("basic ")
    };
    let is_basic = challenges.iter().any(|challenge| scheme(challenge) == "basic");
    is_basic && !(sent && challenges.iter().any(|challenge| by_ffmpeg(challenge)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn where_the_header_is_sent_without_ffmpeg() {
        let cases: [(&[&str], bool, bool); 8] = [
            (&["Basic"], true, true),
            (&["basic"], true, true),
            (&["Basic,realm=x"], true, true),
            (&["Basic realm=\"x\""], true, false),
            (&["Basic realm=\"x\""], false, true),
            (&["Digest realm=\"x\", nonce=\"y\"", "Basic"], true, false),
            (&["Digest realm=\"x\", nonce=\"y\""], false, false),
            (&[], true, false),
        ];
        for (challenges, sent, expected) in cases {
            assert_eq!(needs_basic(&texts(challenges), sent), expected, "{challenges:?} {sent}");
        }
    }

    #[test]
    fn challenges_are_read_from_a_refusal_only() {
        let head = [
            "RTSP/1.0 401 Unauthorized",
            "CSeq: 1",
            "www-authenticate: Basic ",
            "WWW-Authenticate:Digest a=b",
        ];
        assert_eq!(challenges(&texts(&head)), ["Basic", "Digest a=b"]);
        assert_eq!(challenges(&texts(&["RTSP/1.0 200 OK", "WWW-Authenticate: Basic"])), texts(&[]));
        assert_eq!(basic(("me", "x")), "Basic bWU6eA==");
    }
}
