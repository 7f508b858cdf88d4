//! The tensors of a model, in one `.safetensors` file or in several with an index.
//!
//! Only headers are read: ONNX Runtime reads the numbers, from the place in the file that the graph names. A header that does not
//! describe its file exactly is an error, as in the reference's reader. Each error names the file and the tensor.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use half::{bf16, f16};
use safetensors::{Dtype, tensor::TensorInfo};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;

use super::error::BuildError;
use crate::text_file;

/// The longest header, in bytes: the limit of the format.
const LONGEST_HEADER: u64 = 100_000_000;
/// The longest index, in bytes. That of a model with ten thousand tensors is a tenth of this.
const LONGEST_INDEX: u64 = 16 << 20;
/// The end of the name of an index.
const INDEX: &str = ".index.json";
/// The bytes before the header, with its length.
const LENGTH: u64 = 8;

/// The tensors of a model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Weights {
    /// The file that was named: the only one, or the index.
    name: String,
    files: Vec<WeightFile>,
    tensors: HashMap<String, StoredTensor>,
    /// The folder that contains all of the files under their `location`.
    folder: PathBuf,
    /// Whether there is a tensor of every name and shape.
    is_anything: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct WeightFile {
    /// Relative to the model's folder.
    name: String,
    /// Relative to `Weights::folder`.
    location: String,
}

/// A tensor in a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredTensor {
    file: usize,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// The first byte in the file.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
}

/// Whether a weight file is an index of others.
pub(crate) fn is_index(name: &str) -> bool {
    name.ends_with(INDEX)
}

/// The files that an index names, each with a tensor in it, sorted by name.
///
/// # Errors
/// It is no index, or a name leads out of the folder.
pub(crate) fn shards(index: &str, json: &[u8]) -> Result<BTreeMap<String, String>, BuildError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let wrong = |problem: String| BuildError::new(index, problem);
    let read = text_file::ascii(json).map_err(|error| wrong(format!("it {error}")))?;
    let Index { weight_map } = serde_json::from_slice(read).map_err(|error| wrong(error.to_string()))?;
    if weight_map.is_empty() {
        return Err(wrong("its `weight_map` is empty".to_owned()));
    }
    let mut files = BTreeMap::new();
    for (tensor, file) in weight_map {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !file.ends_with(".safetensors") || !file.chars().all(is_plain) {
            return Err(wrong(format!(
                "it says that the tensor `{tensor}` is in {file:?}, which is no name of a shard"
            )));
        }
        files.entry(file).or_insert(tensor);
    }
    Ok(files)
}

/// The files that belong to the weight file `name` of a folder: the file alone, or the index and its shards.
///
/// # Errors
/// As [`shards`], and if the index cannot be read.
pub(crate) fn files_of(folder: &Path, name: &str) -> Result<Vec<String>, BuildError> {
    if !is_index(name) {
        return Ok(vec![name.to_owned()]);
    }
    Ok(std::iter::once(name.to_owned())
        .chain(shards(name, &read_index(folder, name)?)?.into_keys())
        .collect())
}

fn read_index(folder: &Path, name: &str) -> Result<Vec<u8>, BuildError> {
    let read = text_file::read_bytes(&folder.join(name), LONGEST_INDEX);
    read.map_err(|error| BuildError::new(name, format!("it {error}")))
}

