//! Makes the unix socket of the API.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::PathBuf,
};

use crate::{api::socket::SocketLocation, descriptors::is_missing};

/// The file of a socket, which is deleted when this is dropped.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: another service may have replaced the file.
    id: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if id(&self.path).is_ok_and(|id| id == self.id) {
            // Otherwise the next service finds a socket without a listener, and replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at a socket in this place. A socket that a killed service has left there is replaced; the caller makes sure that no other
/// service uses the same state folder.
///
/// # Errors
/// Another service listens there, another file is there, or the folder cannot be written.
pub(super) fn bind(place: &SocketLocation) -> io::Result<(UnixListener, SocketFile)> {
    let SocketLocation { path, for_group } = place;
    match fs::symlink_metadata(path) {
        Err(error) if is_missing(&error) => {}
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(io::Error::other("a file that is no socket is there: delete it"));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => return Err(io::ErrorKind::AddrInUse.into()),
        Ok(_) => fs::remove_file(path)?,
    }
    let listener = UnixListener::bind(path)?;
    let file = SocketFile { path: path.clone(), id: id(path)? };
    let mode = if *for_group { 0o660 } else { 0o600 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    Ok((listener, file))
}

fn id(path: &std::path::Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_replaced_only_if_no_service_listens() {
        let folder = tempfile::tempdir().unwrap();
        let place = SocketLocation { path: folder.path().join("api.sock"), for_group: true };
        let mode = || fs::metadata(&place.path).unwrap().permissions().mode() & 0o777;
        // A service that was killed leaves its socket.
        drop(UnixListener::bind(&place.path).unwrap());
        let (listener, file) = bind(&place).unwrap();
        assert_eq!(mode(), 0o660);
        assert_eq!(bind(&place).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(UnixStream::connect(&place.path).is_ok(), "it still listens");
        drop((listener, file));
        assert!(!place.path.exists());

        let private = SocketLocation { for_group: false, ..place.clone() };
        let (_listener, file) = bind(&private).unwrap();
        assert_eq!(mode(), 0o600);
        fs::remove_file(&place.path).unwrap();
        fs::write(&place.path, "mine").unwrap();
        drop(file);
        assert_eq!(fs::read(&place.path).unwrap(), b"mine", "another file is not deleted");
        assert!(bind(&place).unwrap_err().to_string().contains("no socket"));
    }
}
