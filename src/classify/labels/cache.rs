//! Keeps label vectors on disk, so that a start need not load the text graph again.
//!
//! There is one file for each model, named by a fingerprint of everything that the vectors depend on: a header, then a hash
//! of each text with its vector, then a hash of all of it. A damaged file is ignored, and a folder that cannot be written
//! only costs time.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Once,
};

use sha2::{Digest as _, Sha256};
use tracing::{debug, warn};

use crate::{
    cache,
    model::{ModelError, TextEncoder},
};

const MAGIC: &[u8] = b"stakeout label vectors 2\n";
/// The most texts in a file; those that are not in use are deleted first.
const MOST_TEXTS: usize = 10_000;
/// The most files; those that were not used for the longest time are deleted first.
const MOST_MODELS: usize = 32;

type Hash = [u8; 32];

/// Where label vectors are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorCache {
    folder: Option<PathBuf>,
}

impl VectorCache {
    /// In the service's cache folder, or in the user's.
    #[must_use]
    pub fn of_user() -> Self {
        Self { folder: cache::folder().map(|folder| folder.join("labels")) }
    }

    /// In this folder.
    #[must_use]
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { folder: Some(folder) }
    }

    /// No cache: every text is encoded.
    #[must_use]
    pub fn none() -> Self {
        Self { folder: None }
    }

    /// The vectors of some texts. Only texts that are not in the cache are encoded; if all are, the encoder is not used.
    ///
    /// # Errors
    /// The model failed.
    pub fn encode(&self, encoder: &TextEncoder, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        let Some(folder) = &self.folder else { return encoder.encode(texts) };
        let model = encoder.fingerprint();
        let path = folder.join(format!("{}.vectors", cache::hex(&model[..16])));
        let is_kept = |text: &str| !encoder.tokens(text).is_ok_and(|tokens| tokens.is_cut());
        let vectors = through(&path, &model, texts, |missing| encoder.encode(missing), is_kept)?;
        encoder.uses(&vectors);
        Ok(vectors)
    }
}

fn through(
    path: &Path,
    model: &Hash,
    texts: &[&str],
    encode: impl FnOnce(&[&str]) -> Result<Vec<Vec<f32>>, ModelError>,
    is_kept: impl Fn(&str) -> bool,
) -> Result<Vec<Vec<f32>>, ModelError> {
    let mut kept = cache::read(path).and_then(|bytes| parse(&bytes, model)).unwrap_or_default();
    let keys: Vec<Hash> = texts.iter().map(|text| Sha256::digest(text).into()).collect();
    let missing: Vec<_> =
        texts.iter().zip(&keys).filter(|(_, key)| !kept.contains_key(*key)).map(|(text, _)| *text).collect();
    debug!(texts = texts.len(), missing = missing.len(), path = %path.display(), "label vectors on disk");
    if missing.is_empty() {
        cache::touch(path);
    } else {
        for (text, vector) in missing.iter().zip(encode(&missing)?) {
            kept.insert(Sha256::digest(text).into(), vector);
        }
        // Encoding warns of a text that the model does not see completely. It is encoded at each start, so that each start warns.
        let cut: Vec<Hash> =
            missing.iter().filter(|text| !is_kept(text)).map(|text| Sha256::digest(text).into()).collect();
        if let Err(error) = cache::write(path, &bytes(model, &kept, &keys, &cut), MOST_MODELS) {
            static LOGGED: Once = Once::new();
            LOGGED.call_once(|| {
                warn!(path = %path.display(), %error, "label vectors cannot be kept, so each start encodes them again");
            });
        }
    }
    Ok(keys.iter().map(|key| kept[key].clone()).collect())
}

fn parse(bytes: &[u8], model: &Hash) -> Option<HashMap<Hash, Vec<f32>>> {
    let (content, hash) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if *hash != *Sha256::digest(content) {
        return None;
    }
    let rest = content.strip_prefix(MAGIC)?.strip_prefix(model)?;
    let (columns, entries) = rest.split_first_chunk::<4>()?;
    let columns = usize::try_from(u32::from_le_bytes(*columns)).ok().filter(|columns| *columns > 0)?;
    let entries = entries.chunks_exact(32 + 4 * columns);
    let entry = |entry: &[u8]| {
        let (key, values) = entry.split_first_chunk::<32>()?;
        let values = values.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value));
        Some((*key, values.collect()))
    };
    entries.remainder().is_empty().then(|| entries.map(entry).collect())?
}

