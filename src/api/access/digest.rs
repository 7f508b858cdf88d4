//! Random secrets, and the digests that are kept and compared instead of them.

use std::io;

use rustix::{
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::cache::hex;

/// The digest of a secret. Two of them can be compared at once: how long that takes says nothing about the secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Digest(String);

impl Digest {
    /// The digest of `secret`.
    pub(super) fn of(secret: &str) -> Self {
        Self(hex(&Sha256::digest(secret)))
    }
}

/// A random text of this many bytes, in hexadecimal digits.
///
/// # Errors
/// The system has no random numbers.
pub(super) fn random(bytes: usize) -> io::Result<String> {
    let mut random = vec![0; bytes];
    let mut filled = 0;
    while filled < bytes {
        match getrandom(&mut random[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(hex(&random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_texts_differ_and_digests_hide_them() {
        let (first, second) = (random(32).unwrap(), random(32).unwrap());
        assert_eq!((first.len(), second.len()), (64, 64));
        assert_ne!(first, second);
        assert_eq!(Digest::of(&first), Digest::of(&first));
        assert_ne!(Digest::of(&first), Digest::of(&second));
        assert!(!serde_json::to_string(&Digest::of(&first)).unwrap().contains(&first));
    }
}
