//! A wire between a client and a broker that can be cut, held and slowed down at any moment, and that writes down which
//! messages the broker acknowledged.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;

/// What the wire does with what goes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything passes.
    Pass,
    /// Nothing passes in either direction, and nobody is told: a half-open connection.
    Hold,
    /// A byte at a time.
    Trickle,
}

/// Where the wire is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The message does not reach the broker.
    BeforePublish,
    /// The broker has the message; its answer comes to nobody.
    AfterPublish,
    /// The broker's answer is lost.
    BeforePuback,
}

/// Passes everything on, unless told otherwise.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

struct State {
    upstream: u16,
    open: AtomicBool,
    gone: AtomicBool,
    mode: Mutex<Mode>,
    /// What is cut, after so many more messages or answers.
    cut: Mutex<Option<(Cut, i64)>>,
    /// So many acknowledgements still pass; the next is lost and takes the connection with it. Negative: all pass.
    acknowledgements: AtomicI64,
    /// The reason that every acknowledgement is made to give.
    answer: Mutex<Option<u8>>,
    acknowledged: Mutex<Vec<(String, String)>>,
    connections: Mutex<Vec<TcpStream>>,
    made: AtomicUsize,
}

impl Proxy {
    /// A wire to `upstream` that begins at `port` (0: a free one).
    pub fn start(port: u16, upstream: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State {
            upstream,
            open: AtomicBool::new(true),
            gone: AtomicBool::new(false),
            mode: Mutex::new(Mode::Pass),
            cut: Mutex::new(None),
            acknowledgements: AtomicI64::new(-1),
            answer: Mutex::default(),
            acknowledged: Mutex::default(),
            connections: Mutex::default(),
            made: AtomicUsize::new(0),
        };
        let state = Arc::new(state);
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            while !shared.gone.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((client, _)) => drop(connect(&shared, client)),
                    Err(_) => thread::sleep(Duration::from_millis(10)),
                }
            }
        });
        Self { port, state }
    }

    /// Lets new connections through, or none; those that are there stay.
    pub fn set_open(&self, open: bool) {
        self.state.open.store(open, Ordering::SeqCst);
    }

    /// From now on the wire does this.
    pub fn set_mode(&self, mode: Mode) {
        *self.state.mode.lock().unwrap() = mode;
    }

    /// Cuts the connection once, there, when so many have passed.
    pub fn cut(&self, cut: Cut, after: i64) {
        *self.state.cut.lock().unwrap() = Some((cut, after));
    }

    /// From now on the broker seems to refuse every message with this reason of MQTT 5's.
    pub fn answer(&self, reason: Option<u8>) {
        *self.state.answer.lock().unwrap() = reason;
    }

    fn cut_now(&self) {
        for connection in self.state.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Loses one acknowledgement after `passing` more, and then breaks the connection.
    pub fn lose_acknowledgement_after(&self, passing: i64) {
        self.state.acknowledgements.store(passing, Ordering::SeqCst);
    }

    /// How many connections were made so far.
    pub fn made(&self) -> usize {
        self.state.made.load(Ordering::SeqCst)
    }

    /// Topic and payload of every message whose acknowledgement went through, in that order.
    pub fn acknowledged(&self) -> Vec<(String, String)> {
        self.state.acknowledged.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.gone.store(true, Ordering::SeqCst);
        self.cut_now();
    }
}

impl State {
    /// Whether the wire is cut here and now.
    fn cuts(&self, here: Cut) -> bool {
        let mut cut = self.cut.lock().unwrap();
        match &mut *cut {
            Some((place, 0)) if *place == here => {
                *cut = None;
                true
            }
            Some((place, left)) if *place == here => {
                *left -= 1;
                false
            }
            _ => false,
        }
    }

