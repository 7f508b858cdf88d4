//! Finds cameras: sends a probe to the multicast group of WS-Discovery from each address of this machine, and collects answers for a
//! limited time.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{
    answers::{self, Camera},
    messages,
};

/// The multicast group and the port of WS-Discovery.
pub const GROUP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 255, 255, 250)), 3702);
/// The most cameras that are collected.
const MOST_CAMERAS: usize = 256;
/// The most addresses of this machine that are used.
const MOST_ADDRESSES: usize = 16;
/// The largest answer: that of UDP.
const LARGEST: usize = 65_536;
/// A probe may be lost, so it is sent again after this time.
const AGAIN: Duration = Duration::from_millis(500);
/// The longest wait for one answer.
const SHORT: Duration = Duration::from_millis(100);

/// The cameras that answer a probe to `to` within `time`, each once. `to` is [`GROUP`], or the address of one camera.
///
/// # Errors
/// No probe could be sent.
pub fn discover(to: SocketAddr, time: Duration) -> io::Result<Vec<Camera>> {
    let from = if to.ip().is_multicast() { own_addresses() } else { vec![] };
    let unspecified = match to {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    };
    let mut from: Vec<_> = from.into_iter().map(IpAddr::V4).collect();
    if from.is_empty() {
        from.push(unspecified);
    }
    let probe = messages::probe(&Uuid::now_v7().to_string());
    let found = Mutex::new(Vec::new());
    let until = Instant::now() + time;
    let sent: Vec<io::Result<()>> = thread::scope(|scope| {
        let (probe, found) = (&*probe, &found);
        let from: Vec<_> =
            from.iter().map(|from| scope.spawn(move || collect(*from, to, probe, until, found))).collect();
        let panicked = || io::Error::other("a bug in the program; please report it");
        from.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(panicked()))).collect()
    });
    let cameras = found.into_inner().unwrap_or_default();
    // An address without a network does not matter while another one has one.
    let failed = sent.iter().all(Result::is_err);
    match sent.into_iter().find_map(Result::err) {
        Some(error) if failed => Err(error),
        _ => Ok(cameras),
    }
}

/// Sends the probe from one address of this machine, and adds the cameras that answer.
fn collect(
    from: IpAddr,
    to: SocketAddr,
    probe: &str,
    until: Instant,
    found: &Mutex<Vec<Camera>>,
) -> io::Result<()> {
    // The kernel sends multicast over the network of the address that a socket is bound to.
    let socket = UdpSocket::bind((from, 0))?;
    socket.set_read_timeout(Some(SHORT))?;
    socket.send_to(probe.as_bytes(), to)?;
    let mut again = Some(Instant::now() + AGAIN);
    let mut buffer = vec![0; LARGEST];
    while Instant::now() < until {
        if again.is_some_and(|again| Instant::now() >= again) {
            again = None;
            // The first one was sent.
            let _ = socket.send_to(probe.as_bytes(), to);
        }
        match socket.recv_from(&mut buffer) {
            Ok((length, _)) => add(found, answers::cameras(&String::from_utf8_lossy(&buffer[..length]))),
            Err(error) if is_only_late(&error) => {}
            // One camera that is not there, such as a closed port, is no failure of the others.
            Err(_) => thread::sleep(SHORT),
        }
    }
    Ok(())
}

fn is_only_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Adds cameras that are not there yet. A camera answers each probe, from each network.
fn add(found: &Mutex<Vec<Camera>>, cameras: Vec<Camera>) {
    let Ok(mut found) = found.lock() else { return };
    for camera in cameras {
        let is_known =
            found.iter().any(|known| known.addresses.iter().any(|it| camera.addresses.contains(it)));
        if !is_known && found.len() < MOST_CAMERAS {
            found.push(camera);
        }
    }
}

/// The IPv4 addresses of this machine, without those of the machine itself.
fn own_addresses() -> Vec<Ipv4Addr> {
    let table = fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    local_addresses(&table).into_iter().take(MOST_ADDRESSES).collect()
}

/// The local addresses in the kernel's table of routes. Pure.
fn local_addresses(table: &str) -> Vec<Ipv4Addr> {
    let (mut addresses, mut newest) = (vec![], None);
    for line in table.lines() {
        if let Some((_, address)) = line.split_once("|-- ") {
            newest = address.trim().parse::<Ipv4Addr>().ok();
        } else if line.trim() == "/32 host LOCAL"
            && let Some(address) = newest.filter(|address| !address.is_loopback())
            && !addresses.contains(&address)
        {
            addresses.push(address);
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_those_of_the_routes() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     \
                     +-- 10.0.0.0/24 2 0 2\n        |-- 10.0.0.0\n           /24 link UNICAST\n        |-- 10.0.0.5\n           \
                     /32 host LOCAL\n        |-- 10.0.0.255\n           /32 link BROADCAST\n     |-- 127.0.0.1\n        \
                     /32 host LOCAL\nLocal:\n        |-- 10.0.0.5\n           /32 host LOCAL\n        |-- 192.168.7.2\n           \
                     /32 host LOCAL\n";
        assert_eq!(local_addresses(table), [Ipv4Addr::new(10, 0, 0, 5), Ipv4Addr::new(192, 168, 7, 2)]);
        assert_eq!(local_addresses(""), Vec::<Ipv4Addr>::new());
    }

    #[test]
    fn a_camera_is_found_once_and_other_answers_are_ignored() {
        let camera = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = camera.local_addr().unwrap();
        let answers = thread::spawn(move || {
            let mut buffer = vec![0; LARGEST];
            let (length, from) = camera.recv_from(&mut buffer).unwrap();
            let probe = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let found = |address: &str| {
                format!(
                    "<e><ProbeMatch><Scopes>onvif://www.onvif.org/name/A</Scopes><XAddrs>{address}</XAddrs></ProbeMatch></e>"
                )
            };
            for answer in
                ["no xml", &found("http://10.0.0.2/a"), &found("http://10.0.0.2/a http://b/"), "<e/>"]
            {
                camera.send_to(answer.as_bytes(), from).unwrap();
            }
            probe
        });
        let found = discover(to, Duration::from_secs(1)).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (&*found[0].addresses, found[0].name.as_deref()),
            (&["http://10.0.0.2/a".to_owned()][..], Some("A"))
        );
        assert!(answers.join().unwrap().contains("NetworkVideoTransmitter"));
    }

    #[test]
    fn a_network_without_cameras_gives_none_in_time() {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let found = discover(silent.local_addr().unwrap(), Duration::from_millis(50)).unwrap();
        assert_eq!(found, []);
    }
}
