//! A real broker and a real subscriber, both killed when they are dropped.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use stakeout::config::{Mqtt, MqttConnection, Secret};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A port that nobody listens on, for now.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Asks until the answer is yes; panics when the time is up.
pub fn wait_until(what: &str, mut answer: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !answer() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A broker that keeps nothing over a restart.
pub struct Broker {
    pub port: u16,
    settings: String,
    folder: TempDir,
    process: Option<Child>,
}

impl Broker {
    /// A broker that lets everybody in.
    pub fn start() -> Self {
        Self::with("allow_anonymous true")
    }

    /// A broker with these lines in its configuration; `{folder}` in them is its own folder.
    pub fn with(settings: &str) -> Self {
        Self::prepared(settings, |_| {})
    }

    /// Likewise, with files that are put into its folder first.
    pub fn prepared(settings: &str, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let mut broker = Self { port: 0, settings: settings.to_owned(), folder, process: None };
        // Somebody else may take the port between asking for it and listening on it.
        for _ in 0..5 {
            broker.port = free_port();
            if broker.launch() {
                return broker;
            }
        }
        panic!("mosquitto does not start: {}", fs::read_to_string(broker.folder().join("log")).unwrap());
    }

    /// A broker on a port that was found free before.
    pub fn start_on(port: u16) -> Self {
        let settings = "allow_anonymous true".to_owned();
        let mut broker = Self { port, settings, folder: tempfile::tempdir().unwrap(), process: None };
        wait_until("mosquitto has its port", || broker.launch());
        broker
    }

    /// For signals.
    pub fn process(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// As after a power cut: nothing is said to anybody, and nothing is remembered.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Again on the same port.
    pub fn restart(&mut self) {
        self.kill();
        wait_until("mosquitto is back on its port", || self.launch());
    }

    /// Reads passwords and access rules again.
    pub fn reload(&self) {
        let process = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-HUP", &process]).status().unwrap().success());
    }

    /// How a client connects to it.
    pub fn mqtt(&self) -> Mqtt {
        mqtt(self.port)
    }

    fn launch(&mut self) -> bool {
        let folder = self.folder.path().display().to_string();
        let config = self.folder.path().join("mosquitto.conf");
        // `user root`: otherwise it gives up root and cannot read its folder. It is ignored for other users.
        let text =
            format!("user root\npersistence false\nlistener {} 127.0.0.1\n{}\n", self.port, self.settings);
        fs::write(&config, text.replace("{folder}", &folder)).unwrap();
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(program("mosquitto"));
        command.arg("-c").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut process = command.spawn().expect("the tests need mosquitto and mosquitto-clients");
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && process.try_wait().unwrap().is_none() {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() && process.try_wait().unwrap().is_none() {
                self.process = Some(process);
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        process.kill().unwrap();
        process.wait().unwrap();
        false
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How a client connects to whatever listens on `port`.
pub fn mqtt(port: u16) -> Mqtt {
    Mqtt {
        host: "127.0.0.1".to_owned(),
        port,
        tls: false,
        username: None,
        password: None,
        prefix: "stakeout".to_owned(),
        client_id: "stakeout-test".to_owned(),
        connection: MqttConnection::default(),
    }
}

/// The same, by name.
pub fn login(mqtt: Mqtt, username: &str, password: &str) -> Mqtt {
    Mqtt { username: Some(username.to_owned()), password: Some(Secret::new(password.to_owned())), ..mqtt }
}

/// Writes the password of `username` into `file`; those of others stay.
pub fn set_password(file: &Path, username: &str, password: &str) {
    let mut command = Command::new("mosquitto_passwd");
    command.arg("-b").args((!file.exists()).then_some("-c")).arg(file).args([username, password]);
    assert!(command.status().expect("the tests need mosquitto_passwd").success());
}

/// Says `text` at `topic`.
pub fn publish(broker: &Broker, topic: &str, text: &str) {
    let port = broker.port.to_string();
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port, "-t", topic, "-m", text]);
    assert!(command.status().expect("the tests need mosquitto-clients").success());
}

/// Publishes `payload` at `topic`, whatever it is; `arguments` for more (`-r`, `-q 1`).
pub fn publish_bytes(broker: &Broker, topic: &str, payload: &[u8], arguments: &[&str]) {
    use std::io::Write as _;

    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-t", topic, "-s"]).args(arguments);
    let mut process = command.stdin(Stdio::piped()).spawn().expect("the tests need mosquitto-clients");
    process.stdin.take().unwrap().write_all(payload).unwrap();
    assert!(process.wait().unwrap().success());
}

/// A message as a subscriber got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
}

impl Message {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap_or("(bytes)")
    }

    /// `topic payload`, `r` before it if it was published as retained.
    pub fn line(&self) -> String {
        let mut line = String::new();
        write!(line, "{}{} {}", if self.retain { "r " } else { "" }, self.topic, self.text()).unwrap();
        line
    }
}

/// Somebody who listens to everything; ready when it is made.
pub struct Subscriber {
    process: Child,
    messages: Receiver<Message>,
}

impl Subscriber {
    /// Listens at `broker`.
    pub fn start(broker: &Broker) -> Self {
        Self::with(broker, &[])
    }

    /// Listens with more arguments (a user and a password).
    pub fn with(broker: &Broker, arguments: &[&str]) -> Self {
        // Line by line: otherwise it says that it is subscribed only with the first message.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "mosquitto_sub"]);
        command.args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-V", "5", "-q", "1", "-t", "#"]);
        command.args(["--retain-as-published", "-d", "-F", "MESSAGE %r %q %x %t"]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("the tests need mosquitto-clients");
        let output = BufReader::new(process.stdout.take().unwrap());
        let (ready, subscribed) = mpsc::channel();
        let (send, messages) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if line.starts_with("Subscribed") {
                    let _ = ready.send(());
                } else if let Some(message) = line.strip_prefix("MESSAGE ") {
                    let _ = send.send(parse(message));
                }
            }
        });
        // Made first, so that a subscriber that never gets ready is killed too.
        let subscriber = Self { process, messages };
        subscribed.recv_timeout(PATIENCE).expect("mosquitto_sub subscribes");
        subscriber
    }

    /// The next message.
    pub fn next(&self) -> Message {
        self.messages.recv_timeout(PATIENCE).expect("one more message arrives")
    }

    /// Messages up to and with the first that is `wanted`.
    pub fn until(&self, what: &str, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        let end = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            match self.messages.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(message) => seen.push(message),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let lines = seen.iter().map(Message::line).collect::<Vec<_>>();
                    panic!("waited in vain for {what}; there were {lines:#?}");
                }
            }
            if seen.last().is_some_and(&wanted) {
                return seen;
            }
        }
    }

    /// Likewise, unless it is among those `seen` already; what comes on the way to it joins them.
    pub fn also(&self, seen: &mut Vec<Message>, what: &str, wanted: impl Fn(&Message) -> bool) {
        if !seen.iter().any(&wanted) {
            seen.extend(self.until(what, wanted));
        }
    }

    /// What else comes within `time`.
    pub fn rest(&self, time: Duration) -> Vec<Message> {
        let end = Instant::now() + time;
        let mut seen = Vec::new();
        while let Ok(message) = self.messages.recv_timeout(end.saturating_duration_since(Instant::now())) {
            seen.push(message);
        }
        seen
    }
}

/// What `broker` keeps: what it has retained comes before what is published after the subscription.
pub fn kept(broker: &Broker) -> Vec<Message> {
    const END: &str = "test/end";
    let subscriber = Subscriber::start(broker);
    publish(broker, END, "end");
    let mut kept = subscriber.until("what is retained", |message| message.topic == END);
    kept.pop();
    kept
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn parse(line: &str) -> Message {
    let mut fields = line.splitn(4, ' ');
    let mut field = || fields.next().unwrap();
    let (retain, qos, hex, topic) = (field() == "1", field().parse().unwrap(), field(), field().to_owned());
    let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
    Message { topic, payload: bytes.collect(), qos, retain }
}

/// Debian keeps daemons where only root looks.
fn program(name: &str) -> PathBuf {
    let system = Path::new("/usr/sbin").join(name);
    if system.exists() { system } else { PathBuf::from(name) }
}
