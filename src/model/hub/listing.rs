//! The list of a repository's files, read as a stream: nothing but names, sizes and hashes is kept, and both the bytes and the
//! number of files have a limit.

use std::{
    collections::HashMap,
    fmt,
    io::{BufReader, Read},
};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};

use super::content::Content;
use crate::config::is_plain_path;

/// The longest list, in bytes. Lists of the largest repositories have a few megabytes.
const LONGEST: u64 = 16 << 20;
/// The most files of a repository.
const MOST_FILES: usize = 20_000;

/// The files of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    pub commit: String,
    pub files: Vec<String>,
    /// What the list says about the content of each file, if it does.
    pub contents: HashMap<String, Content>,
}

/// Why a list cannot be used.
#[derive(Debug)]
pub(super) enum ListingError {
    /// The answer broke off.
    Broken(String),
    /// It is no list of a hub, or too long; what is wrong with it.
    Invalid(String),
}

impl Listing {
    /// Reads the hub's answer.
    pub fn read(reader: impl Read) -> Result<Self, ListingError> {
        let mut limited = BufReader::new(reader.take(LONGEST));
        let read = serde_json::from_reader::<_, Listed>(&mut limited);
        let answer = read.map_err(|error| match () {
            () if limited.get_ref().limit() == 0 => {
                ListingError::Invalid(format!("the list of files has more than {} MB", LONGEST >> 20))
            }
            () if error.is_io() => ListingError::Broken(error.to_string()),
            () => ListingError::Invalid(format!("the list of files cannot be used: {error}")),
        })?;
        let Listed { sha, siblings: Siblings(siblings) } = answer;
        if !is_plain_path(&sha) {
            return Err(ListingError::Invalid("the `sha` of the list of files is no commit".to_owned()));
        }
        let contents = siblings.iter().filter_map(|file| Some((file.rfilename.clone(), file.content()?)));
        let contents = contents.collect();
        let files = siblings.into_iter().map(|file| file.rfilename).collect();
        Ok(Self { commit: sha, files, contents })
    }
}

#[derive(Deserialize)]
struct Listed {
    sha: String,
    siblings: Siblings,
}

/// A file, as the hub lists it.
#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    /// Of the file's pointer, if its content is elsewhere.
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

/// A file whose content is in the storage for large files.
#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Sibling {
    fn content(&self) -> Option<Content> {
        match (&self.lfs, self.size, &self.blob_id) {
            (Some(lfs), ..) => Content::new(&lfs.sha256, lfs.size),
            (None, Some(size), Some(hash)) => Content::new(hash, size),
            _ => None,
        }
    }
}

/// Some files. A longer list is an error before it is in memory.
struct Siblings(Vec<Sibling>);

impl<'de> Deserialize<'de> for Siblings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Siblings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of files")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Siblings, A::Error> {
                let mut siblings = Vec::new();
                while let Some(sibling) = list.next_element()? {
                    if siblings.len() == MOST_FILES {
                        return Err(A::Error::custom(format!("it names more than {MOST_FILES} files")));
                    }
                    siblings.push(sibling);
                }
                Ok(Siblings(siblings))
            }
        }
        deserializer.deserialize_seq(Collect)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn read(text: &str) -> Result<Listing, String> {
        Listing::read(text.as_bytes()).map_err(|error| match error {
            ListingError::Broken(why) | ListingError::Invalid(why) => why,
        })
    }

    #[test]
    fn names_sizes_and_hashes_are_read_and_nothing_else() {
        let sha256 = "a".repeat(64);
        let text = format!(
            r#"{{"id": "org/name", "config": {{"deep": [[1]]}}, "sha": "{COMMIT}", "siblings": [
                {{"rfilename": "config.json", "size": 7, "blobId": "{COMMIT}"}},
                {{"rfilename": "onnx/model.onnx", "size": 9, "blobId": "{COMMIT}", "lfs": {{"sha256": "{sha256}", "size": 9, "pointerSize": 3}}}},
                {{"rfilename": "README.md"}}]}}"#
        );
        let listing = read(&text).unwrap();
        assert_eq!((&*listing.commit, listing.files.len()), (COMMIT, 3));
        assert_eq!(listing.contents.get("config.json"), Content::new(COMMIT, 7).as_ref());
        assert_eq!(listing.contents.get("onnx/model.onnx"), Content::new(&sha256, 9).as_ref());
        assert_eq!(listing.contents.get("README.md"), None);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (text, expected) in [
            ("{}", "missing field `sha`"),
            (r#"{"sha": "x"}"#, "missing field `siblings`"),
            (r#"{"sha": "../x", "siblings": []}"#, "no commit"),
            (r#"{"sha": "x", "siblings": [1]}"#, "cannot be used"),
            (r#"{"sha": "x", "siblings": ["#, "EOF"),
            ("<html>", "cannot be used"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    /// Bytes without an end, which are counted.
    struct Endless<'c>(&'static [u8], &'c mut u64);

    impl Read for Endless<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let part = self.0.iter().copied().cycle().skip(*self.1 as usize % self.0.len());
            buffer.iter_mut().zip(part).for_each(|(to, byte)| *to = byte);
            *self.1 += buffer.len() as u64;
            Ok(buffer.len())
        }
    }

    #[test]
    fn a_list_without_an_end_is_refused_at_its_limit() {
        let begin = format!(r#"{{"sha": "{COMMIT}", "siblings": ["#);
        for (endless, expected) in [
            (&br#"{"rfilename":"a"},"#[..], "more than 20000 files"),
            (&b"                "[..], "more than 16 MB"),
        ] {
            let mut read = 0;
            let error = Listing::read(begin.as_bytes().chain(Endless(endless, &mut read))).unwrap_err();
            let ListingError::Invalid(why) = error else { panic!("{error:?}") };
            assert!(why.contains(expected) && read <= LONGEST + (1 << 16), "{why}: {read}");
        }
    }

    #[test]
    fn an_answer_that_breaks_off_is_worth_another_attempt() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        let error = Listing::read((&b"{\"sha\": "[..]).chain(Broken)).unwrap_err();
        assert!(matches!(error, ListingError::Broken(_)), "{error:?}");
    }
}
