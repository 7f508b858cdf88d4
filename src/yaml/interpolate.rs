//! Replaces `${env:NAME}`, `${file:PATH}` and `${credential:NAME}` in a text, so that the configuration needs no secrets.
//!
//! Errors contain names and paths, never the text that was found.

use std::{cell::Cell, ffi::OsString, path::Path};

use crate::{
    shortage::Shortage,
    text_file::{self, TextFileError},
};

/// The longest file that a text may refer to.
const LONGEST: u64 = 64 * 1024;

/// The stand-in for a credential that this process may not read; long enough where a secret must be long.
pub(super) const UNSEEN: &str = "unseen-credential";

/// The sources of references.
pub(super) struct References<'a> {
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// Relative paths start here.
    pub folder: &'a Path,
    /// Whether a credential that cannot be read becomes [`UNSEEN`] instead of a mistake.
    pub unseen: bool,
    /// Why a file could not be read for now, if one could not.
    pub shortage: &'a Cell<Option<Shortage>>,
}

/// Replaces every reference. The error is a message and a remedy.
pub(super) fn interpolate(text: &str, references: &References<'_>) -> Result<String, (String, String)> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            // `$${` is a literal `${`.
            result.push_str(&rest[..at]);
            result.push('{');
            rest = &rest[at + 2..];
            continue;
        }
        result.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}') else {
            return Err((
                "`${` without its `}`".to_owned(),
                "write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`, or `$${` for the two characters themselves"
                    .to_owned(),
            ));
        };
        result.push_str(&resolve(&rest[at + 2..at + end], references)?);
        rest = &rest[at + end + 1..];
    }
    result.push_str(rest);
    Ok(result)
}

