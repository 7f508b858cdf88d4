//! Cameras: a real RTSP server and clips to play, and a small HTTP server. Processes are killed when they are dropped.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver},
    },
    thread,
};

use super::{PATIENCE, broker::free_port, service::signal_process};

/// Runs `ffmpeg` with these arguments and the path of the file that it writes.
pub fn clip(words: &str, file: &Path) -> PathBuf {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y"]).args(words.split_whitespace()).arg(file).stdin(Stdio::null());
    assert!(command.status().expect("the tests need ffmpeg").success(), "ffmpeg {words}");
    file.to_path_buf()
}

/// A test video as an H.264 elementary stream for [`Rtsp`]: 10 frames a second, 4 seconds, a key frame every `group` frames.
pub fn h264(folder: &Path, size: &str, group: u32) -> PathBuf {
    let words = format!(
        "-f lavfi -i testsrc2=size={size}:rate=10 -t 4 -c:v libx264 -preset ultrafast -g {group} -bf 0 -pix_fmt yuv420p \
         -x264-params aud=1:scenecut=0 -f h264"
    );
    clip(&words, &folder.join(format!("{size}-{group}.h264")))
}

/// A sender of a test video as MPEG-TS over UDP.
pub struct Udp(Child);

impl Udp {
    /// Sends to `port` of this machine, encoded by this encoder of FFmpeg.
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

/// Like [`h264`], as H.265.
pub fn h265(folder: &Path, size: &str, group: u32) -> PathBuf {
    let words = format!(
        "-f lavfi -i testsrc2=size={size}:rate=10 -t 4 -c:v libx265 -preset ultrafast -g {group} -bf 0 -pix_fmt yuv420p \
         -x265-params aud=1:log-level=error:scenecut=0 -f hevc"
    );
    clip(&words, &folder.join(format!("{size}-{group}.h265")))
}

/// Like [`h264`], as single JPEG pictures with the standard tables, which RTP requires.
pub fn mjpeg(folder: &Path, size: &str) -> PathBuf {
    let words = format!(
        "-f lavfi -i testsrc2=size={size}:rate=10 -t 4 -c:v mjpeg -huffman default -force_duplicated_matrix 1 \
         -pix_fmt yuvj420p -f mjpeg"
    );
    clip(&words, &folder.join(format!("{size}.mjpeg")))
}

/// An RTSP camera.
pub struct Rtsp {
    pub port: u16,
    arguments: Vec<String>,
    loss: Option<&'static str>,
    process: Option<Child>,
}

impl Rtsp {
    /// Plays these clips in a loop.
    pub fn start(clips: &[&Path]) -> Self {
        let mut camera = Self::absent(clips, &[]);
        camera.appear();
        camera
    }

    /// Like [`Rtsp::start`], for clients with this user and password.
    pub fn with_login(clips: &[&Path], username: &str, password: &str) -> Self {
        let mut camera = Self::absent(clips, &[username, password]);
        camera.appear();
        camera
    }

    /// A camera that does not listen yet.
    pub fn absent(clips: &[&Path], login: &[&str]) -> Self {
        let arguments = Self::arguments(clips, login);
        Self { port: free_port(), arguments, loss: None, process: None }
    }

    /// Loses this share of its packets.
    pub fn lossy(clips: &[&Path], loss: &'static str) -> Self {
        let mut camera = Self::absent(clips, &[]);
        camera.loss = Some(loss);
        camera.appear();
        camera
    }

    /// Plays other clips after the next [`Rtsp::appear`].
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

    /// Starts the camera; returns when it listens.
    pub fn appear(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/common/rtsp.py");
        // Debian's Python, which has the bindings of Debian's GStreamer.
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).arg(self.port.to_string()).args(&self.arguments);
        command.envs(self.loss.map(|loss| ("LOSS", loss)));
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.process = Some(process);
        assert_eq!(line, "ready\n", "the tests need Debian's GStreamer RTSP server");
    }

    /// Ends the camera as a power cut does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// `-STOP`: its connections stay open and it sends nothing. `-CONT`: it continues.
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

/// An RTSP camera that is slow or has oddities, which `odd_rtsp.py` lists.
pub struct OddRtsp {
    pub port: u16,
    process: Child,
    lines: BufReader<ChildStdout>,
}

impl OddRtsp {
    /// Starts a camera that plays `clip`, with these `KEY=VALUE` words.
    pub fn start(clip: &Path, words: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/common/odd_rtsp.py");
        let port = free_port();
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).arg(port.to_string()).arg(clip).args(words);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { port, process, lines }
    }

    /// Makes a camera with the word `waits` send its next frame.
    pub fn send(&mut self) {
        self.process.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// When the next frame is sent, in seconds since 1970. Waits for it.
    pub fn sent(&mut self) -> f64 {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim().strip_prefix("sent ").unwrap().parse().unwrap()
    }

    pub fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/stream", self.port)
    }
}

impl Drop for OddRtsp {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A server that accepts every connection and never answers.
pub struct Silent {
    pub address: SocketAddr,
    requests: Receiver<TcpStream>,
}

impl Silent {
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (send, requests) = mpsc::channel();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let send = send.clone();
                thread::spawn(move || {
                    let read = stream.read(&mut [0; 1024]);
                    // The stream is kept: a closed connection is an answer.
                    read.is_ok_and(|length| length > 0).then(|| send.send(stream))
                });
            }
        });
        Self { address, requests }
    }

    /// Waits until a client has sent a request, and so waits for an answer. The connection stays open with the result.
    pub fn request(&self) -> TcpStream {
        self.requests.recv_timeout(PATIENCE).expect("a request")
    }
}

/// An HTTP server with answers of the test.
pub struct Web {
    pub address: SocketAddr,
    requests: Receiver<String>,
}

impl Web {
    /// `answer` receives the head of the request and the number of earlier requests.
    pub fn start(answer: impl Fn(&str, usize) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (send, requests) = mpsc::channel();
        let answer = Arc::new(Mutex::new(answer));
        thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let (answer, send) = (Arc::clone(&answer), send.clone());
                thread::spawn(move || {
                    let request = head(&stream);
                    let bytes = answer.lock().unwrap()(&request, number);
                    let _ = send.send(request);
                    let _ = (&stream).write_all(&bytes);
                });
            }
        });
        Self { address, requests }
    }

    /// A request that has arrived and was not taken yet.
    pub fn waiting_request(&self) -> Option<String> {
        self.requests.try_recv().ok()
    }

    /// The next request.
    pub fn request(&self) -> String {
        self.requests.recv_timeout(PATIENCE).expect("a request")
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

/// An HTTP response; each of the `headers` ends with `\r\n`.
pub fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len())
            .into_bytes();
    bytes.extend(body);
    bytes
}

/// An HTTP response with these JPEG pictures again and again, as cameras send MJPEG.
pub fn endless_pictures(pictures: &[Vec<u8>]) -> Vec<u8> {
    const COUNT: usize = 20;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=next\r\n\r\n";
    let mut bytes = head.as_bytes().to_vec();
    for picture in pictures.iter().cycle().take(COUNT) {
        let length = picture.len();
        let head = format!("--next\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n");
        bytes.extend(head.into_bytes());
        bytes.extend(picture);
        bytes.extend(b"\r\n");
    }
    bytes
}
