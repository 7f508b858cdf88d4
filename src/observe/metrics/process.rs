//! What the kernel counts of this process.

use std::fs;

/// Resident memory in bytes.
#[must_use]
pub fn resident_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// The number of open files, and the most that are allowed.
#[must_use]
pub fn open_files() -> Option<(u64, u64)> {
    // One of them is the folder that is read here.
    let open = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    Some((open as u64, most_open_files(&limits)?))
}

/// The soft limit in `/proc/self/limits`.
fn most_open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(most_open_files(limits), Some(1024));
        assert_eq!(most_open_files("Max open files  unlimited unlimited files\n"), Some(u64::MAX));
        assert_eq!(most_open_files("Max processes  1 1 processes\n"), None);
    }

    #[test]
    fn this_process_has_memory_and_open_files() {
        assert!(resident_memory().unwrap() > 1 << 20);
        let (open, most) = open_files().unwrap();
        assert!(0 < open && open <= most, "{open} of {most}");
    }
}
