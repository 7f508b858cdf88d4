//! The functions of ONNX Runtime for plugins, and for the question which provider runs a graph.
//!
//! `ort` is built for ONNX Runtime 1.21, whose table of functions has none of these. Newer versions append their functions to the
//! table, so a newer table begins with the older one. This module declares only what is used of the rest. A library that is too
//! old gives no such table, and the functions do not exist.

#![allow(unsafe_code)]

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString, c_char, c_void},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    ptr,
    sync::OnceLock,
};

use ort::{
    AsPointer as _,
    environment::Environment,
    session::{Session, builder::SessionBuilder},
    sys,
};

/// The first version with plugins that works: 1.22 has the functions, and ends the process while it lists devices on some machines.
const PLUGINS_SINCE: u32 = 23;
/// The first version that says which provider runs which node.
const ASSIGNMENT_SINCE: u32 = 24;

// The tables below begin with the table of 1.21.
const _: () = assert!(ort::MINOR_VERSION == 21);

/// A function that is not used here.
type Unused = *const c_void;

/// The table of functions of 1.22.
#[repr(C)]
#[allow(non_snake_case, dead_code)]
struct Table22 {
    known: sys::OrtApi,
    graphs: [Unused; 12],
    GetKeyValue: unsafe extern "system" fn(*const sys::OrtKeyValuePairs, *const c_char) -> *const c_char,
    pairs: [Unused; 3],
    RegisterExecutionProviderLibrary:
        unsafe extern "system" fn(*mut sys::OrtEnv, *const c_char, *const c_char) -> sys::OrtStatusPtr,
    UnregisterExecutionProviderLibrary: Unused,
    GetEpDevices: unsafe extern "system" fn(
        *const sys::OrtEnv,
        *mut *const *const sys::OrtEpDevice,
        *mut usize,
    ) -> sys::OrtStatusPtr,
    SessionOptionsAppendExecutionProvider_V2: unsafe extern "system" fn(
        *mut sys::OrtSessionOptions,
        *mut sys::OrtEnv,
        *const *const sys::OrtEpDevice,
        usize,
        *const *const c_char,
        *const *const c_char,
        usize,
    ) -> sys::OrtStatusPtr,
    policies: [Unused; 2],
    /// A number, because a newer library may give one that the enumeration of `ort` lacks.
    HardwareDevice_Type: unsafe extern "system" fn(*const sys::OrtHardwareDevice) -> i32,
    HardwareDevice_VendorId: Unused,
    HardwareDevice_Vendor: unsafe extern "system" fn(*const sys::OrtHardwareDevice) -> *const c_char,
    HardwareDevice_DeviceId: Unused,
    HardwareDevice_Metadata:
        unsafe extern "system" fn(*const sys::OrtHardwareDevice) -> *const sys::OrtKeyValuePairs,
    EpDevice_EpName: unsafe extern "system" fn(*const sys::OrtEpDevice) -> *const c_char,
    EpDevice_EpVendor: Unused,
    EpDevice_EpMetadata: unsafe extern "system" fn(*const sys::OrtEpDevice) -> *const sys::OrtKeyValuePairs,
    EpDevice_EpOptions: Unused,
    EpDevice_Device: unsafe extern "system" fn(*const sys::OrtEpDevice) -> *const sys::OrtHardwareDevice,
    GetEpApi: Unused,
}

/// The table of functions of 1.24.
#[repr(C)]
#[allow(non_snake_case, dead_code)]
struct Table24 {
    of_22: Table22,
    of_23: [Unused; 72],
    before: [Unused; 17],
    Session_GetEpGraphAssignmentInfo: unsafe extern "system" fn(
        *const sys::OrtSession,
        *mut *const *const sys::OrtEpAssignedSubgraph,
        *mut usize,
    ) -> sys::OrtStatusPtr,
    EpAssignedSubgraph_GetEpName:
        unsafe extern "system" fn(*const sys::OrtEpAssignedSubgraph, *mut *const c_char) -> sys::OrtStatusPtr,
    EpAssignedSubgraph_GetNodes: unsafe extern "system" fn(
        *const sys::OrtEpAssignedSubgraph,
        *mut *const *const sys::OrtEpAssignedNode,
        *mut usize,
    ) -> sys::OrtStatusPtr,
}

/// A device that a plugin offers. The library keeps it until the process ends, because no plugin is ever unregistered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DevicePointer(*const sys::OrtEpDevice);

#[cfg(test)]
impl DevicePointer {
    /// A pointer that no library gave.
    pub(super) fn none() -> Self {
        Self(ptr::null())
    }
}

// SAFETY: the library never changes a device after it has made it, and does not care which thread reads it.
unsafe impl Send for DevicePointer {}
// SAFETY: as above.
unsafe impl Sync for DevicePointer {}

