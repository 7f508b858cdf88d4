//! What FFmpeg may open for an input: protocols, formats, and the addresses that the input itself names. Pure.
//!
//! A playlist, a description of a session or a crafted file can name other files and servers: FFmpeg would read files of this machine
//! and send requests into the local network. So only what each kind of input needs is allowed. Formats that only name other inputs
//! (`concat`, `dash`, `sdp`, `image2`, subtitles with an index) are never allowed, HLS only over HTTP, and there each segment must be on
//! the host of the playlist, unless `redirects: any_host` says otherwise.

// Only the types of addresses: `std::net` has connections, too.
use core::net::SocketAddr;

use url::Url;

use super::settings::Input;
use crate::{source::kinds::camera::Redirects, yaml::Address};

/// Files and streams that contain their video themselves.
const CONTAINERS: &str = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,live_flv,h264,hevc,av1,obu,ivf,m4v,mjpeg,\
                          mpjpeg,jpeg_pipe,png_pipe,ogg,asf,asf_o,dhav,dv,gif,apng,h261,h263,mxf,nut,pva,rm,vc1,wtv,yuv4mpegpipe";
/// What a playlist of HLS and its segments consist of, in addition.
const PLAYLISTS: &str = "hls,aac,ac3,eac3,mp3,webvtt";

/// What FFmpeg may open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// FFmpeg's names, separated by commas.
    pub(crate) protocols: &'static str,
    pub(crate) formats: String,
    /// The addresses that the input may name.
    pub(crate) nested: Nested,
}

/// Which addresses an input may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Nested {
    /// None.
    None,
    /// Those of its own server, which FFmpeg reaches through the relay at `near`.
    Server {
        /// Scheme, host and port of the server.
        server: String,
        /// The end of the relay.
        near: SocketAddr,
        /// Whether it may name other servers, too.
        any: bool,
    },
}

impl Allowed {
    /// What is allowed for `input`. `near` is the end of its relay, if it has one.
    pub(crate) fn of(input: &Input, redirects: Redirects, is_device: bool, near: Option<SocketAddr>) -> Self {
        let is_any = redirects == Redirects::AnyHost;
        let containers = || CONTAINERS.to_owned();
        let (protocols, formats) = match input {
            Input::File(_) if is_device => ("file", "video4linux2,v4l2".to_owned()),
            Input::File(_) => ("file", containers()),
            Input::Rtsp(_) => ("rtp,udp,tcp", "rtsp,asf".to_owned()),
            Input::Url(address) => match address.scheme() {
                "rtsp" | "rtsps" => ("rtp,udp,tcp", "rtsp,asf".to_owned()),
                "http" | "https" => {
                    let protocols = if is_any { "http,https,tcp,tls,crypto" } else { "http,tcp,crypto" };
                    (protocols, format!("{CONTAINERS},{PLAYLISTS}"))
                }
                "rtmp" | "rtmps" => ("rtmp,tcp", "flv,live_flv".to_owned()),
                "rtp" => ("rtp,udp", "rtp,sdp,mpegts".to_owned()),
                "mmsh" => ("mmsh,http,tcp", "asf,asf_o".to_owned()),
                "udp" => ("udp", containers()),
                "srt" => ("srt", containers()),
                _ => ("tcp", containers()),
            },
        };
        let nested = match (input, near) {
            (Input::Url(address), Some(near)) if address.scheme().starts_with("http") => {
                Nested::Server { server: origin(address), near, any: is_any }
            }
            _ => Nested::None,
        };
        Self { protocols, formats, nested }
    }
}

fn origin(address: &Address) -> String {
    format!("{}://{}/", address.scheme(), address.authority())
}

