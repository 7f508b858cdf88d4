//! What the program is made of: the software bill of materials, the advisories, and the images of the Dockerfile.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A script of the repository, which asks no network.
fn script(path: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(root().join(path));
    command.args(arguments).current_dir(root());
    command.env("CARGO_NET_OFFLINE", "true").env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// The packages of `Cargo.lock`: by name and version the names of what they depend on.
fn locked() -> BTreeMap<(String, String), Vec<String>> {
    let lock = read("Cargo.lock");
    let value = |package: &str, key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")))?;
        Some(line.trim_end_matches('"').to_owned())
    };
    let packages = lock.split("[[package]]\n").skip(1).map(|package| {
        let needs = package.split("dependencies = [\n").nth(1).unwrap_or_default();
        let needs = needs.lines().filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\","));
        let name = (value(package, "name").unwrap(), value(package, "version").unwrap());
        (name, needs.map(str::to_owned).collect())
    });
    packages.collect()
}

#[test]
fn the_sbom_names_every_part_with_its_version() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libonnxruntime.so");
    fs::write(&library, "a library").unwrap();
    let made = script("tools/sbom.py", &["--library", library.to_str().unwrap()]).output().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    let bom: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!((&bom["bomFormat"], &bom["specVersion"]), (&"CycloneDX".into(), &"1.6".into()));
    let components = bom["components"].as_array().unwrap();
    let find = |name: &str| {
        let found = components.iter().find(|component| component["name"] == name);
        found.unwrap_or_else(|| panic!("{name} is missing"))
    };

    // Vendored C: the version that is inside, not that of the crate.
    assert_eq!(find("SQLite")["version"], rusqlite::version(), "the version that the program reports");
    assert!(find("SQLite")["cpe"].as_str().unwrap().contains(rusqlite::version()));
    for name in ["libjpeg-turbo", "ONNX Runtime"] {
        let version = find(name)["version"].as_str().unwrap();
        assert!(
            version.split('.').count() == 3 && find(name)["cpe"].as_str().unwrap().contains(version),
            "{name}"
        );
    }
    assert_eq!(find("BoringSSL (parts in ring)")["version"], Value::Null, "it has none");
    let hash = &find("ONNX Runtime")["hashes"][0]["content"];
    assert_eq!(hash, "31f109ab38348582abdc9e1c9942f74505c719e98c6d0ab6fbcfdccfd8c9935b");

    // Every crate is one of the lock file, with its hash; and the large ones are there.
    let (locked, lock) = (locked(), read("Cargo.lock"));
    let crates =
        components.iter().filter(|it| it["purl"].as_str().is_some_and(|purl| purl.starts_with("pkg:cargo/")));
    let mut count = 0;
    for component in crates {
        let (name, version) = (component["name"].as_str().unwrap(), component["version"].as_str().unwrap());
        assert!(locked.contains_key(&(name.to_owned(), version.to_owned())), "{name} {version}");
        assert!(lock.contains(component["hashes"][0]["content"].as_str().unwrap()), "{name} {version}");
        count += 1;
    }
    assert!(count > 200, "{count}");
    for name in ["ort", "rumqttc", "rustls", "ffmpeg-next", "tokenizers"] {
        find(name);
    }
    // The packages of the console are those of its lock file.
    let lock: Value = serde_json::from_str(&read("web/package-lock.json")).unwrap();
    for name in ["preact", "uplot"] {
        let locked = &lock["packages"][format!("node_modules/{name}")];
        assert_eq!(find(name)["version"], locked["version"], "{name}");
        assert_eq!(find(name)["purl"], format!("pkg:npm/{name}@{}", locked["version"].as_str().unwrap()));
        assert_eq!(find(name)["hashes"][0]["content"].as_str().map(str::len), Some(128), "{name}");
    }
    // A vendored library belongs to the crate that contains it.
    let edges = bom["dependencies"].as_array().unwrap();
    let turbojpeg =
        edges.iter().find(|it| it["ref"].as_str().unwrap().starts_with("crate:turbojpeg-sys@")).unwrap();
    assert!(turbojpeg["dependsOn"].to_string().contains("#libjpeg-turbo"), "{turbojpeg}");
}