/// What a plugin says about one of its devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeviceFacts {
    pub(super) pointer: DevicePointer,
    /// The name of the execution provider.
    pub(super) provider: String,
    /// 0: the processor, 1: a GPU, 2: an NPU.
    pub(super) kind: i32,
    /// Who made the device.
    pub(super) vendor: String,
    /// What else the plugin and the system say: those of [`KEYS`] that are known.
    pub(super) metadata: BTreeMap<&'static str, String>,
}

/// What is read of the metadata of devices.
const KEYS: [&str; 4] = ["ov_device", "version", "Description", "description"];

/// The version of the library, such as `1.31.1`.
pub(super) fn version() -> Option<&'static str> {
    let base = base()?;
    // SAFETY: the base is the library's own, and the version is a text that the library never frees.
    let version = unsafe { CStr::from_ptr((base.GetVersionString)()) };
    version.to_str().ok()
}

/// The number after the first point of the version.
fn minor() -> u32 {
    version().and_then(|version| version.split('.').nth(1)?.parse().ok()).unwrap_or(0)
}

/// Whether the library can load plugins.
pub(super) fn has_plugins() -> bool {
    minor() >= PLUGINS_SINCE
}

/// Whether the library says which provider runs which node.
fn has_assignment() -> bool {
    minor() >= ASSIGNMENT_SINCE
}

/// Loads a plugin into the environment under a name that no other plugin has.
pub(super) fn register(environment: &Environment, name: &str, library: &Path) -> Result<(), String> {
    let table = table_22()?;
    let (name, library) = (text(name.as_bytes())?, text(library.as_os_str().as_bytes())?);
    // SAFETY: the environment lives as long as the process, and both texts end with a zero and outlive the call.
    let status = unsafe {
        (table.RegisterExecutionProviderLibrary)(
            environment.ptr().cast_mut(),
            name.as_ptr(),
            library.as_ptr(),
        )
    };
    done(status)
}

/// Every device of the environment, those of the library itself included.
pub(super) fn devices(environment: &Environment) -> Result<Vec<DeviceFacts>, String> {
    let table = table_22()?;
    let (mut first, mut count) = (ptr::null(), 0);
    // SAFETY: both results are written before the call returns without an error.
    let status = unsafe { (table.GetEpDevices)(environment.ptr(), &raw mut first, &raw mut count) };
    done(status)?;
    if first.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: the library gave `count` pointers, which it keeps until another plugin is registered. The caller holds the lock
    // under which plugins are registered.
    let pointers = unsafe { std::slice::from_raw_parts(first, count) };
    Ok(pointers.iter().filter(|pointer| !pointer.is_null()).map(|pointer| facts(table, *pointer)).collect())
}

fn facts(table: &Table22, pointer: *const sys::OrtEpDevice) -> DeviceFacts {
    // SAFETY: the pointer is one that the library gave for a device, and every text is the library's own and stays.
    unsafe {
        let hardware = (table.EpDevice_Device)(pointer);
        let of_provider = (table.EpDevice_EpMetadata)(pointer);
        let (kind, vendor, of_hardware) = match hardware.is_null() {
            true => (0, String::new(), ptr::null()),
            false => (
                (table.HardwareDevice_Type)(hardware),
                owned((table.HardwareDevice_Vendor)(hardware)),
                (table.HardwareDevice_Metadata)(hardware),
            ),
        };
        let value = |key: &'static str| {
            let name = CString::new(key).ok()?;
            [of_provider, of_hardware].into_iter().filter(|pairs| !pairs.is_null()).find_map(|pairs| {
                let value = owned((table.GetKeyValue)(pairs, name.as_ptr()));
                (!value.is_empty()).then_some((key, value))
            })
        };
        let metadata = KEYS.into_iter().filter_map(value).collect();
        let provider = owned((table.EpDevice_EpName)(pointer));
        DeviceFacts { pointer: DevicePointer(pointer), provider, kind, vendor, metadata }
    }
}

/// Makes a session use a device, with the options of its plugin.
pub(super) fn append(
    builder: &mut SessionBuilder,
    environment: &Environment,
    device: DevicePointer,
    options: &[(String, String)],
) -> Result<(), String> {
    let table = table_22()?;
    let texts = |side: fn(&(String, String)) -> &String| {
        options.iter().map(|pair| text(side(pair).as_bytes())).collect::<Result<Vec<_>, _>>()
    };
    let (keys, values) = (texts(|(key, _)| key)?, texts(|(_, value)| value)?);
    let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).collect::<Vec<_>>();
    let (key_pointers, value_pointers) = (pointers(&keys), pointers(&values));
    // SAFETY: the device belongs to this environment, and every array has the length that is passed and outlives the call.
    let status = unsafe {
        (table.SessionOptionsAppendExecutionProvider_V2)(
            builder.ptr_mut(),
            environment.ptr().cast_mut(),
            &raw const device.0,
            1,
            key_pointers.as_ptr(),
            value_pointers.as_ptr(),
            options.len(),
        )
    };
    done(status)
}

