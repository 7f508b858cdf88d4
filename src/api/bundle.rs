//! The archive of a support bundle: which files it has, how long they may be, and the archive itself. Pure.
//!
//! The archive is a tar file (`ustar`) that is compressed with gzip. Its entries are short texts with plain names, so the format needs
//! no more than a header for each.

use std::{
    borrow::Cow,
    io::{self, Write as _},
};

use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;

use super::system::BundleFile;
use crate::yaml::mask::HIDDEN;

/// The size of a block of a tar file.
const BLOCK: usize = 512;
/// The permissions of each file: only its owner reads it.
const MODE: &str = "0000600";

/// What is in a support bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// What the bundle is.
    ReadMe,
    /// The files of the configuration.
    Configuration,
    /// What is wrong with the files of the configuration.
    Problems,
    /// The settings in force.
    Settings,
    /// The checks of `doctor`.
    Checks,
    /// The answer of `system`.
    System,
    /// The metrics page.
    Metrics,
    /// The newest lines of the log.
    Log,
}

impl Content {
    /// All of them, in the order of the bundle.
    pub const ALL: [Self; 8] = [
        Self::ReadMe,
        Self::Configuration,
        Self::Problems,
        Self::Settings,
        Self::Checks,
        Self::System,
        Self::Metrics,
        Self::Log,
    ];

    /// The name of the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadMe => "README.txt",
            Self::Configuration => "configuration.yaml",
            Self::Problems => "problems.txt",
            Self::Settings => "settings.txt",
            Self::Checks => "checks.txt",
            Self::System => "system.json",
            Self::Metrics => "metrics.txt",
            Self::Log => "log.txt",
        }
    }

    /// What is in it, for people.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::ReadMe => "when the bundle was made, and what is in it",
            Self::Configuration => "the configuration files, without passwords, other secrets and comments",
            Self::Problems => "the mistakes in the configuration files, if there are any",
            Self::Settings => "the settings in force, with all defaults",
            Self::Checks => "the result of the checks",
            Self::System => {
                "versions, the machine, the model and its speed, the state of delivery, history, disk and sources"
            }
            Self::Metrics => "the metrics page: counts and durations",
            Self::Log => "the newest lines of the log; lines about labels are only counted",
        }
    }

    /// The most bytes of it. Together they are less than 5 MB.
    fn most(self) -> usize {
        match self {
            Self::ReadMe => 16 << 10,
            Self::Problems | Self::Checks | Self::System => 256 << 10,
            Self::Configuration | Self::Settings | Self::Metrics => 768 << 10,
            Self::Log => 1536 << 10,
        }
    }

    /// The newest lines of the log are the last ones.
    fn keeps_end(self) -> bool {
        self == Self::Log
    }
}

/// The files of a bundle, for people who decide whether they give it to others.
#[must_use]
pub fn contents() -> Vec<BundleFile> {
    let file =
        |content: Content| BundleFile { name: content.name().to_owned(), what: content.what().to_owned() };
    Content::ALL.into_iter().map(file).collect()
}

/// A bundle while it is filled.
#[derive(Debug, Default)]
pub struct Bundle {
    files: Vec<(Content, String)>,
    secrets: Vec<String>,
}

impl Bundle {
    /// An empty bundle, in which these texts are hidden wherever they are.
    #[must_use]
    pub fn without(mut secrets: Vec<String>) -> Self {
        // A secret may contain another one.
        secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self { files: Vec::new(), secrets }
    }

    /// Adds a file. A text that is too long is cut.
    pub fn add(&mut self, content: Content, text: &str) {
        // Before it is cut: a part of a secret is one, too.
        let mut text = Cow::Borrowed(text);
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), HIDDEN).into();
            }
        }
        self.files.push((content, cut(&text, content.most(), content.keeps_end())));
    }

    /// Each file with its size.
    #[must_use]
    pub fn sizes(&self) -> Vec<(Content, usize)> {
        self.files.iter().map(|(content, text)| (*content, text.len())).collect()
    }

    /// The archive. Its files are in a folder `name`, and were changed at `at`.
    ///
    /// # Errors
    /// None: it is written into memory.
    pub fn pack(&self, name: &str, at: Timestamp) -> io::Result<Vec<u8>> {
        let mut archive = GzEncoder::new(Vec::new(), Compression::default());
        for (content, text) in &self.files {
            let header = header(&format!("{name}/{}", content.name()), text.len(), at);
            archive.write_all(&header)?;
            archive.write_all(text.as_bytes())?;
            archive.write_all(&vec![0; text.len().next_multiple_of(BLOCK) - text.len()])?;
        }
        archive.write_all(&[0; 2 * BLOCK])?;
        archive.finish()
    }
}

