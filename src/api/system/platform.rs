//! The machine that the service runs on.

use std::{env::consts::ARCH, fs, sync::LazyLock, thread};

use super::facts::Platform;

/// It does not change while the service runs.
static PLATFORM: LazyLock<Platform> = LazyLock::new(|| {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Platform {
        system: name(&release).unwrap_or("Linux").to_owned(),
        kernel: kernel.trim().to_owned(),
        architecture: ARCH.to_owned(),
        processors: thread::available_parallelism().map_or(0, usize::from),
    }
});

/// The machine.
pub(super) fn read() -> Platform {
    PLATFORM.clone()
}

/// The name of the system in `/etc/os-release`.
fn name(release: &str) -> Option<&str> {
    let value = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    let value = value.trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_system() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nNAME=\"Debian GNU/Linux\"\n";
        assert_eq!(name(debian), Some("Debian GNU/Linux 13 (trixie)"));
        assert_eq!(name("NAME=x\nPRETTY_NAME=Alpine\n"), Some("Alpine"));
        assert_eq!(name("PRETTY_NAME=\"\"\n"), None);
        assert!(read().processors > 0);
    }
}
