//! How much memory this process has taken at most, as Linux counts it.

use std::fs;

/// The most memory in bytes that was resident since the process began (`VmHWM`); `None` where the system does not say it.
pub(crate) fn peak() -> Option<u64> {
    parse(&fs::read_to_string("/proc/self/status").ok()?)
}

fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_s_words() {
        let status = "Name:\tstakeout\nVmPeak:\t  900 kB\nVmHWM:\t  512 kB\nThreads:\t2\n";
        assert_eq!(super::parse(status), Some(512 * 1024));
        assert_eq!(super::parse("Name:\tstakeout\n"), None);
        assert!(super::peak().is_some_and(|bytes| bytes > 1 << 20));
    }
}
