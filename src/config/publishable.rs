//! The files of a configuration as they may be given to strangers.

use std::{fmt::Write as _, path::Path};

use super::load::{included, read_bytes};
use crate::{
    text_file,
    yaml::{self, Publishable},
};

/// The most files of `rules.d` and `sources.d` that are read.
const MOST_FILES: usize = 100;

/// The main file `main` and those of `rules.d` and `sources.d`, one after the other, without secrets and comments; and the values that
/// were hidden in them.
#[must_use]
pub fn publishable(main: &Path) -> Publishable {
    let mut all = Publishable { text: String::new(), hidden: Vec::new() };
    let included = included(main);
    if let Err(error) = &included {
        let _ = writeln!(all.text, "# the folder rules.d or sources.d cannot be read: {error}");
    }
    let included = included.unwrap_or_default().into_iter().take(MOST_FILES);
    for path in std::iter::once(main.to_owned()).chain(included) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.escape_debug();
        let read = read_bytes(&path).and_then(text_file::text);
        // Writing to a string cannot fail.
        let _ = match read.as_deref().map(yaml::publishable) {
            Ok(Some(file)) => {
                all.hidden.extend(file.hidden);
                writeln!(all.text, "# {name}\n{}", file.text)
            }
            Ok(None) => writeln!(all.text, "# {name} is not valid YAML, so it is left out"),
            Err(error) => writeln!(all.text, "# {name} cannot be read: the file {error}"),
        };
    }
    all
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_file_is_in_it_and_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("stakeout.yaml");
        assert!(publishable(&main).text.contains("# stakeout.yaml cannot be read"));
        fs::create_dir(folder.path().join("rules.d")).unwrap();
        fs::write(&main, "# mine\nmqtt: { url: mqtt://h, password: hunter2 }\n").unwrap();
        fs::write(folder.path().join("rules.d/a.yaml"), "label_sets: {}\n").unwrap();
        fs::write(folder.path().join("rules.d/b.yaml"), "label_sets: [hunter2\n").unwrap();
        fs::create_dir(folder.path().join("sources.d")).unwrap();
        fs::write(folder.path().join("sources.d/c.yaml"), "sources: { c: { http: http://h/ } }\n").unwrap();
        let Publishable { text, hidden } = publishable(&main);
        let (text, sources) = text.split_once("# c.yaml\n").unwrap();
        assert!(sources.starts_with("sources:\n  c:\n"), "{sources}");
        let expected = "# stakeout.yaml\nmqtt:\n  url: \"mqtt://h\"\n  password: \"***\"\n\n# a.yaml\nlabel_sets: {}\n\n\
                        # b.yaml is not valid YAML, so it is left out\n";
        assert_eq!((text, hidden), (expected, vec!["hunter2".to_owned()]));
    }
}
