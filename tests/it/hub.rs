//! Models by name, with an imitation of the hub on loopback.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::common::{
    finish, fixtures,
    hub::{Asked, COMMIT, Fault, Hashes, Hub},
    onnx::with_external_weights,
    service::{Home, Service},
    wait_until,
};

const ORIGINAL: &str = "openai/clip-vit-base-patch32";
const SISTER: &str = "Xenova/clip-vit-base-patch32";

fn models(name: &str) -> Option<PathBuf> {
    Some(fixtures("hf-parity")?.join("models").join(name))
}

/// A hub with a small CLIP model: the graphs in the ONNX repository of a well-known model, the scale in its own weights.
fn clip() -> Option<(Hub, PathBuf)> {
    let folder = models("tiny-clip")?;
    let hub = Hub::start();
    hub.add_folder(SISTER, &folder, |_| true);
    let goldens = fixtures("hf-parity")?.join("goldens/tiny-clip.scores.json");
    let goldens: Value = serde_json::from_slice(&fs::read(goldens).unwrap()).unwrap();
    let scale = find(&goldens, "logit_scale_exp").unwrap();
    hub.add_file(ORIGINAL, "config.json", b"{}".to_vec());
    hub.add_file(ORIGINAL, "model.safetensors", safetensors(&[("logit_scale", scale.ln() as f32)]));
    Some((hub, folder))
}

/// The number with this name at any depth.
fn find(json: &Value, name: &str) -> Option<f64> {
    match json {
        Value::Object(object) => object
            .get(name)
            .and_then(Value::as_f64)
            .or_else(|| object.values().find_map(|json| find(json, name))),
        Value::Array(list) => list.iter().find_map(|json| find(json, name)),
        _ => None,
    }
}

/// A weight file with a large tensor before the numbers.
fn safetensors(numbers: &[(&str, f32)]) -> Vec<u8> {
    const LARGE: usize = 1 << 20;
    let mut header = json!({"large": {"dtype": "F32", "shape": [LARGE / 4], "data_offsets": [0, LARGE]}});
    let mut data = vec![0; LARGE];
    for (name, number) in numbers {
        header[name] = json!({"dtype": "F32", "shape": [], "data_offsets": [data.len(), data.len() + 4]});
        data.extend(number.to_le_bytes());
    }
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn scores(hub: &Hub, model: &str, more: &[&str]) -> Vec<(String, f64)> {
    let picture = fixtures("hf-parity").unwrap().join("images/landscape_420.jpg").display().to_string();
    let labels = ["--label", "cat", "--label", "flower", "--label", "rocket"];
    let arguments =
        [&["classify", "--format", "json", "--model", model][..], &labels, more, &[&picture]].concat();
    let line: Value = serde_json::from_str(&stdout(&hub.run(&arguments))).unwrap();
    let score =
        |score: &Value| (score["label"].as_str().unwrap().to_owned(), score["score"].as_f64().unwrap());
    line["scores"].as_array().unwrap().iter().map(score).collect()
}

fn assert_alike(found: &[(String, f64)], expected: &[(String, f64)]) {
    for ((label, score), (other, expected)) in found.iter().zip(expected) {
        assert!(label == other && (score - expected).abs() < 1e-4, "{found:?} and {expected:?}");
    }
}

fn snapshot(hub: &Hub, id: &str) -> PathBuf {
    repository(hub, id).join("snapshots").join(COMMIT)
}

fn repository(hub: &Hub, id: &str) -> PathBuf {
    hub.home.path().join("hub").join(format!("models--{}", id.replace('/', "--")))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn gets<'a>(asked: &'a [Asked], part: &str) -> Vec<&'a Asked> {
    asked.iter().filter(|asked| asked.method == "GET" && asked.path.contains(part)).collect()
}

#[test]
fn a_model_by_name_scores_like_its_folder_and_only_needed_files_are_fetched() {
    let Some((hub, folder)) = clip() else { return };
    let by_name = scores(&hub, ORIGINAL, &[]);
    let asked = hub.asked();
    assert_alike(&by_name, &scores(&hub, folder.to_str().unwrap(), &[]));

    for (file, times) in [
        ("/onnx/vision_model.onnx", 1),
        ("/onnx/text_model.onnx", 1),
        ("/onnx/model.onnx", 0),
        ("_fp16", 0),
        ("_quantized", 0),
        ("spiece", 0),
    ] {
        assert_eq!(gets(&asked, &format!("/resolve/{COMMIT}{file}")).len(), times, "{file}: {asked:#?}");
    }
    // The scale is read from the weight file with range requests.
    let weights = gets(&asked, &hub.sha256(ORIGINAL, "model.safetensors"));
    let ranges: Vec<_> = weights.iter().filter_map(|asked| asked.range.as_deref()).collect();
    assert_eq!((weights.len(), ranges.len(), ranges[0]), (3, 3, "bytes=0-7"));

    // The layout of the tools of Hugging Face.
    assert_eq!(fs::read_to_string(repository(&hub, SISTER).join("refs/main")).unwrap(), COMMIT);
    let link = fs::read_link(snapshot(&hub, SISTER).join("onnx/text_model.onnx")).unwrap();
    let hash = hub.sha256(SISTER, "onnx/text_model.onnx");
    assert_eq!(link, PathBuf::from(format!("../../../blobs/{hash}")));
    let blobs = names(&repository(&hub, SISTER).join("blobs"));
    assert!(blobs.iter().all(|name| name.len() == 64 || name.len() == 40), "{blobs:?}");

    // Cached files are used without a request, also when the network is forbidden.
    assert_eq!(scores(&hub, ORIGINAL, &[]), by_name);
    assert_eq!(hub.asked(), []);
    let offline = hub.stakeout(&["models", "verify", ORIGINAL]).env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert!(stdout(&offline).contains("ok: "));
}

