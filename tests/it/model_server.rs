//! A model server runs the graph for pictures: its vectors are those of this machine, and nothing is lost while it is away.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use stakeout::{
    config::{Fingerprint, ModelServer as Settings, Secret, ServerAddress, Trust},
    engine::Engines,
    model::{Model, ModelError, ModelFiles, Options, Runtime},
    picture::{self, Picture},
};
use tonic::Code;

use crate::{
    common::{
        broker::{Broker, ReceivedMessage, Subscriber, free_port},
        model_server::{MODEL, ModelServer, Reaction, Script, metadata},
        service::{Home, Service, sample},
        stakeout,
        tls::Tls,
        wait_until,
    },
    metrics::{value, wait_until_ready},
};

const SAMPLES: [&str; 5] =
    ["red-car.jpg", "green-tree.jpg", "blue-umbrella.jpg", "purple-mug.jpg", "empty-wall.jpg"];

fn pictures() -> Vec<Picture> {
    let limits = picture::Limits::of(1_000_000);
    SAMPLES.iter().map(|name| picture::decode(&fs::read(sample(name)).unwrap(), limits).unwrap()).collect()
}

fn settings(servers: &[&ModelServer]) -> Settings {
    let address =
        |server: &&ModelServer| ServerAddress { host: "127.0.0.1".to_owned(), port: server.port, tls: false };
    Settings {
        servers: servers.iter().map(address).collect(),
        name: MODEL.to_owned(),
        token: None,
        timeout: Duration::from_secs(30),
        in_flight: 4,
        tls: Trust::System,
    }
}

fn load(settings: Settings) -> Result<Model, ModelError> {
    let engines = Engines::Server(Runtime::load(None).unwrap(), Arc::new(settings));
    Model::load(engines, &ModelFiles::bundled(), &Options::default())
}

fn local() -> Model {
    Model::load(&Runtime::load(None).unwrap(), &ModelFiles::bundled(), &Options::default()).unwrap()
}

/// The vectors of all pictures in one run.
fn embed(model: &mut Model, pictures: &[Picture]) -> Result<Vec<Vec<f32>>, ModelError> {
    model.embed_pictures(&pictures.iter().collect::<Vec<_>>())
}

