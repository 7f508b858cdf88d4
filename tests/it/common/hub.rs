//! An imitation of the Hugging Face hub on loopback: a list of files, redirects to another server for large files, hashes in
//! headers, parts of files, and faults of real networks on demand.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
};

use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{PATIENCE, finish};

/// The commit of every repository here.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// One request, as the hub received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Whether the server for large files received it.
    pub by_cdn: bool,
    pub method: String,
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
}

/// A fault of the next answers.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// This status, with a `Retry-After`.
    Status(u16, Option<u64>),
    /// The connection ends after this number of bytes.
    CutAfter(usize),
    /// One byte is changed.
    Corrupt,
    /// This number of bytes follows the file.
    Longer(usize),
    /// The whole file, whatever range the request names.
    NoParts,
    /// No answer before [`Hub::release`].
    Held,
}

/// Where the hub names the hashes of files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hashes {
    /// In the headers of each file.
    #[default]
    Headers,
    /// In the list of files, as a server in front of the hub needs it, which has tags of its own.
    List,
    Nowhere,
}

#[derive(Default)]
struct State {
    repositories: Mutex<HashMap<String, BTreeMap<String, Vec<u8>>>>,
    private: Mutex<Vec<String>>,
    hashes: Mutex<Hashes>,
    /// A part of the address of a GET, the fault, and the number of answers with this fault.
    faults: Mutex<Vec<(String, Fault, usize)>>,
    asked: Mutex<Vec<Asked>>,
    /// Whether held answers are sent.
    released: (Mutex<bool>, Condvar),
}

/// The hub, and a cache folder to pull into.
pub struct Hub {
    pub home: TempDir,
    endpoint: String,
    state: Arc<State>,
}

impl Hub {
    pub fn start() -> Self {
        let state = Arc::new(State::default());
        let cdn = serve(Arc::clone(&state), None);
        let port = serve(Arc::clone(&state), Some(cdn));
        Self { home: tempfile::tempdir().unwrap(), endpoint: format!("http://127.0.0.1:{port}"), state }
    }

    /// Adds a repository with the files of `folder` for which `wanted` is true.
    pub fn add_folder(&self, id: &str, folder: &Path, wanted: impl Fn(&str) -> bool) {
        let mut files = BTreeMap::new();
        for below in ["", "onnx/"] {
            for path in fs::read_dir(folder.join(below)).unwrap().map(|entry| entry.unwrap().path()) {
                let name = format!("{below}{}", path.file_name().unwrap().to_str().unwrap());
                if path.is_file() && wanted(&name) {
                    files.insert(name, fs::read(path).unwrap());
                }
            }
        }
        self.state.repositories.lock().unwrap().insert(id.to_owned(), files);
    }

    pub fn add_file(&self, id: &str, name: &str, content: Vec<u8>) {
        let mut repositories = self.state.repositories.lock().unwrap();
        repositories.entry(id.to_owned()).or_default().insert(name.to_owned(), content);
    }

    /// Changes a file of a repository.
    pub fn change_file(&self, id: &str, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.state.repositories.lock().unwrap().get_mut(id).unwrap().get_mut(name).unwrap());
    }

    pub fn remove_file(&self, id: &str, name: &str) {
        self.state.repositories.lock().unwrap().get_mut(id).unwrap().remove(name).unwrap();
    }

    /// Answers requests for this repository only with a token.
    pub fn make_private(&self, id: &str) {
        self.state.private.lock().unwrap().push(id.to_owned());
    }

    /// Changes where the hub names the hashes.
    pub fn name_hashes(&self, place: Hashes) {
        *self.state.hashes.lock().unwrap() = place;
    }

    /// Answers the next `times` GET requests whose address contains `path` with this fault.
    pub fn fault(&self, path: &str, fault: Fault, times: usize) {
        self.state.faults.lock().unwrap().push((path.to_owned(), fault, times));
    }

    /// Sends the answers that [`Fault::Held`] holds.
    pub fn release(&self) {
        *self.state.released.0.lock().unwrap() = true;
        self.state.released.1.notify_all();
    }

    /// The requests since the last call.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.asked.lock().unwrap())
    }

    /// The sha256 of a file, which is its name at the server for large files.
    pub fn sha256(&self, id: &str, name: &str) -> String {
        sha256(&self.state.repositories.lock().unwrap()[id][name])
    }

    /// `stakeout` with this hub and cache, and without the settings of this machine.
    pub fn stakeout(&self, arguments: &[&str]) -> Command {
        let mut command = super::stakeout();
        command.args(arguments).envs(self.environment());
        for variable in [
            "HF_HUB_CACHE",
            "HUGGINGFACE_HUB_CACHE",
            "HF_TOKEN",
            "HUGGING_FACE_HUB_TOKEN",
            "HF_TOKEN_PATH",
            "HF_HUB_OFFLINE",
            "TRANSFORMERS_OFFLINE",
            "ALL_PROXY",
            "all_proxy",
        ] {
            command.env_remove(variable);
        }
        for variable in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"] {
            command.env_remove(variable);
        }
        command
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub fn environment(&self) -> [(&'static str, String); 2] {
        [("HF_ENDPOINT", self.endpoint.clone()), ("HF_HOME", self.home.path().display().to_string())]
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.stakeout(arguments);
        finish(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn git_blob(bytes: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Starts the hub (`cdn` is the port of the server for large files) or the server for large files; returns its port.
fn serve(state: Arc<State>, cdn: Option<u16>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = Arc::clone(&state);
            thread::spawn(move || answer(&state, stream, cdn));
        }
    });
    port
}

struct HttpAnswer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl HttpAnswer {
    fn plain(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: b"{}".to_vec() }
    }
}

