//! The environment variables of the hub, with the names and meanings of Hugging Face's own tools.

use std::{collections::HashMap, env, ffi::OsString, fmt, path::PathBuf};

use crate::{
    config::Secret,
    text_file::{self, TextFileError},
};

/// The longest file with a token.
const LONGEST_TOKEN: u64 = 64 * 1024;

/// The variables, read once.
#[derive(Clone)]
pub(super) struct Environment(HashMap<String, OsString>);

/// The variables of a process often hold secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

impl Environment {
    pub fn of_process() -> Self {
        Self(env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect())
    }

    #[cfg(test)]
    pub fn of(set: &[(&str, &str)]) -> Self {
        Self(set.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect())
    }

    /// A folder or file. In the variables of the hub's tools, `~` and `$NAME` are replaced as these tools replace them.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        let value = self.0.get(name).filter(|value| !value.is_empty())?;
        let expands = name.starts_with("HF_") || name.starts_with("HUGGINGFACE_");
        match value.to_str().filter(|_| expands) {
            Some(text) => Some(self.expanded(text).into()),
            None => Some(value.into()),
        }
    }

    /// `~` at the start is the home folder; `$NAME` and `${NAME}` are the variable, if it is set.
    fn expanded(&self, text: &str) -> String {
        let value = |name: &str| self.0.get(name).and_then(|value| value.to_str());
        let at_home = text.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let mut rest = match (at_home, value("HOME")) {
            (Some(rest), Some(home)) => format!("{}{rest}", home.trim_end_matches('/')),
            _ => text.to_owned(),
        };
        let mut expanded = String::new();
        while let Some((before, after)) = rest.split_once('$') {
            expanded += before;
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let plain = || after.split_at(after.find(|c| !is_word(c)).unwrap_or(after.len()));
            let (name, left) = braced.unwrap_or_else(plain);
            match value(name).filter(|_| !name.is_empty()) {
                Some(value) => {
                    expanded += value;
                    rest = left.to_owned();
                }
                None => {
                    expanded.push('$');
                    rest = after.to_owned();
                }
            }
        }
        expanded + &rest
    }

    /// The folder of the hub's tools, if it is set.
    pub fn home(&self) -> Option<PathBuf> {
        self.path("HF_HOME")
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name)?.to_str().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// The hub's address, without a slash at its end.
    pub fn endpoint(&self) -> String {
        let named = self.text("HF_ENDPOINT").map(|named| named.trim_end_matches('/').to_owned());
        named.unwrap_or_else(|| "https://huggingface.co".to_owned())
    }

    /// The token, from the variable, else from the file that `hf auth login` writes.
    pub fn token(&self) -> Option<Secret> {
        let file = || {
            let named = self.path("HF_TOKEN_PATH");
            let home = self.home().or_else(|| {
                let cache =
                    self.path("XDG_CACHE_HOME").or_else(|| self.path("HOME").map(|home| home.join(".cache")));
                cache.map(|cache| cache.join("huggingface"))
            });
            let path = named.or_else(|| home.map(|home| home.join("token")))?;
            let text = match text_file::read(&path, LONGEST_TOKEN) {
                Ok(text) => text,
                Err(TextFileError::Io(_)) => return None,
                Err(error) => {
                    tracing::warn!("the token of the hub is not used: {}", error.about(&path));
                    return None;
                }
            };
            Some(text.trim().to_owned()).filter(|token| !token.is_empty())
        };
        let variable = || self.text("HUGGING_FACE_HUB_TOKEN");
        self.text("HF_TOKEN").or_else(variable).or_else(file).map(Secret::new)
    }

    /// The variable that forbids to use the network. `HF_HUB_OFFLINE` decides if it is set.
    pub fn offline(&self) -> Option<&'static str> {
        let names = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"];
        let (name, word) = names.into_iter().find_map(|name| Some((name, self.text(name)?)))?;
        ["1", "TRUE", "YES", "ON"].contains(&word.to_uppercase().as_str()).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_variables_mean_what_they_mean_to_the_hubs_own_tools() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("token"), "\u{feff}hf_file\n").unwrap();
        let hf_home = ("HF_HOME", home.path().to_str().unwrap());
        let token =
            |set: &[(&str, &str)]| Environment::of(set).token().map(|token| token.reveal().to_owned());
        assert_eq!(token(&[hf_home]).as_deref(), Some("hf_file"));
        assert_eq!(token(&[hf_home, ("HF_TOKEN", "hf_own")]).as_deref(), Some("hf_own"));
        assert_eq!(token(&[("HF_TOKEN", "")]), None);

        assert_eq!(Environment::of(&[]).endpoint(), "https://huggingface.co");
        assert_eq!(Environment::of(&[("HF_ENDPOINT", "http://mirror/hf/")]).endpoint(), "http://mirror/hf");
        assert_eq!(token(&[("HUGGING_FACE_HUB_TOKEN", "hf_old")]).as_deref(), Some("hf_old"));
        let offline = |set: &[(&str, &str)]| Environment::of(set).offline();
        let (hub, old) = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE");
        type Variables<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Variables<'_>, Option<&str>); 8] = [
            (&[(hub, "1")], Some(hub)),
            (&[(hub, "true")], Some(hub)),
            (&[(hub, "0")], None),
            (&[(hub, "")], None),
            (&[(old, "1")], Some(old)),
            (&[(old, "yes"), (hub, "")], Some(old)),
            // The first variable that is set decides, also with "no".
            (&[(hub, "0"), (old, "1")], None),
            (&[(old, "0")], None),
        ];
        for (set, expected) in cases {
            assert_eq!(offline(set), expected, "{set:?}");
        }
    }

    #[test]
    fn paths_are_expanded_as_by_the_hubs_own_tools() {
        let environment = |value| {
            let set =
                [("HF_HOME", value), ("HOME", "/home/me"), ("DISK", "/mnt/a"), ("XDG_CACHE_HOME", "~/c")];
            Environment::of(&set).home().unwrap().to_str().unwrap().to_owned()
        };
        for (value, expected) in [
            ("~", "/home/me"),
            ("~/hf", "/home/me/hf"),
            ("~other/hf", "~other/hf"),
            ("/a/~/b", "/a/~/b"),
            ("$DISK/hf", "/mnt/a/hf"),
            ("${DISK}hf", "/mnt/ahf"),
            ("$UNSET/hf$", "$UNSET/hf$"),
            ("${DISK", "${DISK"),
        ] {
            assert_eq!(environment(value), expected);
        }
        let plain = Environment::of(&[("XDG_CACHE_HOME", "~/c"), ("HOME", "/h")]);
        assert_eq!(plain.path("XDG_CACHE_HOME").unwrap(), PathBuf::from("~/c"));
    }
}
