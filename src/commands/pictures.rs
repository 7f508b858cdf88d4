//! Pictures named on the command line: files, folders, patterns, web addresses and standard input, in the order typed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::fetch;
use crate::{picture, source::kinds::folder::settings::Patterns, terminal, yaml::address};

/// A picture that was named, or found in a folder or by a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// Its name in the output: as typed, or its path.
    pub name: String,
    origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    File(PathBuf),
    Address,
    StandardInput,
    /// There is no picture, for this reason.
    Nowhere(String),
}

impl Item {
    fn new(name: impl Into<String>, origin: Origin) -> Self {
        Self { name: name.into(), origin }
    }

    fn file(path: PathBuf) -> Self {
        Self::new(path.display().to_string(), Origin::File(path))
    }

    /// Its name for people: in one line, and without the password of a web address.
    pub(super) fn shown(&self) -> String {
        match self.origin {
            Origin::Address => match address::parse(&self.name, &["http", "https"]) {
                Ok(address) => address.to_string(),
                Err(_) => "the web address".to_owned(),
            },
            _ => terminal::one_line(&self.name).into_owned(),
        }
    }

    /// Whether there is a picture to read.
    pub(super) fn exists(&self) -> bool {
        !matches!(self.origin, Origin::Nowhere(_))
    }

    /// The bytes of the picture.
    ///
    /// # Errors
    /// The picture does not exist, or cannot be read or fetched.
    pub(super) fn read(&self) -> Result<Vec<u8>> {
        match &self.origin {
            Origin::File(path) => Ok(picture::read_file(path)?),
            Origin::Address => fetch::get(&self.name),
            Origin::StandardInput => {
                picture::read(&mut io::stdin().lock(), picture::MAX_BYTES).context("standard input")
            }
            Origin::Nowhere(why) => bail!("{why}"),
        }
    }
}

/// All pictures that `typed` names. A folder names the pictures in it and in its subfolders, a pattern such as `*.jpg` or
/// `**/*.png` what it matches, both sorted by path. If there are none, an item without a picture reports that.
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
        // A file that does not exist or is not accessible: reading it reports why.
        _ => return vec![Item::new(typed, Origin::File(path.to_owned()))],
    };
    if found.is_empty() {
        found.push(Item::new(typed, Origin::Nowhere(none.to_owned())));
    }
    found
}

/// The pictures in a folder and its subfolders, without those that a watched folder leaves alone by default. Links to folders are
/// not followed.
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
    let patterns = Patterns::default();
    let mut paths: Vec<_> = entries.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        if !path.file_name().is_some_and(|name| patterns.take(Path::new(name), is_folder)) {
            continue;
        }
        if is_folder {
            found.append(&mut in_folder(&path));
        } else if is_picture(&path) {
            found.push(Item::file(path));
        }
    }
    found
}

/// The files that a pattern matches, and the pictures of the folders that it matches.
fn matching(pattern: &str) -> Vec<Item> {
    // As in a shell: `*` matches neither hidden files nor path separators.
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

/// Whether the path below the typed part without wildcards contains a link to a folder, which may form a cycle.
fn is_through_link(pattern: &str, path: &Path) -> bool {
    let is_plain =
        |part: &std::path::Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let typed: PathBuf = Path::new(pattern).components().take_while(is_plain).collect();
    let mut folders =
        path.ancestors().skip(1).take_while(|folder| *folder != typed && folder.starts_with(&typed));
    folders.any(Path::is_symlink)
}

/// Whether a file in a folder is a picture. Pipes and devices are not opened.
fn is_picture(path: &Path) -> bool {
    path.is_file() && picture::is_picture_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_resolved_to_pictures() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::create_dir_all(folder.path().join("b/c")).unwrap();
        fs::create_dir(folder.path().join(".hidden")).unwrap();
        fs::create_dir(folder.path().join("@eaDir")).unwrap();
        fs::create_dir(folder.path().join("empty")).unwrap();
        for (name, content) in [
            ("b/2.JPG", &b""[..]),
            ("b/10.jpg", b""),
            ("b/c/photo", b"\xFF\xD8\xFF\xE0"), // no extension, but it starts like a JPEG
            ("b/notes.txt", b"not one"),
            ("b/.thumb.jpg", b""),
            (".hidden/a.jpg", b""),
            ("@eaDir/a.png", b""),
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
        assert_eq!(names(&at("b/notes.txt")), [at("b/notes.txt")], "a named file is taken");

        let shown = |typed: &str| find(&[typed.to_owned()]).remove(0).shown();
        assert_eq!(shown("http://me:hunter2@h/a.jpg?token=hunter2"), "http://h/a.jpg?***");
        assert_eq!(shown("a\n\u{1b}[2J.jpg"), "a\\n\\u001b[2J.jpg");

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
