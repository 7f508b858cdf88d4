//! The system calls that a decoder process may use: those that computing, memory, its socket and the shared memory need.
//!
//! Every other call ends the process with SIGSYS before the kernel acts on it: it can open no file, create no socket, start no
//! process or thread, signal no other process, and make no memory executable.

use std::{collections::BTreeMap, env::consts::ARCH, process};

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Calls that are allowed with any arguments. None of them reaches beyond the process and the descriptors that it has.
const ALLOWED: &[i64] = &[
    // The socket, the shared memory, and standard error, which is /dev/null.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_close,
    // Memory; `mmap` and `mprotect` are below.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Locks, time, random numbers, and what machine this is.
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    // The handlers of its own signals, and its end.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The filter for this process.
///
/// # Errors
/// This kind of processor is not supported.
pub(super) fn program() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    rules.extend(conditional()?);
    let kill = SeccompAction::KillProcess;
    SeccompFilter::new(rules, kill, SeccompAction::Allow, TargetArch::try_from(ARCH)?)?.try_into()
}

/// Calls that are allowed only with some arguments.
fn conditional() -> Result<[(i64, Vec<SeccompRule>); 4], BackendError> {
    let rule = |conditions: Vec<SeccompCondition>| SeccompRule::new(conditions).map(|rule| vec![rule]);
    let not_executable = || masked(2, libc::PROT_EXEC, 0);
    // Memory of its own, not of a file, and not shared: shared memory would escape its limit.
    let own = masked(3, libc::MAP_ANONYMOUS | libc::MAP_SHARED, libc::MAP_ANONYMOUS)?;
    let this = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, process::id().into())?;
    let (no_process, nothing) =
        (masked(0, !0, 0)?, SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?);
    Ok([
        (libc::SYS_mmap, rule(vec![not_executable()?, own])?),
        (libc::SYS_mprotect, rule(vec![not_executable()?])?),
        // `abort` sends a signal to the own process.
        (libc::SYS_tgkill, rule(vec![this])?),
        // The limits of this process can be read, not set.
        (libc::SYS_prlimit64, rule(vec![no_process, nothing])?),
    ])
}

/// The bits of `mask` in the lower half of an argument have this value.
fn masked(argument: u8, mask: libc::c_int, value: libc::c_int) -> Result<SeccompCondition, BackendError> {
    let operator = SeccompCmpOp::MaskedEq(u64::from(mask.cast_unsigned()));
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, u64::from(value.cast_unsigned()))
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        fs::{self, File},
        hint::black_box,
        net::TcpListener,
        os::unix::{net::UnixDatagram, process::ExitStatusExt},
        panic::catch_unwind,
        process::{Command, Stdio},
        ptr, thread,
    };

    use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process, setrlimit};

    use super::*;

    /// Names the attempt of a process that this test starts.
    const ATTEMPT: &str = "STAKEOUT_TEST_ATTEMPT";
    /// How an attempt ends that the filter allows.
    const DONE: i32 = 42;

    /// Attempts that decoding needs, or that fail without harm.
    const HARMLESS: [(&str, fn()); 4] = [
        ("nothing", || {}),
        ("memory", || drop(black_box(vec![1_u8; 100 << 20]))),
        ("a panic", || drop(catch_unwind(|| assert!(black_box(false), "as a test")))),
        ("a limit that is read", || {
            let _ = getrlimit(Resource::Core);
        }),
    ];

    /// What an attacker would try who controls a decoder.
    const HOSTILE: [(&str, fn()); 10] = [
        ("open a file", || drop(File::open("/etc/hostname"))),
        ("write a file", || drop(fs::write("/tmp/stakeout-test-of-the-filter", "x"))),
        ("list a folder", || drop(fs::read_dir("/"))),
        ("a network socket", || drop(TcpListener::bind("127.0.0.1:0"))),
        ("a local socket", || drop(UnixDatagram::unbound())),
        ("a program", || drop(Command::new("/bin/true").spawn())),
        ("a thread", || drop(thread::Builder::new().spawn(|| {}))),
        ("a signal to another process", || {
            let _ = kill_process(Pid::INIT, Signal::CONT);
        }),
        ("a limit that is set", || {
            let _ = setrlimit(Resource::Core, getrlimit(Resource::Core));
        }),
        ("executable memory", || {
            let (any, flags) = (ptr::null_mut(), libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            // SAFETY: the kernel chooses the place, so it replaces no memory in use.
            #[allow(unsafe_code)]
            let _ = unsafe { libc::mmap(any, 4096, libc::PROT_READ | libc::PROT_EXEC, flags, -1, 0) };
        }),
    ];

    /// Runs in a process of its own: applies the filter and makes one attempt. Without an attempt it does nothing.
    #[test]
    fn attempt() {
        let Ok(name) = env::var(ATTEMPT) else { return };
        let (_, attempt) = HARMLESS.iter().chain(&HOSTILE).find(|(known, _)| *known == name).unwrap();
        seccompiler::apply_filter(&program().unwrap()).unwrap();
        attempt();
        process::exit(DONE);
    }

    #[test]
    fn what_decoding_does_not_need_ends_the_process() {
        let end = |attempt: &str| {
            let mut command = Command::new(env::current_exe().unwrap());
            command.args(["--exact", "sandbox::filter::tests::attempt", "--nocapture"]).env(ATTEMPT, attempt);
            // As in a decoder process: a panic that prints its backtrace reads files.
            command.env_remove("RUST_BACKTRACE").env_remove("RUST_LIB_BACKTRACE");
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap()
        };
        for (attempt, _) in HARMLESS {
            assert_eq!(end(attempt).code(), Some(DONE), "{attempt}");
        }
        for (attempt, _) in HOSTILE {
            assert_eq!(end(attempt).signal(), Some(libc::SIGSYS), "{attempt}");
        }
    }
}
