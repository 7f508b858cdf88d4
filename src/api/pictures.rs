//! The small pictures that the service remembers, by the address that other answers give.

use super::{
    error::{Error, Kind},
    verb::PREFIX,
};
use crate::history::{self, Reader, pictures};

/// The address of the picture with this identifier.
#[must_use]
pub fn address(id: i64) -> String {
    format!("{PREFIX}pictures/{id}")
}

/// The identifier in an address that [`address`] made.
#[must_use]
pub fn id(address: &str) -> Option<&str> {
    address.strip_prefix(PREFIX)?.strip_prefix("pictures/")
}

/// The JPEG of a picture, by the last part of its address.
///
/// # Errors
/// There is no such picture (any more).
pub fn read(reader: &Reader, id: &str) -> Result<Vec<u8>, Error> {
    let gone = || {
        Error::new(Kind::NotFound, format!("there is no picture `{id}`"))
            .remedy("It was deleted for its age, for space, or on request.")
    };
    let id = id.parse().map_err(|_| gone())?;
    let found = pictures::jpeg(reader.connection(), id).map_err(history::Error::from)?;
    found.ok_or_else(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_that_does_not_exist_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        let address = address(7);
        for id in [id(&address).unwrap(), "-1", "x", "", "99999999999999999999"] {
            assert_eq!(read(&reader, id).unwrap_err().kind, Kind::NotFound, "{id}");
        }
    }
}
