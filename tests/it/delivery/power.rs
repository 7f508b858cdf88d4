//! The power fails at any moment: unsynced writes are lost, as a whole or in part and in any order.
//!
//! The outbox writes in its own process under `strace`, which shows what reaches the system: each write, each sync, and
//! between them notes of the raised and delivered alerts. From these calls the test builds disks as a power failure after
//! each of many calls may leave them, and opens an outbox on each. A disk that also forgets synced writes shows that the
//! test can fail.

use std::{collections::BTreeMap, io::BufRead as _};

use stakeout::alert::outbox::Sink;

use super::{
    guarantees::{random, times},
    *,
};

/// The environment variable that makes this test the writing process, with the folder to write to.
const FOLDER: &str = "STAKEOUT_TEST_POWER";
const NOTES: &str = "notes";
/// The bytes that a disk writes as a whole.
const SECTOR: usize = 512;
/// The system calls that change files of a folder, including those that SQLite does not use.
const CALLS: &str = "openat,write,pwrite64,ftruncate,fsync,fdatasync,unlink,\
                     writev,pwritev,pwritev2,truncate,fallocate,rename,renameat,renameat2,unlinkat,linkat";

#[test]
fn acknowledged_alerts_survive_a_loss_of_power() {
    if let Ok(folder) = std::env::var(FOLDER) {
        return write(Path::new(&folder));
    }
    let Some(calls) = trace() else {
        skip("strace is missing or may not trace a process");
        return;
    };
    let checkpoints = calls.iter().filter(|call| matches!(call, Call::Sync(name) if name == "outbox.sqlite"));
    assert!(checkpoints.count() > 2, "SQLite has copied its log into the database");
    let every = (calls.len() / times(40, 250) as usize).max(1);
    let (mut honest, mut forgetful, mut seed) =
        (Machine::default(), Machine { ignores_syncs: true, ..Machine::default() }, 1);
    let (mut moments, mut lost, mut lost_unsynced) = (0, 0, 0);
    for (number, call) in calls.iter().enumerate() {
        honest.follow(call);
        forgetful.follow(call);
        if !(number.is_multiple_of(every) || number + 1 == calls.len()) {
            continue;
        }
        for left in [Left::Nothing, Left::Writes, Left::Sectors] {
            moments += 1;
            let lost_now =
                honest.lose_power(left, &mut seed).unwrap_or_else(|why| panic!("call {number}: {why}"));
            assert_eq!(lost_now, [0; 0], "after call {number} of {}, left are {left:?}", calls.len());
            lost += lost_now.len();
        }
        // A few of these disks are enough to show a loss.
        if number.is_multiple_of(8 * every) {
            lost_unsynced += forgetful.lose_power(Left::Nothing, &mut seed).map_or(1, |lost| lost.len());
        }
    }
    println!(
        "power lost at {moments} moments: raised {}, of those that waited then lost {lost}; a disk that syncs nothing \
         loses {lost_unsynced}",
        honest.raised
    );
    assert!(honest.raised > 100 && lost_unsynced > 0, "the test can fail");
}

/// Writes as the service does: raises alerts, some of them with pictures, and delivers some.
fn write(folder: &Path) {
    let outbox = Outbox::open(folder).unwrap();
    let mut notes = fs::File::create(folder.join(NOTES)).unwrap();
    let mut note = |text: String| notes.write_all(text.as_bytes()).unwrap();
    let (mut seed, mut raised) = (5, 0);
    for _ in 0..times(80, 250) {
        let mut next = |_| {
            raised += 1;
            entry(ALERT, raised, raised.is_multiple_of(2).then(|| vec![raised as u8; 50_000]))
        };
        let entries = (0..1 + random(&mut seed, 4)).map(&mut next).collect();
        outbox.append_all(entries);
        note(format!("raised {raised}"));
        if random(&mut seed, 2) == 0 {
            let most = usize::try_from(1 + random(&mut seed, 8)).unwrap();
            let delivered = outbox.read(Sink::Mqtt, 0, most);
            let Some((_, newest)) = delivered.last() else { continue };
            note(format!("delivered {}", newest.id));
            outbox.remove(Sink::Mqtt, &delivered.iter().map(|(seq, _)| *seq).collect::<Vec<_>>());
        }
    }
}

