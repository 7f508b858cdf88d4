//! Finds out whether the default browser of the desktop is a snap or a flatpak. Such a browser may not read files of other programs, and
//! the program that opens the browser does not notice the failure.

use std::{
    env,
    ffi::OsString,
    fmt, fs,
    io::Read as _,
    path::PathBuf,
    process::{Command, Stdio},
};

/// What the desktop is asked, in this order: the program that opens pages in files, and the browser.
const QUESTIONS: [&[&str]; 2] =
    [&["xdg-mime", "query", "default", "text/html"], &["xdg-settings", "get", "default-web-browser"]];
/// The time limit for each answer, in seconds.
const PATIENCE: &str = "5";
/// The longest name of a browser, in bytes.
const LONGEST_NAME: u64 = 250;
/// The most bytes that are read of a desktop entry. Those of browsers have up to 40 KB.
const LONGEST_ENTRY: u64 = 256 * 1024;
/// Folders of desktop entries that are always searched. A login shell without a desktop does not list them.
const FOLDERS: [&str; 2] = ["/var/lib/snapd/desktop", "/var/lib/flatpak/exports/share"];

/// A kind of package that keeps a browser from files of other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sandbox {
    /// A package of snapd.
    Snap,
    /// A package of Flatpak.
    Flatpak,
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Snap => "snap",
            Self::Flatpak => "flatpak",
        })
    }
}

/// The sandbox of the default browser; `None`: it has none, or the desktop does not say which browser that is.
pub(super) fn sandbox() -> Option<Sandbox> {
    let name = QUESTIONS.iter().find_map(|question| ask(question))?;
    let entry = entry(&name, &data_folders(|variable| env::var_os(variable)));
    sandbox_of(&name, entry.as_deref())
}

/// The answer of a program, if it is the name of a desktop entry.
fn ask(question: &[&str]) -> Option<String> {
    // It ends the program and those that the program has started.
    let mut command = Command::new("timeout");
    command.args(["-k", "1", PATIENCE]).args(question);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut asked = command.spawn().ok()?;
    let mut answer = String::new();
    let read = asked.stdout.take().map(|output| output.take(LONGEST_NAME).read_to_string(&mut answer));
    let _ = asked.wait();
    read?.ok()?;
    let name = answer.trim();
    (name.ends_with(".desktop") && !name.contains('/')).then(|| name.to_owned())
}

/// The folders with desktop entries. An earlier one overrides a later one.
fn data_folders(get: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let get = |variable: &str| get(variable).filter(|value| !value.is_empty());
    let home = get("HOME").map(PathBuf::from);
    let own =
        get("XDG_DATA_HOME").map(PathBuf::from).or_else(|| home.as_ref().map(|it| it.join(".local/share")));
    let shared = get("XDG_DATA_DIRS").unwrap_or_else(|| "/usr/local/share:/usr/share".into());
    let flatpak = home.map(|home| home.join(".local/share/flatpak/exports/share"));
    let always = FOLDERS.iter().map(PathBuf::from);
    own.into_iter()
        .chain(env::split_paths(&shared))
        .chain(flatpak)
        .chain(always)
        .map(|folder| folder.join("applications"))
        .collect()
}

/// The first desktop entry of this name.
fn entry(name: &str, folders: &[PathBuf]) -> Option<String> {
    let path = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file())?;
    let mut text = Vec::new();
    fs::File::open(path).ok()?.take(LONGEST_ENTRY).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The sandbox of the browser with this desktop entry. Without the entry, only a snap is recognized: the name of a flatpak is also that of
/// other packages.
fn sandbox_of(name: &str, entry: Option<&str>) -> Option<Sandbox> {
    let Some(entry) = entry else {
        // `SNAP_PROGRAM.desktop`
        let (snap, program) = name.strip_suffix(".desktop")?.split_once('_')?;
        return (!snap.is_empty() && !program.is_empty()).then_some(Sandbox::Snap);
    };
    let group = entry.lines().skip_while(|line| line.trim() != "[Desktop Entry]").skip(1);
    let keys = group.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once('='));
    keys.map(|(key, value)| (key.trim(), value.trim())).find_map(|(key, value)| match key {
        "X-SnapInstanceName" | "X-SnapAppName" => Some(Sandbox::Snap),
        "X-Flatpak" => Some(Sandbox::Flatpak),
        "Exec" => sandbox_of_command(value),
        _ => None,
    })
}