#[test]
fn an_interrupted_download_is_resumed() {
    let Some((hub, folder)) = clip() else { return };
    let vision = hub.sha256(SISTER, "onnx/vision_model.onnx");
    let text = hub.sha256(SISTER, "onnx/text_model.onnx");
    hub.fault(&vision, Fault::CutAfter(100_000), 1);
    let tokenizer = hub.sha256(SISTER, "tokenizer.json");
    hub.fault(&tokenizer, Fault::CutAfter(700_000), 1);
    hub.fault(&tokenizer, Fault::NoParts, 1);
    // And one that an earlier process has not finished.
    let blobs = repository(&hub, SISTER).join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    let content = fs::read(folder.join("onnx/text_model.onnx")).unwrap();
    fs::write(blobs.join(format!("{text}.incomplete")), &content[..500_000]).unwrap();

    stdout(&hub.run(&["models", "pull", ORIGINAL]));
    let asked = hub.asked();
    let ranges = |hash| gets(&asked, hash).into_iter().map(|asked| asked.range.clone()).collect::<Vec<_>>();
    let resumed: Vec<_> = ranges(&vision).into_iter().flatten().collect();
    let begin: usize = resumed[0].trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
    assert!((1..=100_000).contains(&begin), "{resumed:?}");
    assert_eq!(ranges(&text), [Some("bytes=500000-".to_owned())]);
    assert_eq!(fs::read(snapshot(&hub, SISTER).join("onnx/text_model.onnx")).unwrap(), content);
    assert!(names(&blobs).iter().all(|name| !name.ends_with("incomplete")), "{:?}", names(&blobs));

    // A server without range requests sends the whole file again.
    assert_eq!(gets(&asked, &tokenizer).len(), 2);
    let whole = fs::read(folder.join("tokenizer.json")).unwrap();
    assert_eq!(fs::read(blobs.join(&tokenizer)).unwrap(), whole);

    // A damaged unfinished file is fetched from the beginning.
    fs::remove_dir_all(repository(&hub, SISTER).join("snapshots")).unwrap();
    fs::remove_file(blobs.join(&text)).unwrap();
    fs::write(blobs.join(format!("{text}.incomplete")), vec![7; 500_000]).unwrap();
    stdout(&hub.run(&["models", "pull", ORIGINAL]));
    assert_eq!(fs::read(blobs.join(&text)).unwrap(), content);
}

#[test]
fn a_file_with_a_wrong_hash_is_never_used() {
    let Some((hub, _)) = clip() else { return };
    let (vision, config) = (hub.sha256(SISTER, "onnx/vision_model.onnx"), "resolve-cache");
    hub.fault(&vision, Fault::Corrupt, 1);
    let error = stderr(&hub.run(&["models", "pull", ORIGINAL]));
    assert!(
        error.contains("onnx/vision_model.onnx of Xenova/clip-vit-base-patch32 arrived damaged"),
        "{error}"
    );
    assert!(error.contains(&vision), "{error}");
    let left = names(&repository(&hub, SISTER).join("blobs"));
    assert!(!left.iter().any(|name| name.starts_with(&vision)), "{left:?}");
    assert!(!snapshot(&hub, SISTER).join("onnx/vision_model.onnx").exists());
    assert!(!repository(&hub, SISTER).join("refs/main").exists(), "the revision is not whole");
    stdout(&hub.run(&["models", "pull", ORIGINAL]));

    // Small files have a git hash.
    fs::remove_dir_all(repository(&hub, SISTER)).unwrap();
    hub.fault(config, Fault::Corrupt, 1);
    let error = stderr(&hub.run(&["models", "pull", ORIGINAL]));
    assert!(error.contains("config.json of Xenova/clip-vit-base-patch32 arrived damaged"), "{error}");
}

#[test]
fn a_hub_that_sends_more_than_it_announced_is_refused() {
    let Some((hub, _)) = clip() else { return };
    let vision = hub.sha256(SISTER, "onnx/vision_model.onnx");
    let config = "resolve-cache";
    for (fault, file) in [(config, "config.json"), (&*vision, "onnx/vision_model.onnx")] {
        // Also if what follows comes long after the file.
        for more in [1, 1 << 20] {
            hub.fault(fault, Fault::Longer(more), 1);
            let error = stderr(&hub.run(&["models", "pull", ORIGINAL]));
            assert!(error.contains(&format!("it sends more of {file} of {SISTER} than the ")), "{error}");
            let blobs = repository(&hub, SISTER).join("blobs");
            let bytes = |name: &String| fs::metadata(blobs.join(name)).unwrap().len();
            let left: Vec<_> = names(&blobs).into_iter().filter(|name| name.contains("incomplete")).collect();
            assert!(left.iter().all(|name| bytes(name) == 0), "{left:?}");
        }
    }
    stdout(&hub.run(&["models", "pull", ORIGINAL]));
}