/// A change of the folder by the writing process.
enum Call {
    Create(String),
    Write(String, u64, Vec<u8>),
    Truncate(String, u64),
    Sync(String),
    SyncFolder,
    Remove(String),
    /// `raised` or `delivered`, and the number of the last alert for which it is true.
    Note(String, u32),
}

/// The calls of the writing process; `None` if `strace` is missing or not allowed.
fn trace() -> Option<Vec<Call>> {
    let (folder, traces) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = Command::new("strace");
    command.args(["-ff", "-y", "-xx", "-s", "100000", "-e", &format!("trace={CALLS}"), "-o"]);
    command.arg(traces.path().join("thread")).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "delivery::power::acknowledged_alerts_survive_a_loss_of_power"]);
    let output = command.env(FOLDER, folder.path()).output().ok()?;
    let log = String::from_utf8_lossy(&output.stderr);
    if log.contains("ptrace") {
        return None;
    }
    assert!(output.status.success(), "{log}");
    let folder = folder.path().to_str().unwrap();
    // One file for each thread. One thread writes.
    let traces =
        fs::read_dir(traces.path()).unwrap().map(|file| fs::File::open(file.unwrap().path()).unwrap());
    let calls = traces.map(|file| {
        let lines = std::io::BufReader::new(file).lines();
        lines.filter_map(|line| call(&line.unwrap(), folder)).collect::<Vec<_>>()
    });
    let mut threads = calls.filter(|calls| !calls.is_empty());
    let calls = threads.next().expect("it has written something");
    assert!(threads.next().is_none(), "one thread writes");
    Some(calls)
}

/// `pwrite64(4</folder/file>, "bytes", 5, 0) = 5`, every text as `\x41\x42`.
fn call(line: &str, folder: &str) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let (arguments, answer) = rest.rsplit_once(") = ")?;
    if answer.starts_with('-') {
        return None;
    }
    let between = |text: &str, open: char, close: char| {
        let (_, rest) = text.split_once(open)?;
        Some(unescape(rest.split_once(close)?.0))
    };
    let file = |text: &str, open, close| {
        let path = String::from_utf8(between(text, open, close)?).unwrap();
        path.strip_prefix(folder).map(|name| name.trim_start_matches('/').to_owned())
    };
    let number = |place: usize| arguments.rsplit(", ").nth(place).unwrap().parse::<u64>().unwrap();
    let bytes = || between(arguments, '"', '"').unwrap();
    match name {
        "openat" => file(answer, '<', '>').filter(|_| arguments.contains("O_CREAT")).map(Call::Create),
        "unlink" => file(arguments, '"', '"').map(Call::Remove),
        "pwrite64" => file(arguments, '<', '>').map(|name| Call::Write(name, number(0), bytes())),
        "ftruncate" => file(arguments, '<', '>').map(|name| Call::Truncate(name, number(0))),
        "fsync" | "fdatasync" => file(arguments, '<', '>')
            .map(|name| if name.is_empty() { Call::SyncFolder } else { Call::Sync(name) }),
        "write" => file(arguments, '<', '>').map(|name| {
            assert_eq!(name, NOTES, "SQLite uses calls with an offset");
            let text = String::from_utf8(bytes()).unwrap();
            let (what, number) = text.split_once(' ').unwrap();
            Call::Note(what.to_owned(), number.parse().unwrap())
        }),
        _ => {
            let ours = file(arguments, '<', '>').or_else(|| file(arguments, '"', '"'));
            // The folder itself is removed in the end.
            assert!(ours.is_none_or(|name| name.is_empty()), "the test does not know {name}");
            None
        }
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let digits = text.split("\\x").skip(1);
    digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

/// Which of the unsynced writes survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    /// Some writes, as a whole.
    Writes,
    /// Some sectors of each write.
    Sectors,
}

/// A machine with the folder on its disk.
#[derive(Default)]
struct Machine {
    files: BTreeMap<String, File>,
    raised: u32,
    delivered: u32,
    /// Its disk reports syncs and does not sync.
    ignores_syncs: bool,
}

