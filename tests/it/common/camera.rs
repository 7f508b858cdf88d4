//! Cameras: a real RTSP server and clips to play, and a small HTTP server; all gone when they are dropped.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

use super::{broker::free_port, service::signal_process};

/// Runs `ffmpeg` with these words, and a last one for the file that it makes.
pub fn clip(words: &str, file: &Path) -> PathBuf {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y"]).args(words.split_whitespace()).arg(file).stdin(Stdio::null());
    assert!(command.status().expect("the tests need ffmpeg").success(), "ffmpeg {words}");
    file.to_path_buf()
}

/// A moving picture as a bare H.264 stream for [`Rtsp`], 10 frames a second, 4 seconds.
pub fn h264(folder: &Path, size: &str, group: u32) -> PathBuf {
    let words = format!(
        "-f lavfi -i testsrc2=size={size}:rate=10 -t 4 -c:v libx264 -preset ultrafast -g {group} -bf 0 -pix_fmt yuv420p \
         -x264-params aud=1:scenecut=0 -f h264"
    );
    clip(&words, &folder.join(format!("{size}-{group}.h264")))
}

/// Somebody who sends a moving picture without being asked, as MPEG-TS over UDP; killed when it is dropped.
pub struct Udp(Child);

impl Udp {
    /// Sends to this port of this machine, with this encoder of FFmpeg's.
    pub fn send(port: u16, encoder: &str, size: &str) -> Self {
        let words = format!(
            "-v error -re -f lavfi -i testsrc2=size={size}:rate=10 -c:v {encoder} -preset ultrafast -g 5 -bf 0 -pix_fmt yuv420p \
             -f mpegts udp://127.0.0.1:{port}?pkt_size=1316"
        );
        let mut command = Command::new("ffmpeg");
        command.args(words.split_whitespace()).stdin(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("the tests need ffmpeg"))
    }
}

impl Drop for Udp {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The same as H.265.
pub fn h265(folder: &Path, size: &str, group: u32) -> PathBuf {
    let words = format!(
        "-f lavfi -i testsrc2=size={size}:rate=10 -t 4 -c:v libx265 -preset ultrafast -g {group} -bf 0 -pix_fmt yuv420p \
         -x265-params aud=1:log-level=error:scenecut=0 -f hevc"
    );
    clip(&words, &folder.join(format!("{size}-{group}.h265")))
}

/// The same as single JPEG pictures, with the tables that RTP takes for granted.
pub fn mjpeg(folder: &Path, size: &str) -> PathBuf {
    let words = format!(
        "-f lavfi -i testsrc2=size={size}:rate=10 -t 4 -c:v mjpeg -huffman default -force_duplicated_matrix 1 \
         -pix_fmt yuvj420p -f mjpeg"
    );
    clip(&words, &folder.join(format!("{size}.mjpeg")))
}

/// A camera that speaks RTSP.
pub struct Rtsp {
    pub port: u16,
    arguments: Vec<String>,
    loss: Option<&'static str>,
    process: Option<Child>,
}

impl Rtsp {
    /// Plays these clips one after the other, again and again.
    pub fn start(clips: &[&Path]) -> Self {
        let mut camera = Self::absent(clips, &[]);
        camera.appear();
        camera
    }

    /// Likewise, for whoever knows user and password.
    pub fn with_login(clips: &[&Path], username: &str, password: &str) -> Self {
        let mut camera = Self::absent(clips, &[username, password]);
        camera.appear();
        camera
    }

    /// A camera that is not there yet.
    pub fn absent(clips: &[&Path], login: &[&str]) -> Self {
        let arguments = Self::arguments(clips, login);
        Self { port: free_port(), arguments, loss: None, process: None }
    }

    /// Loses this share of its packets on their way.
    pub fn lossy(clips: &[&Path], loss: &'static str) -> Self {
        let mut camera = Self::absent(clips, &[]);
        camera.loss = Some(loss);
        camera.appear();
        camera
    }

    /// Plays something else when it appears again.
    pub fn becomes(&mut self, clips: &[&Path]) {
        self.arguments = Self::arguments(clips, &[]);
    }

    fn arguments(clips: &[&Path], login: &[&str]) -> Vec<String> {
        let codec = match clips[0].extension().and_then(|kind| kind.to_str()) {
            Some("h265") => "h265",
            Some("mjpeg") => "jpeg",
            _ => "h264",
        };
        let clips = clips.iter().map(|clip| clip.display().to_string()).collect::<Vec<_>>().join(",");
        [codec, "10", &clips].iter().chain(login).map(|&word| word.to_owned()).collect()
    }

    pub fn appear(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/common/rtsp.py");
        // Debian's own Python, which knows Debian's GStreamer.
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).arg(self.port.to_string()).args(&self.arguments);
        command.envs(self.loss.map(|loss| ("LOSS", loss)));
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.process = Some(process);
        assert_eq!(line, "ready\n", "the tests need Debian's GStreamer RTSP server");
    }

    /// As if its cable was pulled.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// `-STOP`: its connections stay, and it says nothing more. `-CONT`: it goes on.
    pub fn signal(&self, signal: &str) {
        signal_process(self.process.as_ref().unwrap().id(), signal);
    }

    pub fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/stream", self.port)
    }
}

impl Drop for Rtsp {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Somebody who accepts every connection and never says a word.
pub fn silent() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().map_while(Result::ok).collect::<Vec<_>>());
    address
}

/// An HTTP server that answers what it is told to.
pub struct Web {
    pub address: SocketAddr,
    requests: Receiver<String>,
}

impl Web {
    /// `answer` gets the request's head, and how many came before it.
    pub fn start(answer: impl Fn(&str, usize) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, requests) = mpsc::channel();
        let answer = Arc::new(Mutex::new(answer));
        thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let (answer, tell) = (Arc::clone(&answer), tell.clone());
                thread::spawn(move || {
                    let request = head(&stream);
                    let bytes = answer.lock().unwrap()(&request, number);
                    let _ = tell.send(request);
                    let _ = (&stream).write_all(&bytes);
                });
            }
        });
        Self { address, requests }
    }

    /// The next request.
    pub fn request(&self) -> String {
        self.requests.recv_timeout(Duration::from_secs(10)).expect("a request")
    }
}

fn head(stream: &TcpStream) -> String {
    let mut text = String::new();
    for line in BufReader::new(stream.take(64 * 1024)).lines().map_while(Result::ok) {
        if line.is_empty() {
            break;
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// An answer with a body; `headers` end with `\r\n` each.
pub fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len())
            .into_bytes();
    bytes.extend(body);
    bytes
}
