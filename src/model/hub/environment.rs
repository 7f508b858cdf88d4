//! The environment variables of the hub, with the names and meanings of Hugging Face's own tools.

use std::{collections::HashMap, env, ffi::OsString, fs, path::PathBuf};

use crate::config::Secret;

/// The variables, read once.
#[derive(Debug, Clone)]
pub(super) struct Environment(HashMap<String, OsString>);

impl Environment {
    pub fn of_process() -> Self {
        Self(env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect())
    }

    #[cfg(test)]
    pub fn of(set: &[(&str, &str)]) -> Self {
        Self(set.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect())
    }

    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
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
            let home = self.path("HF_HOME").or_else(|| {
                let cache =
                    self.path("XDG_CACHE_HOME").or_else(|| self.path("HOME").map(|home| home.join(".cache")));
                cache.map(|cache| cache.join("huggingface"))
            });
            let text = fs::read_to_string(named.or_else(|| home.map(|home| home.join("token")))?).ok()?;
            Some(text.trim().to_owned()).filter(|token| !token.is_empty())
        };
        self.text("HF_TOKEN").or_else(file).map(Secret::new)
    }

    /// Whether the network must not be used.
    pub fn is_offline(&self) -> bool {
        let word = self.text("HF_HUB_OFFLINE").unwrap_or_default().to_uppercase();
        ["1", "TRUE", "YES", "ON"].contains(&word.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_mean_what_they_mean_to_the_hubs_own_tools() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("token"), "hf_file\n").unwrap();
        let hf_home = ("HF_HOME", home.path().to_str().unwrap());
        let token =
            |set: &[(&str, &str)]| Environment::of(set).token().map(|token| token.reveal().to_owned());
        assert_eq!(token(&[hf_home]).as_deref(), Some("hf_file"));
        assert_eq!(token(&[hf_home, ("HF_TOKEN", "hf_own")]).as_deref(), Some("hf_own"));
        assert_eq!(token(&[("HF_TOKEN", "")]), None);

        assert_eq!(Environment::of(&[]).endpoint(), "https://huggingface.co");
        assert_eq!(Environment::of(&[("HF_ENDPOINT", "http://mirror/hf/")]).endpoint(), "http://mirror/hf");
        let offline = |word| Environment::of(&[("HF_HUB_OFFLINE", word)]).is_offline();
        assert_eq!([offline("1"), offline("true"), offline("0"), offline("")], [true, true, false, false]);
    }
}