#[test]
fn a_faulty_sbom_is_rejected() {
    let made = script("tools/sbom.py", &[]).output().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sbom.json");
    let check = |bom: &Value| {
        fs::write(&file, bom.to_string()).unwrap();
        script("tools/sbom.py", &["--check", file.to_str().unwrap()]).output().unwrap()
    };
    let bom: Value = serde_json::from_slice(&made.stdout).unwrap();
    let checked = check(&bom);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    /// What is reported, and the damage.
    type Case = (&'static str, fn(&mut Value));
    let damages: [Case; 7] = [
        ("is not CycloneDX", |bom| bom["specVersion"] = "9".into()),
        ("serial number", |bom| bom["serialNumber"] = "1".into()),
        ("the type is unknown", |bom| bom["components"][0]["type"] = "thing".into()),
        ("has no name", |bom| bom["components"][0]["name"] = Value::Null),
        ("the hash is malformed", |bom| bom["components"][0]["hashes"][0]["content"] = "abc".into()),
        ("is no component", |bom| bom["dependencies"][0]["dependsOn"] = vec!["nothing"].into()),
        ("libjpeg-turbo has no version", |bom| {
            bom["components"].as_array_mut().unwrap().retain(|it| it["name"] != "libjpeg-turbo");
        }),
    ];
    for (expected, damage) in damages {
        let mut damaged = bom.clone();
        damage(&mut damaged);
        let rejected = check(&damaged);
        let message = text(&rejected.stderr);
        assert!(!rejected.status.success() && message.contains(expected), "{expected}: {message}");
    }
}

/// A folder with a program of this name that prints `output` and exits with `code`, for the `PATH` of a script.
fn fake(name: &str, output: &str, code: u8) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    // `licenses bans sources` always passes; the answer is about what follows.
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in *licenses*) exit 0;; esac\ncat <<'END'\n{output}\nEND\nexit {code}\n"
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn with_path(mut command: Command, folder: &TempDir) -> Output {
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    command.env("PATH", path).output().unwrap()
}

#[test]
fn advisories_that_were_not_checked_are_no_success() {
    const UNREACHABLE: &str =
        "2026-11-27 04:59:49 [ERROR] failed to fetch advisory database https://example.org/db";
    const FOUND: &str = "error[vulnerability]: a fault";
    for (output, code, passes, says) in [
        ("advisories ok", 0, true, "advisories: none"),
        (UNREACHABLE, 1, true, "NOT checked: advisories"),
        (FOUND, 1, false, FOUND),
        (&format!("{UNREACHABLE}\n{FOUND}"), 1, false, FOUND),
        ("error: another failure", 1, false, "another failure"),
    ] {
        let folder = fake("cargo", output, code);
        let unchecked = folder.path().join("unchecked");
        let mut command = script("tools/deny.sh", &[]);
        command.env("STAKEOUT_UNCHECKED", &unchecked);
        let done = with_path(command, &folder);
        let printed = text(&done.stdout);
        assert_eq!(done.status.success(), passes, "{output}: {printed}");
        let last = printed.trim().lines().last().unwrap_or_default();
        assert!(last.contains(says), "{output}: {printed}");
        let noted = fs::read_to_string(&unchecked).unwrap_or_default();
        assert_eq!(noted.contains("advisories"), says.starts_with("NOT"), "{output}: {noted}");
        assert!(!(says.starts_with("NOT") && printed.contains("ok")), "{printed}");
    }
    // The gate prints these lines last.
    let gate = read("tools/test_all.sh");
    assert_eq!(gate.trim().lines().last(), Some("list_unchecked"));
    assert_eq!(read(".ci/run").trim().lines().last(), Some("make check"));
}

