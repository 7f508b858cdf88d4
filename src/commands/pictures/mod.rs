//! Pictures that were named on the command line: files, folders, patterns, web addresses and standard input, in the order
//! typed, and their way through the model.
//!
//! It refuses to give up because of one of them: what cannot be had or read has its error in its place.

mod ahead;

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use self::ahead::Ahead;
use super::fetch;
use crate::{classify::Classifier, picture};

/// What files of pictures are called.
const ENDINGS: [&str; 12] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff"];

/// A picture that was named, or that was found where a folder or a pattern was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// How it is told: as it was typed, or its path.
    pub name: String,
    origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    File(PathBuf),
    Address,
    StandardInput,
    /// Nowhere, for this reason.
    Nowhere(String),
}

impl Item {
    fn new(name: impl Into<String>, origin: Origin) -> Self {
        Self { name: name.into(), origin }
    }

    fn file(path: PathBuf) -> Self {
        Self::new(path.display().to_string(), Origin::File(path))
    }

    /// Whether there is something to read.
    pub(super) fn is_there(&self) -> bool {
        !matches!(self.origin, Origin::Nowhere(_))
    }
}

/// Everything that `typed` names. A folder stands for the pictures in it and below it, and a pattern such as `*.jpg` or
/// `**/*.png` for what it matches, both sorted by path; where there are none, that is what the item says.
pub(super) fn find(typed: &[String]) -> Vec<Item> {
    typed.iter().flat_map(|typed| named(typed)).collect()
}

fn named(typed: &str) -> Vec<Item> {
    if typed == "-" {
        return vec![Item::new(typed, Origin::StandardInput)];
    }
    if fetch::is_address(typed) {
        return vec![Item::new(typed, Origin::Address)];
    }
    let path = Path::new(typed);
    let is_pattern = typed.contains(['*', '?', '[']);
    let (mut found, none) = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => (in_folder(path), "there is no picture in this folder"),
        Err(_) if is_pattern => (matching(typed), "there is no picture that this pattern matches"),
        // What cannot be looked at cannot be read either, and that tells why.
        _ => return vec![Item::new(typed, Origin::File(path.to_owned()))],
    };
    if found.is_empty() {
        found.push(Item::new(typed, Origin::Nowhere(none.to_owned())));
    }
    found
}

/// The pictures in a folder and below it. Links to folders are not followed, and what is hidden stays so.
fn in_folder(folder: &Path) -> Vec<Item> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = match entries {
        Ok(entries) => entries,
        Err(error) => {
            return vec![Item::new(
                folder.display().to_string(),
                Origin::Nowhere(format!("it cannot be read: {error}")),
            )];
        }
    };
    let is_hidden = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b".");
    let mut paths: Vec<_> =
        entries.iter().filter(|entry| !is_hidden(entry)).map(fs::DirEntry::path).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        if is_folder {
            found.append(&mut in_folder(&path));
        } else if is_picture(&path) {
            found.push(Item::file(path));
        }
    }
    found
}

/// What a pattern matches: files, as they are, and the pictures of folders.
fn matching(pattern: &str) -> Vec<Item> {
    // As in a shell: `*` means neither what is hidden nor what is below.
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    match glob::glob_with(pattern, options) {
        Err(error) => vec![Item::new(pattern, Origin::Nowhere(format!("it is no pattern: {error}")))],
        Ok(paths) => paths
            .filter(|path| !path.as_ref().is_ok_and(|path| is_through_link(pattern, path)))
            .flat_map(|path| match path {
                Ok(path) if path.is_dir() => in_folder(&path),
                Ok(path) => vec![Item::file(path)],
                Err(error) => {
                    let why = format!("it cannot be read: {}", error.error());
                    vec![Item::new(error.path().display().to_string(), Origin::Nowhere(why))]
                }
            })
            .collect(),
    }
}

/// Whether a link to a folder lies on the way from what is typed without wildcards: it may lead back there.
fn is_through_link(pattern: &str, path: &Path) -> bool {
    let is_plain =
        |part: &std::path::Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let typed: PathBuf = Path::new(pattern).components().take_while(is_plain).collect();
    let mut folders =
        path.ancestors().skip(1).take_while(|folder| *folder != typed && folder.starts_with(&typed));
    folders.any(Path::is_symlink)
}

/// A file that is called as a picture is, or begins as one does; so one that is damaged is told, and others that lie in
/// the same folder are not.
fn is_picture(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let is_called_so = ending.is_some_and(|ending| ENDINGS.contains(&&*ending));
    // Pipes and devices are not opened.
    path.is_file() && (is_called_so || begins_so(path).unwrap_or(false))
}