    fn pass(&self, mut to: &TcpStream, bytes: &[u8]) -> io::Result<()> {
        let mode = || *self.mode.lock().unwrap();
        while mode() == Mode::Hold {
            if self.gone.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        if mode() == Mode::Trickle {
            for byte in bytes {
                to.write_all(std::slice::from_ref(byte))?;
                thread::sleep(Duration::from_micros(200));
            }
            return Ok(());
        }
        to.write_all(bytes)
    }
}

/// The messages of one connection that are under way, by their packet identifier.
#[derive(Clone, Default)]
struct UnderWay {
    messages: Arc<Mutex<HashMap<u16, (String, String)>>>,
    /// Whether MQTT 5 is spoken.
    is_five: Arc<AtomicBool>,
}

fn connect(state: &Arc<State>, client: TcpStream) -> io::Result<()> {
    if !state.open.load(Ordering::SeqCst) {
        return Ok(());
    }
    state.made.fetch_add(1, Ordering::SeqCst);
    client.set_nonblocking(false)?;
    client.set_nodelay(true)?;
    let broker = TcpStream::connect(("127.0.0.1", state.upstream))?;
    broker.set_nodelay(true)?;
    state.connections.lock().unwrap().extend([client.try_clone()?, broker.try_clone()?]);
    let under_way = UnderWay::default();
    type Pump = fn(&State, &UnderWay, &TcpStream, &TcpStream) -> io::Result<()>;
    for (pump, from, to) in
        [(to_broker as Pump, client.try_clone()?, broker.try_clone()?), (to_client as Pump, broker, client)]
    {
        let (state, under_way) = (Arc::clone(state), under_way.clone());
        thread::spawn(move || {
            let _ = pump(&state, &under_way, &from, &to);
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

fn to_broker(state: &State, under_way: &UnderWay, client: &TcpStream, broker: &TcpStream) -> io::Result<()> {
    loop {
        let packet = read_packet(client)?;
        if packet[0] >> 4 == CONNECT {
            under_way.is_five.store(level(&packet) == Some(5), Ordering::SeqCst);
        }
        if packet[0] >> 4 == PUBLISH {
            if let Some((id, topic, payload)) = published(&packet, under_way.is_five.load(Ordering::SeqCst)) {
                under_way.messages.lock().unwrap().insert(id, (topic, payload));
            }
            if state.cuts(Cut::BeforePublish) {
                return Ok(());
            }
            state.pass(broker, &packet)?;
            if state.cuts(Cut::AfterPublish) {
                return Ok(());
            }
            continue;
        }
        state.pass(broker, &packet)?;
    }
}

fn to_client(state: &State, under_way: &UnderWay, broker: &TcpStream, client: &TcpStream) -> io::Result<()> {
    loop {
        let mut packet = read_packet(broker)?;
        if packet[0] >> 4 == PUBACK {
            if state.acknowledgements.fetch_sub(1, Ordering::SeqCst) == 0 || state.cuts(Cut::BeforePuback) {
                return Ok(());
            }
            let id = u16::from_be_bytes([packet[2], packet[3]]);
            let refused = *state.answer.lock().unwrap();
            if let Some(reason) = refused {
                packet = [&[PUBACK << 4, 4], &packet[2..4], &[reason, 0]].concat();
            }
            let message = under_way.messages.lock().unwrap().remove(&id);
            if let Some(message) = message.filter(|_| refused.is_none()) {
                state.acknowledged.lock().unwrap().push(message);
            }
        }
        state.pass(client, &packet)?;
    }
}

fn read_packet(mut from: &TcpStream) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; 1];
    from.read_exact(&mut packet)?;
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        packet.push(byte[0]);
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] < 0x80 {
            break;
        }
    }
    let header = packet.len();
    packet.resize(header + length, 0);
    from.read_exact(&mut packet[header..])?;
    Ok(packet)
}

/// Which version a CONNECT asks for: 5, or 4 for MQTT 3.1.1.
fn level(packet: &[u8]) -> Option<u8> {
    let at = 1 + packet[1..].iter().position(|byte| *byte < 0x80)? + 1;
    packet.get(at + 2 + "MQTT".len()).copied()
}

/// Identifier, topic and payload of a PUBLISH with QoS 1; pictures have no text and are left out.
fn published(packet: &[u8], is_five: bool) -> Option<(u16, String, String)> {
    if packet[0] & 0b110 == 0 {
        return None;
    }
    let mut at = 1 + packet[1..].iter().position(|byte| *byte < 0x80)? + 1;
    let length = usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    let topic = String::from_utf8(packet[at + 2..at + 2 + length].to_vec()).ok()?;
    at += 2 + length;
    let id = u16::from_be_bytes([packet[at], packet[at + 1]]);
    // Our properties are shorter than 128 bytes, so their length is one byte.
    let payload = at + 2 + if is_five { 1 + usize::from(packet[at + 2]) } else { 0 };
    Some((id, topic, String::from_utf8(packet[payload..].to_vec()).ok()?))
}
