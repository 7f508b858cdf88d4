//! A real broker, subscribers and publishers. Processes are killed when they are dropped.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU16, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use stakeout::config::{Mqtt, MqttConnection, Secret};
use tempfile::TempDir;

use super::{PATIENCE, service::signal_process, wait_until};

/// The keep-alive of clients in tests: a process that gets no CPU time for seconds must not lose its connection.
pub const KEEP_ALIVE: Duration = Duration::from_secs(3600);

/// A free port outside the range from which the system takes ports, so that no other connection takes it meanwhile.
pub fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two runs of the tests on one machine begin at different ports.
    let offset = u16::try_from(std::process::id() * 101 % u32::from(COUNT)).unwrap();
    for _ in 0..COUNT {
        let port =
            FIRST + (u32::from(offset) + u32::from(NEXT.fetch_add(1, Ordering::Relaxed))) as u16 % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// A broker that forgets everything when it restarts.
pub struct Broker {
    pub port: u16,
    settings: String,
    folder: TempDir,
    process: Option<Child>,
}

impl Broker {
    /// A broker that accepts every client.
    pub fn start() -> Self {
        Self::with("allow_anonymous true")
    }

    /// A broker with these lines in its configuration; `{folder}` in them is replaced by its own folder.
    pub fn with(settings: &str) -> Self {
        Self::prepared(settings, |_| {})
    }

    /// Like [`Broker::with`]; `prepare` writes files into the broker's folder before it starts.
    pub fn prepared(settings: &str, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let mut broker = Self { port: 0, settings: settings.to_owned(), folder, process: None };
        // Another program may take the port before mosquitto listens on it.
        for _ in 0..5 {
            broker.port = free_port();
            if broker.launch() {
                return broker;
            }
        }
        panic!("mosquitto does not start: {}", broker.log());
    }

    /// The process ID, for signals.
    pub fn process(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// The folder of the broker's files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the broker has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder().join("log")).unwrap()
    }

    /// Ends the broker as a power cut does: it sends nothing more and remembers nothing.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Ends the broker as its administrator does: with `persistence true` it writes its sessions first.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            signal_process(process.id(), "-TERM");
            wait_until("mosquitto ends", || process.try_wait().unwrap().is_some());
        }
    }

    /// Kills the broker and starts it again on the same port.
    pub fn restart(&mut self) {
        self.kill();
        wait_until("mosquitto listens on its port again", || self.launch());
    }

    /// Makes the broker read passwords and access rules again.
    pub fn reload(&self) {
        signal_process(self.process(), "-HUP");
    }

    /// How a client connects to this broker.
    pub fn mqtt(&self) -> Mqtt {
        mqtt(self.port)
    }

    /// Starts mosquitto. False if it ends, which it does when another program has the port.
    fn launch(&mut self) -> bool {
        let folder = self.folder.path().display().to_string();
        let config = self.folder.path().join("mosquitto.conf");
        // `user root`: otherwise mosquitto gives up root and cannot read its folder. Other users ignore it.
        let text =
            format!("user root\npersistence false\nlistener {} 127.0.0.1\n{}\n", self.port, self.settings);
        fs::write(&config, text.replace("{folder}", &folder)).unwrap();
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(program("mosquitto"));
        command.arg("-c").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut process = command.spawn().expect("the tests need mosquitto and mosquitto-clients");
        let mut started = None;
        wait_until("mosquitto listens or ends", || {
            let connected = TcpStream::connect(("127.0.0.1", self.port)).is_ok();
            started = match process.try_wait().unwrap() {
                Some(_) => Some(false),
                None => connected.then_some(true),
            };
            started.is_some()
        });
        let started = started == Some(true);
        if started {
            self.process = Some(process);
        }
        started
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How a client connects to a broker on `port` of this machine.
pub fn mqtt(port: u16) -> Mqtt {
    Mqtt {
        host: "127.0.0.1".to_owned(),
        port,
        tls: false,
        username: None,
        password: None,
        prefix: "stakeout".to_owned(),
        client_id: "stakeout-test".to_owned(),
        connection: connection(),
        commands: false,
        near_misses: false,
    }
}

/// The connection settings of tests.
pub fn connection() -> MqttConnection {
    MqttConnection { keep_alive: KEEP_ALIVE, ..MqttConnection::default() }
}

/// `mqtt` with a user and a password.
pub fn login(mqtt: Mqtt, username: &str, password: &str) -> Mqtt {
    Mqtt { username: Some(username.to_owned()), password: Some(Secret::new(password.to_owned())), ..mqtt }
}

/// Sets the password of `username` in a password file of mosquitto.
pub fn set_password(file: &Path, username: &str, password: &str) {
    let mut command = Command::new("mosquitto_passwd");
    command.arg("-b").args((!file.exists()).then_some("-c")).arg(file).args([username, password]);
    assert!(command.status().expect("the tests need mosquitto_passwd").success());
}

/// Publishes `text` to `topic`. When this returns, the broker has passed it on.
pub fn publish(broker: &Broker, topic: &str, text: &str) {
    publish_bytes(broker, topic, text.as_bytes(), &[]);
}

/// Publishes any payload, with more arguments of `mosquitto_pub` (`-r`). When this returns, the broker has passed it on.
pub fn publish_bytes(broker: &Broker, topic: &str, payload: &[u8], arguments: &[&str]) {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-q", "1", "-t", topic, "-s"]);
    let mut process =
        command.args(arguments).stdin(Stdio::piped()).spawn().expect("the tests need mosquitto-clients");
    process.stdin.take().unwrap().write_all(payload).unwrap();
    assert!(process.wait().unwrap().success());
}

/// One connection that publishes many messages with QoS 1, at most sixteen of them unacknowledged at a time.
pub struct Publisher {
    stream: TcpStream,
    unacknowledged: usize,
    id: u16,
}

impl Publisher {
    pub fn connect(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // CONNECT: MQTT 3.1.1, clean session, no keep-alive, the client `bulk`.
        stream.write_all(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04bulk").unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0x20, 2, 0, 0], "CONNACK");
        Self { stream, unacknowledged: 0, id: 0 }
    }

    pub fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.id = self.id % 65_000 + 1;
        let mut packet = vec![0x32];
        let mut length = 2 + topic.len() + 2 + payload.len();
        while length >= 128 {
            packet.push(u8::try_from(length % 128).unwrap() | 128);
            length /= 128;
        }
        packet.push(u8::try_from(length).unwrap());
        packet.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
        packet.extend(topic.as_bytes());
        packet.extend(self.id.to_be_bytes());
        packet.extend(payload);
        self.stream.write_all(&packet).unwrap();
        self.unacknowledged += 1;
        if self.unacknowledged >= 16 {
            self.read_puback();
        }
    }

    /// Waits until the broker has acknowledged everything.
    pub fn settle(&mut self) {
        while self.unacknowledged > 0 {
            self.read_puback();
        }
    }

    fn read_puback(&mut self) {
        let mut answer = [0; 4];
        self.stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer[0], 0x40, "PUBACK");
        self.unacknowledged -= 1;
    }
}