impl Weights {
    /// Reads the headers of the weight file `name` of a folder, or of the shards that it names if it is an index.
    ///
    /// # Errors
    /// A shard is missing, or a header is false.
    pub(crate) fn open(folder: &Path, name: &str) -> Result<Self, BuildError> {
        let named = match is_index(name) {
            false => BTreeMap::from([(name.to_owned(), String::new())]),
            true => shards(name, &read_index(folder, name)?)?,
        };
        let mut tensors = HashMap::new();
        let mut files: Vec<String> = Vec::new();
        for (file, holds) in named {
            let opened =
                File::open(folder.join(&file)).and_then(|opened| Ok((opened.metadata()?.len(), opened)));
            let (length, opened) = opened.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound if !holds.is_empty() => BuildError::new(
                    &file,
                    format!("it does not exist, and {name} says that it holds the tensor `{holds}`"),
                ),
                _ => BuildError::new(&file, error.to_string()),
            })?;
            for (tensor, place) in header(&file, opened, length)? {
                let place = StoredTensor { file: files.len(), ..place };
                if let Some(other) = tensors.insert(tensor.clone(), place) {
                    let other = &files[other.file];
                    return Err(BuildError::new(&file, format!("{other} holds the tensor `{tensor}`, too")));
                }
            }
            if !holds.is_empty() && !tensors.contains_key(&holds) {
                return Err(BuildError::new(
                    &file,
                    format!("it lacks the tensor `{holds}`, which {name} says that it holds"),
                ));
            }
            files.push(file);
        }
        Ok(Self::of(folder, name, files, tensors))
    }

    /// With the folder that the files are really in: the hub's cache has links, which some versions of ONNX Runtime do not
    /// follow.
    fn of(folder: &Path, name: &str, names: Vec<String>, tensors: HashMap<String, StoredTensor>) -> Self {
        let real: Vec<_> = names.iter().map_while(|name| folder.join(name).canonicalize().ok()).collect();
        let parent = real.first().and_then(|path| path.parent());
        let together = real.len() == names.len() && real.iter().all(|path| path.parent() == parent);
        let location = |path: &PathBuf| path.file_name()?.to_str().map(str::to_owned);
        let locations = together.then(|| real.iter().map(location).collect::<Option<Vec<_>>>()).flatten();
        let (folder, locations) = match (parent, locations) {
            (Some(parent), Some(locations)) => (parent.to_owned(), locations),
            _ => (folder.to_owned(), names.clone()),
        };
        let files = names.into_iter().zip(locations).map(|(name, location)| WeightFile { name, location });
        Self { name: name.to_owned(), files: files.collect(), tensors, folder, is_anything: false }
    }

    /// The folder that contains every file under its [`Self::location`].
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The name of a tensor's file in [`Self::folder`].
    pub(super) fn location(&self, tensor: &StoredTensor) -> &str {
        &self.files[tensor.file].location
    }

    /// Whether there is a tensor of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Whether the name of a tensor begins with `prefix`.
    pub(super) fn has_below(&self, prefix: &str) -> bool {
        self.tensors.keys().any(|name| name.starts_with(prefix))
    }

    /// Weights that have every tensor that a configuration asks for: with them, a configuration is checked alone.
    pub(super) fn of_anything() -> Self {
        let (name, files) =
            (String::new(), vec![WeightFile { name: String::new(), location: String::new() }]);
        Self { name, files, tensors: HashMap::new(), folder: PathBuf::new(), is_anything: true }
    }

    /// The shape of a tensor; `None` if it is not known.
    ///
    /// # Errors
    /// It is missing.
    pub(super) fn shape(&self, name: &str) -> Result<Option<&[usize]>, BuildError> {
        if self.is_anything { Ok(None) } else { Ok(Some(&self.stored(name)?.shape)) }
    }

    /// How many things have numbers after `prefix`, as in `PREFIX7.weight`: one more than the largest. `None` if that is not known.
    pub(super) fn numbered(&self, prefix: &str) -> Option<usize> {
        let number = |name: &String| name.strip_prefix(prefix)?.split('.').next()?.parse::<usize>().ok();
        let largest = self.tensors.keys().filter_map(number).max();
        (!self.is_anything).then(|| largest.map_or(0, |largest| largest.saturating_add(1)))
    }

    fn stored(&self, name: &str) -> Result<&StoredTensor, BuildError> {
        self.tensors.get(name).ok_or_else(|| self.wrong(None, format!("the tensor `{name}` is missing")))
    }

    /// The tensor of this name and shape. `config` is the file that asks for the shape.
    ///
    /// # Errors
    /// It is missing, or has another shape or a type that is not supported.
    pub(super) fn tensor(
        &self,
        name: &str,
        shape: &[usize],
        config: &str,
    ) -> Result<StoredTensor, BuildError> {
        if self.is_anything {
            let shape = shape.to_vec();
            return Ok(StoredTensor { file: 0, dtype: Dtype::F32, shape, offset: 0, length: 0 });
        }
        let tensor = self.stored(name)?;
        if tensor.shape != shape {
            let found = &tensor.shape;
            let problem =
                format!("the tensor `{name}` has the shape {found:?}, and {config} asks for {shape:?}");
            return Err(self.wrong(Some(tensor), problem));
        }
        if !matches!(tensor.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            let found = tensor.dtype;
            let problem = format!(
                "the tensor `{name}` has the type {found}, which is not supported; F32, F16 and BF16 are"
            );
            return Err(self.wrong(Some(tensor), problem));
        }
        Ok(tensor.clone())
    }

    /// An error about a tensor; `None` if it is missing.
    fn wrong(&self, tensor: Option<&StoredTensor>, problem: String) -> BuildError {
        let name = tensor.map_or(&self.name, |tensor| &self.files[tensor.file].name);
        BuildError::new(name, problem)
    }

    /// The only number of a tensor; `None` if there is no such tensor.
    ///
    /// # Errors
    /// The tensor has several numbers or another type, or the file cannot be read.
    pub(crate) fn number(&self, name: &str) -> Result<Option<f32>, BuildError> {
        let Some(tensor) = self.tensors.get(name) else { return Ok(None) };
        if tensor.shape.iter().product::<usize>() != 1 {
            let problem =
                format!("the tensor `{name}` has the shape {:?}, and it must be one number", tensor.shape);
            return Err(self.wrong(Some(tensor), problem));
        }
        let mut bytes = [0; 4];
        let read = &mut bytes[..usize::try_from(tensor.length.min(4)).unwrap_or(4)];
        File::open(self.folder.join(self.location(tensor)))
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(tensor.offset))?;
                file.read_exact(read)
            })
            .map_err(|error| self.wrong(Some(tensor), error.to_string()))?;
        match tensor.dtype {
            Dtype::F32 => Ok(Some(f32::from_le_bytes(bytes))),
            Dtype::F16 => Ok(Some(f16::from_le_bytes([bytes[0], bytes[1]]).to_f32())),
            Dtype::BF16 => Ok(Some(bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32())),
            other => Err(self.wrong(
                Some(tensor),
                format!("the tensor `{name}` has the type {other}, and it must be F32"),
            )),
        }
    }

    /// The tensors of a file in memory, for the fuzzer.
    #[cfg(fuzzing)]
    pub(super) fn of_bytes(bytes: &[u8]) -> Result<Self, BuildError> {
        let tensors = header("m.safetensors", bytes, bytes.len() as u64)?.into_iter().collect();
        Ok(Self::of(Path::new("/"), "m", vec!["m.safetensors".to_owned()], tensors))
    }

    /// Tensors that are in no file, for tests of graphs.
    #[cfg(test)]
    pub(super) fn imagined(tensors: &[(&str, Dtype, &[usize])]) -> Self {
        let mut offset = 1000;
        let stored = |(name, dtype, shape): &(&str, Dtype, &[usize])| {
            let length = (shape.iter().product::<usize>() * dtype.bitsize() / 8) as u64;
            offset += length;
            let place = StoredTensor {
                file: 0,
                dtype: *dtype,
                shape: shape.to_vec(),
                offset: offset - length,
                length,
            };
            ((*name).to_owned(), place)
        };
        let file = || "model.safetensors".to_owned();
        let tensors = tensors.iter().map(stored).collect();
        let files = vec![WeightFile { name: file(), location: file() }];
        Self { name: file(), files, tensors, folder: "/m".into(), is_anything: false }
    }
}