/// The greatest difference of two numbers.
fn apart(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    let numbers = a.iter().flatten().zip(b.iter().flatten());
    numbers.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Waits until the model can be used, or cannot.
fn wait_for(model: &mut Model, is_there: bool) {
    wait_until("the servers answer, or are away", || model.health().is_ok() == is_there);
}

#[test]
fn a_server_gives_the_vectors_of_this_machine() {
    let pictures = pictures();
    let mut local = local();
    // One picture at a time, the results are equal to the last bit: the same graph does the same.
    let expected: Vec<_> =
        pictures.iter().map(|picture| local.embed_pictures(&[picture]).unwrap().remove(0)).collect();
    let server = ModelServer::start();
    let mut remote = load(Settings { in_flight: 2, ..settings(&[&server]) }).unwrap();
    for (picture, expected) in pictures.iter().zip(&expected) {
        assert_eq!(remote.embed_pictures(&[picture]).unwrap(), std::slice::from_ref(expected));
    }
    assert_eq!(server.answered(), [1; 5]);
    assert!(apart(&embed(&mut remote, &pictures).unwrap(), &expected) < 1e-5);
    let mut requests = server.answered().split_off(5);
    requests.sort_unstable();
    assert_eq!(requests, [2, 3], "a batch is divided among the requests in flight");
    assert_eq!(remote.logits(), local.logits());
    let facts = remote.facts();
    assert_eq!((&*facts.graph, facts.engine), (MODEL, format!("the model server {}", server.address())));

    server.change(|script| script.answer = Reaction::Numbers);
    assert!(apart(&embed(&mut remote, &pictures).unwrap(), &expected) < 1e-5, "numbers that are not raw");
}

#[test]
fn a_server_may_compute_in_half_precision_and_fix_the_number_of_pictures() {
    let pictures = pictures();
    let expected = embed(&mut local(), &pictures).unwrap();
    let half = ModelServer::with(Script { metadata: metadata("FP16", -1), ..Script::default() });
    let found = embed(&mut load(settings(&[&half])).unwrap(), &pictures).unwrap();
    let distance = apart(&found, &expected);
    assert!(distance > 0.0 && distance < 1e-2, "{distance}");

    let fixed = ModelServer::with(Script { metadata: metadata("FP32", 3), ..Script::default() });
    let found = embed(&mut load(settings(&[&fixed])).unwrap(), &pictures).unwrap();
    assert!(apart(&found, &expected) < 1e-5);
    assert_eq!(fixed.answered(), [3, 3], "blank pictures fill the last request");
}

#[test]
fn a_server_with_another_model_is_explained() {
    let renamed = || {
        let mut other = metadata("FP32", -1);
        other.outputs[0].name = "pooler_output".to_owned();
        Script { metadata: other, ..Script::default() }
    };
    let sized = || {
        let mut other = metadata("FP32", -1);
        other.inputs[0].shape = vec![-1, 3, 999, 999];
        Script { metadata: other, ..Script::default() }
    };
    let remedy =
        "Serve the graph for pictures that `stakeout models serve` writes, or correct `name` of `model`";
    for (script, name, expected) in [
        (renamed(), MODEL, "its outputs are pooler_output, and image_embeds is expected"),
        (sized(), MODEL, "its input pixel_values has the shape [any, 3, 999, 999], and [any number, 3, "),
        (Script { metadata: metadata("UINT8", -1), ..Script::default() }, MODEL, "is of the kind UINT8"),
    ] {
        let server = ModelServer::with(script);
        let error =
            load(Settings { name: name.to_owned(), ..settings(&[&server]) }).err().unwrap().to_string();
        assert!(error.contains(expected) && error.contains(remedy), "{error}");
        assert!(error.contains(&server.address()), "{error}");
    }
    // A server that loads its model answers the same as one without it, so this may pass.
    let server = ModelServer::start();
    let mut other = load(Settings { name: "other".to_owned(), ..settings(&[&server]) }).unwrap();
    let error = other.health().unwrap_err().to_string();
    assert!(error.contains("it has no model of the name other that is ready"), "{error}");
}

#[test]
fn vectors_of_another_length_than_those_of_texts_are_never_used() {
    let server = ModelServer::start();
    let mut model = load(settings(&[&server])).unwrap();
    assert_eq!(model.health(), Ok(()));
    let text = model.text().encode(&["a red car"]).unwrap().remove(0);
    assert_eq!(model.health(), Ok(()), "the same model");
    // As if the texts were those of another model.
    let other = load(settings(&[&server])).unwrap();
    other.text().uses(&[vec![0.0; text.len() + 1]]);
    let mut other = other;
    let error = other.health().unwrap_err().to_string();
    let expected = format!("vectors of {} numbers, and those of texts have {}", text.len(), text.len() + 1);
    assert!(error.contains(&expected), "{error}");
}

#[test]
fn another_server_is_used_while_the_first_one_is_away() {
    let (mut first, second) = (ModelServer::start(), ModelServer::start());
    let pictures = pictures();
    let mut model = load(settings(&[&first, &second])).unwrap();
    let before = embed(&mut model, &pictures).unwrap();
    assert_eq!((first.answered().len(), second.answered().len()), (3, 0), "the first one is preferred");

    first.kill();
    // At the start, only the first one is waited for.
    wait_until("the second one is used", || embed(&mut model, &pictures).is_ok());
    for _ in 0..2 {
        first.restart();
        let count = first.answered().len();
        wait_until("the first one is used again", || {
            assert!(apart(&embed(&mut model, &pictures).unwrap(), &before) < 1e-5, "no run fails");
            first.answered().len() > count
        });
        first.kill();
        let count = second.answered().len();
        assert!(apart(&embed(&mut model, &pictures).unwrap(), &before) < 1e-5, "no run fails");
        assert_eq!(second.answered().split_off(count).iter().sum::<usize>(), 5);
    }
}

#[test]
fn without_any_server_a_run_waits_and_succeeds_later() {
    let mut server = ModelServer::down(Script::default());
    let pictures = pictures();
    let mut model = load(settings(&[&server])).unwrap();
    let away = embed(&mut model, &pictures).unwrap_err();
    let ModelError::Unavailable(why) = &away else { panic!("{away:?}") };
    assert_eq!(*why, format!("the model server {}: Connection refused", server.address()));
    server.restart();
    wait_for(&mut model, true);
    assert_eq!(embed(&mut model, &pictures).unwrap().len(), 5);
    // The next check finds that it is not ready any more.
    server.change(|script| script.is_ready = false);
    wait_for(&mut model, false);
    let why = model.health().unwrap_err().to_string();
    assert!(why.contains("it has no model of the name bundled-vision that is ready"), "{why}");
}

#[test]
fn what_a_server_answers_decides_whether_pictures_wait() {
    let server = ModelServer::start();
    let pictures = pictures();
    // Two pictures in each request of several.
    let mut model = load(Settings { in_flight: 2, ..settings(&[&server]) }).unwrap();
    // The answer; the error for one picture and for several, as their begin.
    for (answer, one, several) in [
        (
            Reaction::Error(Code::InvalidArgument, "no"),
            "the model failed: the model server rejects the pictures: no",
            "the model failed",
        ),
        (Reaction::Error(Code::Internal, "no memory"), "the engine is unavailable", "the model failed"),
        (
            Reaction::Error(Code::Unavailable, "loading"),
            "the engine is unavailable",
            "the engine is unavailable",
        ),
        (
            Reaction::Error(Code::ResourceExhausted, "queue full"),
            "the engine is unavailable",
            "the engine is unavailable",
        ),
        (Reaction::Shape(vec![1, 3]), "the engine is unavailable", "the engine is unavailable"),
        (Reaction::Short, "the engine is unavailable", "the engine is unavailable"),
    ] {
        for (asked, expected) in [(&pictures[..1], one), (&pictures[..4], several)] {
            server.change(|script| script.answer = Reaction::Vectors);
            wait_for(&mut model, true);
            // Otherwise the delay before the next check grows.
            embed(&mut model, asked).unwrap();
            server.change(|script| script.answer = answer.clone());
            let error = embed(&mut model, asked).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{answer:?} {}: {error}", asked.len());
        }
    }
    // A graph that takes one picture only: the caller tries the pictures one by one.
    server.change(|script| script.answer = Reaction::ErrorForSeveral(Code::Internal, "reshape"));
    let mut model = load(Settings { in_flight: 1, ..settings(&[&server]) }).unwrap();
    wait_for(&mut model, true);
    assert!(matches!(embed(&mut model, &pictures), Err(ModelError::Run(_))));
    assert_eq!(embed(&mut model, &pictures[..1]).unwrap().len(), 1);
}

#[test]
fn a_token_is_sent_with_every_request_and_never_shown() {
    let server = ModelServer::with(Script { token: Some("hunter2"), ..Script::default() });
    let with = |token: Option<&str>| {
        let token = token.map(|token| Secret::new(token.to_owned()));
        load(Settings { token, ..settings(&[&server]) })
    };
    let mut model = with(Some("hunter2")).unwrap();
    embed(&mut model, &pictures()).unwrap();
    let tokens = server.tokens();
    assert!(
        tokens.len() > 4 && tokens.iter().all(|token| token.as_deref() == Some("Bearer hunter2")),
        "{tokens:?}"
    );
    for (token, expected) in
        [(None, "add `token` to `model`"), (Some("hunter3"), "correct `token` of `model`")]
    {
        let error = with(token).err().unwrap().to_string();
        assert!(error.contains(expected) && !error.contains("hunter"), "{error}");
    }
}

#[test]
fn a_server_with_tls_has_the_certificate_that_is_pinned() {
    let server = ModelServer::start();
    let tls = Tls::home_made(server.port);
    let secure = |trust: Trust| {
        let servers = vec![ServerAddress { host: "127.0.0.1".to_owned(), port: tls.port, tls: true }];
        load(Settings { servers, tls: trust, ..settings(&[]) })
    };
    let pinned: Fingerprint = tls.fingerprint.parse().unwrap();
    for trust in [Trust::Pinned(pinned), Trust::Unverified] {
        let mut model = secure(trust).unwrap();
        assert_eq!(embed(&mut model, &pictures()).unwrap().len(), 5);
    }
    let other: Fingerprint =
        tls.fingerprint.replace(|letter: char| letter.is_ascii_hexdigit(), "0").parse().unwrap();
    let mut model = secure(Trust::Pinned(other)).unwrap();
    let error = model.health().unwrap_err().to_string();
    assert!(error.contains("presents another certificate than the pinned one"), "{error}");
}

#[test]
fn a_request_has_a_deadline() {
    let server = ModelServer::start();
    // A busy machine may take longer for the first check: it is repeated.
    let mut model = load(Settings { timeout: Duration::from_secs(1), ..settings(&[&server]) }).unwrap();
    wait_for(&mut model, true);
    server.change(|script| script.answer = Reaction::Nothing);
    let error = embed(&mut model, &pictures()).unwrap_err().to_string();
    assert!(error.contains("no answer within 1 s: check what the server logs, raise `timeout`"), "{error}");
}

/// A configuration with these model servers.
fn home(broker: &Broker, servers: &[&ModelServer], extra: &str) -> Home {
    let servers: Vec<_> = servers.iter().map(|server| server.address()).collect();
    let model = format!(
        "model: {{ id: bundled, server: [{}], name: {MODEL}, timeout: 30s }}\n{extra}",
        servers.join(", ")
    );
    Home::new(broker.port, &model)
}

#[test]
fn frames_wait_for_a_server_and_live_frames_are_skipped() {
    let (broker, port) = (Broker::start(), free_port());
    let mut server = ModelServer::down(Script::default());
    let subscriber = Subscriber::start(&broker);
    let home = home(&broker, &[&server], &format!("listen: 127.0.0.1:{port}\n"));
    let text = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    let camera =
        format!("  Cam: {{ http: \"{}\", every: 50ms, unchanged: score, watch: [objects] }}\n", camera());
    fs::write(home.path("stakeout.yaml"), format!("{text}{camera}")).unwrap();
    let mut service = Service::start(&home);
    wait_until_ready(&service, port);
    let says = |topic: &'static str| {
        move |message: &ReceivedMessage| {
            message.topic == topic && message.text().contains("no frame can be scored")
        }
    };
    let mut seen = subscriber.until("the problem of the service", says("home/problem"));
    let problem = seen.last().unwrap().text();
    assert!(
        problem.contains("Connection refused") && problem.contains("start the model server"),
        "{problem}"
    );
    subscriber.also(&mut seen, "the problem of the source", says("home/inbox/problem"));
    wait_until("the metric", || value(port, "stakeout_model_available") == Some(0.0));

    for number in 0..8 {
        home.drop_unique_picture("red-car.jpg", &format!("{number}.jpg"));
    }
    let skipped = r#"stakeout_frames_skipped_total{source="Cam",cause="no_free_slot"}"#;
    wait_until("frames of the camera are skipped", || value(port, skipped).is_some_and(|count| count > 5.0));
    assert_eq!(value(port, "stakeout_frames_classified_total"), Some(0.0));
    let raised =
        r#"stakeout_alerts_total{source="Inbox",label_set="objects",label="red car",state="raised"}"#;
    assert_eq!(value(port, raised), Some(0.0));

    server.restart();
    wait_until("every picture is scored", || {
        value(port, r#"stakeout_frames_sent_total{source="Inbox"}"#) == Some(8.0)
            && value(port, "stakeout_frames_classified_total").is_some_and(|count| count >= 8.0)
    });
    wait_until("the alert is raised", || value(port, raised) == Some(1.0));
    assert_eq!(value(port, "stakeout_model_available"), Some(1.0));
    let failed = r#"stakeout_frames_not_classified_total{cause="model_failed"}"#;
    assert_eq!(value(port, failed), Some(0.0));
    let is_over = |message: &ReceivedMessage| message.topic == "home/problem" && message.text().is_empty();
    subscriber.until("the problem is over", is_over);
    service.stop();
}

/// A camera of a picture that changes with every request. It ends with the process.
fn camera() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/picture.jpg", listener.local_addr().unwrap());
    let jpeg = fs::read(sample("empty-wall.jpg")).unwrap();
    thread::spawn(move || {
        let mut number = 0_u32;
        for stream in listener.incoming().map_while(Result::ok) {
            while answer_camera(&stream, &jpeg, number) {
                number += 1;
            }
        }
    });
    url
}