/// A message as a subscriber received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMessage {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
}

impl ReceivedMessage {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap_or("(bytes)")
    }

    /// `topic payload`, with `r ` in front if it was published as retained.
    pub fn line(&self) -> String {
        let mut line = String::new();
        write!(line, "{}{} {}", if self.retain { "r " } else { "" }, self.topic, self.text()).unwrap();
        line
    }
}

/// The topic that marks a moment in the order of messages.
const MARKER: &str = "test/marker";

/// A client that is subscribed to everything, or to the topics of one filter.
pub struct Subscriber {
    process: Child,
    messages: Receiver<ReceivedMessage>,
}

impl Subscriber {
    /// Subscribes at `broker`; returns when the broker has confirmed it.
    pub fn start(broker: &Broker) -> Self {
        Self::with(broker, &[])
    }

    /// Like [`Subscriber::start`], for the topics of one filter.
    pub fn of(broker: &Broker, filter: &str) -> Self {
        Self::launch(broker, filter, &[])
    }

    /// Like [`Subscriber::start`], with more arguments of `mosquitto_sub` (a user and a password).
    pub fn with(broker: &Broker, arguments: &[&str]) -> Self {
        Self::launch(broker, "#", arguments)
    }

    fn launch(broker: &Broker, filter: &str, arguments: &[&str]) -> Self {
        // Line by line: otherwise `mosquitto_sub` prints `Subscribed` only with the first message.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "mosquitto_sub"]);
        command.args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-V", "5", "-q", "1", "-t", filter]);
        command.args(["-k", &KEEP_ALIVE.as_secs().to_string(), "--retain-as-published", "-d"]);
        command.args(["-F", "MESSAGE %r %q %x %t"]).args(arguments);
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
        // Built before the wait, so that a process that never subscribes is killed, too.
        let subscriber = Self { process, messages };
        subscribed.recv_timeout(PATIENCE).expect("mosquitto_sub subscribes");
        subscriber
    }

