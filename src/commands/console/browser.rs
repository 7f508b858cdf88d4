//! Opens the browser of the desktop with a link that must stay secret. All users of a machine can read the arguments of every program,
//! and the first one who opens the link is signed in. So the argument is a page in a folder that only this user can read, and the page
//! leads to the link. A browser that is a snap or a flatpak may not read that page ([`default_browser`]).
//!
//! [`default_browser`]: super::default_browser

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{self, Write as _},
    os::unix::{
        fs::{OpenOptionsExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::{Builder, TempDir};

/// Opens the page `$2` with the program `$1`, and deletes the page and its folder `$4` after `$3` seconds: the link is not valid then.
/// Programs that open pages return before the browser has read them, or stay until it is closed.
const SCRIPT: &str = r#"
(n=0
while [ -e "$2" ] && [ "$n" -lt "$3" ]; do sleep 1; n=$((n + 1)); done
rm -f -- "$2"; rmdir -- "$4") &
exec "$1" "$2"
"#;

/// A page that leads a browser to a link. It is deleted with this value.
#[derive(Debug)]
pub(super) struct LinkPage {
    folder: TempDir,
    path: PathBuf,
}

impl LinkPage {
    /// A page in a new folder in the first of these folders where that is possible.
    fn write(link: &str, folders: &[PathBuf]) -> io::Result<Self> {
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for folder in folders {
            match Self::write_in(link, folder) {
                Ok(page) => return Ok(page),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn write_in(link: &str, folder: &Path) -> io::Result<Self> {
        // Only this user can read the folder.
        let private = fs::Permissions::from_mode(0o700);
        let folder = Builder::new().prefix("stakeout-").permissions(private).tempdir_in(folder)?;
        let path = folder.path().join("console.html");
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(page(link).as_bytes())?;
        Ok(Self { folder, path })
    }

    /// The page stays when this program ends. [`open`] has started what deletes it.
    pub(super) fn keep(self) {
        let _ = self.folder.keep();
    }
}

/// Opens the browser of the desktop with a link that is valid for `lasts`.
///
/// # Errors
/// There is no folder for the page, or no program can be started.
pub(super) fn open(link: &str, lasts: Duration) -> io::Result<LinkPage> {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let folders: Vec<_> = runtime.into_iter().chain([env::temp_dir()]).collect();
    open_with(OsStr::new("xdg-open"), link, lasts, &folders)
}

fn open_with(program: &OsStr, link: &str, lasts: Duration, folders: &[PathBuf]) -> io::Result<LinkPage> {
    let page = LinkPage::write(link, folders)?;
    let mut opening = command(program, &page, lasts).spawn()?;
    // The program may stay until the browser is closed.
    let _ = thread::Builder::new().name("xdg-open".to_owned()).spawn(move || opening.wait());
    Ok(page)
}

fn command(program: &OsStr, page: &LinkPage, lasts: Duration) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "sh"]).arg(program).arg(&page.path);
    command.arg(lasts.as_secs().to_string()).arg(page.folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Ctrl-C must not end the browser.
    command.process_group(0);
    command
}

/// A page that leads to this address at once, and shows it where a browser does not allow that.
fn page(link: &str) -> String {
    let mut address = String::with_capacity(link.len());
    for letter in link.chars() {
        match letter {
            '&' => address.push_str("&amp;"),
            '<' => address.push_str("&lt;"),
            '>' => address.push_str("&gt;"),
            '"' => address.push_str("&quot;"),
            '\'' => address.push_str("&#39;"),
            letter => address.push(letter),
        }
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta http-equiv=\"refresh\" content=\"0; url={address}\">\n<title>stakeout</title>\n\
         <p><a href=\"{address}\">Open the console</a></p>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const LINK: &str = "http://127.0.0.1:9464/console/#sign-in=6f0c2b1e9a7d4c53b8e1f0a2d3c4b5e6";
    const CODE: &str = "6f0c2b1e9a7d4c53b8e1f0a2d3c4b5e6";
    /// Only a hang reaches it.
    const LONG: Duration = Duration::from_secs(600);

    fn wait_until(what: &str, holds: impl Fn() -> bool) {
        let end = Instant::now() + LONG;
        while !holds() {
            assert!(Instant::now() < end, "timed out waiting until {what}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// A program that writes the page and what other users see of its arguments beside itself.
    fn program(folder: &Path) -> PathBuf {
        let path = folder.join("xdg-open");
        let script = "#!/bin/sh\ncd \"${0%/*}\"\ncat \"$1\" > page\ntr '\\0' ' ' < /proc/$$/cmdline > new\nmv new arguments\n";
        // Written by another process: a program that a test beside this one starts could hold the file open, and it would be busy.
        let mut write = Command::new("sh");
        write.args(["-c", r#"printf %s "$2" > "$1"; chmod 700 "$1""#, "sh"]).arg(&path).arg(script);
        assert!(write.status().unwrap().success());
        path
    }

    fn entries(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn no_argument_has_the_code_and_only_this_user_reads_the_page() {
        let (folder, private) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let program = program(folder.path());
        let folders = [folder.path().join("missing"), private.path().to_owned()];
        let page = open_with(program.as_os_str(), LINK, LONG, &folders).unwrap();
        assert!(page.path.starts_with(private.path()), "the first folder that exists: {page:?}");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(page.folder.path()), mode(&page.path)), (0o700, 0o600));
        let started = format!("{:?}", command(program.as_os_str(), &page, LONG));
        assert!(started.contains("console.html") && !started.contains(CODE), "{started}");
        let arguments = folder.path().join("arguments");
        wait_until("the browser was opened", || arguments.exists());
        let arguments = fs::read_to_string(arguments).unwrap();
        assert!(arguments.contains(page.path.to_str().unwrap()) && !arguments.contains(CODE), "{arguments}");
        let seen = fs::read_to_string(folder.path().join("page")).unwrap();
        assert!(seen.contains(&format!("content=\"0; url={LINK}\"")), "{seen}");
        drop(page);
        assert_eq!(entries(private.path()), 0, "it is deleted at the end");
    }

    #[test]
    fn a_page_that_is_kept_is_deleted_when_its_link_has_expired() {
        let folder = tempfile::tempdir().unwrap();
        let page = open_with(OsStr::new("true"), LINK, Duration::ZERO, &[folder.path().to_owned()]).unwrap();
        page.keep();
        wait_until("the page is deleted", || entries(folder.path()) == 0);
        let missing = folder.path().join("missing");
        assert!(open_with(OsStr::new("true"), LINK, LONG, &[missing]).is_err(), "no folder, no page");
    }

    #[test]
    fn an_address_is_text_of_the_page() {
        let page = page("https://home.lan/a&b\"><script>alert('x')</script>/console/#sign-in=1");
        assert!(!page.contains("<script") && page.matches("http-equiv").count() == 1, "{page}");
        assert_eq!(
            page.matches("https://home.lan/a&amp;b&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)").count(),
            2
        );
    }
}
