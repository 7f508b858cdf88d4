//! `${env:NAME}` and `${file:PATH}` inside a text, so that secrets need not stand in the configuration.
//!
//! It refuses to show what it found: only names and paths appear in its errors.

use std::{ffi::OsString, io::Read, path::Path};

/// The longest file that a text may refer to.
const LONGEST: u64 = 64 * 1024;

/// Replaces every reference. `Err` holds what is wrong and how to put it right.
pub(super) fn interpolate(
    text: &str,
    env: &dyn Fn(&str) -> Option<OsString>,
    folder: &Path,
) -> Result<String, (String, String)> {
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
                "write `${env:NAME}` or `${file:/path}`, or `$${` for the two characters themselves"
                    .to_owned(),
            ));
        };
        result.push_str(&resolve(&rest[at + 2..at + end], env, folder)?);
        rest = &rest[at + end + 1..];
    }
    result.push_str(rest);
    Ok(result)
}

fn resolve(
    reference: &str,
    env: &dyn Fn(&str) -> Option<OsString>,
    folder: &Path,
) -> Result<String, (String, String)> {
    match reference.split_once(':') {
        Some(("env", name)) if !name.is_empty() => match env(name).map(OsString::into_string) {
            Some(Ok(value)) => Ok(value),
            Some(Err(_)) => Err((
                format!("the environment variable `{name}` is not UTF-8"),
                "set it to a text".to_owned(),
            )),
            None => Err((
                format!("the environment variable `{name}` is not set"),
                "set it before the start; under systemd with `Environment=` or `EnvironmentFile=`".to_owned(),
            )),
        },
        Some(("file", path)) if !path.is_empty() => read(&folder.join(path)).map_err(|cause| {
            let remedy = "put the text into that file, and let the user that the service runs as read it";
            (format!("the file `{path}` cannot be read: {cause}"), remedy.to_owned())
        }),
        _ => Err((
            format!("`${{{}}}` is not a reference that is known", super::mask::shown(reference)),
            "write `${env:NAME}` or `${file:/path}`, or `$${` for the two characters themselves".to_owned(),
        )),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LONGEST {
        return Err(format!("it is longer than {} KB", LONGEST / 1024));
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "from file\r\n").unwrap();
        let env = |name: &str| (name == "NAME").then(|| OsString::from("${env:NOT}again"));
        let cases = [
            ("plain", Ok("plain")),
            ("a ${env:NAME} b ${file:secret}", Ok("a ${env:NOT}again b from file")),
            ("$${env:NAME}", Ok("${env:NAME}")),
            ("$$${env:NAME}", Ok("$${env:NAME}")),
            ("5 $ and {}", Ok("5 $ and {}")),
            ("${env:UNSET}", Err("the environment variable `UNSET` is not set")),
            ("${env:}", Err("`${env:}` is not a reference that is known")),
            ("${NAME}", Err("`${NAME}` is not a reference that is known")),
            ("${env:NAME", Err("`${` without its `}`")),
        ];
        for (text, expected) in cases {
            let result = interpolate(text, &env, folder.path()).map_err(|(message, _)| message);
            assert_eq!(result, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn a_file_that_is_missing_long_or_binary_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("long"), "x".repeat(70_000)).unwrap();
        std::fs::write(folder.path().join("binary"), [0xff, 0xfe]).unwrap();
        for (name, cause) in
            [("none", "No such file"), ("long", "longer than 64 KB"), ("binary", "not UTF-8")]
        {
            let error = interpolate(&format!("${{file:{name}}}"), &|_| None, folder.path()).unwrap_err();
            assert!(error.0.contains(cause), "{error:?}");
        }
    }
}