/// At most `most` bytes of a text: its beginning, or its end.
fn cut(text: &str, most: usize, keeps_end: bool) -> String {
    const NOTE: &str = "... (cut: the text is too long)";
    if text.len() <= most {
        return text.to_owned();
    }
    let most = most - NOTE.len() - 2;
    if keeps_end {
        return format!("{NOTE}\n{}", &text[text.ceil_char_boundary(text.len() - most)..]);
    }
    format!("{}\n{NOTE}\n", &text[..text.floor_char_boundary(most)])
}

/// The header of a file.
fn header(path: &str, size: usize, at: Timestamp) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put =
        |start: usize, text: &str| header[start..start + text.len()].copy_from_slice(text.as_bytes());
    put(0, &path[..path.floor_char_boundary(99)]);
    put(100, MODE);
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, &format!("{:011o}", at.as_second().clamp(0, 0o77_777_777_777)));
    // The checksum counts its own field as blanks.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\u{0}00");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    let sum = format!("{sum:06o}\u{0} ");
    header[148..156].copy_from_slice(sum.as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn a_bundle_has_its_files_without_secrets() {
        let mut bundle = Bundle::without(vec!["hunter2".to_owned(), "hunter2-long".to_owned()]);
        bundle.add(Content::ReadMe, "a support bundle");
        bundle.add(Content::Log, "password hunter2-long, and hunter2\n");
        let log = "password ***, and ***\n";
        assert_eq!(bundle.sizes(), [(Content::ReadMe, 16), (Content::Log, log.len())]);
        let packed = bundle.pack("bundle", Timestamp::from_second(1_800_000_000).unwrap()).unwrap();
        let mut tar = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut tar).unwrap();
        assert_eq!(tar.len(), BLOCK * 6, "two files of one block, and the end");
        let text = String::from_utf8_lossy(&tar);
        assert!(text.starts_with("bundle/README.txt\0") && text.contains("a support bundle\0"));
        assert!(text.contains("bundle/log.txt\0") && text.contains(log) && !text.contains("hunter2"));
    }

    #[test]
    fn a_header_is_one_that_tar_reads() {
        let header = header("a/b.txt", 1000, Timestamp::from_second(8).unwrap());
        assert_eq!(&header[124..136], b"00000001750\0");
        assert_eq!(&header[136..148], b"00000000010\0");
        let stored = std::str::from_utf8(&header[148..154]).unwrap();
        let mut blank = header;
        blank[148..156].fill(b' ');
        let sum: u32 = blank.iter().map(|byte| u32::from(*byte)).sum();
        assert_eq!(u32::from_str_radix(stored, 8), Ok(sum));
        assert_eq!(header[156], b'0', "a plain file");
    }

    #[test]
    fn long_texts_are_cut_and_all_of_them_fit_into_5_mb() {
        assert_eq!(cut("short", 100, false), "short");
        let start = cut(&"ä".repeat(100), 101, false);
        assert!(start.starts_with("ääää") && start.ends_with("(cut: the text is too long)\n"), "{start}");
        let end = cut(&("ä".repeat(100) + "end"), 100, true);
        assert!(end.starts_with("... (cut") && end.ends_with("ääend"), "{end}");
        assert!(start.len() <= 101 && end.len() <= 100);
        let most = Content::ALL.iter().map(|content| content.most()).sum::<usize>();
        assert!(most < 5_000_000, "{most}");
    }

    #[test]
    fn each_file_is_described() {
        let contents = contents();
        assert_eq!(contents.len(), Content::ALL.len());
        assert!(contents.iter().all(|file| !file.what.is_empty() && file.name.contains('.')));
    }
}