fn answer(state: &State, stream: TcpStream, cdn: Option<u16>) {
    let Some(mut asked) = read_request(&stream, cdn.is_none()) else { return };
    if asked.method == "CONNECT" {
        // As a proxy, with this server behind every address.
        state.asked.lock().unwrap().push(asked);
        let _ = (&stream).write_all(b"HTTP/1.1 200 Connected\r\n\r\n");
        let Some(inner) = read_request(&stream, cdn.is_none()) else { return };
        asked = inner;
    }
    state.asked.lock().unwrap().push(asked.clone());
    let fault = fault(state, &asked);
    let mut answer = match fault {
        Some(Fault::Status(status, wait)) => {
            let mut answer = HttpAnswer::plain(status);
            answer.headers.extend(wait.map(|wait| ("Retry-After", wait.to_string())));
            answer
        }
        _ => match cdn {
            Some(cdn) => hub(state, &asked, cdn),
            None => content(state, &asked, fault),
        },
    };
    match fault {
        Some(Fault::Corrupt) => answer.body[10] ^= 1,
        Some(Fault::Longer(more)) => answer.body.extend(vec![b'x'; more]),
        Some(Fault::Held) => {
            let (released, changed) = &state.released;
            let released = released.lock().unwrap();
            drop(changed.wait_timeout_while(released, PATIENCE, |released| !*released).unwrap());
        }
        _ => {}
    }
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", answer.status);
    head += &format!("Content-Length: {}\r\n", answer.body.len());
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let mut bytes = if asked.method == "HEAD" { Vec::new() } else { answer.body };
    if let Some(Fault::CutAfter(length)) = fault {
        bytes.truncate(length);
    }
    // The client may have gone.
    let _ = (&stream).write_all(&[format!("{head}\r\n").as_bytes(), &bytes].concat());
}

fn read_request(stream: &TcpStream, by_cdn: bool) -> Option<Asked> {
    let mut lines = BufReader::new(stream.take(1 << 16)).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let header = |name: &str| {
        let found = headers.iter().filter_map(|line| line.split_once(':'));
        found
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .next()
    };
    Some(Asked { by_cdn, method, path, range: header("range"), authorization: header("authorization") })
}

fn fault(state: &State, asked: &Asked) -> Option<Fault> {
    let mut faults = state.faults.lock().unwrap();
    let matches = |path: &String| asked.method == "GET" && asked.path.contains(path.as_str());
    let (_, fault, times) = faults.iter_mut().find(|(path, _, times)| *times > 0 && matches(path))?;
    *times -= 1;
    Some(*fault)
}

