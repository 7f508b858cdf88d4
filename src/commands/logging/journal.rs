//! Sends log lines to systemd's journal: the text that people read as `MESSAGE`, and each field as `F_NAME`.
//!
//! The format is journald's native protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>). `tracing-journald` is not used: it
//! sends the bare message as `MESSAGE`, and `journalctl` shows nothing else.

use std::{
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
};

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::{Layer, layer::Context};

use super::line::Line;

/// The socket of journald.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";
/// The bytes that are kept of a text that is too long for one datagram.
const LONGEST: usize = 48 * 1024;

/// A layer that sends every line to the journal.
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// Connects to the journal whose socket is at `path`.
    ///
    /// # Errors
    /// No journal is running there.
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let journal = Self { socket: UnixDatagram::unbound()?, path: path.to_owned() };
        // The journal ignores an empty entry.
        journal.socket.send_to(&[], path)?;
        Ok(journal)
    }

    fn send(&self, metadata: &Metadata<'_>, line: &Line) -> io::Result<()> {
        match self.socket.send_to(&entry(metadata, line), &self.path) {
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                let end = line.text.floor_char_boundary(LONGEST);
                let text = format!("{} ... (cut: the line has {} bytes)", &line.text[..end], line.text.len());
                self.socket.send_to(&entry(metadata, &Line { text, fields: vec![] }), &self.path)
            }
            sent => sent,
        }
        .map(drop)
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // There is no other place to report that the journal does not accept a line.
        let _ = self.send(event.metadata(), &Line::of(event));
    }
}

/// An entry of the journal.
fn entry(metadata: &Metadata<'_>, line: &Line) -> Vec<u8> {
    let mut entry = Vec::with_capacity(512);
    put(&mut entry, "PRIORITY", priority(*metadata.level()));
    put(&mut entry, "SYSLOG_IDENTIFIER", env!("CARGO_PKG_NAME"));
    put(&mut entry, "TARGET", metadata.target());
    if let (Some(file), Some(number)) = (metadata.file(), metadata.line()) {
        put(&mut entry, "CODE_FILE", file);
        put(&mut entry, "CODE_LINE", &number.to_string());
    }
    put(&mut entry, "MESSAGE", &line.text);
    for (name, value) in &line.fields {
        put(&mut entry, &format!("F_{}", name.replace('.', "_").to_uppercase()), value);
    }
    entry
}

/// Adds a field. The length makes any value possible, line breaks included.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

/// The priorities that `journalctl -p` selects: err, warning, notice, info, debug.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "5",
        Level::DEBUG => "6",
        Level::TRACE => "7",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What journald reads from a datagram.
    fn read(mut datagram: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        while !datagram.is_empty() {
            let end = datagram.iter().position(|byte| *byte == b'\n').unwrap();
            let name = String::from_utf8(datagram[..end].to_vec()).unwrap();
            let length = u64::from_le_bytes(datagram[end + 1..end + 9].try_into().unwrap()) as usize;
            let value = &datagram[end + 9..end + 9 + length];
            assert_eq!(datagram[end + 9 + length], b'\n');
            fields.insert(name, String::from_utf8(value.to_vec()).unwrap());
            datagram = &datagram[end + 10 + length..];
        }
        fields
    }

    /// The entries that a journal at a socket of its own receives.
    fn received(log: impl FnOnce()) -> Vec<BTreeMap<String, String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let server = UnixDatagram::bind(&path).unwrap();
        server.set_nonblocking(true).unwrap();
        let journal = Journal::connect(&path).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), log);
        let mut buffer = vec![0; 1 << 20];
        let datagrams =
            std::iter::from_fn(|| server.recv(&mut buffer).ok().map(|length| read(&buffer[..length])));
        datagrams.filter(|fields| !fields.is_empty()).collect()
    }

    #[test]
    fn the_message_says_all_and_the_fields_stay() {
        let entries = received(|| {
            tracing::info!(
                source = "front-door",
                label_set = "porch",
                label = "person",
                score = f64::from(0.831_f32),
                "`person` raised"
            );
            tracing::error!(
                source = "front-door",
                cause = "rtsp://h/s denies access",
                "the source failed; it will try again"
            );
        });
        let [raised, failed] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!(raised["MESSAGE"], "front-door: `person` raised (label_set=porch, score=0.831)");
        assert_eq!(
            failed["MESSAGE"],
            "front-door: the source failed; it will try again: rtsp://h/s denies access"
        );
        let of = |name: &str| &*raised[name];
        assert_eq!(
            (of("F_SOURCE"), of("F_LABEL_SET"), of("F_LABEL"), of("F_SCORE")),
            ("front-door", "porch", "person", "0.831")
        );
        assert_eq!((of("PRIORITY"), &*failed["PRIORITY"], of("SYSLOG_IDENTIFIER")), ("5", "3", "stakeout"));
        assert!(
            of("CODE_FILE").ends_with("journal.rs") && of("TARGET").starts_with("stakeout::"),
            "{raised:?}"
        );
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_not_lost() {
        let entries = received(|| tracing::error!(source = "door", "{}", "ä".repeat(1_000_000)));
        let [cut] = &entries[..] else { panic!("{}", entries.len()) };
        assert!(cut["MESSAGE"].starts_with("door: ää"), "{}", &cut["MESSAGE"][..20]);
        assert!(
            cut["MESSAGE"].ends_with("ä ... (cut: the line has 2000006 bytes)"),
            "{}",
            cut["MESSAGE"].len()
        );
    }

    #[test]
    fn without_a_journal_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Journal::connect(&folder.path().join("none")).is_err());
    }
}