/// How many nodes of a graph each provider runs, by the provider's name. Empty if the library does not say it.
pub(super) fn assignment(session: &Session) -> BTreeMap<String, usize> {
    read_assignment(session).unwrap_or_default()
}

fn read_assignment(session: &Session) -> Option<BTreeMap<String, usize>> {
    let table = table_24()?;
    let (mut first, mut count) = (ptr::null(), 0);
    // SAFETY: the session is alive, and both results are written before the call returns without an error.
    let status =
        unsafe { (table.Session_GetEpGraphAssignmentInfo)(session.ptr(), &raw mut first, &raw mut count) };
    done(status).ok()?;
    if first.is_null() {
        return None;
    }
    // SAFETY: the session keeps these `count` pointers for as long as it lives.
    let parts = unsafe { std::slice::from_raw_parts(first, count) };
    let mut nodes = BTreeMap::new();
    for part in parts {
        let (mut name, mut of_part, mut number) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the part is one that the session gave, and the results are written before the calls return without an error.
        let (named, counted) = unsafe {
            (
                (table.EpAssignedSubgraph_GetEpName)(*part, &raw mut name),
                (table.EpAssignedSubgraph_GetNodes)(*part, &raw mut of_part, &raw mut number),
            )
        };
        let (named, counted) = (done(named), done(counted));
        named.and(counted).ok()?;
        // SAFETY: the name is a text of the session.
        let name = unsafe { owned(name) };
        *nodes.entry(name).or_default() += number;
    }
    Some(nodes)
}

/// The text at a pointer of the library; empty for none.
///
/// # Safety
/// The pointer is null, or a text that ends with a zero.
unsafe fn owned(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the caller guarantees.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

fn text(bytes: &[u8]) -> Result<CString, String> {
    CString::new(bytes).map_err(|_| "a name has a NUL".to_owned())
}

fn done(status: sys::OrtStatusPtr) -> Result<(), String> {
    // SAFETY: the status is one that a function of the library just returned.
    let result = unsafe { ort::Error::result_from_status(status) };
    result.map_err(|error| error.to_string())
}

fn table_22() -> Result<&'static Table22, String> {
    if !has_plugins() {
        let version = version().unwrap_or("unknown");
        return Err(format!(
            "plugins need ONNX Runtime 1.{PLUGINS_SINCE} or newer, and this library is {version}"
        ));
    }
    let table = table(PLUGINS_SINCE).ok_or("the ONNX Runtime library has no functions for plugins")?;
    // SAFETY: a table of this version begins with these functions. It is a constant of the library, which is never unloaded.
    unsafe { Ok(&*table.cast()) }
}

fn table_24() -> Option<&'static Table24> {
    let table = has_assignment().then(|| table(ASSIGNMENT_SINCE)).flatten()?;
    // SAFETY: as above.
    unsafe { Some(&*table.cast()) }
}

/// The table of a version; `None` if the library does not have it.
fn table(version: u32) -> Option<*const sys::OrtApi> {
    // SAFETY: the base is the library's own, and it accepts any number.
    let table = unsafe { (base()?.GetApi)(version) };
    (!table.is_null()).then_some(table)
}

/// The one function that the library exports.
type Entry = unsafe extern "system" fn() -> *const sys::OrtApiBase;

/// The entry of the loaded library. `ort` does not give it, so the library is asked for by the name of its file, which is that of
/// one of its functions.
fn base() -> Option<&'static sys::OrtApiBase> {
    static BASE: OnceLock<Option<&'static sys::OrtApiBase>> = OnceLock::new();
    *BASE.get_or_init(|| {
        let function = ort::api().GetErrorMessage as *const c_void;
        let mut found = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
        // SAFETY: `dladdr` writes the result, and its name is that of a library that stays loaded. `dlopen` only adds a reference
        // to it. `OrtGetApiBase` has this type in every version, and returns a constant of the library.
        unsafe {
            if libc::dladdr(function, found.as_mut_ptr()) == 0 {
                return None;
            }
            let name = found.assume_init().dli_fname;
            let library = libc::dlopen(name, libc::RTLD_NOW | libc::RTLD_NOLOAD);
            if library.is_null() {
                return None;
            }
            let entry = libc::dlsym(library, c"OrtGetApiBase".as_ptr());
            if entry.is_null() {
                return None;
            }
            let entry = std::mem::transmute::<*mut c_void, Entry>(entry);
            entry().as_ref()
        }
    })
}
