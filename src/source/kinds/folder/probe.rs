//! Checks whether a folder can be watched and its files can be deleted or moved.

use std::io::ErrorKind;

use super::settings::{After, Folder};
use crate::source::{access::Access, kind::Probe};

pub(super) fn probe(settings: &Folder, access: &Access) -> Probe {
    let shown = settings.path.display();
    let unreadable = match access.read(&settings.path).and_then(|()| access.unreadable(&settings.path)) {
        Ok(unreadable) => unreadable,
        Err(error) => {
            let remedy = match error.kind() {
                ErrorKind::NotFound => "create the folder, or correct `folder`",
                ErrorKind::NotADirectory => "name the folder that the file is in",
                ErrorKind::PermissionDenied => {
                    "make it readable for the user who runs the service; in a home folder systemd also needs \
                     `ProtectHome=read-only` in a drop-in"
                }
                _ => "check the disk or the network share that the folder is on",
            };
            return Probe::failed(format!("{shown} cannot be read: {error}"), remedy);
        }
    };
    let written = match &settings.after {
        After::Keep => Ok(()),
        After::Delete => access.write(&settings.path),
        // The target need not exist yet.
        After::Move(to) => {
            access.write(&settings.path).and_then(|()| if to.exists() { access.write(to) } else { Ok(()) })
        }
    };
    match written {
        Err(error) => Probe::failed(
            format!("files in {shown} cannot be deleted or moved afterwards: {error}"),
            "make the folder writable for the user who runs the service; under systemd also `ReadWritePaths=` in a drop-in",
        ),
        Ok(()) if unreadable > 0 => Probe::note(
            format!("{shown} can be read, but not {unreadable} of the files and folders in it"),
            "make them readable for the user who runs the service",
        ),
        Ok(()) => Probe::good(format!("{shown} can be read")),
    }
}
