//! The scripts of `make attacks`: the table of promises, and the restart of real brokers under a running service.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A repository with two pages, and a `cargo` whose test program has the tests `a::good`, `a::bad`, `a::ignored` and `a::skipped`.
struct Repository(TempDir);

impl Repository {
    fn new(rows: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["tools", "docs", "bin"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::copy(root().join("tools/attacks.py"), folder.path().join("tools/attacks.py")).unwrap();
        let page = format!("# Page\n\n| promise | proven by | last result |\n|---|---|---|\n{rows}");
        fs::write(folder.path().join("docs/security.md"), page).unwrap();
        fs::write(folder.path().join("docs/reliability.md"), "# Page\n").unwrap();
        let tests = folder.path().join("bin/tests");
        program(
            &tests,
            "#!/bin/sh
case \"$*\" in
*--list*) printf 'a::good: test\\na::bad: test\\na::skipped: test\\n' ;;
*a::bad*)
  printf 'test a::good ... ok\\ntest a::bad ... FAILED\\n\\nfailures:\\n\\n---- a::bad ----\\nit broke\\n\\nfailures:\\n    a::bad\\n\\n'
  echo 'test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out'
  exit 101 ;;
*a::skipped*)
  echo 'a::skipped: there is no disk' >>\"$STAKEOUT_SKIPPED\"
  printf 'test a::good ... ok\\ntest a::skipped ... ok\\n\\ntest result: ok. 2 passed; 0 failed; 0 ignored\\n' ;;
*) printf 'test a::good ... ok\\n\\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured\\n' ;;
esac
",
        );
        let message = format!("{{\"executable\": \"{}\", \"profile\": {{\"test\": true}}}}", tests.display());
        program(&folder.path().join("bin/cargo"), &format!("#!/bin/sh\necho '{message}'\n"));
        Self(folder)
    }

    fn run(&self, arguments: &[&str]) -> (Output, String) {
        let path = format!("{}:{}", self.0.path().join("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(self.0.path().join("tools/attacks.py"));
        let output = command.args(arguments).env("PATH", path).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("promises passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
        (output, text)
    }

    fn page(&self) -> String {
        fs::read_to_string(self.0.path().join("docs/security.md")).unwrap()
    }
}

/// The words of a line of the table at the end.
fn has(text: &str, state: &str, promise: &str) -> bool {
    let (_, table) = text.split_once("== docs/security.md").unwrap();
    table.lines().any(|line| line.split_whitespace().next() == Some(state) && line.contains(promise))
}

#[test]
fn the_table_shows_what_failed_and_what_was_not_run() {
    let rows = "| it is good | `a::good` | passed 2026-11-01 |\n| it is bad | `a::good`, `a::bad` | passed 2026-11-01 |\n";
    let bad = Repository::new(rows);
    let (output, text) = bad.run(&["--short", "--write"]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(has(&text, "passed", "it is good") && has(&text, "FAILED", "it is bad"), "{text}");
    assert!(text.contains("1 promises passed, 1 failed, 0 skipped"), "{text}");
    let page = bad.page();
    assert_eq!(
        page.matches("passed 2026-11-01").count(),
        1,
        "only a proof that passed has a new date: {page}"
    );
    assert!(page.contains("| it is bad | `a::good`, `a::bad` | passed 2026-11-01 |"), "{page}");

    let rows = "| it is good | `a::good` | not run: x |\n| it is skipped | `a::skipped` | not run: x |\n\
                | it is a script | `a::good`, `tools/script.sh` | not run: x |\n";
    let (output, text) = Repository::new(rows).run(&["--short"]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(has(&text, "passed", "it is good"), "{text}");
    assert!(has(&text, "skipped", "it is skipped (there is no disk)"), "{text}");
    assert!(has(&text, "skipped", "it is a script (not in the short form)"), "{text}");

    let (output, text) = Repository::new("| it is missing | `a::missing` | not run: x |\n").run(&["--short"]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(has(&text, "FAILED", "it is missing (there is no such test)"), "{text}");

    let script = Repository::new("| it is a script | `tools/script.sh` | not run: x |\n");
    let path = script.0.path().join("tools/script.sh");
    for (content, code, state) in [
        ("#!/bin/sh\necho done\n", 0, "passed"),
        ("#!/bin/sh\necho 'skipped: no root'\n", 0, "skipped"),
        ("#!/bin/sh\nexit 3\n", 1, "FAILED"),
    ] {
        program(&path, content);
        let (output, text) = script.run(&[]);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(has(&text, state, "it is a script"), "{content}: {text}");
    }
}

/// A subscriber with a persistent session is away while Mosquitto restarts. With persistence it misses no alert; without, it does,
/// and doctor reports that.
#[test]
fn a_persistent_subscriber_misses_nothing_at_a_broker_that_stores_its_sessions() {
    let mut script = Command::new(root().join("tools/brokers.py"));
    script.args(["--restart", "stopped", "mosquitto", "mosquitto-persistent"]);
    let output = script.env("STAKEOUT", env!("CARGO_BIN_EXE_stakeout")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let (_, table) = text.split_once("| broker |").unwrap();
    for version in ["5", "3.1.1"] {
        let row = |persistence: &str| {
            let mut rows = table.lines().filter(|line| line.contains(&format!("| {version} |")));
            rows.find(|line| line.contains(persistence))
                .unwrap_or_else(|| panic!("no row in {table}"))
                .to_owned()
        };
        let stored = row("`persistence true`");
        assert!(stored.contains("kept, 0 alerts missed | ok |"), "{stored}");
        let forgot = row("`persistence false`");
        assert!(forgot.contains("forgotten, ") && forgot.contains("| warns |"), "{forgot}");
        assert!(!forgot.contains("forgotten, 0 alerts missed"), "{forgot}");
    }
}