/// The file's content, with the texts in use first. Vectors of another length cannot be this model's, and are omitted.
fn bytes(model: &Hash, kept: &HashMap<Hash, Vec<f32>>, used: &[Hash], cut: &[Hash]) -> Vec<u8> {
    let columns = used.first().map_or(0, |key| kept[key].len());
    let mut bytes = [MAGIC, model, &u32::try_from(columns).unwrap_or(0).to_le_bytes()].concat();
    let others = kept.keys().filter(|key| !used.contains(key));
    for key in used.iter().chain(others).take(MOST_TEXTS.max(used.len())) {
        let vector = &kept[key];
        if vector.len() == columns && !cut.contains(key) {
            bytes.extend_from_slice(key);
            bytes.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
        }
    }
    let hash = Sha256::digest(&bytes);
    bytes.extend_from_slice(&hash);
    bytes
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::faults::{Disk, sweep};

    /// Returns the vectors of texts, and the texts that were encoded for it.
    fn ask(path: &Path, model: Hash, texts: &[&str]) -> (Vec<Vec<f32>>, Vec<String>) {
        let mut encoded = Vec::new();
        let vectors = through(
            path,
            &model,
            texts,
            |missing| {
                encoded = missing.iter().map(ToString::to_string).collect();
                Ok(missing.iter().map(|text| vec![text.len() as f32, 0.1]).collect())
            },
            |text| text != "a text that is cut",
        );
        (vectors.unwrap(), encoded)
    }

    #[test]
    fn a_text_is_encoded_once_for_each_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/below/a.vectors");
        let (first, encoded) = ask(&path, [1; 32], &["a cat", "a dog!"]);
        assert_eq!((first.len(), encoded.len()), (2, 2));
        assert_eq!(
            ask(&path, [1; 32], &["a dog!", "a cat"]),
            (vec![first[1].clone(), first[0].clone()], vec![])
        );
        assert_eq!(ask(&path, [1; 32], &["a cat", "a fish"]).1, ["a fish"]);
        assert_eq!(ask(&path, [1; 32], &["a dog!"]).1, [""; 0], "older texts are still in the cache");
        assert_eq!(ask(&path, [2; 32], &["a cat"]).1, ["a cat"], "another model under the same name");
    }

    #[test]
    fn a_text_that_the_model_does_not_see_completely_is_encoded_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.vectors");
        for _ in 0..2 {
            let (vectors, _) = ask(&path, [1; 32], &["a cat", "a text that is cut"]);
            assert_eq!(vectors[1], [18.0, 0.1]);
        }
        assert_eq!(ask(&path, [1; 32], &["a cat", "a text that is cut"]).1, ["a text that is cut"]);
    }

    #[test]
    fn a_damaged_file_is_no_error_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.vectors");
        ask(&path, [1; 32], &["a cat"]);
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[MAGIC.len() + 60] ^= 1;
        for damaged in [&whole[..whole.len() - 1], &flipped, b"", &whole[..40]] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(ask(&path, [1; 32], &["a cat"]).1, ["a cat"]);
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn no_fault_of_the_disk_changes_a_vector() {
        let ask = |disk: &Disk, texts: &[&str]| {
            let (vectors, _) = ask(&disk.path().join("a.vectors"), [1; 32], texts);
            let expected: Vec<_> = texts.iter().map(|text| vec![text.len() as f32, 0.1]).collect();
            assert_eq!(vectors, expected);
        };
        let faults = sweep(
            |disk| ask(disk, &["a cat"]),
            |disk| {
                ask(disk, &["a cat", "a dog!"]);
                ask(disk, &["a fish", "a cat"]);
            },
            |disk, _| ask(disk, &["a cat", "a dog!", "a fish"]),
        );
        assert!(faults >= 20, "{faults}");
    }

    #[test]
    fn a_cache_that_cannot_be_written_costs_time_only() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().join("below-a-file.vectors");
        for _ in 0..2 {
            let (vectors, encoded) = ask(&path, [1; 32], &["a cat"]);
            assert_eq!((vectors, encoded), (vec![vec![5.0, 0.1]], vec!["a cat".to_owned()]));
        }
    }
}
