//! A proxy between a client and a broker that can cut, hold and slow down connections, and that records which messages the
//! broker has acknowledged.

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

/// What the proxy does with packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Pass,
    /// Passes nothing on in either direction and keeps the connection: it is half-open.
    Hold,
    /// Passes on one byte at a time.
    Trickle,
}

/// Where a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The broker does not receive the message.
    BeforePublish,
    /// The broker has the message; the client receives no answer.
    AfterPublish,
    /// The broker has answered; the answer is lost.
    BeforePuback,
}

/// Passes everything on until a test changes that.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

struct State {
    upstream: u16,
    open: AtomicBool,
    gone: AtomicBool,
    mode: Mutex<Mode>,
    /// Where to cut, and after how many more messages or answers.
    cut: Mutex<Option<(Cut, i64)>>,
    /// How many acknowledgements still pass. The next one is lost and ends the connection. Negative: all pass.
    acknowledgements: AtomicI64,
    /// The MQTT 5 reason code that replaces the one of every acknowledgement.
    answer: Mutex<Option<u8>>,
    acknowledged: Mutex<Vec<(String, String)>>,
    connections: Mutex<Vec<TcpStream>>,
    attempts: AtomicUsize,
}

impl Proxy {
    /// A proxy to the broker on the port `upstream`, on a free port of its own.
    pub fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
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
            attempts: AtomicUsize::new(0),
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

    /// Accepts new connections, or closes them at once. Existing connections stay.
    pub fn set_open(&self, open: bool) {
        self.state.open.store(open, Ordering::SeqCst);
    }

    /// Sets what the proxy does with packets.
    pub fn set_mode(&self, mode: Mode) {
        *self.state.mode.lock().unwrap() = mode;
    }

    /// Cuts the connection once, at `cut`, after this number of packets.
    pub fn cut(&self, cut: Cut, after: i64) {
        *self.state.cut.lock().unwrap() = Some((cut, after));
    }

    /// Makes every acknowledgement a refusal with this MQTT 5 reason code.
    pub fn answer(&self, reason: Option<u8>) {
        *self.state.answer.lock().unwrap() = reason;
    }

    fn cut_now(&self) {
        for connection in self.state.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Loses one acknowledgement after `passing` more, and ends the connection.
    pub fn lose_acknowledgement_after(&self, passing: i64) {
        self.state.acknowledgements.store(passing, Ordering::SeqCst);
    }

    /// The number of connections that clients have tried to make.
    pub fn attempts(&self) -> usize {
        self.state.attempts.load(Ordering::SeqCst)
    }

    /// Topic and payload of every message whose acknowledgement was passed on, in that order.
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
    /// Whether to cut the connection here and now.
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

/// The unacknowledged messages of one connection, by their packet identifier.
#[derive(Clone, Default)]
struct InFlight {
    messages: Arc<Mutex<HashMap<u16, (String, String)>>>,
    /// Whether the protocol version is MQTT 5.
    is_five: Arc<AtomicBool>,
}

fn connect(state: &Arc<State>, client: TcpStream) -> io::Result<()> {
    state.attempts.fetch_add(1, Ordering::SeqCst);
    if !state.open.load(Ordering::SeqCst) {
        return Ok(());
    }
    client.set_nonblocking(false)?;
    client.set_nodelay(true)?;
    let broker = TcpStream::connect(("127.0.0.1", state.upstream))?;
    broker.set_nodelay(true)?;
    state.connections.lock().unwrap().extend([client.try_clone()?, broker.try_clone()?]);
    let in_flight = InFlight::default();
    type Pump = fn(&State, &InFlight, &TcpStream, &TcpStream) -> io::Result<()>;
    for (pump, from, to) in
        [(to_broker as Pump, client.try_clone()?, broker.try_clone()?), (to_client as Pump, broker, client)]
    {
        let (state, in_flight) = (Arc::clone(state), in_flight.clone());
        thread::spawn(move || {
            let _ = pump(&state, &in_flight, &from, &to);
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

fn to_broker(state: &State, in_flight: &InFlight, client: &TcpStream, broker: &TcpStream) -> io::Result<()> {
    loop {
        let packet = read_packet(client)?;
        if packet[0] >> 4 == CONNECT {
            in_flight.is_five.store(level(&packet) == Some(5), Ordering::SeqCst);
        }
        if packet[0] >> 4 == PUBLISH {
            if let Some((id, topic, payload)) = published(&packet, in_flight.is_five.load(Ordering::SeqCst)) {
                in_flight.messages.lock().unwrap().insert(id, (topic, payload));
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

fn to_client(state: &State, in_flight: &InFlight, broker: &TcpStream, client: &TcpStream) -> io::Result<()> {
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
            let message = in_flight.messages.lock().unwrap().remove(&id);
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

/// The protocol level of a CONNECT: 5, or 4 for MQTT 3.1.1.
fn level(packet: &[u8]) -> Option<u8> {
    let at = 1 + packet[1..].iter().position(|byte| *byte < 0x80)? + 1;
    packet.get(at + 2 + "MQTT".len()).copied()
}

/// Identifier, topic and payload of a PUBLISH with QoS 1; `None` for pictures, which are not text.
fn published(packet: &[u8], is_five: bool) -> Option<(u16, String, String)> {
    if packet[0] & 0b110 == 0 {
        return None;
    }
    let mut at = 1 + packet[1..].iter().position(|byte| *byte < 0x80)? + 1;
    let length = usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    let topic = String::from_utf8(packet[at + 2..at + 2 + length].to_vec()).ok()?;
    at += 2 + length;
    let id = u16::from_be_bytes([packet[at], packet[at + 1]]);
    // The properties are shorter than 128 bytes, so their length is one byte.
    let payload = at + 2 + if is_five { 1 + usize::from(packet[at + 2]) } else { 0 };
    Some((id, topic, String::from_utf8(packet[payload..].to_vec()).ok()?))
}
