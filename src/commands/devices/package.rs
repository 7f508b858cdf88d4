//! Fetches the package of a plugin, in the way that `make setup` fetches ONNX Runtime: `pip download` with a hash needs no Python
//! environment, runs no code of the package, and works with every mirror that pip is configured for.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    engine::plugins::{Plugin, Wheel},
    progress::human,
    terminal,
};

/// A version of Python whose packages pip looks for. The libraries in them do not depend on it.
const PYTHON: &str = "3.11";

/// The file of the package for this machine, or why there is none.
pub(super) fn wheel(plugin: &Plugin) -> Result<&'static Wheel, String> {
    let (name, package) = (plugin.name, &plugin.package);
    if package.wheels.is_empty() {
        return Err(format!(
            "the program does not fetch it: accept the licence of the Python package {}, install it with pip, and name its library by \
             its file: `device: {{ plugin: FILE }}`",
            package.name
        ));
    }
    let wheel = package.wheels.iter().find(|wheel| wheel.machine == env::consts::ARCH);
    wheel.ok_or_else(|| {
        format!("there is no package of {name} for {}: build its library, and name it by its file: `device: {{ plugin: FILE }}`", env::consts::ARCH)
    })
}

/// Fetches the package and puts its libraries into `target`, a folder in `folder`, in one step.
pub(super) fn fetch(plugin: &Plugin, folder: &Path, target: &Path) -> Result<()> {
    let wheel = match wheel(plugin) {
        Ok(wheel) => wheel,
        Err(why) => bail!("{why}"),
    };
    let package = &plugin.package;
    let writable = || format!("{} cannot be written", folder.display());
    fs::create_dir_all(folder).with_context(writable)?;
    terminal::say(format_args!(
        "fetching {} {} ({}) to {}",
        package.name,
        package.version,
        human(package.bytes),
        target.display()
    ));
    // In the same folder, so that the result can be renamed.
    let work = tempfile::Builder::new().prefix(".fetching-").tempdir_in(folder).with_context(writable)?;
    let requirements = work.path().join("requirements.txt");
    let line = format!("{}=={} --hash=sha256:{}\n", package.name, package.version, wheel.sha256);
    fs::write(&requirements, line).with_context(writable)?;
    let downloaded = work.path().join("downloaded");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--require-hashes"]);
    pip.args(["--only-binary=:all:", "--implementation", "cp", "--abi", "cp311", "--python-version", PYTHON]);
    pip.args(["--platform", wheel.platform, "--requirement"])
        .arg(&requirements)
        .arg("--dest")
        .arg(&downloaded);
    call(
        &mut pip,
        "the package cannot be downloaded: are python3 and python3-pip installed, and is the network or the package mirror \
         reachable (`pip config list`)?",
    )?;
    let file = only_file(&downloaded, "whl").context("pip has downloaded no package")?;
    let unpacked = work.path().join("unpacked");
    let mut unzip = Command::new("python3");
    unzip.args(["-m", "zipfile", "-e"]).arg(&file).arg(&unpacked);
    call(&mut unzip, "the package cannot be unpacked")?;
    let libraries = unpacked.join(package.folder);
    ensure!(
        libraries.join(plugin.library).is_file(),
        "the package has no {}/{}",
        package.folder,
        plugin.library
    );
    keep_licences(&unpacked, &libraries).with_context(writable)?;
    remove_needless(&libraries, plugin.library).with_context(writable)?;
    // An earlier attempt may have left something.
    let _ = fs::remove_dir_all(target);
    fs::rename(&libraries, target).with_context(writable)
}

fn call(command: &mut Command, failed: &'static str) -> Result<()> {
    let status = command.status().context(failed)?;
    ensure!(status.success(), failed);
    Ok(())
}

/// The file of a folder with this extension.
fn only_file(folder: &Path, extension: &str) -> Option<PathBuf> {
    let mut files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    files.find(|path| path.extension().is_some_and(|found| found == extension))
}

/// Moves the licences and the description of the package beside its libraries: they must be passed on with them.
fn keep_licences(unpacked: &Path, libraries: &Path) -> io::Result<()> {
    for entry in fs::read_dir(unpacked)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "dist-info") {
            fs::rename(&path, libraries.join("package"))?;
        }
    }
    Ok(())
}

/// Removes what only Python needs, and copies of the library: a package has no links, so it has a copy for each name.
fn remove_needless(libraries: &Path, library: &str) -> io::Result<()> {
    for entry in fs::read_dir(libraries)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_copy = name.strip_prefix(library).is_some_and(|rest| rest.starts_with('.'));
        if is_copy || name.ends_with(".py") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Removes every version of the plugin from a folder, and returns what was removed.
pub(super) fn remove(plugin: &Plugin, folder: &Path) -> Result<Vec<PathBuf>> {
    let begins = format!("{}-", plugin.name);
    let is_version = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let rest = name.strip_prefix(&begins);
        rest.is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()))
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let versions: Vec<_> = entries.filter(is_version).collect();
    for path in &versions {
        fs::remove_dir_all(path).with_context(|| format!("{} cannot be removed", path.display()))?;
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::plugins::PLUGINS;

    #[test]
    fn a_package_keeps_its_libraries_and_licences() {
        let unpacked = tempfile::tempdir().unwrap();
        let libraries = unpacked.path().join("p");
        fs::create_dir_all(unpacked.path().join("p-1.dist-info/licenses")).unwrap();
        fs::create_dir(&libraries).unwrap();
        for name in ["libp.so", "libp.so.1", "libp.so.1.2", "libother.so.1", "__init__.py", "licence.txt"] {
            fs::write(libraries.join(name), "").unwrap();
        }
        keep_licences(unpacked.path(), &libraries).unwrap();
        remove_needless(&libraries, "libp.so").unwrap();
        let mut names: Vec<_> = fs::read_dir(&libraries)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["libother.so.1", "libp.so", "licence.txt", "package"]);
        assert!(libraries.join("package/licenses").is_dir());
    }

    #[test]
    fn only_versions_of_the_plugin_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["openvino-1.8.1", "openvino-1.9", "openvino", "openvino-own", "webgpu-0.4.0"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let [openvino, ..] = &PLUGINS;
        assert_eq!(remove(openvino, folder.path()).unwrap().len(), 2);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        assert_eq!(remove(openvino, Path::new("/nowhere")).unwrap(), Vec::<PathBuf>::new());
    }
}
