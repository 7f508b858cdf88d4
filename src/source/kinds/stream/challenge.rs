//! Asks an RTSP camera how a client may log in, where FFmpeg's client cannot.
//!
//! FFmpeg ignores a `Basic` challenge without parameters, which some cameras send, and cuts off user and password after 127 bytes.
//! With basic authentication the header can be sent without FFmpeg's help. Digest authentication needs the password in FFmpeg.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::tcp::Exchange;

/// The limit of the whole exchange. The camera has just answered FFmpeg.
const LIMIT: Duration = Duration::from_secs(6);
/// A longer head of an answer is cut off.
const LONGEST_HEAD: usize = 64 << 10;

/// The value of the header `Authorization` for basic authentication.
pub(crate) fn basic((username, password): (&str, &str)) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// The ways to log in that the camera at `host` offers for `url`, as it names them.
///
/// # Errors
/// The camera does not answer, or does not require a login.
pub(crate) fn offered((host, port): (&str, u16), url: &str) -> io::Result<Vec<String>> {
    Ok(challenges(&head(Exchange::connect(host, port, LIMIT)?, url)?))
}

/// The lines of the head of the camera's answer.
fn head(mut stream: impl Read + Write, url: &str) -> io::Result<Vec<String>> {
    write!(stream, "DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n")?;
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    let mut is_complete = false;
    while !is_complete && head.len() < LONGEST_HEAD {
        let length = stream.read(&mut buffer)?;
        head.extend_from_slice(&buffer[..length]);
        let newest = &head[(head.len() - length).saturating_sub(2)..];
        let has_empty_line =
            newest.windows(2).any(|end| end == b"\n\n") || newest.windows(3).any(|end| end == b"\n\r\n");
        is_complete = length == 0 || has_empty_line;
    }
    let text = String::from_utf8_lossy(&head);
    Ok(text.lines().map(str::trim_end).take_while(|line| !line.is_empty()).map(str::to_owned).collect())
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
    use std::{net::TcpListener, thread};

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

    /// Connects to a server that sends `answer`, and then one byte after another.
    fn answered(answer: &'static str, limit: Duration) -> Exchange {
        let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (port, long) = (server.local_addr().unwrap().port(), Duration::from_secs(600));
        let client = Exchange::connect("127.0.0.1", port, long).unwrap().within(limit);
        thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut sent = stream.write_all(answer.as_bytes());
            while sent.is_ok() {
                thread::sleep(Duration::from_millis(1));
                sent = stream.write_all(b"x");
            }
        });
        client
    }

    #[test]
    fn the_head_of_an_answer_ends_at_the_empty_line_or_at_the_limit() {
        let refusal = ["RTSP/1.0 401 Unauthorized", "WWW-Authenticate: Basic"];
        for answer in [
            "RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\n",
            "RTSP/1.0 401 Unauthorized\nWWW-Authenticate: Basic\n\nbody\n",
        ] {
            let head = head(answered(answer, Duration::from_secs(600)), "rtsp://cam/").unwrap();
            assert_eq!(head, refusal, "{answer:?}");
        }
        // All of the longest head would take a minute.
        assert!(head(answered("RTSP/1.0 401", Duration::from_millis(50)), "rtsp://cam/").is_err());
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
