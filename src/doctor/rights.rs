//! With whose rights folders are looked at: the service's, also when root asks.
//!
//! It refuses to change this process's own user: `setpriv` starts a small program as the other one, which asks the kernel.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
    process::{Command, Stdio},
};

/// Whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Those of whoever asks.
    Own,
    /// Those of this user.
    Of(String),
}

impl Rights {
    /// Those of `user` if they can be had: root may look as anybody, and others only as themselves.
    pub(crate) fn of(user: &str) -> Self {
        let other = Self::Of(user.to_owned());
        match other.ask(&["true"]) {
            Ok(()) => other,
            Err(_) => Self::Own,
        }
    }

    /// Whether a file or folder can be read.
    pub(crate) fn read(&self, path: &Path) -> io::Result<()> {
        match self {
            Self::Own if path.is_dir() => fs::read_dir(path).map(drop),
            Self::Own => fs::File::open(path).map(drop),
            Self::Of(_) => {
                let path = shown(path)?;
                self.ask(&["test", "-r", path, "-a", "(", "!", "-d", path, "-o", "-x", path, ")"])
            }
        }
    }

    /// How many of the files and folders in a folder cannot be read.
    pub(crate) fn unreadable(&self, folder: &Path) -> io::Result<usize> {
        match self {
            Self::Own => {
                let paths = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
                let looked_at = paths.filter(|path| path.is_dir() || path.is_file());
                Ok(looked_at.filter(|path| self.read(path).is_err()).count())
            }
            Self::Of(user) => {
                let folder = shown(folder)?;
                let find =
                    ["find", folder, "-mindepth", "1", "-maxdepth", "1", "!", "-readable", "-printf", "x"];
                let found = command(user, &find)?.stderr(Stdio::null()).stdout(Stdio::piped()).output()?;
                Ok(found.stdout.len())
            }
        }
    }

    /// Whether a file can be made in a folder. With one's own rights one is, and is taken away again.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        match self {
            Self::Own => {
                let file = folder.join(format!(".stakeout-doctor-{}", std::process::id()));
                fs::File::create_new(&file)?;
                fs::remove_file(file)
            }
            Self::Of(_) => {
                // The kind of the error is told apart by who asks.
                fs::metadata(folder)?;
                let folder = shown(folder)?;
                self.ask(&["test", "-w", folder, "-a", "-x", folder])
            }
        }
    }

    /// Whether a program that is started as the user says yes.
    fn ask(&self, program: &[&str]) -> io::Result<()> {
        let Self::Of(user) = self else { return Ok(()) };
        let status = command(user, program)?.stderr(Stdio::null()).status()?;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::new(ErrorKind::PermissionDenied, format!("the user {user} may not")))
    }
}

/// `program` as the user, with all of the user's groups.
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

fn shown(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "its name is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Root alone may look as another user, so elsewhere only one's own rights are tried.
    #[test]
    fn what_a_user_may() {
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
        let own = Rights::Own;
        assert!(own.read(&open).is_ok() && own.write(&open).is_ok() && own.read(&open.join("1.jpg")).is_ok());
        assert_eq!(own.unreadable(&open).unwrap(), 0);
        assert_eq!(own.write(&folder.path().join("gone")).unwrap_err().kind(), ErrorKind::NotFound);

        let nobody = Rights::of("nobody");
        if nobody == Rights::Own {
            eprintln!("skipped: only root may look with another user's rights");
            return;
        }
        assert!(nobody.read(&open).is_ok() && nobody.write(&open).is_ok());
        assert!(nobody.read(&open.join("1.jpg")).is_err());
        assert_eq!(nobody.unreadable(&open).unwrap(), 1);
        for denied in [nobody.read(&closed), nobody.write(&closed)] {
            assert_eq!(denied.unwrap_err().kind(), ErrorKind::PermissionDenied);
        }
        assert_eq!(nobody.write(&folder.path().join("gone")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(Rights::of("no-such-user"), Rights::Own);
    }
}