#[test]
fn a_file_without_a_hash_is_not_fetched() {
    let Some((hub, _)) = clip() else { return };
    hub.name_hashes(Hashes::Nowhere);
    let error = stderr(&hub.run(&["models", "pull", ORIGINAL]));
    assert!(error.contains("it gives no hash of config.json of"), "{error}");
    assert!(hub.asked().iter().all(|asked| asked.method != "GET" || asked.path.contains("/api/models/")));

    // A server before the hub may have tags of its own; then the hashes in the list of files are used.
    hub.name_hashes(Hashes::List);
    stdout(&hub.run(&["models", "pull", ORIGINAL]));
    hub.fault(&hub.sha256(SISTER, "onnx/text_model.onnx"), Fault::Corrupt, 1);
    fs::remove_dir_all(repository(&hub, SISTER)).unwrap();
    let error = stderr(&hub.run(&["models", "pull", ORIGINAL]));
    assert!(error.contains("onnx/text_model.onnx of") && error.contains("arrived damaged"), "{error}");
}

#[test]
fn a_small_file_that_is_announced_as_a_large_one_is_not_fetched() {
    let Some((hub, folder)) = clip() else { return };
    hub.add_folder("org/large", &folder, |_| true);
    hub.add_file("org/large", "config.json", vec![b' '; 17 << 20]);
    let error = stderr(&hub.run(&["models", "pull", "org/large"]));
    assert!(error.contains("config.json of org/large on the hub has 17825792 bytes"), "{error}");
    assert!(hub.asked().iter().all(|asked| asked.method != "GET" || !asked.path.contains("config.json")));
}

#[test]
fn refusals_of_the_hub_are_reported_with_a_remedy() {
    let Some((hub, folder)) = clip() else { return };
    let error = |arguments: &[&str]| {
        // Without waiting for another attempt: the longest `Retry-After` below is an hour.
        let output = hub.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        stderr(&output)
    };
    hub.add_folder("org/private", &folder, |_| true);
    hub.make_private("org/private");
    let text = error(&["models", "pull", "org/private"]);
    assert!(
        text.contains("refuses org/private (401)") && text.contains("give a token in HF_TOKEN"),
        "{text}"
    );

    let text = error(&["models", "pull", "../name", "--onnx", SISTER]);
    assert!(text.contains("\"../name\" is not a model's name"), "{text}");

    let text = error(&["models", "pull", SISTER, "--revision", "v2"]);
    assert!(
        text.contains("does not have Xenova/clip-vit-base-patch32: check the name and the revision"),
        "{text}"
    );

    hub.fault(&format!("/api/models/{SISTER}"), Fault::Status(429, Some(3600)), 1);
    let text = error(&["models", "pull", ORIGINAL]);
    assert!(text.contains("allows no more requests for now (for 3600 s)"), "{text}");

    hub.add_file("org/plain", "config.json", b"{}".to_vec());
    let text = error(&["models", "pull", "org/plain"]);
    assert!(text.contains("model: { id: org/plain, onnx: organisation/name }"), "{text}");
    let text = error(&["models", "pull", ORIGINAL, "--variant", "q4"]);
    assert!(text.contains("of the variant q4 (there are: fp32, fp16, quantized)"), "{text}");
    assert_eq!(hub.run(&["models", "pull", ORIGINAL, "--variant", "q5"]).status.code(), Some(64));

    let offline = hub.stakeout(&["models", "pull", ORIGINAL]).env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert!(stderr(&offline).contains("HF_HUB_OFFLINE forbids to fetch it"), "{}", stderr(&offline));
}

#[test]
fn temporary_errors_are_retried() {
    let Some((hub, _)) = clip() else { return };
    hub.fault(&format!("/api/models/{SISTER}"), Fault::Status(429, Some(1)), 1);
    hub.fault(&hub.sha256(SISTER, "tokenizer.json"), Fault::Status(503, None), 2);
    // An expired signature of the address.
    hub.fault(&hub.sha256(SISTER, "onnx/vision_model.onnx"), Fault::Status(403, None), 1);
    let started = Instant::now();
    let output = hub.run(&["models", "pull", ORIGINAL]);
    assert_eq!(stdout(&output).trim(), snapshot(&hub, SISTER).display().to_string());
    assert!(started.elapsed() >= Duration::from_secs(1));
    let text = stderr(&output);
    assert!(
        text.contains("it answers with the error 503; trying again in 0.")
            && text.contains("trying again in 1.0 s"),
        "{text}"
    );
}

#[test]
fn the_token_is_sent_only_to_the_hub() {
    let Some((hub, folder)) = clip() else { return };
    hub.add_folder("org/private", &folder, |name| !name.contains("vision"));
    hub.make_private("org/private");
    let mut pull = hub.stakeout(&["models", "pull", "org/private"]);
    stdout(&pull.env("HF_TOKEN", "hf_hush").output().unwrap());
    let asked = hub.asked();
    let (cdn, own): (Vec<_>, Vec<_>) = asked.iter().partition(|asked| asked.by_cdn);
    assert!(cdn.len() >= 2 && cdn.iter().all(|asked| asked.authorization.is_none()), "{cdn:?}");
    assert!(own.iter().all(|asked| asked.authorization.as_deref() == Some("Bearer hf_hush")), "{own:?}");

    // The token from the file that a login writes.
    fs::remove_dir_all(hub.home.path().join("hub")).unwrap();
    fs::write(hub.home.path().join("token"), "hf_hush\n").unwrap();
    stdout(&hub.run(&["models", "pull", "org/private"]));
}