#[derive(Default)]
struct File {
    synced: Vec<u8>,
    unsynced: Vec<Change>,
    /// Whether the folder was synced after the file was created.
    is_named: bool,
    /// Whether the file was removed, and the folder not synced after that.
    is_removed: bool,
}

enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

impl Machine {
    fn follow(&mut self, call: &Call) {
        let change = |files: &mut BTreeMap<String, File>, name: &str, change| {
            files.get_mut(name).expect("it was created before").unsynced.push(change);
        };
        match call {
            Call::Create(name) if name != NOTES => {
                let file = self.files.entry(name.clone()).or_default();
                if file.is_removed {
                    *file = File::default();
                }
            }
            Call::Write(name, at, bytes) => change(&mut self.files, name, Change::Write(*at, bytes.clone())),
            Call::Truncate(name, length) => change(&mut self.files, name, Change::Truncate(*length)),
            Call::Remove(name) => {
                if let Some(file) = self.files.get_mut(name) {
                    file.is_removed = true;
                }
            }
            Call::Note(what, number) if what == "raised" => self.raised = *number,
            Call::Note(_, number) => self.delivered = *number,
            Call::Sync(_) | Call::SyncFolder if self.ignores_syncs => {}
            Call::Sync(name) => {
                if let Some(file) = self.files.get_mut(name) {
                    let unsynced = std::mem::take(&mut file.unsynced);
                    unsynced.iter().for_each(|change| change.reach(&mut file.synced, |_| true));
                }
            }
            Call::SyncFolder => {
                self.files.retain(|_, file| !file.is_removed);
                self.files.values_mut().for_each(|file| file.is_named = true);
            }
            Call::Create(_) => {}
        }
    }

    /// The undelivered alerts that the outbox has lost after a power failure now.
    fn lose_power(&self, left: Left, seed: &mut u64) -> Result<Vec<u32>, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, file) in &self.files {
            let mut coin = || random(seed, 2) == 0;
            let is_there = (file.is_named || coin()) && !(file.is_removed && coin());
            if !is_there {
                continue;
            }
            let mut bytes = file.synced.clone();
            for change in &file.unsynced {
                match left {
                    Left::Nothing => {}
                    Left::Writes if coin() => change.reach(&mut bytes, |_| true),
                    Left::Writes => {}
                    Left::Sectors => change.reach(&mut bytes, |_| coin()),
                }
            }
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let outbox = Outbox::open(folder.path()).map_err(|error| error.to_string())?;
        if let Some(aside) = &outbox.status().borrow().set_aside {
            return Err(format!("the file was found damaged and set aside: {aside}"));
        }
        let mut there: Vec<u32> = Vec::new();
        let mut after = 0;
        loop {
            let found = outbox.read(Sink::Mqtt, after, 1000);
            let Some((newest, _)) = found.last() else { break };
            after = *newest;
            there.extend(found.iter().map(|(_, entry)| entry.id.parse::<u32>().unwrap()));
        }
        assert!(there.is_sorted(), "in order");
        Ok((self.delivered + 1..=self.raised).filter(|number| !there.contains(number)).collect())
    }
}

impl Change {
    /// Writes the change to the disk, as far as `gets_there` allows for each sector.
    fn reach(&self, bytes: &mut Vec<u8>, mut gets_there: impl FnMut(usize) -> bool) {
        match self {
            Self::Truncate(length) => {
                if gets_there(0) {
                    bytes.resize(usize::try_from(*length).unwrap(), 0);
                }
            }
            Self::Write(at, new) => {
                let mut at = usize::try_from(*at).unwrap();
                let mut new = &new[..];
                while !new.is_empty() {
                    let (sector, rest) = new.split_at(new.len().min(SECTOR - at % SECTOR));
                    if gets_there(at) {
                        bytes.resize(bytes.len().max(at + sector.len()), 0);
                        bytes[at..at + sector.len()].copy_from_slice(sector);
                    }
                    (at, new) = (at + sector.len(), rest);
                }
            }
        }
    }
}
