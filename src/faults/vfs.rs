//! SQLite's access to the files of a [`Disk`]: a VFS that is the default one in tests. Files elsewhere are passed to SQLite's
//! own.
//!
//! It has no shared memory: WAL works only with `locking_mode = EXCLUSIVE`, as the outbox uses it. Locks are not kept, because a
//! service that was killed may still have the file open.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, OsStr, c_char, c_int, c_void},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    ptr, slice,
    sync::Once,
};

use rusqlite::ffi::{self, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs};

use super::disk::{Disk, Failure, Handle, Operation};

/// SQLite's view of an open file; `base` must be first.
#[repr(C)]
struct OpenFile {
    base: sqlite3_file,
    handle: *mut Handle,
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(lock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// Makes it the default VFS of this process, once.
pub(super) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: SQLite initialises itself for the first call, and returns its default VFS, which lives as long as the process.
        // So does ours, because it is leaked; it differs from that one only in what is set here.
        unsafe {
            let original = ffi::sqlite3_vfs_find(ptr::null());
            let mut ours = *original;
            ours.pAppData = original.cast();
            ours.pNext = ptr::null_mut();
            ours.zName = c"stakeout-faults".as_ptr();
            ours.szOsFile = ours.szOsFile.max(c_int::try_from(size_of::<OpenFile>()).expect("it is small"));
            ours.xOpen = Some(open);
            ours.xDelete = Some(delete);
            let registered = ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 1);
            assert_eq!(registered, ffi::SQLITE_OK);
        }
    });
}

/// SQLite's code for a failure of an operation.
fn code(failure: Failure) -> c_int {
    match failure {
        Failure::Full => ffi::SQLITE_FULL,
        Failure::Dead => ffi::SQLITE_IOERR,
        Failure::Fault(Operation::Open) => ffi::SQLITE_CANTOPEN,
        Failure::Fault(Operation::Read) => ffi::SQLITE_IOERR_READ,
        Failure::Fault(Operation::Write) => ffi::SQLITE_IOERR_WRITE,
        Failure::Fault(Operation::Sync) => ffi::SQLITE_IOERR_FSYNC,
        Failure::Fault(Operation::Rename | Operation::Delete) => ffi::SQLITE_IOERR_DELETE,
    }
}

fn status(done: Result<(), Failure>) -> c_int {
    done.map_or_else(code, |()| ffi::SQLITE_OK)
}

/// # Safety
/// `name` is null or a C string that lives as long as the result is used.
unsafe fn path<'n>(name: *const c_char) -> Option<&'n Path> {
    if name.is_null() {
        return None;
    }
    // SAFETY: the caller says so.
    Some(Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes())))
}

/// # Safety
/// `file` was opened by [`open`] with our methods, and is not closed.
unsafe fn handle<'f>(file: *mut sqlite3_file) -> &'f Handle {
    // SAFETY: `open` stored a pointer to a handle, which `close` frees.
    unsafe { &*(*file.cast::<OpenFile>()).handle }
}

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes our VFS, whose `pAppData` is the original one, a name that is null or a C string, `szOsFile` bytes for
    // the file, and a place for the flags that may be null.
    unsafe {
        let Some((disk, path)) = path(name).and_then(|path| Disk::of(path).zip(Some(path))) else {
            let original = (*vfs).pAppData.cast::<sqlite3_vfs>();
            let open = (*original).xOpen.expect("every VFS can open files");
            return open(original, name, file, flags, out_flags);
        };
        // Without methods SQLite does not close it.
        (*file).pMethods = ptr::null();
        match disk.open(path, flags & ffi::SQLITE_OPEN_CREATE != 0) {
            Ok(handle) => {
                let handle = Box::into_raw(Box::new(handle));
                file.cast::<OpenFile>()
                    .write(OpenFile { base: sqlite3_file { pMethods: &raw const METHODS }, handle });
                if !out_flags.is_null() {
                    *out_flags = flags;
                }
                ffi::SQLITE_OK
            }
            Err(failure) => code(failure),
        }
    }
}

unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    // SAFETY: as for `open`.
    unsafe {
        match path(name).and_then(|path| Disk::of(path).zip(Some(path))) {
            Some((disk, path)) => status(disk.delete(path)),
            None => {
                let original = (*vfs).pAppData.cast::<sqlite3_vfs>();
                let delete = (*original).xDelete.expect("every VFS can delete files");
                delete(original, name, sync_folder)
            }
        }
    }
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: `open` made the handle with `Box::into_raw`, and SQLite closes each file once.
    drop(unsafe { Box::from_raw((*file.cast::<OpenFile>()).handle) });
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut sqlite3_file,
    buffer: *mut c_void,
    size: c_int,
    offset: sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite passes an open file and a buffer of this size.
    let (handle, buffer) =
        unsafe { (handle(file), slice::from_raw_parts_mut(buffer.cast::<u8>(), unsigned(size))) };
    match handle.read(buffer, offset.unsigned_abs()) {
        Ok(count) if count == buffer.len() => ffi::SQLITE_OK,
        Ok(count) => {
            // What is beyond the end of the file is zero.
            buffer[count..].fill(0);
            ffi::SQLITE_IOERR_SHORT_READ
        }
        Err(failure) => code(failure),
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    buffer: *const c_void,
    size: c_int,
    offset: sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite passes an open file and a buffer of this size.
    let (handle, buffer) =
        unsafe { (handle(file), slice::from_raw_parts(buffer.cast::<u8>(), unsigned(size))) };
    status(handle.write(buffer, offset.unsigned_abs()))
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    // SAFETY: SQLite passes an open file.
    status(unsafe { handle(file) }.truncate(size.unsigned_abs()))
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: SQLite passes an open file.
    status(unsafe { handle(file) }.sync())
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, size: *mut sqlite3_int64) -> c_int {
    // SAFETY: SQLite passes an open file and a place for the size.
    unsafe {
        match handle(file).size() {
            Ok(bytes) => {
                *size = bytes.cast_signed();
                ffi::SQLITE_OK
            }
            Err(_) => ffi::SQLITE_IOERR_FSTAT,
        }
    }
}

unsafe extern "C" fn lock(_file: *mut sqlite3_file, _level: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(_file: *mut sqlite3_file, locked: *mut c_int) -> c_int {
    // SAFETY: SQLite passes a place for the answer.
    unsafe { *locked = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(file: *mut sqlite3_file, request: c_int, answer: *mut c_void) -> c_int {
    if request != ffi::SQLITE_FCNTL_HAS_MOVED {
        return ffi::SQLITE_NOTFOUND;
    }
    // SAFETY: SQLite passes an open file, and for this request a place for a number.
    unsafe { *answer.cast::<c_int>() = c_int::from(handle(file).has_moved()) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn sector_size(_file: *mut sqlite3_file) -> c_int {
    4096
}

/// As SQLite assumes for a file of the system: a torn write does not change bytes beside it.
unsafe extern "C" fn device_characteristics(_file: *mut sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

fn unsigned(size: c_int) -> usize {
    usize::try_from(size).unwrap_or(0)
}