#[test]
fn a_proxy_from_the_environment_is_used() {
    let Some((hub, _)) = clip() else { return };
    let mut pull = hub.stakeout(&["models", "pull", ORIGINAL]);
    pull.env("HF_ENDPOINT", "http://hub.invalid").env("HTTP_PROXY", hub.endpoint());
    stdout(&pull.env("NO_PROXY", "127.0.0.1").output().unwrap());
    let asked = hub.asked();
    let through: Vec<_> = asked.iter().filter(|asked| asked.path.contains("hub.invalid")).collect();
    assert!(!through.is_empty() && through.iter().all(|asked| !asked.by_cdn), "{asked:#?}");
}

#[test]
fn two_processes_fetch_each_file_once() {
    let Some((hub, _)) = clip() else { return };
    let vision = hub.sha256(SISTER, "onnx/vision_model.onnx");
    // The download lasts until the other process has met it.
    hub.fault(&vision, Fault::Held, 1);
    let logs = ["one", "two"].map(|name| hub.home.path().join(name));
    let processes = logs.each_ref().map(|log| {
        let mut pull = hub.stakeout(&["models", "pull", ORIGINAL]);
        pull.stdout(Stdio::piped()).stderr(fs::File::create(log).unwrap()).spawn().unwrap()
    });
    wait_until("one process waits for the other", || {
        let log = |log| fs::read_to_string(log).unwrap();
        logs.iter().any(|path| log(path).contains("another process fetches this file"))
    });
    hub.release();
    let both = processes.map(finish);
    assert_eq!(stdout(&both[0]), stdout(&both[1]));
    let asked = hub.asked();
    for file in ["onnx/vision_model.onnx", "onnx/text_model.onnx", "tokenizer.json"] {
        assert_eq!(gets(&asked, &hub.sha256(SISTER, file)).len(), 1, "{file}");
    }
}

#[test]
fn a_full_disk_is_reported() {
    let Some((hub, _)) = clip() else { return };
    let blobs = repository(&hub, SISTER).join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    let vision = hub.sha256(SISTER, "onnx/vision_model.onnx");
    std::os::unix::fs::symlink("/dev/full", blobs.join(format!("{vision}.incomplete"))).unwrap();
    let error = stderr(&hub.run(&["models", "pull", ORIGINAL]));
    assert!(
        error.contains("No space left on device") && error.contains("set HF_HOME to a folder"),
        "{error}"
    );
}

#[test]
fn a_variant_is_fetched_by_name_and_auto_uses_a_cached_one() {
    let Some((hub, folder)) = clip() else { return };
    let fp16 = scores(&hub, ORIGINAL, &["--variant", "fp16"]);
    let asked = hub.asked();
    assert_eq!(gets(&asked, "_fp16.onnx").len(), 2, "{asked:#?}");
    assert_eq!(gets(&asked, "resolve").iter().filter(|asked| asked.path.ends_with("_model.onnx")).count(), 0);
    assert_alike(&fp16, &scores(&hub, folder.to_str().unwrap(), &["--variant", "fp16"]));
    assert_eq!(scores(&hub, ORIGINAL, &[]), fp16, "a cached variant is used instead of another one");
    assert_eq!(hub.asked(), []);
}

#[test]
fn auto_is_half_precision_for_a_gpu() {
    let Some((hub, _)) = clip() else { return };
    // This machine needs no such device: the files may be for another machine.
    let output = hub.run(&["models", "pull", ORIGINAL, "--device", "cuda"]);
    let text = stderr(&output);
    let asked = hub.asked();
    assert!(text.contains("`variant: auto` chose this variant") && text.contains("fp16"), "{text}");
    assert!(text.find("fp16") < text.find("fetched onnx/"), "reported before the first large file: {text}");
    let graphs = names(&PathBuf::from(stdout(&output).trim()).join("onnx"));
    assert_eq!(graphs, ["text_model_fp16.onnx", "vision_model_fp16.onnx"]);
    assert_eq!(gets(&asked, "_model.onnx").len(), 0, "{asked:#?}");
    // The CPU uses it, too, until full precision is pulled.
    stdout(&hub.run(&["models", "pull", ORIGINAL, "--device", "cpu"]));
    let fetched = hub.asked();
    assert!(!gets(&fetched, "text_model.onnx").is_empty(), "{fetched:#?}");
}

#[test]
fn external_weights_of_a_combined_graph_are_fetched() {
    let Some(folder) = models("tiny-siglip2") else { return };
    let hub = Hub::start();
    hub.add_folder("org/siglip2", &folder, |name| {
        !name.contains("vision_model") && !name.contains("text_model")
    });
    let found = scores(&hub, "org/siglip2", &[]);
    assert_alike(&found, &scores(&hub, folder.to_str().unwrap(), &[]));
    assert!(snapshot(&hub, "org/siglip2").join("onnx/model.onnx_data").exists());
}

