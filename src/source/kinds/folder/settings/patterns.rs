//! Which files and folders below a watched folder are taken, by their names. Pure.
//!
//! The patterns are those of shells: `*`, `?`, `[a-z]`, and `**` for any number of folders. Upper and lower case are the same.
//! A pattern without `/` matches the name of a file or folder at any depth; one with `/` matches the path from the watched
//! folder. A `/` at the end matches folders only. Whatever is in a folder that matches, matches, too.

use std::path::Path;

use glob::{MatchOptions, Pattern};

/// What is left alone in every folder: hidden names, names of files that are not complete, and the folders that NAS systems,
/// Windows and file systems keep for themselves.
pub const EXCLUDED: [&str; 25] = [
    ".*",
    "*~",
    "~$*",
    "*.tmp",
    "*.temp",
    "*.part",
    "*.partial",
    "*.filepart",
    "*.upload",
    "*.uploading",
    "*.crdownload",
    "*.!sync",
    "@eaDir",
    "@tmp",
    "@Recycle",
    "@Recently-Snapshot",
    "#recycle",
    "#snapshot",
    "$RECYCLE.BIN",
    "System Volume Information",
    "Network Trash Folder",
    "Temporary Items",
    "lost+found",
    "Thumbs.db",
    "desktop.ini",
];

/// The patterns `include` and `exclude` of a folder source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patterns {
    /// Only files that match one of these are taken; empty: all.
    include: Vec<PathPattern>,
    /// The last one that matches decides: the defaults, then what was typed.
    exclude: Vec<PathPattern>,
}

/// One pattern of names or paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    typed: String,
    pattern: Pattern,
    /// The pattern starts with `!`: what matches is not excluded.
    takes_back: bool,
    /// The pattern is compared with the path from the watched folder instead of the name.
    is_path: bool,
    folders_only: bool,
}

impl Default for Patterns {
    /// Everything except [`EXCLUDED`].
    fn default() -> Self {
        Self::new(Vec::new(), Vec::new())
    }
}

impl Patterns {
    /// Files that match a pattern of `include` (empty: all files), without what `exclude` leaves out in addition to [`EXCLUDED`].
    #[must_use]
    pub fn new(include: Vec<PathPattern>, exclude: Vec<PathPattern>) -> Self {
        let default = |text: &&str| PathPattern::parse(text).expect("a test parses each of them");
        Self { include, exclude: EXCLUDED.iter().map(default).chain(exclude).collect() }
    }

    /// The patterns of [`Self::texts`]; `None` if one is invalid.
    #[must_use]
    pub fn of_texts(include: &[String], exclude: &[String]) -> Option<Self> {
        let parse = |texts: &[String]| -> Option<Vec<_>> {
            texts.iter().map(|text| PathPattern::parse(text).ok()).collect()
        };
        Some(Self { include: parse(include)?, exclude: parse(exclude)? })
    }

    /// The patterns that include and those that exclude, the defaults among them, as they are typed.
    #[must_use]
    pub fn texts(&self) -> [Vec<String>; 2] {
        [&self.include, &self.exclude].map(|list| list.iter().map(|pattern| pattern.typed.clone()).collect())
    }

    /// Whether a file is taken, or a folder scanned. `path` starts at the watched folder.
    #[must_use]
    pub fn take(&self, path: &Path, is_folder: bool) -> bool {
        let path = path.to_string_lossy().to_lowercase();
        let parts =
            || path.match_indices('/').map(|(end, _)| (&path[..end], true)).chain([(&*path, is_folder)]);
        let excluded = |(path, is_folder): (&str, bool)| {
            let decides = self.exclude.iter().rev().find(|pattern| pattern.matches(path, is_folder));
            decides.is_some_and(|pattern| !pattern.takes_back)
        };
        let included =
            |(path, is_folder)| self.include.iter().any(|pattern| pattern.matches(path, is_folder));
        !parts().any(excluded) && (is_folder || self.include.is_empty() || parts().any(included))
    }
}