/// Answers one request; false at the end of the connection.
fn answer_camera(mut stream: &TcpStream, jpeg: &[u8], number: u32) -> bool {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    if lines.take_while(|line| !line.is_empty()).count() == 0 {
        return false;
    }
    let (start, rest) = jpeg.split_at(2);
    let picture = [start, &[0xFF, 0xFE, 0, 6][..], &number.to_be_bytes(), rest].concat();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", picture.len());
    stream.write_all(&[head.as_bytes(), &picture].concat()).is_ok()
}

/// How often the server is killed. `tools/prove_server.sh` sets another number.
fn kills() -> usize {
    env::var("STAKEOUT_SERVER_KILLS").map_or(3, |number| number.parse().unwrap())
}

#[test]
fn every_picture_is_scored_once_however_often_the_server_is_killed() {
    let (broker, port, kills) = (Broker::start(), free_port(), kills());
    let mut server = ModelServer::with(Script { answer: Reaction::VectorsOf(1), ..Script::default() });
    let home = home(&broker, &[&server], &format!("max_batch: 2\ncanary: off\nlisten: 127.0.0.1:{port}\n"));
    let mut service = Service::start(&home);
    wait_until_ready(&service, port);
    service.wait_until_watching();
    // More than may be answered before the last kill.
    let pictures = kills * 3 + 4;
    for number in 0..pictures {
        home.drop_unique_picture(SAMPLES[number % SAMPLES.len()], &format!("{number}.jpg"));
    }
    for kill in 1..=kills {
        // At least one more request was answered, and one is in flight.
        wait_until("a request is in flight", || server.held() > 0);
        server.kill();
        server.change(|script| script.answer = Reaction::VectorsOf(kill * 3 + 1));
        server.restart();
    }
    wait_until("a request is in flight", || server.held() > 0);
    server.kill();
    server.change(|script| script.answer = Reaction::Vectors);
    server.restart();
    let expected = Some(pictures as f64);
    wait_until("every picture is scored", || value(port, "stakeout_frames_classified_total") == expected);
    for (series, expected) in [
        (r#"stakeout_frames_seen_total{source="Inbox"}"#, expected),
        (r#"stakeout_frames_sent_total{source="Inbox"}"#, expected),
        ("stakeout_frames_repeated_total", Some(0.0)),
        (r#"stakeout_frames_not_classified_total{cause="model_failed"}"#, Some(0.0)),
    ] {
        assert_eq!(value(port, series), expected, "{series}");
    }
    service.stop();
    let ended = format!("the model has ended (scored={pictures}, repeated=0, failed=0, unwatched=0)");
    assert!(service.log().contains(&ended), "{}", service.log());
}

#[test]
fn a_server_that_computes_wrong_is_not_used() {
    let (broker, port) = (Broker::start(), free_port());
    let wrong = ModelServer::with(Script { answer: Reaction::Opposite, ..Script::default() });
    let mut right = ModelServer::down(Script::default());
    let subscriber = Subscriber::start(&broker);
    let home = home(&broker, &[&wrong, &right], &format!("listen: 127.0.0.1:{port}\n"));
    let mut service = Service::start(&home);
    wait_until_ready(&service, port);
    let has_failed = |message: &ReceivedMessage| {
        message.topic == "home/model" && message.text().contains("failed its check")
    };
    let mut seen = subscriber.until("the state of the model", has_failed);
    let state = seen.last().unwrap().text();
    assert!(state.contains(r#""state":"failed""#) && state.contains("frames wait"), "{state}");
    home.drop_picture("red-car.jpg", "1.jpg");
    let waits = |message: &ReceivedMessage| {
        message.topic == "home/problem" && message.text().contains("its answers are wrong")
    };
    subscriber.also(&mut seen, "the problem of the service", waits);
    assert_eq!(value(port, "stakeout_frames_classified_total"), Some(0.0));
    assert_eq!(value(port, r#"stakeout_canary_failed_total{fault="wrong"}"#), Some(1.0));

    right.restart();
    subscriber.until("the alert", |message| message.topic == "home/inbox/objects/red_car/alert");
    let is_well = || value(port, "stakeout_canary_healthy") == Some(1.0);
    wait_until("the second server has passed the check", is_well);
    service.stop();
}

fn run(arguments: &[&str], file: &Path) -> (Option<i32>, String) {
    let output = stakeout().args(arguments).arg(file).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn check_and_doctor_and_verify_ask_the_servers() {
    let broker = Broker::start();
    let (mut server, other) = (ModelServer::start(), ModelServer::down(Script::default()));
    let home = home(&broker, &[&server, &other], "");
    let file = home.path("stakeout.yaml");
    let (code, text) = run(&["check", "--config"], &file);
    assert_eq!(code, Some(0), "{text}");
    let (_, text) = run(&["doctor", "--config"], &file);
    assert!(
        text.contains(&format!("model server {}: its model {MODEL} scores pictures", server.address())),
        "{text}"
    );
    assert!(
        text.contains(&format!("note    model server {}: Connection refused", other.address())),
        "{text}"
    );
    let (code, text) = run(&["models", "verify", "--config"], &file);
    assert!(
        code == Some(0) && text.contains(&format!("with the model {MODEL} at {}", server.address())),
        "{text}"
    );

    server.kill();
    let (code, text) = run(&["check", "--config"], &file);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("the engine is unavailable: the model server grpc://127.0.0.1:"), "{text}");
    let (code, text) = run(&["models", "verify", "--config"], &file);
    assert!(code == Some(1) && text.contains("the engine is unavailable"), "{text}");

    server.change(|script| script.metadata = metadata("UINT8", -1));
    server.restart();
    let alone = Home::new(
        broker.port,
        &format!("model: {{ id: bundled, server: {}, name: {MODEL} }}\n", server.address()),
    );
    let (code, text) = run(&["check", "--config"], &alone.path("stakeout.yaml"));
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("is of the kind UINT8") && text.contains("server: grpc://"), "{text}");
}

#[test]
fn a_model_repository_has_the_graph_and_its_settings() {
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path().join("models");
    let (code, text) = run(&["models", "serve", "bundled", "--triton"], &repository);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("server: grpc://HOST:8001, name: bundled-vision"), "{text}");
    let graph = fs::read(repository.join("bundled-vision/1/model.onnx")).unwrap();
    let bundled = sample("../onnx/vision_model.onnx");
    assert_eq!(graph, fs::read(bundled).unwrap());
    let settings = fs::read_to_string(repository.join("bundled-vision/config.pbtxt")).unwrap();
    assert!(
        settings.contains("name: \"bundled-vision\"") && settings.contains("dynamic_batching"),
        "{settings}"
    );
    assert_eq!(fs::read_dir(&repository).unwrap().count(), 1, "nothing unfinished is left");
    let (code, text) = run(&["models", "serve", "bundled", "--triton"], &repository);
    assert!(code == Some(1) && text.contains("exists: remove it, or choose another name"), "{text}");
}

/// The alerts are those of this machine, with their scores.
#[test]
fn alerts_have_the_scores_of_this_machine() {
    let server = ModelServer::start();
    let score = |model: &str| {
        let broker = Broker::start();
        let subscriber = Subscriber::start(&broker);
        let home = Home::new(broker.port, model);
        let mut service = Service::start(&home);
        service.wait_until_watching();
        home.drop_picture("red-car.jpg", "1.jpg");
        let alert = subscriber
            .until("the alert", |message| message.topic == "home/inbox/objects/red_car/alert")
            .pop()
            .unwrap();
        service.stop();
        let alert: serde_json::Value = serde_json::from_slice(&alert.payload).unwrap();
        (alert["score"].clone(), alert["scores"].clone())
    };
    let remote = score(&format!("model: {{ id: bundled, server: {}, name: {MODEL} }}\n", server.address()));
    assert_eq!(remote, score(""));
    assert!(!server.answered().is_empty());
}
