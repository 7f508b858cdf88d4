//! A wire between a client and a broker that can be cut, and that can lose an acknowledgement.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
    time::Duration,
};

/// Passes everything on, unless told otherwise.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

struct State {
    upstream: u16,
    open: AtomicBool,
    gone: AtomicBool,
    /// So many acknowledgements still pass; the next is lost and takes the connection with it. Negative: all pass.
    acknowledgements: AtomicI64,
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
            acknowledgements: AtomicI64::new(-1),
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

    /// Loses one acknowledgement after `passing` more, and then breaks the connection.
    pub fn lose_acknowledgement_after(&self, passing: i64) {
        self.state.acknowledgements.store(passing, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.gone.store(true, Ordering::SeqCst);
    }
}

fn connect(state: &Arc<State>, client: TcpStream) -> io::Result<()> {
    if !state.open.load(Ordering::SeqCst) {
        return Ok(());
    }
    client.set_nonblocking(false)?;
    let broker = TcpStream::connect(("127.0.0.1", state.upstream))?;
    let (mut from_client, mut to_broker) = (client.try_clone()?, broker.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_broker);
        let _ = to_broker.shutdown(Shutdown::Both);
    });
    let state = Arc::clone(state);
    thread::spawn(move || {
        let _ = packets(&state, &broker, &client);
        let _ = client.shutdown(Shutdown::Both);
        let _ = broker.shutdown(Shutdown::Both);
    });
    Ok(())
}

/// Passes on packet by packet what the broker says.
fn packets(state: &State, mut broker: &TcpStream, mut client: &TcpStream) -> io::Result<()> {
    const PUBACK: u8 = 4;
    loop {
        let mut packet = vec![0; 1];
        broker.read_exact(&mut packet)?;
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let mut byte = [0];
            broker.read_exact(&mut byte)?;
            packet.push(byte[0]);
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] < 0x80 {
                break;
            }
        }
        let header = packet.len();
        packet.resize(header + length, 0);
        broker.read_exact(&mut packet[header..])?;
        if packet[0] >> 4 == PUBACK && state.acknowledgements.fetch_sub(1, Ordering::SeqCst) == 0 {
            return Ok(());
        }
        client.write_all(&packet)?;
    }
}