impl PathPattern {
    /// A pattern of `exclude`; the error is the remedy.
    ///
    /// # Errors
    /// The text is no pattern, or can match nothing below the watched folder.
    pub fn parse(text: &str) -> Result<Self, String> {
        let typed = text.trim();
        let (takes_back, rest) = typed.strip_prefix('!').map_or((false, typed), |rest| (true, rest));
        let rest = rest.strip_prefix("./").unwrap_or(rest);
        let from_root = rest.starts_with('/');
        let (folders_only, rest) = (rest.ends_with('/'), rest.trim_matches('/'));
        if rest.is_empty() {
            return Err("write a pattern such as `*.jpg`".to_owned());
        }
        if rest.contains('\\') {
            return Err(format!("write `/` between folders: `{}`", typed.replace('\\', "/")));
        }
        if rest.split('/').any(|part| part == "..") {
            return Err("write it from the watched folder, without `..`".to_owned());
        }
        let pattern = Pattern::new(&rest.to_lowercase()).map_err(|error| remedy(rest, error.msg))?;
        let is_path = from_root || rest.contains('/');
        Ok(Self { typed: typed.to_owned(), pattern, takes_back, is_path, folders_only })
    }

    /// A pattern of `include`; the error is the remedy.
    ///
    /// # Errors
    /// As [`Self::parse`], or the pattern excludes.
    pub fn including(text: &str) -> Result<Self, String> {
        match text.trim().strip_prefix('!') {
            Some(rest) => Err(format!("write it into the other list: `exclude: [\"{rest}\"]`")),
            None => Self::parse(text),
        }
    }

    /// Whether `path` matches, in lower case.
    fn matches(&self, path: &str, is_folder: bool) -> bool {
        const OPTIONS: MatchOptions = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        let name = path.rsplit('/').next().unwrap_or(path);
        (is_folder || !self.folders_only)
            && self.pattern.matches_with(if self.is_path { path } else { name }, OPTIONS)
    }
}

