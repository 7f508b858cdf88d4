//! A disk whose operations can fail, and that can lose power.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak},
};

use tokio::sync::Notify;

use super::{random::Random, vfs};

/// The disks of all tests that run at the moment.
static DISKS: RwLock<Vec<(PathBuf, Weak<Disk>)>> = RwLock::new(Vec::new());

/// A folder whose operations can fail, and that loses what is not synced when the power is cut.
#[derive(Debug)]
pub(crate) struct Disk {
    _folder: tempfile::TempDir,
    root: PathBuf,
    state: Mutex<State>,
    crashed: Notify,
}

/// What a program does with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    /// Opens or makes it.
    Open,
    /// Reads it.
    Read,
    /// Writes or shortens it.
    Write,
    /// Waits until it, or its folder, is on the disk.
    Sync,
    /// Renames it.
    Rename,
    /// Deletes it.
    Delete,
}

/// What does not work at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Everything works.
    #[default]
    Works,
    /// No file can become larger.
    Full,
    /// This operation fails.
    Fails(Operation),
}

/// One operation that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) operation: Operation,
    /// The first one has the number 1.
    pub(crate) nth: u64,
    /// All later ones fail, too.
    pub(crate) permanent: bool,
}

/// Why an operation is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The service was killed, or the power is cut.
    Dead,
    Full,
    Fault(Operation),
}

#[derive(Debug)]
struct State {
    condition: Condition,
    fault: Option<Fault>,
    counts: BTreeMap<Operation, u64>,
    failures: BTreeMap<Operation, u64>,
    /// The service dies at this change of the disk, counted down.
    dies_in: Option<u64>,
    dead: bool,
    /// Counts deaths: what was open before does not work after.
    epoch: u64,
    /// By inode.
    files: HashMap<u64, Image>,
    random: Random,
}

/// What a power cut would leave of a file.
#[derive(Debug, Default)]
struct Image {
    synced: Vec<u8>,
    /// The changes since the last sync. After a power cut the disk has any of them.
    changes: Vec<Change>,
    /// Its name is on the disk.
    named: bool,
    /// The file is kept open: the system would give the number of a deleted file to another one.
    _file: Option<File>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

/// An open file.
#[derive(Debug)]
pub(super) struct Handle {
    disk: Arc<Disk>,
    file: File,
    path: PathBuf,
    inode: u64,
    epoch: u64,
}

impl Disk {
    /// An empty disk.
    pub(crate) fn new(random: Random) -> Arc<Self> {
        vfs::register();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().canonicalize().expect("the folder exists");
        let state = State {
            condition: Condition::Works,
            fault: None,
            counts: BTreeMap::new(),
            failures: BTreeMap::new(),
            dies_in: None,
            dead: false,
            epoch: 0,
            files: HashMap::new(),
            random,
        };
        let disk = Arc::new(Self { _folder: folder, root, state: Mutex::new(state), crashed: Notify::new() });
        let mut disks = DISKS.write().unwrap_or_else(PoisonError::into_inner);
        disks.retain(|(_, disk)| disk.strong_count() > 0);
        disks.push((disk.root.clone(), Arc::downgrade(&disk)));
        disk
    }

    /// The disk on which this path is, unless it is a real one.
    pub(super) fn of(path: &Path) -> Option<Arc<Self>> {
        let disks = DISKS.read().unwrap_or_else(PoisonError::into_inner);
        let found = disks.iter().find(|(root, _)| path.starts_with(root));
        found.and_then(|(_, disk)| disk.upgrade())
    }

    /// Its folder.
    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// Sets what does not work.
    pub(crate) fn set(&self, condition: Condition) {
        self.state().condition = condition;
    }

    /// This operation will fail. Counts begin anew.
    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        let mut state = self.state();
        state.fault = fault;
        state.counts.clear();
    }

    /// How often this operation was asked for since the last [`Self::set_fault`].
    pub(crate) fn count(&self, operation: Operation) -> u64 {
        self.state().counts.get(&operation).copied().unwrap_or(0)
    }

    /// How often this operation failed.
    pub(crate) fn failures(&self, operation: Operation) -> u64 {
        self.state().failures.get(&operation).copied().unwrap_or(0)
    }

    /// Whether any operation failed.
    pub(crate) fn has_failed(&self) -> bool {
        !self.state().failures.is_empty()
    }

