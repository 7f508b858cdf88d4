//! Checks files and folders with the rights of the service's user, also if root runs `doctor`.
//!
//! This process keeps its user: `setpriv` starts a small program as the other user, and the kernel decides.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
    process::{Command, Stdio},
};

/// The rights to check with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Those of this process.
    Own,
    /// Those of this user.
    Of(String),
}

impl Access {
    /// The rights of `user` if root runs this; other users can only check with their own.
    pub fn of(user: &str) -> Self {
        let other = Self::Of(user.to_owned());
        match other.run(&["true"]) {
            Ok(()) => other,
            Err(_) => Self::Own,
        }
    }

    /// Whether a file or folder can be read.
    pub fn read(&self, path: &Path) -> io::Result<()> {
        match self {
            Self::Own if path.is_dir() => fs::read_dir(path).map(drop),
            Self::Own => fs::File::open(path).map(drop),
            Self::Of(_) => {
                let path = utf8(path)?;
                self.run(&["test", "-r", path, "-a", "(", "!", "-d", path, "-o", "-x", path, ")"])
            }
        }
    }

    /// The number of files and folders in a folder that cannot be read.
    pub fn unreadable(&self, folder: &Path) -> io::Result<usize> {
        match self {
            Self::Own => {
                let paths = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
                let checked = paths.filter(|path| path.is_dir() || path.is_file());
                Ok(checked.filter(|path| self.read(path).is_err()).count())
            }
            Self::Of(user) => {
                let folder = utf8(folder)?;
                let find =
                    ["find", folder, "-mindepth", "1", "-maxdepth", "1", "!", "-readable", "-printf", "x"];
                let found = command(user, &find)?.stderr(Stdio::null()).stdout(Stdio::piped()).output()?;
                Ok(found.stdout.len())
            }
        }
    }

    /// Whether a file can be created in a folder. With the own rights, a file is created and removed.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        match self {
            Self::Own => {
                let file = folder.join(format!(".stakeout-doctor-{}", std::process::id()));
                fs::File::create_new(&file)?;
                fs::remove_file(file)
            }
            Self::Of(_) => {
                // The caller distinguishes a missing folder from one that cannot be written.
                fs::metadata(folder)?;
                let folder = utf8(folder)?;
                self.run(&["test", "-w", folder, "-a", "-x", folder])
            }
        }
    }

    /// Runs a program as the user; fails if its exit code is not 0.
    fn run(&self, program: &[&str]) -> io::Result<()> {
        let Self::Of(user) = self else { return Ok(()) };
        let status = command(user, program)?.stderr(Stdio::null()).status()?;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::new(ErrorKind::PermissionDenied, format!("the user {user} has no permission")))
    }
}

/// A command that runs `program` as the user, with all of the user's groups.
fn command(user: &str, program: &[&str]) -> io::Result<Command> {
    let group = Command::new("id").args(["-g", "--", user]).stderr(Stdio::null()).output()?;
    let group = String::from_utf8_lossy(&group.stdout).trim().to_owned();
    if group.is_empty() {
        return Err(io::Error::new(ErrorKind::NotFound, format!("there is no user {user}")));
    }
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).args(["--init-groups", "--"]);
    command.args(program).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}

fn utf8(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "its name is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Only root can check as another user; otherwise only the own rights are tested.
    #[test]
    fn rights_are_those_of_the_user() {
        let folder = tempfile::tempdir().unwrap();
        let (open, closed) = (folder.path().join("open"), folder.path().join("closed"));
        let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        for (path, mode) in [(&open, 0o777), (&closed, 0o700)] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("1.jpg"), "x").unwrap();
            allow(path, mode);
        }
        allow(folder.path(), 0o755);
        allow(&open.join("1.jpg"), 0o600);
        let own = Access::Own;
        assert!(own.read(&open).is_ok() && own.write(&open).is_ok() && own.read(&open.join("1.jpg")).is_ok());
        assert_eq!(own.unreadable(&open).unwrap(), 0);
        assert_eq!(own.write(&folder.path().join("gone")).unwrap_err().kind(), ErrorKind::NotFound);

        let other = Access::of("daemon");
        if other == Access::Own {
            eprintln!("skipped: only root can check with another user's rights");
            return;
        }
        assert!(other.read(&open).is_ok() && other.write(&open).is_ok());
        assert!(other.read(&open.join("1.jpg")).is_err());
        assert_eq!(other.unreadable(&open).unwrap(), 1);
        for denied in [other.read(&closed), other.write(&closed)] {
            assert_eq!(denied.unwrap_err().kind(), ErrorKind::PermissionDenied);
        }
        assert_eq!(other.write(&folder.path().join("gone")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(Access::of("no-such-user"), Access::Own);
    }
}