/// The values of the references in a text that [`interpolate`] accepts.
pub(super) fn values(text: &str, references: &References<'_>) -> Vec<String> {
    let (mut values, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find("${") {
        let Some(end) = rest[at..].find('}') else { break };
        if rest[..at].ends_with('$') {
            rest = &rest[at + 2..];
            continue;
        }
        values.extend(resolve(&rest[at + 2..at + end], references));
        rest = &rest[at + end + 1..];
    }
    values
}

fn resolve(reference: &str, references: &References<'_>) -> Result<String, (String, String)> {
    let References { env, folder, shortage, .. } = *references;
    match reference.split_once(':') {
        Some(("env", name)) if !name.is_empty() => match env(name).map(OsString::into_string) {
            Some(Ok(value)) => Ok(value),
            Some(Err(_)) => Err((
                format!("the environment variable `{name}` is not UTF-8"),
                "set it to UTF-8 text".to_owned(),
            )),
            None => Err((
                format!("the environment variable `{name}` is not set"),
                "set it before the start; for systemd with `Environment=` or `EnvironmentFile=`".to_owned(),
            )),
        },
        Some(("file", path)) if !path.is_empty() => read(&folder.join(path), shortage).map_err(|cause| {
            let remedy = "put the text into that file, and make it readable for the user that the service runs as";
            (format!("the file `{path}` cannot be read: {cause}"), remedy.to_owned())
        }),
        Some(("credential", name)) if !name.is_empty() => credential(name, references),
        _ => Err((
            format!("`${{{}}}` is no known reference", super::mask::shown(reference)),
            "write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`, or `$${` for the two characters themselves".to_owned(),
        )),
    }
}

/// A credential that systemd provides by `LoadCredential=`, in a folder that only the service can read.
fn credential(name: &str, references: &References<'_>) -> Result<String, (String, String)> {
    let References { env, unseen, shortage, .. } = *references;
    let shown = super::mask::shown(name);
    let remedy =
        format!("put `LoadCredential={shown}:/path/to/the/file` below [Service] in a drop-in of the unit");
    if name.contains('/') || matches!(name, "." | "..") {
        let message = format!("the credential `{shown}` has an invalid name");
        return Err((message, "write the name from `LoadCredential=`, without a path".to_owned()));
    }
    let found = match env("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty()) {
        Some(folder) => read(&Path::new(&folder).join(name), shortage)
            .map_err(|cause| format!("the credential `{shown}` cannot be read: {cause}")),
        None => Err(format!("the credential `{shown}` is missing: systemd provides none to this process")),
    };
    match found {
        Err(_) if unseen => Ok(UNSEEN.to_owned()),
        found => found.map_err(|message| (message, remedy)),
    }
}

fn read(path: &Path, shortage: &Cell<Option<Shortage>>) -> Result<String, String> {
    let text = text_file::read(path, LONGEST).map_err(|error| match error {
        TextFileError::Io(error) => {
            shortage.set(shortage.get().or(Shortage::of_io(&error)));
            error.to_string()
        }
        other => format!("it {other}"),
    })?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "\u{feff}from file\r\n").unwrap();
        let env = |name: &str| (name == "NAME").then(|| OsString::from("${env:NOT}again"));
        let cases = [
            ("plain", Ok("plain")),
            ("a ${env:NAME} b ${file:secret}", Ok("a ${env:NOT}again b from file")),
            ("$${env:NAME}", Ok("${env:NAME}")),
            ("$$${env:NAME}", Ok("$${env:NAME}")),
            ("5 $ and {}", Ok("5 $ and {}")),
            ("${env:UNSET}", Err("the environment variable `UNSET` is not set")),
            ("${env:}", Err("`${env:}` is no known reference")),
            ("${NAME}", Err("`${NAME}` is no known reference")),
            ("${env:NAME", Err("`${` without its `}`")),
        ];
        for (text, expected) in cases {
            let result = interpolate(
                text,
                &References { env: &env, folder: folder.path(), unseen: false, shortage: &Cell::new(None) },
            )
            .map_err(|(message, _)| message);
            assert_eq!(result, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn a_credential_is_what_systemd_handed_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mqtt"), "given\n").unwrap();
        let given = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| folder.path().into());
        let by = |text, unseen| {
            let references =
                References { env: &given, folder: Path::new("/"), unseen, shortage: &Cell::new(None) };
            interpolate(text, &references).map_err(|(message, _)| message)
        };
        let resolved = |text| by(text, false);
        assert_eq!(resolved("${credential:mqtt}"), Ok("given".to_owned()));
        for (text, expected) in [
            ("${credential:other}", "the credential `other` cannot be read: No such file"),
            ("${credential:../mqtt}", "the credential `../mqtt` has an invalid name"),
            ("${credential:..}", "the credential `..` has an invalid name"),
        ] {
            assert!(resolved(text).unwrap_err().starts_with(expected), "{text}: {:?}", resolved(text));
        }
        let (message, remedy) = interpolate(
            "${credential:mqtt}",
            &References { env: &|_| None, folder: Path::new("/"), unseen: false, shortage: &Cell::new(None) },
        )
        .unwrap_err();
        assert_eq!(by("${credential:mqtt}", true), Ok("given".to_owned()), "what can be seen is");
        assert_eq!(by("${credential:other}", true), Ok(UNSEEN.to_owned()));
        assert!(by("${credential:..}", true).is_err());
        assert_eq!(message, "the credential `mqtt` is missing: systemd provides none to this process");
        assert!(remedy.starts_with("put `LoadCredential=mqtt:"), "{remedy}");
    }

    #[test]
    fn a_file_that_is_missing_long_or_binary_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("long"), "x".repeat(70_000)).unwrap();
        std::fs::write(folder.path().join("binary"), [0xff, 0xfe]).unwrap();
        for (name, cause) in
            [("none", "No such file"), ("long", "longer than 64 KB"), ("binary", "not UTF-8")]
        {
            let error = interpolate(
                &format!("${{file:{name}}}"),
                &References {
                    env: &|_| None,
                    folder: folder.path(),
                    unseen: false,
                    shortage: &Cell::new(None),
                },
            )
            .unwrap_err();
            assert!(error.0.contains(cause), "{error:?}");
        }
    }
}