impl Nested {
    /// The address that is opened for `url`, which the input names; `None` if it must not be opened.
    pub(crate) fn opened(&self, url: &str) -> Option<String> {
        let Self::Server { server, near, any } = self else { return None };
        // The segments of an encrypted playlist.
        for prefix in ["crypto+", "crypto:"] {
            if let Some(inner) = url.strip_prefix(prefix) {
                return self.opened(inner).map(|inner| format!("{prefix}{inner}"));
            }
        }
        let (target, server) = (Url::parse(url).ok()?, Url::parse(server).ok()?);
        let here = Url::parse(&format!("http://{near}/")).ok()?;
        if target.origin() == here.origin() {
            return Some(url.to_owned());
        }
        if target.origin() == server.origin() {
            let query = target.query().map_or(String::new(), |query| format!("?{query}"));
            return Some(format!("http://{near}{}{query}", target.path()));
        }
        (*any && matches!(target.scheme(), "http" | "https")).then(|| url.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::address::parse;

    fn of(input: &Input, redirects: Redirects) -> Allowed {
        Allowed::of(input, redirects, false, Some("127.0.0.1:5".parse().unwrap()))
    }

    fn url(text: &str) -> Input {
        Input::Url(
            parse(text, &["http", "https", "rtsp", "rtmp", "tcp", "udp", "rtp", "srt", "mmsh"]).unwrap(),
        )
    }

    #[test]
    fn no_input_has_a_format_that_only_names_others_and_only_files_are_read_from_the_disk() {
        let inputs = [
            Input::File("/a.mp4".into()),
            Input::Rtsp(parse("rtsp://h/a", &["rtsp"]).unwrap()),
            url("http://h/a"),
            url("https://h/a"),
            url("rtsp://h/a"),
            url("rtmp://h/a"),
            url("tcp://h:1"),
            url("udp://h:1"),
            url("rtp://h:1"),
            url("srt://h:1"),
            url("mmsh://h/a"),
        ];
        for input in inputs {
            for redirects in [Redirects::SameHost, Redirects::AnyHost] {
                let allowed = of(&input, redirects);
                let has = |list: &str, word: &str| list.split(',').any(|one| one == word);
                for format in
                    ["concat", "dash", "image2", "vobsub", "srt", "ffmetadata", "lavfi", "imf", "subviewer"]
                {
                    assert!(!has(&allowed.formats, format), "{input:?} {format}");
                }
                for protocol in ["data", "concat", "subfile", "pipe", "gopher", "ftp", "unix", "hls", "file"]
                {
                    let is_file = matches!(input, Input::File(_)) && protocol == "file";
                    assert_eq!(has(allowed.protocols, protocol), is_file, "{input:?} {protocol}");
                }
                let is_http = matches!(&input, Input::Url(address) if address.scheme().starts_with("http"));
                assert_eq!(has(&allowed.formats, "hls"), is_http, "{input:?}");
                assert_eq!(allowed.nested == Nested::None, !is_http, "{input:?}");
            }
        }
    }

    #[test]
    fn what_a_playlist_may_name() {
        let cases = [
            ("http://127.0.0.1:5/live/1.ts?a", Some("http://127.0.0.1:5/live/1.ts?a")),
            ("https://cam.lan/live/1.ts?a", Some("http://127.0.0.1:5/live/1.ts?a")),
            ("https://cam.lan:443/1.ts", Some("http://127.0.0.1:5/1.ts")),
            ("crypto+https://cam.lan/1.ts", Some("crypto+http://127.0.0.1:5/1.ts")),
            ("crypto:http://127.0.0.1:5/1.ts", Some("crypto:http://127.0.0.1:5/1.ts")),
            ("http://cam.lan/1.ts", None),
            ("https://cam.lan:8443/1.ts", None),
            ("https://other.lan/1.ts", None),
            ("https://cam.lan@other.lan/1.ts", None),
            ("http://127.0.0.1:6/1.ts", None),
            ("http://127.0.0.2:5/1.ts", None),
            ("http://169.254.169.254/latest/meta-data", None),
            ("crypto+file:///etc/passwd", None),
            ("file:///etc/passwd", None),
            ("/etc/passwd", None),
            ("data:video/mp4;base64,AAAA", None),
            ("concat:http://127.0.0.1:5/a|/etc/passwd", None),
            ("subfile,,start,0,end,9,,:/etc/passwd", None),
            ("gopher://127.0.0.1:5/_a", None),
        ];
        let input = url("https://cam.lan/live/main.m3u8");
        let (own, any) = (of(&input, Redirects::SameHost).nested, of(&input, Redirects::AnyHost).nested);
        for (named, expected) in cases {
            assert_eq!(own.opened(named).as_deref(), expected, "{named}");
            let is_web = named.starts_with("http");
            assert_eq!(any.opened(named).is_some(), expected.is_some() || is_web, "{named}");
            assert_eq!(Nested::None.opened(named), None);
        }
    }
}