/// What `deny.toml` says about the dependencies, and about this program.
#[test]
fn the_reasons_for_ignored_advisories_hold() {
    let locked = locked();
    let users = |name: &str| {
        let mut users: Vec<_> = locked
            .iter()
            .filter(|(_, needs)| {
                needs.iter().any(|need| need == name || need.starts_with(&format!("{name} ")))
            })
            .map(|((name, _), _)| name.as_str())
            .collect();
        users.sort_unstable();
        users
    };
    assert_eq!(users("paste"), ["pulp", "tokenizers"]);
    assert_eq!(users("rustls-pemfile"), ["rumqttc"]);
    assert_eq!(users("rustls-webpki 0.102.8"), ["rumqttc"]);
    let verifies =
        locked.keys().filter(|(name, version)| name == "rustls-webpki" && !version.starts_with("0.102."));
    for (_, version) in verifies {
        let parts: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
        assert!(parts >= vec![0, 103, 13], "{version} has the faults");
    }
    // rumqttc is given a finished configuration of rustls, and never the files of certificates.
    let mqtt = read("src/mqtt/mod.rs");
    assert!(mqtt.contains("tls::client_config(") && mqtt.contains("Transport::tls_with_config("));
    for file in sources(&root().join("src")) {
        if file.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for call in ["Transport::tls(", "TlsConfiguration::Simple", "Transport::wss(", "rustls_pemfile"] {
            assert!(!text.contains(call), "{}: {call}", file.display());
        }
    }
    // Each ignored advisory has a reason.
    let deny = read("deny.toml");
    let ignored = deny.lines().filter(|line| line.contains("RUSTSEC-"));
    assert!(
        ignored.clone().count() > 0 && ignored.clone().all(|line| line.contains("reason = \"")),
        "{deny}"
    );
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The script writes what a registry reports; here a program in its place.
#[test]
fn images_are_pinned_by_the_digest_of_the_registry() {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("tools")).unwrap();
    for file in ["Dockerfile", "tools/pin_images.py"] {
        fs::copy(root().join(file), copy.path().join(file)).unwrap();
    }
    let run = |arguments: &[&str], registry: &TempDir| {
        let mut command = Command::new(copy.path().join("tools/pin_images.py"));
        command.args(arguments);
        with_path(command, registry)
    };
    let dockerfile = || fs::read_to_string(copy.path().join("Dockerfile")).unwrap();
    let images =
        |text: &str| text.lines().filter(|line| line.starts_with("FROM ") && line.contains(':')).count();
    assert_eq!(images(&dockerfile()), 4);

    let broken = fake("skopeo", "no route", 1);
    let before = dockerfile();
    assert!(!run(&[], &broken).status.success());
    assert_eq!(dockerfile(), before, "a registry that does not answer changes nothing");

    // The digest of a manifest is the hash of its bytes: `{}` and the line break that the program prints.
    let registry = fake("skopeo", "{}", 0);
    let pinned = run(&[], &registry);
    assert!(pinned.status.success(), "{}", text(&pinned.stderr));
    const DIGEST: &str = "@sha256:ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356";
    assert_eq!(dockerfile().matches(DIGEST).count(), 4, "{}", dockerfile());
    assert_eq!(text(&run(&["--check"], &registry).stdout), "");
    // A second run replaces the digests.
    let newer = fake("skopeo", "{ }", 0);
    assert!(run(&[], &newer).status.success());
    assert_eq!((dockerfile().matches("@sha256:").count(), dockerfile().matches(DIGEST).count()), (4, 0));

    fs::write(copy.path().join("Dockerfile"), before.replace("trixie-slim AS", "trixie-slim@sha256:12 AS"))
        .unwrap();
    assert!(!run(&["--check"], &registry).status.success(), "a malformed digest is an error");
}
