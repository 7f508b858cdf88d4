//! What the hub says about the content of a file before the file is fetched: its hash and its size. Nothing is fetched without
//! both.

use crate::model::digest::HashKind;

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    /// sha256 of large files, git's sha1 of small ones, in lower case. It is the name of the file in the cache.
    pub hash: String,
    pub kind: HashKind,
    /// In bytes.
    pub size: u64,
}

impl Content {
    /// `None` if `hash` is not a hash of a known kind.
    pub fn new(hash: &str, size: u64) -> Option<Self> {
        let hash = hash.to_ascii_lowercase();
        let kind = HashKind::of(&hash)?;
        Some(Self { hash, kind, size })
    }
}

/// What the hub's headers say about a file. Other servers than the hub may give an `ETag` that is no hash, or no size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Announced {
    pub tag: Option<String>,
    pub size: Option<u64>,
}

impl Announced {
    /// The content, with what the headers lack from the list of files. An error says what both lack.
    pub fn content(&self, listed: Option<&Content>) -> Result<Content, &'static str> {
        let tag = self.tag.as_deref().filter(|tag| HashKind::of(tag).is_some());
        let hash = tag.or(listed.map(|listed| &*listed.hash)).ok_or("no hash")?;
        let size = self.size.or(listed.map(|listed| listed.size)).ok_or("no size")?;
        Content::new(hash, size).ok_or("no hash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_needs_a_hash_and_a_size_from_the_headers_or_the_list() {
        let (git, sha256) = ("a".repeat(40), "B".repeat(64));
        let listed = Content::new(&sha256, 9);
        assert_eq!(listed.as_ref().unwrap().hash, "b".repeat(64));
        let announced = |tag: Option<&str>, size| Announced { tag: tag.map(str::to_owned), size };
        for (headers, list, expected) in [
            (announced(Some(&git), Some(7)), None, Content::new(&git, 7).ok_or("")),
            (announced(Some(&git), Some(7)), listed.as_ref(), Content::new(&git, 7).ok_or("")),
            (announced(Some("w/1"), Some(9)), listed.as_ref(), listed.clone().ok_or("")),
            (announced(None, None), listed.as_ref(), listed.clone().ok_or("")),
            (announced(Some("w/1"), Some(9)), None, Err("no hash")),
            (announced(None, Some(9)), None, Err("no hash")),
            (announced(Some(&git), None), None, Err("no size")),
        ] {
            assert_eq!(headers.content(list), expected, "{headers:?} {list:?}");
        }
        assert_eq!(Content::new("x", 1), None);
    }
}