/// The tensors that the header of a file of `length` bytes describes.
///
/// # Errors
/// The header is no header, or does not describe a file of this length.
pub(super) fn header(
    file: &str,
    mut reader: impl Read,
    length: u64,
) -> Result<Vec<(String, StoredTensor)>, BuildError> {
    let wrong = |problem: String| BuildError::new(file, problem);
    let unreadable = |error: io::Error| wrong(error.to_string());
    if length < LENGTH {
        return Err(wrong(format!("it has {length} bytes, which is too short for a header")));
    }
    let mut size = [0; LENGTH as usize];
    reader.read_exact(&mut size).map_err(unreadable)?;
    let size = u64::from_le_bytes(size);
    if size > LONGEST_HEADER.min(length - LENGTH) {
        return Err(wrong(format!(
            "it is no safetensors file: its header would have {size} bytes, and the file has {length}"
        )));
    }
    let mut json = Vec::new();
    reader.take(size).read_to_end(&mut json).map_err(unreadable)?;
    let Header(entries) =
        serde_json::from_slice(&json).map_err(|error| wrong(format!("its header is damaged: {error}")))?;
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        let info = TensorInfo::deserialize(entry)
            .map_err(|error| wrong(format!("its header is wrong about the tensor `{name}`: {error}")))?;
        tensors.push((name, info));
    }
    tensors.sort_by(|(a_name, a), (b_name, b)| (a.data_offsets, a_name).cmp(&(b.data_offsets, b_name)));
    check(&tensors, length - LENGTH - size).map_err(wrong)?;
    let place = |info: TensorInfo| {
        let (begin, end) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
        let (dtype, shape) = (info.dtype, info.shape);
        StoredTensor { file: 0, dtype, shape, offset: LENGTH + size + begin, length: end - begin }
    };
    Ok(tensors.into_iter().map(|(name, info)| (name, place(info))).collect())
}