    /// The service will die at this change of the disk: 1 is the next one. `None`: it will not.
    pub(crate) fn set_death(&self, changes: Option<u64>) {
        self.state().dies_in = changes;
    }

    /// Whether the service has died: nothing works until [`Self::revive`].
    pub(crate) fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Waits until the service dies.
    pub(crate) async fn crashed(&self) {
        while !self.is_dead() {
            self.crashed.notified().await;
        }
    }

    /// The service is dead. Nothing works until [`Self::revive`].
    pub(crate) fn die(&self) {
        self.state().dead = true;
        self.crashed.notify_one();
    }

    /// The machine works again. If the power was cut, each file has what was synced, and any part of what was not.
    pub(crate) fn revive(&self, power_cut: bool) {
        let mut state = self.state();
        if power_cut {
            state.cut_power(&self.root).expect("the temporary folder can be written");
        }
        (state.dead, state.dies_in) = (false, None);
        state.epoch += 1;
    }

    pub(super) fn open(self: &Arc<Self>, path: &Path, create: bool) -> Result<Handle, Failure> {
        let mut state = self.state();
        state.ask(Operation::Open, &self.crashed)?;
        let is_new = !path.exists();
        let opened = File::options().read(true).write(true).create(create).open(path);
        let failed = |_| Failure::Fault(Operation::Open);
        let file = opened.map_err(failed)?;
        let inode = file.metadata().map_err(failed)?.ino();
        if is_new || !state.files.contains_key(&inode) {
            let synced = if is_new { Vec::new() } else { fs::read(path).map_err(failed)? };
            let held = Some(file.try_clone().map_err(failed)?);
            state.files.insert(inode, Image { synced, changes: Vec::new(), named: !is_new, _file: held });
        }
        let epoch = state.epoch;
        drop(state);
        Ok(Handle { disk: Arc::clone(self), file, path: path.to_owned(), inode, epoch })
    }

    pub(super) fn delete(&self, path: &Path) -> Result<(), Failure> {
        let mut state = self.state();
        state.ask(Operation::Delete, &self.crashed)?;
        if let Ok(metadata) = fs::metadata(path) {
            state.files.remove(&metadata.ino());
            fs::remove_file(path).map_err(|_| Failure::Fault(Operation::Delete))?;
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts the operation, and decides whether it is carried out.
    fn ask(&mut self, operation: Operation, crashed: &Notify) -> Result<(), Failure> {
        if self.dead {
            return Err(Failure::Dead);
        }
        let is_change = !matches!(operation, Operation::Open | Operation::Read);
        if let Some(left) = self.dies_in.as_mut().filter(|_| is_change) {
            *left -= 1;
            if *left == 0 {
                (self.dead, self.dies_in) = (true, None);
                crashed.notify_one();
                return Err(Failure::Dead);
            }
        }
        let count = self.counts.entry(operation).or_default();
        *count += 1;
        let count = *count;
        let is_faulty = self.fault.is_some_and(|fault| {
            fault.operation == operation && (count == fault.nth || fault.permanent && count > fault.nth)
        });
        if is_faulty || self.condition == Condition::Fails(operation) {
            *self.failures.entry(operation).or_default() += 1;
            return Err(Failure::Fault(operation));
        }
        Ok(())
    }

    /// Replaces each file by what the disk has of it.
    fn cut_power(&mut self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (path, metadata) = (entry.path(), entry.metadata()?);
            if metadata.is_dir() {
                self.cut_power(&path)?;
                continue;
            }
            let Some(mut image) = self.files.remove(&metadata.ino()) else { continue };
            if !image.named && self.random.percent(50) {
                fs::remove_file(path)?;
                continue;
            }
            image.keep_some(&mut self.random);
            // In place: the file keeps its inode.
            let file = File::options().write(true).open(path)?;
            file.set_len(image.synced.len() as u64)?;
            file.write_all_at(&image.synced, 0)?;
            self.files.insert(metadata.ino(), Image { named: true, ..image });
        }
        Ok(())
    }
}

impl Image {
    /// The disk has all changes.
    fn keep_all(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            self.apply(&change);
        }
    }