/// The hub itself.
fn hub(state: &State, asked: &Asked, cdn: u16) -> HttpAnswer {
    let repositories = state.repositories.lock().unwrap();
    let path = asked.path.split('?').next().unwrap().trim_start_matches('/');
    let by_name = |prefix: &str| {
        let rest = path.strip_prefix(prefix)?;
        repositories.iter().find_map(|(id, files)| Some((id, files, rest.strip_prefix(&format!("{id}/"))?)))
    };
    let refused = |id: &String| state.private.lock().unwrap().contains(id) && asked.authorization.is_none();
    if let Some((id, files, rest)) = by_name("api/models/") {
        if refused(id) {
            return HttpAnswer::plain(401);
        }
        if rest != "revision/main" && rest != format!("revision/{COMMIT}") {
            return HttpAnswer::plain(404);
        }
        let hashes = *state.hashes.lock().unwrap();
        let sibling = |(name, content): (&String, &Vec<u8>)| {
            let size = content.len();
            let lfs =
                is_large(name).then(|| json!({"sha256": sha256(content), "size": size, "pointerSize": 134}));
            match hashes {
                Hashes::List => {
                    json!({"rfilename": name, "size": size, "blobId": git_blob(content), "lfs": lfs})
                }
                Hashes::Headers | Hashes::Nowhere => json!({"rfilename": name}),
            }
        };
        let siblings: Vec<_> = files.iter().map(sibling).collect();
        let body = json!({"id": id, "sha": COMMIT, "siblings": siblings}).to_string().into_bytes();
        return HttpAnswer { status: 200, headers: Vec::new(), body };
    }
    // Small files are served through a redirect to another address of the hub.
    if let Some((_, files, rest)) = by_name("api/resolve-cache/models/") {
        let body = files[rest.strip_prefix(&format!("{COMMIT}/")).unwrap()].clone();
        let tag = match *state.hashes.lock().unwrap() {
            Hashes::Headers => git_blob(&body),
            Hashes::List | Hashes::Nowhere => "a-tag-of-its-own".to_owned(),
        };
        let headers = vec![("ETag", format!("\"{tag}\"")), ("X-Repo-Commit", COMMIT.to_owned())];
        return HttpAnswer { status: 200, headers, body };
    }
    let Some((id, files, rest)) = by_name("") else { return HttpAnswer::plain(401) };
    if refused(id) {
        return HttpAnswer::plain(401);
    }
    let name =
        rest.strip_prefix("resolve/main/").or_else(|| rest.strip_prefix(&format!("resolve/{COMMIT}/")));
    let Some((name, content)) = name.and_then(|name| files.get_key_value(name)) else {
        return HttpAnswer::plain(404);
    };
    let commit = ("X-Repo-Commit", COMMIT.to_owned());
    if is_large(name) {
        let hash = sha256(content);
        let location = format!("http://127.0.0.1:{cdn}/blobs/{hash}?Expires=1&Signature=x");
        let mut headers = vec![
            commit,
            ("Location", location),
            ("X-Linked-Size", content.len().to_string()),
            ("ETag", "\"of-the-pointer\"".to_owned()),
        ];
        if *state.hashes.lock().unwrap() == Hashes::Headers {
            headers.push(("X-Linked-Etag", format!("\"{hash}\"")));
        }
        return HttpAnswer { status: 302, headers, body: b"Found".to_vec() };
    }
    let location = format!("/api/resolve-cache/models/{id}/{COMMIT}/{name}?etag=x");
    HttpAnswer { status: 307, headers: vec![commit, ("Location", location)], body: b"Temporary".to_vec() }
}

/// Whether the content of a file is in the storage for large files.
fn is_large(name: &str) -> bool {
    [".onnx", ".onnx_data", ".safetensors", "tokenizer.json"].iter().any(|end| name.ends_with(end))
}

/// The server for large files. It knows them only by their hash.
fn content(state: &State, asked: &Asked, fault: Option<Fault>) -> HttpAnswer {
    let repositories = state.repositories.lock().unwrap();
    let found = repositories.values().flat_map(BTreeMap::values);
    let Some(content) = found.into_iter().find(|content| asked.path.contains(&sha256(content))) else {
        return HttpAnswer::plain(404);
    };
    let range = asked.range.as_ref().filter(|_| !matches!(fault, Some(Fault::NoParts)));
    let Some(range) = range.and_then(|range| range.strip_prefix("bytes=")) else {
        return HttpAnswer { status: 200, headers: Vec::new(), body: content.clone() };
    };
    let (begin, end) = range.split_once('-').unwrap();
    let begin: usize = begin.parse().unwrap();
    let end = end.parse().map_or(content.len(), |end: usize| (end + 1).min(content.len()));
    if begin >= content.len() {
        return HttpAnswer::plain(416);
    }
    let range = format!("bytes {begin}-{}/{}", end - 1, content.len());
    HttpAnswer { status: 206, headers: vec![("Content-Range", range)], body: content[begin..end].to_vec() }
}