/// Checks that tensors, sorted by their places, fill `length` bytes without gaps and overlaps.
fn check(tensors: &[(String, TensorInfo)], length: u64) -> Result<(), String> {
    let mut names: Vec<_> = tensors.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("its header names the tensor `{}` twice", twice[0]));
    }
    let (mut at, mut before) = (0, None);
    for (name, info) in tensors {
        let (begin, end) = info.data_offsets;
        let numbers = info.shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
        let needed = numbers.and_then(|numbers| Some(numbers.checked_mul(info.dtype.bitsize())?.div_ceil(8)));
        if end.checked_sub(begin) != needed || needed.is_none() {
            return Err(format!(
                "its header is wrong about the tensor `{name}`: the shape {:?} of the type {} does not fit into the bytes {begin} to \
                 {end}",
                info.shape, info.dtype
            ));
        }
        if begin != at {
            let before = before.map_or("the header".to_owned(), |name| format!("the tensor `{name}`"));
            return Err(format!(
                "its header is wrong about the tensor `{name}`: it begins at byte {begin} of the data, and {before} ends at byte {at}"
            ));
        }
        (at, before) = (end, Some(name));
    }
    if at as u64 == length {
        return Ok(());
    }
    let last = before.map_or(String::new(), |name| format!(" (the last tensor is `{name}`)"));
    Err(format!("its header describes {at} bytes of tensors, and the file has {length}{last}"))
}