    /// The disk has some of the changes, in any order, and of some only the beginning.
    fn keep_some(&mut self, random: &mut Random) {
        // Everything, nothing, or any part of it.
        let kept = random.pick(&[0, 100, 50, 50]);
        for mut change in std::mem::take(&mut self.changes) {
            if !random.percent(kept) {
                continue;
            }
            if let Change::Write(_, bytes) = &mut change
                && random.percent(20)
            {
                let torn = random.below(bytes.len() as u64);
                bytes.truncate(usize::try_from(torn).expect("it is below the length"));
            }
            self.apply(&change);
        }
    }

    fn apply(&mut self, change: &Change) {
        let index = |offset: u64| usize::try_from(offset).expect("test files are small");
        match change {
            Change::Write(offset, bytes) => {
                let (start, end) = (index(*offset), index(*offset) + bytes.len());
                if self.synced.len() < end {
                    self.synced.resize(end, 0);
                }
                self.synced[start..end].copy_from_slice(bytes);
            }
            Change::Truncate(size) => self.synced.truncate(index(*size)),
        }
    }
}

impl Handle {
    pub(super) fn read(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Failure> {
        self.ask(&mut self.disk.state(), Operation::Read)?;
        let mut done = 0;
        while done < bytes.len() {
            match self.file.read_at(&mut bytes[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(_) => return Err(Failure::Fault(Operation::Read)),
            }
        }
        Ok(done)
    }

    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> Result<(), Failure> {
        let mut state = self.disk.state();
        let grows = offset + bytes.len() as u64 > self.size()?;
        let mut asked = self.ask(&mut state, Operation::Write);
        if asked.is_ok() && grows && state.condition == Condition::Full {
            asked = Err(Failure::Full);
        }
        // A write that fails may have written its beginning.
        let written = match asked {
            Ok(()) => bytes.len(),
            Err(Failure::Dead) => return asked,
            Err(_) if state.random.percent(50) => {
                usize::try_from(state.random.below(bytes.len() as u64)).expect("it is below the length")
            }
            Err(_) => 0,
        };
        let bytes = &bytes[..written];
        self.file.write_all_at(bytes, offset).map_err(|_| Failure::Fault(Operation::Write))?;
        state.files.entry(self.inode).or_default().changes.push(Change::Write(offset, bytes.to_vec()));
        asked
    }

    pub(super) fn truncate(&self, size: u64) -> Result<(), Failure> {
        let mut state = self.disk.state();
        self.ask(&mut state, Operation::Write)?;
        self.file.set_len(size).map_err(|_| Failure::Fault(Operation::Write))?;
        state.files.entry(self.inode).or_default().changes.push(Change::Truncate(size));
        Ok(())
    }

    /// After a failed sync the system forgets what it could not write: a later sync succeeds without it.
    pub(super) fn sync(&self) -> Result<(), Failure> {
        let mut state = self.disk.state();
        let asked = self.ask(&mut state, Operation::Sync);
        let State { files, random, .. } = &mut *state;
        let image = files.entry(self.inode).or_default();
        match asked {
            Ok(()) => {
                image.keep_all();
                // SQLite also syncs the folder of a new file.
                files.values_mut().for_each(|image| image.named = true);
            }
            Err(Failure::Dead) => {}
            Err(_) => image.keep_some(random),
        }
        asked
    }

    pub(super) fn size(&self) -> Result<u64, Failure> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(|_| Failure::Fault(Operation::Read))
    }

    /// Whether its path leads to another file by now, or to none.
    pub(super) fn has_moved(&self) -> bool {
        fs::metadata(&self.path).map_or(true, |metadata| metadata.ino() != self.inode)
    }

    fn ask(&self, state: &mut State, operation: Operation) -> Result<(), Failure> {
        if state.epoch != self.epoch {
            return Err(Failure::Dead);
        }
        state.ask(operation, &self.disk.crashed)
    }
}

/// An operation on this path is to be carried out: fails if it is on a [`Disk`] on which that does not work.
pub(crate) fn hit(path: &Path, operation: Operation) -> io::Result<()> {
    let Some(disk) = Disk::of(path) else { return Ok(()) };
    let mut state = disk.state();
    let mut asked = state.ask(operation, &disk.crashed);
    if asked.is_ok() && operation == Operation::Write && state.condition == Condition::Full {
        asked = Err(Failure::Full);
    }
    asked.map_err(|failure| match failure {
        Failure::Full => io::ErrorKind::StorageFull.into(),
        Failure::Dead | Failure::Fault(_) => io::Error::from_raw_os_error(libc::EIO),
    })
}