/// What to do about a text that is no pattern.
fn remedy(text: &str, message: &str) -> String {
    if text.contains("**") {
        return "write `**` only as a whole folder, as in `**/x` and `x/**`; within a name write `*`"
            .to_owned();
    }
    format!("{message}: write `[[]` for the character `[`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(include: &[&str], exclude: &[&str]) -> Patterns {
        let include = include.iter().map(|text| PathPattern::including(text).unwrap()).collect();
        Patterns::new(include, exclude.iter().map(|text| PathPattern::parse(text).unwrap()).collect())
    }

    /// The files of a list that are taken.
    fn taken<'a>(patterns: &Patterns, files: &[&'a str]) -> Vec<&'a str> {
        files.iter().copied().filter(|file| patterns.take(Path::new(file), false)).collect()
    }

    #[test]
    fn incomplete_files_and_the_folders_of_a_nas_are_left_alone() {
        let left = [
            ".a.jpg.Xy12",
            ".git/a.jpg",
            "a.jpg.tmp",
            "A.PART",
            "a.partial",
            "a.jpg.filepart",
            "a.jpg.upload",
            "a.crdownload",
            "a~",
            "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg",
            "2026/@EADIR/b.jpg",
            "#recycle/a.jpg",
            "sub/#Recycle/deep/a.jpg",
            "@Recycle/a.jpg",
            "$RECYCLE.BIN/S-1/a.jpg",
            "System Volume Information/a",
            "Thumbs.db",
        ];
        assert_eq!(taken(&Patterns::default(), &left), [""; 0]);
        let others = [
            "a.jpg",
            "tmp",
            "part.jpg",
            "a",
            "a.jpg.1",
            "eaDir/a.jpg",
            "recycle/a.jpg",
            "upload/a",
            "tmp.d/x",
        ];
        assert_eq!(taken(&Patterns::default(), &others), others);
    }

    #[test]
    fn a_table_of_patterns() {
        let files =
            ["a.jpg", "A.JPG", "a.png", "front/a.jpg", "front/x/a.png", "back/a.jpg", "back/.b.jpg", "ü.jpg"];
        let all = &["a.jpg", "A.JPG", "a.png", "front/a.jpg", "front/x/a.png", "back/a.jpg", "ü.jpg"][..];
        type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a str]);
        let cases: &[Case<'_>] = &[
            (&[], &[], all),
            (&["*.jpg"], &[], &["a.jpg", "A.JPG", "front/a.jpg", "back/a.jpg", "ü.jpg"]),
            (&["*.PNG"], &[], &["a.png", "front/x/a.png"]),
            (&["front"], &[], &["front/a.jpg", "front/x/a.png"]),
            (&["front/"], &[], &["front/a.jpg", "front/x/a.png"]),
            (&["a.jpg/"], &[], &[]),
            (&["front/*"], &["x"], &["front/a.jpg"]),
            (&["front/*.png"], &[], &[]),
            (&["front/**"], &[], &["front/a.jpg", "front/x/a.png"]),
            (&["**/a.png"], &[], &["a.png", "front/x/a.png"]),
            (&["/*.jpg"], &[], &["a.jpg", "A.JPG", "ü.jpg"]),
            (&["Ü.*"], &[], &["ü.jpg"]),
            (&["[!a].jpg"], &[], &["ü.jpg"]),
            (&["*.jpg", "front"], &["back"], &["a.jpg", "A.JPG", "front/a.jpg", "front/x/a.png", "ü.jpg"]),
            (&[], &["/front/x"], &["a.jpg", "A.JPG", "a.png", "front/a.jpg", "back/a.jpg", "ü.jpg"]),
            (&["back"], &["!.b.jpg"], &["back/a.jpg", "back/.b.jpg"]),
            (&["back"], &["!.*", ".b*"], &["back/a.jpg"]),
        ];
        for (include, exclude, expected) in cases {
            assert_eq!(taken(&patterns(include, exclude), &files), *expected, "{include:?} {exclude:?}");
        }
    }

    #[test]
    fn folders_are_scanned_unless_they_are_excluded() {
        let patterns = patterns(&["*.jpg"], &["old/"]);
        let cases = [("new", true), ("deep/er", true), ("old", false), ("a/old/b", false), ("@eaDir", false)];
        for (folder, expected) in cases {
            assert_eq!(patterns.take(Path::new(folder), true), expected, "{folder}");
        }
        assert!(patterns.take(Path::new("old.jpg"), false));
    }

    #[test]
    fn texts_that_are_no_patterns_have_a_remedy() {
        let cases = [
            ("", "such as `*.jpg`"),
            ("/", "such as `*.jpg`"),
            ("cam\\*.jpg", "`cam/*.jpg`"),
            ("../x", "without `..`"),
            ("a**", "only as a whole folder"),
            ("a[", "`[[]`"),
        ];
        for (text, expected) in cases {
            let remedy = PathPattern::parse(text).unwrap_err();
            assert!(remedy.contains(expected), "{text}: {remedy}");
        }
        assert!(PathPattern::including("!*.png").unwrap_err().contains("`exclude: [\"*.png\"]`"));
    }

    #[test]
    fn the_defaults_are_documented() {
        let page = include_str!("../../../../../docs/sources.md");
        for pattern in EXCLUDED {
            assert!(page.contains(&format!("`{pattern}`")), "docs/sources.md lacks {pattern}");
        }
    }

    #[test]
    fn patterns_are_restored_from_their_texts() {
        let typed = patterns(&["front/", "*.jpg"], &["!*.tmp", "/x"]);
        let [include, exclude] = typed.texts();
        assert_eq!(Patterns::of_texts(&include, &exclude), Some(typed));
        assert_eq!(Patterns::of_texts(&["[".to_owned()], &[]), None);
    }
}