fn begins_so(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    fs::File::open(path)?.take(picture::HEAD as u64).read_to_end(&mut head)?;
    Ok(picture::is_picture(&head))
}

/// Gives `each` the vector of every picture, in order. They are read, decoded and prepared ahead of the model, and go
/// through it in batches that depend on nothing but their order.
///
/// Returns how long the model itself took.
///
/// # Errors
/// The threads that read cannot be started; and what `each` fails with, which ends it.
pub(super) fn embed(
    classifier: &mut Classifier,
    items: &Arc<[Item]>,
    mut each: impl FnMut(&Classifier, usize, Result<Arc<[f32]>>) -> Result<()>,
) -> Result<Duration> {
    let at_once = classifier.model().max_batch();
    let mut prepared = Ahead::spawn(items, classifier.model().preprocessor(), at_once)?;
    let (mut number, mut took) = (0, Duration::ZERO);
    loop {
        let batch: Vec<_> = prepared.by_ref().take(at_once).collect();
        if batch.is_empty() {
            return Ok(took);
        }
        let began = Instant::now();
        let vectors = embed_batch(classifier, batch);
        took += began.elapsed();
        for vector in vectors {
            each(classifier, number, vector)?;
            number += 1;
        }
    }
}

/// The vectors of the pictures that could be read, and the errors of the others.
fn embed_batch(classifier: &mut Classifier, batch: Vec<Result<Vec<f32>>>) -> Vec<Result<Arc<[f32]>>> {
    let together = batch.iter().flatten().map(Vec::as_slice).collect::<Vec<_>>().concat();
    let mut vectors = classifier.embed_each(&together).into_iter();
    let mut vector = || Ok(vectors.next().ok_or_else(|| anyhow!("the model gave no answer"))??);
    batch.into_iter().map(|picture| picture.and_then(|_| vector())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_stands_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::create_dir_all(folder.path().join("b/c")).unwrap();
        fs::create_dir(folder.path().join(".hidden")).unwrap();
        fs::create_dir(folder.path().join("empty")).unwrap();
        for (name, content) in [
            ("b/2.JPG", &b""[..]),
            ("b/10.jpg", b""),
            ("b/c/photo", b"\xFF\xD8\xFF\xE0"), // no ending, but it begins as a JPEG
            ("b/notes.txt", b"not one"),
            ("b/.thumb.jpg", b""),
            (".hidden/a.jpg", b""),
            ("a.png", b""),
            ("odd[1].jpg", b""),
        ] {
            fs::write(folder.path().join(name), content).unwrap();
        }
        // A cycle.
        std::os::unix::fs::symlink(folder.path(), folder.path().join("b/c/up")).unwrap();
        let names = |typed: &str| -> Vec<String> {
            find(&[typed.to_owned()]).into_iter().map(|item| item.name).collect()
        };
        let below_b = [at("b/10.jpg"), at("b/2.JPG"), at("b/c/photo")];
        assert_eq!(names(&at("b")), below_b);
        assert_eq!(names(&at("")), [&[at("a.png")][..], &below_b, &[at("odd[1].jpg")]].concat());
        assert_eq!(names(&at("*.png")), [at("a.png")]);
        assert_eq!(names(&at("**/*.jpg")), [at("b/10.jpg"), at("odd[1].jpg")]);
        assert_eq!(names(&at("[a-b]")), below_b, "a folder that a pattern matches");
        assert_eq!(names(&at("odd[1].jpg")), [at("odd[1].jpg")], "a name that looks like a pattern");
        assert_eq!(names(&at("b/notes.txt")), [at("b/notes.txt")], "what is named is taken");

        let origin = |typed: &str| find(&[typed.to_owned()]).remove(0).origin;
        assert_eq!(origin("-"), Origin::StandardInput);
        assert_eq!(origin("https://example.org/*.jpg"), Origin::Address);
        assert_eq!(origin(&at("gone.jpg")), Origin::File(folder.path().join("gone.jpg")));
        let nowhere = |typed: &str| match origin(&at(typed)) {
            Origin::Nowhere(why) => why,
            other => panic!("{typed}: {other:?}"),
        };
        assert_eq!(nowhere("empty"), "there is no picture in this folder");
        assert_eq!(nowhere("*.tiff"), "there is no picture that this pattern matches");
        assert!(nowhere("a[.jpg").starts_with("it is no pattern: "));
    }
}