    /// The next message.
    pub fn next(&self) -> ReceivedMessage {
        self.messages.recv_timeout(PATIENCE).expect("one more message arrives")
    }

    /// All messages up to the first that is `wanted`, which is the last of them.
    pub fn until(&self, what: &str, wanted: impl Fn(&ReceivedMessage) -> bool) -> Vec<ReceivedMessage> {
        let end = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            match self.messages.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(message) => seen.push(message),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let lines = seen.iter().map(ReceivedMessage::line).collect::<Vec<_>>();
                    panic!("timed out waiting for {what}; received {lines:#?}");
                }
            }
            if seen.last().is_some_and(&wanted) {
                return seen;
            }
        }
    }

    /// Extends `seen` up to the first message that is `wanted`, unless `seen` contains one already.
    pub fn also(
        &self,
        seen: &mut Vec<ReceivedMessage>,
        what: &str,
        wanted: impl Fn(&ReceivedMessage) -> bool,
    ) {
        if !seen.iter().any(&wanted) {
            seen.extend(self.until(what, wanted));
        }
    }

    /// All messages up to the alert of a label and its new state (`ON`, `OFF`); `label` is the start of both topics. The service
    /// publishes alerts and states independently of each other, so either may arrive first.
    pub fn until_switched(&self, label: &str, state: &str) -> Vec<ReceivedMessage> {
        let what = format!("{label} {state} and its alert");
        let is_alert = |message: &ReceivedMessage| message.topic == format!("{label}/alert");
        let is_state =
            |message: &ReceivedMessage| message.topic == format!("{label}/state") && message.text() == state;
        let mut seen = self.until(&what, |message| is_alert(message) || is_state(message));
        self.also(&mut seen, &what, is_alert);
        self.also(&mut seen, &what, is_state);
        seen
    }

    /// Everything that `broker` has accepted before this call and that was not read yet.
    pub fn so_far(&self, broker: &Broker) -> Vec<ReceivedMessage> {
        publish(broker, MARKER, "marker");
        let mut seen = self.until("the marker", |message| message.topic == MARKER);
        seen.pop();
        seen
    }
}

/// What `broker` has retained: a new subscriber receives it first.
pub fn retained(broker: &Broker) -> Vec<ReceivedMessage> {
    Subscriber::start(broker).so_far(broker)
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn parse(line: &str) -> ReceivedMessage {
    let mut fields = line.splitn(4, ' ');
    let mut field = || fields.next().unwrap();
    let (retain, qos, hex, topic) = (field() == "1", field().parse().unwrap(), field(), field().to_owned());
    let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
    ReceivedMessage { topic, payload: bytes.collect(), qos, retain }
}

/// Debian installs daemons outside the `PATH` of normal users.
fn program(name: &str) -> PathBuf {
    let system = Path::new("/usr/sbin").join(name);
    if system.exists() { system } else { PathBuf::from(name) }
}