#[test]
fn scale_and_bias_come_from_the_weights_or_the_combined_graph() {
    let Some(folder) = models("tiny-siglip") else { return };
    let hub = Hub::start();
    let towers = |name: &str| name != "onnx/model.onnx";
    hub.add_folder("org/towers", &folder, towers);
    let error = stderr(&hub.run(&["models", "pull", "org/towers"]));
    assert!(
        error.contains("how the similarities of org/towers become scores") && error.contains("stakeout.json"),
        "{error}"
    );
    assert!(gets(&hub.asked(), ".onnx").is_empty(), "no large file is fetched");

    // The graphs are in an unknown repository, the weights in the repository of the model.
    let weights = safetensors(&[("logit_scale", 117.330_78f32.ln()), ("logit_bias", -12.5)]);
    hub.add_file("org/weights", "model.safetensors", weights);
    let config = hub.home.path().join("stakeout.yaml");
    let text = "model: { id: org/weights, onnx: org/towers }
mqtt: { url: 'mqtt://127.0.0.1:1' }
label_sets: { porch: { labels: [cat, dog] } }
sources: { inbox: { folder: inbox, watch: [porch] } }
";
    fs::write(&config, text).unwrap();
    let pull = ["models", "pull", "org/weights", "--onnx", "org/towers"];
    stdout(&hub.run(&pull));
    let kept = repository(&hub, "org/towers").join(format!("stakeout/{COMMIT}.org--weights.json"));
    let kept: Value = serde_json::from_slice(&fs::read(kept).unwrap()).unwrap();
    assert_eq!(
        (kept["logit_bias"].as_f64(), &kept["from"]),
        (Some(-12.5), &json!("the weights of org/weights"))
    );
    let text = stdout(&hub.run(&["models", "verify", "org/towers"]));
    assert!(text.contains("scale 117.3308, bias -12.5000"), "{text}");

    // Without weights the combined graph is used instead of the towers.
    hub.add_folder("org/all", &folder, |_| true);
    hub.asked();
    let text = stdout(&hub.run(&["models", "pull", "org/all"]));
    let fetched = names(&PathBuf::from(text.trim()).join("onnx"));
    assert_eq!(fetched, ["model.onnx"]);
}

#[test]
fn the_scale_is_fetched_if_another_program_has_fetched_only_the_towers() {
    let Some(folder) = models("tiny-siglip") else { return };
    let hub = Hub::start();
    hub.add_folder("org/large", &folder, |name| name != "onnx/model.onnx");
    let part = "model-00002-of-00002.safetensors";
    let index = json!({"weight_map": {"logit_scale": part, "logit_bias": part}});
    hub.add_file("org/large", "model.safetensors.index.json", index.to_string().into_bytes());
    hub.add_file("org/large", part, safetensors(&[("logit_scale", 2.0), ("logit_bias", -1.0)]));
    stdout(&hub.run(&["models", "pull", "org/large"]));
    fs::remove_dir_all(repository(&hub, "org/large").join("stakeout")).unwrap();
    hub.asked();

    let offline =
        hub.stakeout(&["models", "verify", "org/large"]).env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert!(stderr(&offline).contains("does not say how similarities become scores"), "{}", stderr(&offline));
    scores(&hub, "org/large", &[]);
    let asked = hub.asked();
    assert!(asked.iter().filter(|asked| asked.by_cdn).all(|asked| asked.range.is_some()), "{asked:#?}");
    let text = stdout(&hub.run(&["models", "verify", "org/large"]));
    assert!(text.contains("scale 7.3891, bias -1.0000"), "{text}");
}

#[test]
fn cached_models_are_listed_verified_and_removed() {
    let Some((hub, _)) = clip() else { return };
    assert!(stderr(&hub.run(&["models", "list"])).contains("there are no models yet"));
    stdout(&hub.run(&["models", "pull", ORIGINAL]));
    let list = stdout(&hub.run(&["models", "list"]));
    assert!(list.starts_with(&format!("{SISTER}  fp32  ")) && list.lines().count() == 1, "{list}");

    let verified = stdout(&hub.run(&["models", "verify", ORIGINAL]));
    assert!(
        verified.contains("onnx/vision_model.onnx  whole\n") && verified.contains("config.json  whole\n")
    );
    assert!(verified.contains("loads and answers with vectors of 24"), "{verified}");
    let blob = repository(&hub, SISTER).join("blobs").join(hub.sha256(SISTER, "onnx/vision_model.onnx"));
    let mut bytes = fs::read(&blob).unwrap();
    bytes[1000] ^= 1;
    fs::write(&blob, bytes).unwrap();
    let output = hub.run(&["models", "verify", ORIGINAL]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("onnx/vision_model.onnx  DAMAGED\n"));

    assert_eq!(stdout(&hub.run(&["models", "remove", ORIGINAL])), format!("removed {SISTER}\n"));
    assert!(!repository(&hub, SISTER).exists());
    let again = hub.run(&["models", "remove", ORIGINAL]);
    assert!(stderr(&again).contains("is not on this machine"), "{}", stderr(&again));
}