fn sandbox_of_command(command: &str) -> Option<Sandbox> {
    let mut words = command.split_whitespace().map(|word| word.trim_matches('"'));
    words.find_map(|word| match word {
        _ if word.starts_with("/snap/bin/") => Some(Sandbox::Snap),
        "flatpak" | "/usr/bin/flatpak" => Some(Sandbox::Flatpak),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_in_a_sandbox_is_recognized() {
        let snap = "[Desktop Entry]\nName=Firefox\nExec=env BAMF_DESKTOP_FILE_HINT=/x/firefox_firefox.desktop /snap/bin/firefox %u\n";
        let flatpak = "[Desktop Entry]\nExec=/usr/bin/flatpak run --command=firefox --file-forwarding org.mozilla.firefox @@u %u @@\n";
        for (name, entry, expected) in [
            ("firefox_firefox.desktop", None, Some(Sandbox::Snap)),
            ("chromium_chromium.desktop", None, Some(Sandbox::Snap)),
            ("firefox.desktop", None, None),
            ("_.desktop", None, None),
            // Fedora has a package of its own with this name.
            ("org.mozilla.firefox.desktop", None, None),
            ("org.mozilla.firefox.desktop", Some("[Desktop Entry]\nExec=firefox %u\n"), None),
            ("org.mozilla.firefox.desktop", Some(flatpak), Some(Sandbox::Flatpak)),
            (
                "com.brave.Browser.desktop",
                Some("[Desktop Entry]\nX-Flatpak=com.brave.Browser"),
                Some(Sandbox::Flatpak),
            ),
            ("firefox_firefox.desktop", Some(snap), Some(Sandbox::Snap)),
            ("web.desktop", Some("[Desktop Entry]\nX-SnapInstanceName = firefox"), Some(Sandbox::Snap)),
            ("my_browser.desktop", Some("[Desktop Entry]\nExec=/usr/bin/firefox %u\n"), None),
            ("quoted.desktop", Some("[Desktop Entry]\nExec=\"/snap/bin/brave\" %U\n"), Some(Sandbox::Snap)),
            // Another group is not about the browser itself.
            (
                "firefox.desktop",
                Some("[Desktop Entry]\nExec=firefox %u\n\n[Desktop Action x]\nExec=flatpak run x"),
                None,
            ),
            ("firefox.desktop", Some(""), None),
        ] {
            assert_eq!(sandbox_of(name, entry), expected, "{name} {entry:?}");
        }
    }

    #[test]
    fn the_first_entry_of_a_name_is_read() {
        let [own, shared] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let variables = |variable: &str| match variable {
            "HOME" => Some("/home/x".into()),
            "XDG_DATA_HOME" => Some(own.path().into()),
            "XDG_DATA_DIRS" => Some(shared.path().into()),
            _ => None,
        };
        let folders = data_folders(variables);
        let expected = [
            own.path().join("applications"),
            shared.path().join("applications"),
            "/home/x/.local/share/flatpak/exports/share/applications".into(),
            "/var/lib/snapd/desktop/applications".into(),
            "/var/lib/flatpak/exports/share/applications".into(),
        ];
        assert_eq!(folders, expected);
        let folders = &folders[..2];
        assert_eq!(entry("x.desktop", folders), None);
        for (folder, text) in [(&folders[1], "shared"), (&folders[0], "own")] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("x.desktop"), text).unwrap();
            assert_eq!(entry("x.desktop", folders).as_deref(), Some(text));
        }
    }

    #[test]
    fn only_the_name_of_an_entry_is_an_answer() {
        let cases: [(&[&str], _); 5] = [
            (&["printf", "firefox_firefox.desktop\\n"], Some("firefox_firefox.desktop")),
            (&["printf", ""], None),
            (&["printf", "../x.desktop"], None),
            (&["printf", "no browser"], None),
            (&["no-such-program-at-all"], None),
        ];
        for (question, expected) in cases {
            assert_eq!(ask(question).as_deref(), expected, "{question:?}");
        }
    }
}
