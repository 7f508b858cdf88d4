//! How a decoder process gives up its rights, before it reads the first byte of a picture.
//!
//! The order matters: each step uses rights that a later one takes. Some kernels and containers forbid namespaces or Landlock;
//! the filter of system calls denies the same things and is required.

use std::{fmt::Display, fs};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _, RulesetError, RulesetStatus, Scope,
};
use rustix::{
    io::Errno,
    process::{
        DumpableBehavior, Resource, Rlimit, Signal, getrlimit, set_dumpable_behavior,
        set_parent_process_death_signal, setrlimit,
    },
    thread::{
        CapabilitySet, CapabilitySets, UnshareFlags, set_capabilities, set_no_new_privs, unshare_unsafe,
    },
};

use super::{filter, protocol::Layers};

/// The newest rules of Landlock that are used; an older kernel applies those that it has.
const LANDLOCK: ABI = ABI::V6;
/// Memory that libraries may use besides the pictures.
const OVERHEAD: u64 = 64 << 20;
/// What the program and its libraries use, if the kernel does not say it.
const UNKNOWN: u64 = 1 << 30;

/// Closes every descriptor that the service left open by accident: those of C libraries may be among them.
#[allow(unsafe_code)]
pub(super) fn close_inherited() {
    const FIRST: libc::c_uint = 3;
    // SAFETY: the process has just started, so nothing owns a descriptor behind standard error.
    if unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, 0) } == 0 {
        return;
    }
    // Before Linux 5.9.
    let numbers = fs::read_dir("/proc/self/fd").into_iter().flatten().filter_map(Result::ok);
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<libc::c_int>().ok());
    for number in numbers.collect::<Vec<_>>() {
        if number >= FIRST.cast_signed() {
            // SAFETY: as above. The descriptor of the listing itself is closed already; that error does not matter.
            unsafe { libc::close(number) };
        }
    }
}

/// Gives up every right but computing with at most `memory` bytes, and using the descriptors that are open. The process must
/// have one thread.
///
/// # Errors
/// The kernel refuses what is required. The process must end then.
pub(super) fn confine(memory: u64) -> Result<Layers, Refused> {
    // If the machine runs out of memory, this process ends before the service does. Not all systems allow the choice.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    // Other processes of the same user cannot look into this one, and it leaves no core dump with a picture.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Refused::at("dumpable"))?;
    let namespaces = unshare();
    limit(memory).map_err(Refused::at("limits"))?;
    // After the change of the user, which may reset it. If the service has ended before, the socket is closed.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(Refused::at("death signal"))?;
    set_no_new_privs(true).map_err(Refused::at("no new privileges"))?;
    let landlock = landlock().is_ok_and(|status| status != RulesetStatus::NotEnforced);
    // The last one that needs a new descriptor has run.
    set(Resource::Nofile, 0).map_err(Refused::at("limits"))?;
    let filter = filter::program().map_err(Refused::at("seccomp"))?;
    seccompiler::apply_filter(&filter).map_err(Refused::at("seccomp"))?;
    Ok(Layers { landlock, namespaces })
}

/// The kernel refuses a required step.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {why}")]
pub(super) struct Refused {
    step: &'static str,
    why: String,
}

impl Refused {
    fn at<E: Display>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self { step, why: error.to_string() }
    }
}

/// Limits memory, and forbids core dumps and new processes.
fn limit(memory: u64) -> Result<(), Errno> {
    set(Resource::Core, 0)?;
    set(Resource::Nproc, 0)?;
    // Two limits, because each misses something: the first counts no memory that is shared, the second also counts what is only
    // reserved.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let more = memory.saturating_add(OVERHEAD);
    let used = |name| kilobytes(&status, name).unwrap_or(UNKNOWN);
    set(Resource::Data, used("VmData:").saturating_add(more))?;
    set(Resource::As, used("VmSize:").saturating_add(more))
}

fn set(resource: Resource, most: u64) -> Result<(), Errno> {
    // A lower limit of the service stays.
    let most = getrlimit(resource).maximum.map_or(most, |maximum| maximum.min(most));
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
}

/// A number of kilobytes in the kernel's description of a process, in bytes.
fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// Moves the process into namespaces without a network and without other users. Whether that worked.
#[allow(unsafe_code)]
fn unshare() -> bool {
    let others = UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    // SAFETY: descriptors stay shared, as `FILES` is not set.
    let unshared = |flags| unsafe { unshare_unsafe(flags) }.is_ok();
    let done = unshared(UnshareFlags::NEWUSER | others) || unshared(others);
    // Those of root, or those over the new namespace of users. Without any this fails, and nothing is lost.
    let none = CapabilitySet::empty();
    let _ = set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none });
    done
}

/// Forbids all files, TCP, signals to others, and abstract sockets of others.
fn landlock() -> Result<RulesetStatus, RulesetError> {
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?;
    Ok(rules.create()?.restrict_self()?.ruleset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_figures_are_read_in_bytes() {
        let status = "Name:\tx\nVmSize:\t    1234 kB\nVmData:\t 7 kB\nThreads:\t1\n";
        assert_eq!(kilobytes(status, "VmSize:"), Some(1234 * 1024));
        assert_eq!(kilobytes(status, "VmData:"), Some(7 * 1024));
        assert_eq!(kilobytes(status, "VmSwap:"), None);
        assert!(kilobytes(&fs::read_to_string("/proc/self/status").unwrap(), "VmData:").unwrap() > 0);
    }
}