#[test]
fn run_fetches_a_missing_model_and_check_only_reports_it() {
    let Some((hub, _)) = clip() else { return };
    let home = Home::new(1, &format!("model: {ORIGINAL}\n"));
    let config = home.path("stakeout.yaml").display().to_string();
    let text = stderr(&hub.run(&["check", "--config", &config]));
    assert!(text.contains(&format!("note: the model {ORIGINAL} is not on this machine yet")), "{text}");
    assert_eq!(hub.asked(), []);

    let environment = hub.environment();
    let mut environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    environment.push(("NO_PROXY", "127.0.0.1"));
    let mut service = Service::with(&home, &environment);
    service.wait_until_watching();
    assert!(service.log().contains("fetched onnx/vision_model.onnx, "), "{}", service.log());
    service.stop();
}

#[test]
fn a_start_with_cached_label_vectors_does_not_load_the_text_tower() {
    let Some(source) = models("tiny-clip") else { return };
    let hub = Hub::start();
    let folder = hub.home.path().join("clip");
    fs::create_dir_all(folder.join("onnx")).unwrap();
    for name in ["config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"] {
        fs::write(folder.join(name), fs::read(source.join(name)).unwrap()).unwrap();
    }
    for name in ["onnx/vision_model.onnx", "onnx/text_model.onnx"] {
        fs::write(folder.join(name), fs::read(source.join(name)).unwrap()).unwrap();
    }
    fs::write(folder.join("stakeout.json"), r#"{"logit_scale": 50}"#).unwrap();
    let model = folder.to_str().unwrap();
    scores(&hub, model, &[]);

    // Every text is in the cache, so the tower is not loaded.
    let mut again = hub.stakeout(&["classify", "--model", model, "--label", "cat", "--label", "rocket"]);
    let picture = fixtures("hf-parity").unwrap().join("images/landscape_420.jpg");
    let again = again.arg(picture).env("RUST_LOG", "stakeout=debug").output().unwrap();
    assert!(stderr(&again).contains("missing=0"), "{}", stderr(&again));

    // Another file with the same size and time, as a copy may have them. The cached vectors are not used.
    let text = folder.join("onnx/text_model.onnx");
    let before = fs::metadata(&text).unwrap();
    fs::write(&text, vec![0; usize::try_from(before.len()).unwrap()]).unwrap();
    fs::File::options().write(true).open(&text).unwrap().set_modified(before.modified().unwrap()).unwrap();
    let changed = hub.run(&["classify", "--model", model, "--label", "cat", "a.jpg"]);
    assert!(stderr(&changed).contains("onnx/text_model.onnx of the model in"), "{}", stderr(&changed));
}

/// A model, and the file of each of its tensors by the tensor's name.
type Location = (&'static str, fn(&str) -> String);

/// A folder with a small CLIP model whose text weights are in files beside the graph, named by `location`.
fn with_text_weights(hub: &Hub, name: &str, location: impl Fn(&str) -> String) -> Option<PathBuf> {
    let source = models("tiny-clip")?;
    let folder = hub.home.path().join(name);
    fs::create_dir_all(folder.join("onnx")).unwrap();
    for name in ["config.json", "preprocessor_config.json", "tokenizer.json", "onnx/vision_model.onnx"] {
        fs::write(folder.join(name), fs::read(source.join(name)).unwrap()).unwrap();
    }
    fs::write(folder.join("stakeout.json"), r#"{"logit_scale": 50}"#).unwrap();
    let (graph, files) =
        with_external_weights(&fs::read(source.join("onnx/text_model.onnx")).unwrap(), location);
    fs::write(folder.join("onnx/text_model.onnx"), graph).unwrap();
    for (name, content) in files {
        let path = folder.join("onnx").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    Some(folder)
}

#[test]
fn replaced_weights_beside_the_text_graph_give_new_scores() {
    let hub = Hub::start();
    let locations: [Location; 3] = [
        ("dot", |_| "text_model.onnx.data".to_owned()),
        ("second", |name| format!("text_model.onnx_data{}", if name.len() % 2 == 0 { "" } else { "_1" })),
        ("far", |_| "weights/of the text.bin".to_owned()),
    ];
    for (name, location) in locations {
        let Some(folder) = with_text_weights(&hub, name, location) else { return };
        let model = folder.to_str().unwrap();
        let first = scores(&hub, model, &[]);
        assert_eq!(scores(&hub, model, &[]), first);
        for entry in
            [folder.join("onnx"), folder.join("onnx/weights")].iter().flat_map(fs::read_dir).flatten()
        {
            let path = entry.unwrap().path();
            if path.is_dir() || path.extension().is_some_and(|end| end == "onnx") {
                continue;
            }
            // Other numbers in a file of the same size and time.
            let before = fs::metadata(&path).unwrap();
            let content = fs::read(&path).unwrap();
            let half = content
                .as_chunks::<4>()
                .0
                .iter()
                .flat_map(|value| (f32::from_le_bytes(*value) * 0.5).to_le_bytes());
            fs::write(&path, half.collect::<Vec<u8>>()).unwrap();
            fs::File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(before.modified().unwrap())
                .unwrap();
        }
        let copy = hub.home.path().join(format!("{name}-copy"));
        fs::rename(&folder, &copy).unwrap();
        let fresh = scores(&hub, copy.to_str().unwrap(), &[]);
        fs::rename(&copy, &folder).unwrap();
        assert_ne!(fresh, first, "{name}: the weights matter");
        assert_eq!(scores(&hub, model, &[]), fresh, "{name}");
    }
}

#[test]
fn weights_are_fetched_by_the_locations_in_the_graph() {
    let Some(source) = models("tiny-clip") else { return };
    let hub = Hub::start();
    let expected = {
        let Some(folder) = with_text_weights(&hub, "plain", |_| "w".to_owned()) else { return };
        scores(&hub, folder.to_str().unwrap(), &[])
    };
    let locations: [Location; 5] = [
        ("org/underscore", |_| "text_model.onnx_data".to_owned()),
        ("org/dot", |_| "text_model.onnx.data".to_owned()),
        ("org/uuid", |_| "160ea76f-918f-11f1-8428-cc15316249d1".to_owned()),
        ("org/below", |_| "./weights/text.bin".to_owned()),
        // A file for each tensor.
        ("org/many", |name| name.replace(['/', ':'], "_")),
    ];
    for (id, location) in locations {
        let (graph, files) =
            with_external_weights(&fs::read(source.join("onnx/text_model.onnx")).unwrap(), location);
        hub.add_folder(id, &source, |name| name != "onnx/model.onnx" && name != "onnx/text_model.onnx");
        hub.add_file(id, "stakeout.json", br#"{"logit_scale": 50}"#.to_vec());
        hub.add_file(id, "onnx/text_model.onnx", graph);
        let names: Vec<_> =
            files.keys().map(|name| format!("onnx/{}", name.trim_start_matches("./"))).collect();
        for (name, content) in names.iter().zip(files.into_values()) {
            hub.add_file(id, name, content);
        }
        assert_alike(&scores(&hub, id, &[]), &expected);
        assert!(names.iter().all(|name| snapshot(&hub, id).join(name).is_file()), "{id}: {names:?}");

        // A file that is missing is an error, in the cache and on the hub.
        fs::remove_file(snapshot(&hub, id).join(&names[0])).unwrap();
        let mut offline = hub.stakeout(&["models", "verify", id]);
        let error = stderr(&offline.env("TRANSFORMERS_OFFLINE", "1").output().unwrap());
        assert!(error.contains(&names[0]) && error.contains("TRANSFORMERS_OFFLINE forbids"), "{error}");
        hub.remove_file(id, &names[0]);
        let output = hub.run(&["models", "pull", id]);
        assert_eq!(output.status.code(), Some(1));
        let error = stderr(&output);
        assert!(error.contains(&format!("{id} on the hub lacks {}", names[0])), "{error}");
    }

    let (graph, _) = with_external_weights(&fs::read(source.join("onnx/text_model.onnx")).unwrap(), |_| {
        "../../../etc/passwd".to_owned()
    });
    hub.add_folder("org/outside", &source, |name| name != "onnx/model.onnx");
    hub.add_file("org/outside", "stakeout.json", br#"{"logit_scale": 50}"#.to_vec());
    hub.add_file("org/outside", "onnx/text_model.onnx", graph);
    let error = stderr(&hub.run(&["models", "pull", "org/outside"]));
    assert!(error.contains("\"../../../etc/passwd\", which is outside of its folder"), "{error}");
}

#[test]
fn a_model_of_another_type_is_refused_before_anything_large_is_fetched() {
    let Some(folder) = models("tiny-clip") else { return };
    let hub = Hub::start();
    let naflex = br#"{"image_processor_type": "Siglip2ImageProcessor", "patch_size": 16}"#;
    let cases: [(&str, &str, &[u8], &str); 3] = [
        ("org/jina", "config.json", br#"{"model_type": "jina_clip"}"#, "of the type jina_clip, which is not"),
        ("org/naflex", "preprocessor_config.json", naflex, "\"Siglip2ImageProcessor\" is not supported"),
        (
            "org/vit",
            "processor_config.json",
            br#"{"image_processor": {"image_processor_type": "ViTImageProcessor"}}"#,
            "processor_config.json of the model in",
        ),
    ];
    for (id, file, content, expected) in cases {
        hub.add_folder(id, &folder, |_| true);
        hub.add_file(id, file, content.to_vec());
        hub.asked();
        let output = hub.run(&["models", "pull", id]);
        assert_eq!(output.status.code(), Some(1));
        let error = stderr(&output);
        assert!(error.contains(expected) && error.contains(&format!("{id} on the hub cannot")), "{error}");
        let asked = hub.asked();
        assert!(asked.iter().all(|asked| !asked.by_cdn), "{asked:#?}");
    }
}

#[test]
fn settings_inside_of_processor_config_are_used() {
    let Some(folder) = models("tiny-clip") else { return };
    let hub = Hub::start();
    let settings: Value =
        serde_json::from_slice(&fs::read(folder.join("preprocessor_config.json")).unwrap()).unwrap();
    let nested = json!({"image_processor": settings, "processor_class": "CLIPProcessor"}).to_string();
    let expected = scores(&hub, folder.to_str().unwrap(), &[]);
    hub.add_folder("org/v5", &folder, |name| !["preprocessor_config.json"].contains(&name));
    hub.add_file("org/v5", "processor_config.json", nested.clone().into_bytes());
    assert_alike(&scores(&hub, "org/v5", &[]), &expected);

    // They come before those in the older file.
    hub.add_folder("org/both", &folder, |_| true);
    hub.add_file("org/both", "processor_config.json", nested.into_bytes());
    hub.add_file("org/both", "preprocessor_config.json", br#"{"size": 7, "crop_size": 7}"#.to_vec());
    assert_alike(&scores(&hub, "org/both", &[]), &expected);

    // An older `processor_config.json` says nothing about pictures.
    hub.add_folder("org/v4", &folder, |_| true);
    hub.add_file("org/v4", "processor_config.json", br#"{"processor_class": "CLIPProcessor"}"#.to_vec());
    assert_alike(&scores(&hub, "org/v4", &[]), &expected);
}

#[test]
fn pull_repairs_a_damaged_file_and_the_load_error_names_the_command() {
    let Some((hub, _)) = clip() else { return };
    stdout(&hub.run(&["models", "pull", ORIGINAL]));
    let expected = scores(&hub, ORIGINAL, &[]);
    let vision = hub.sha256(SISTER, "onnx/vision_model.onnx");
    let blob = repository(&hub, SISTER).join("blobs").join(&vision);
    let whole = fs::read(&blob).unwrap();
    let mut damaged = whole.clone();
    damaged[..64].fill(0xff);
    fs::write(&blob, &damaged).unwrap();
    let error = stderr(&hub.run(&["models", "verify", ORIGINAL]));
    assert!(error.contains(&format!("`stakeout models pull {ORIGINAL}` fetches it again")), "{error}");
    let error = stderr(&hub.run(&["classify", "--model", ORIGINAL, "--label", "cat", "a.jpg"]));
    let remedy = format!(
        "Damaged on this disk: onnx/vision_model.onnx. Repair it with `stakeout models pull {ORIGINAL}`"
    );
    assert!(error.contains(&remedy), "{error}");

    let output = hub.run(&["models", "pull", ORIGINAL]);
    stdout(&output);
    assert!(
        stderr(&output).contains("onnx/vision_model.onnx in the cache is damaged"),
        "{}",
        stderr(&output)
    );
    assert_eq!(fs::read(&blob).unwrap(), whole);
    assert_eq!(scores(&hub, ORIGINAL, &[]), expected);

    // A file that ends too early, and one that an undamaged model has.
    fs::write(&blob, &whole[..1000]).unwrap();
    hub.asked();
    stdout(&hub.run(&["models", "pull", ORIGINAL]));
    assert_eq!(fs::read(&blob).unwrap(), whole);
    let asked = hub.asked();
    assert_eq!(
        (gets(&asked, &vision).len(), gets(&asked, &hub.sha256(SISTER, "tokenizer.json")).len()),
        (1, 0)
    );
}

#[test]
fn the_models_own_repository_comes_before_that_of_an_export() {
    let Some((hub, folder)) = clip() else { return };
    hub.add_folder(ORIGINAL, &folder, |_| true);
    stdout(&hub.run(&["models", "pull", ORIGINAL]));
    assert!(snapshot(&hub, ORIGINAL).join("onnx/vision_model.onnx").exists());
    assert!(!hub.asked().iter().any(|asked| asked.path.contains(SISTER)));

    // Neither has it.
    let error = stderr(&hub.run(&["models", "pull", "google/siglip-so400m-patch14-224"]));
    assert!(error.contains("refuses google/siglip-so400m-patch14-224 (401)"), "{error}");
    hub.add_file("google/siglip-so400m-patch14-224", "config.json", b"{}".to_vec());
    let error = stderr(&hub.run(&["models", "pull", "google/siglip-so400m-patch14-224"]));
    assert!(
        error.contains("searched as well: onnx-community/siglip-so400m-patch14-224-ONNX, Xenova/"),
        "{error}"
    );
}

#[test]
fn the_suggested_command_is_for_the_model_that_was_asked_for() {
    let hub = Hub::start();
    let model = "model: { id: org/name, onnx: org/graphs, revision: v2, variant: int8 }\n";
    let home = Home::new(1, model);
    let config = home.path("stakeout.yaml").display().to_string();
    let command = "`stakeout models pull org/name --variant int8 --revision v2 --onnx org/graphs`";
    for arguments in [&["check", "--config", &config][..], &["models", "verify", "--config", &config]] {
        let mut run = hub.stakeout(arguments);
        let text = stderr(&run.env("HF_HUB_OFFLINE", "0").output().unwrap());
        assert!(text.contains(command), "{arguments:?}: {text}");
    }
    assert_eq!(hub.asked(), []);
}

#[test]
fn the_cache_is_where_the_hubs_own_tools_have_it() {
    let Some((hub, _)) = clip() else { return };
    let moved = |variables: &[(&str, &str)]| {
        let mut pull = hub.stakeout(&["models", "pull", ORIGINAL]);
        pull.env("HOME", hub.home.path()).envs(variables.iter().copied());
        PathBuf::from(stdout(&pull.output().unwrap()).trim())
    };
    let home = hub.home.path();
    assert!(moved(&[("HUGGINGFACE_HUB_CACHE", "~/former")]).starts_with(home.join("former")));
    assert!(moved(&[("HF_HOME", "~/hf")]).starts_with(home.join("hf/hub")));
    let both = [("HUGGINGFACE_HUB_CACHE", "~/former"), ("HF_HUB_CACHE", "$HOME/newer")];
    assert!(moved(&both).starts_with(home.join("newer")));
}