/// The entries of a header in their order, without its free texts.
struct Header(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with an entry for each tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        entries.push((name, map.next_value()?));
                    }
                }
                Ok(Header(entries))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    /// A weight file with this header and `data` bytes of zeros.
    fn file(header: &str, data: usize) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
    }

    fn read(bytes: &[u8]) -> Result<Vec<(String, StoredTensor)>, String> {
        header("m.safetensors", bytes, bytes.len() as u64).map_err(|error| error.to_string())
    }

    fn entry(dtype: &str, shape: &[usize], begin: usize, end: usize) -> Value {
        json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]})
    }

    #[test]
    fn a_header_gives_the_place_of_each_tensor() {
        let header = json!({
            "__metadata__": {"format": "pt"},
            "b": entry("F16", &[], 24, 26),
            "a": entry("F32", &[2, 3], 0, 24),
            "c": entry("I64", &[0], 26, 26),
        });
        let header = header.to_string();
        let found = read(&file(&header, 26)).unwrap();
        let begin = 8 + header.len() as u64;
        let place = |dtype, shape: &[usize], offset, length| StoredTensor {
            file: 0,
            dtype,
            shape: shape.to_vec(),
            offset: begin + offset,
            length,
        };
        let expected = [
            ("a".to_owned(), place(Dtype::F32, &[2, 3], 0, 24)),
            ("b".to_owned(), place(Dtype::F16, &[], 24, 2)),
            ("c".to_owned(), place(Dtype::I64, &[0], 26, 0)),
        ];
        assert_eq!(found, expected);
        assert_eq!(read(&file("{}", 0)).unwrap(), []);
    }

    #[test]
    fn a_false_header_is_an_error_that_names_the_tensor() {
        let one = |tensor: Value, data| file(&json!({"t": tensor}).to_string(), data);
        let two = |a: Value, b: Value, data| file(&json!({"a": a, "b": b}).to_string(), data);
        let f32 = |begin, end| entry("F32", &[1], begin, end);
        for (bytes, expected) in [
            (vec![], "it has 0 bytes, which is too short for a header"),
            (
                b"version https://git-lfs.github.com/spec/v1".to_vec(),
                "it is no safetensors file: its header would have",
            ),
            (u64::MAX.to_le_bytes().to_vec(), "would have 18446744073709551615 bytes, and the file has 8"),
            (
                file("[]", 0),
                "its header is damaged: invalid type: sequence, expected an object with an entry",
            ),
            (file("{\"a\"", 0), "its header is damaged: EOF"),
            (one(json!(1), 0), "its header is wrong about the tensor `t`: invalid type"),
            (one(entry("Q4", &[1], 0, 4), 4), "wrong about the tensor `t`: unknown variant `Q4`"),
            (
                one(json!({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}), 4),
                "tensor `t`: invalid value",
            ),
            (
                one(entry("F32", &[2], 0, 4), 4),
                "`t`: the shape [2] of the type F32 does not fit into the bytes 0 to 4",
            ),
            (
                one(entry("F32", &[1], 4, 0), 4),
                "`t`: the shape [1] of the type F32 does not fit into the bytes 4 to 0",
            ),
            (one(entry("F32", &[usize::MAX, 9], 0, 4), 4), "does not fit into the bytes 0 to 4"),
            (one(f32(4, 8), 8), "`t`: it begins at byte 4 of the data, and the header ends at byte 0"),
            (
                two(f32(0, 4), f32(0, 4), 4),
                "`b`: it begins at byte 0 of the data, and the tensor `a` ends at byte 4",
            ),
            (
                two(f32(0, 4), f32(8, 12), 12),
                "`b`: it begins at byte 8 of the data, and the tensor `a` ends at byte 4",
            ),
            (one(f32(0, 4), 3), "describes 4 bytes of tensors, and the file has 3 (the last tensor is `t`)"),
            (one(f32(0, 4), 5), "describes 4 bytes of tensors, and the file has 5 (the last tensor is `t`)"),
            (
                file(
                    r#"{"t": {"dtype":"F32","shape":[1],"data_offsets":[0,4]}, "t": {"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
                    8,
                ),
                "its header names the tensor `t` twice",
            ),
        ] {
            let error = read(&bytes).unwrap_err();
            assert!(error.starts_with("m.safetensors: ") && error.contains(expected), "{error}");
        }
        let whole = one(f32(0, 4), 4);
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "{cut} bytes");
        }
    }

    fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    fn index(weight_map: Value) -> Vec<u8> {
        json!({"metadata": {"total_size": 8}, "weight_map": weight_map}).to_string().into_bytes()
    }

    const SHARDED: &str = "model.safetensors.index.json";

    #[test]
    fn the_tensors_of_shards_are_one_model() {
        let of = |name: &str, value: f32| {
            let header = json!({name: entry("F32", &[1], 0, 4)}).to_string();
            [&file(&header, 0)[..], &value.to_le_bytes()].concat()
        };
        let map = json!({"a": "1.safetensors", "b": "2.safetensors"});
        let folder = folder(&[
            (SHARDED, index(map)),
            ("1.safetensors", of("a", 1.5)),
            ("2.safetensors", of("b", 2.5)),
        ]);
        let weights = Weights::open(folder.path(), SHARDED).unwrap();
        assert_eq!((weights.number("a"), weights.number("b")), (Ok(Some(1.5)), Ok(Some(2.5))));
        assert_eq!(weights.number("c"), Ok(None));
        assert_eq!(weights.location(weights.stored("b").unwrap()), "2.safetensors");
        let files = files_of(folder.path(), SHARDED).unwrap();
        assert_eq!(files, [SHARDED, "1.safetensors", "2.safetensors"]);
        assert_eq!(files_of(folder.path(), "m.safetensors").unwrap(), ["m.safetensors"]);
        let error = weights.tensor("c", &[1], "config.json").unwrap_err().to_string();
        assert_eq!(error, "model.safetensors.index.json: the tensor `c` is missing");
    }

    #[test]
    fn a_wrong_index_names_the_shard_and_the_tensor() {
        let holds = |name: &str| file(&json!({name: entry("F32", &[1], 0, 4)}).to_string(), 4);
        let open = |files: &[(&str, Vec<u8>)]| {
            let folder = folder(files);
            Weights::open(folder.path(), SHARDED).unwrap_err().to_string()
        };
        let map = |file: &str| (SHARDED, index(json!({"a": file})));
        for (files, expected) in [
            (vec![], "model.safetensors.index.json: it cannot be read: "),
            (vec![(SHARDED, b"{}".to_vec())], "model.safetensors.index.json: missing field `weight_map`"),
            (vec![(SHARDED, index(json!({})))], "its `weight_map` is empty"),
            (
                vec![map("../1.safetensors")],
                "the tensor `a` is in \"../1.safetensors\", which is no name of a shard",
            ),
            (vec![map("1.bin")], "is in \"1.bin\", which is no name of a shard"),
            (
                vec![map("1.safetensors")],
                "1.safetensors: it does not exist, and model.safetensors.index.json says that it holds the tensor `a`",
            ),
            (
                vec![map("1.safetensors"), ("1.safetensors", holds("b"))],
                "1.safetensors: it lacks the tensor `a`, which",
            ),
            (
                vec![
                    (SHARDED, index(json!({"a": "1.safetensors", "b": "2.safetensors"}))),
                    ("1.safetensors", holds("a")),
                    ("2.safetensors", holds("a")),
                ],
                "2.safetensors: 1.safetensors holds the tensor `a`, too",
            ),
        ] {
            let error = open(&files);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_tensor_of_another_shape_or_type_is_an_error() {
        let weights =
            Weights::imagined(&[("a", Dtype::F16, &[2, 3]), ("b", Dtype::I8, &[2]), ("s", Dtype::F32, &[2])]);
        assert!(weights.tensor("a", &[2, 3], "config.json").is_ok());
        let error =
            |name, shape: &[usize]| weights.tensor(name, shape, "config.json").unwrap_err().to_string();
        assert_eq!(
            error("a", &[3, 2]),
            "model.safetensors: the tensor `a` has the shape [2, 3], and config.json asks for [3, 2]"
        );
        assert_eq!(
            error("b", &[2]),
            "model.safetensors: the tensor `b` has the type I8, which is not supported; F32, F16 and BF16 are"
        );
        assert_eq!(error("x.y", &[]), "model.safetensors: the tensor `x.y` is missing");
        let error = weights.number("s").unwrap_err().to_string();
        assert!(error.ends_with("the tensor `s` has the shape [2], and it must be one number"), "{error}");
    }

    #[test]
    fn links_lead_to_the_files_themselves() {
        let blobs = folder(&[("abc", file(r#"{"a": {"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#, 4))]);
        let snapshot = tempfile::tempdir().unwrap();
        let link = snapshot.path().join("model.safetensors");
        std::os::unix::fs::symlink(blobs.path().join("abc"), link).unwrap();
        let weights = Weights::open(snapshot.path(), "model.safetensors").unwrap();
        assert_eq!(weights.folder(), blobs.path().canonicalize().unwrap());
        assert_eq!(weights.location(weights.stored("a").unwrap()), "abc");
        let error = weights.stored("b").unwrap_err();
        assert_eq!(error.file, "model.safetensors", "as the user knows it");
    }
}
