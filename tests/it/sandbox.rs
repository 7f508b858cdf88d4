//! Pictures are decoded in processes without rights: what they cost when they end, and that they keep nothing and outlive nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use stakeout::{
    picture::{self, Limits, MAX_PIXELS, Picture, PictureError},
    sandbox::{DecodeError, Outcome, Program, Sandbox, State},
};

use crate::{
    common::{
        broker::{Broker, Subscriber, free_port, publish_bytes},
        service::{Home, Service, sample, signal_process},
        stakeout, wait_until,
    },
    metrics::{value, wait_until_ready},
};

/// The default limits of a picture.
fn limits() -> Limits {
    Limits::of(MAX_PIXELS)
}

/// A sandbox of the built program. Its memory limit, which its processes show in their command line, is 1 GB and `more`.
fn sandbox(more: u64) -> (Sandbox, u64) {
    let memory = 1_000_000_000 + more;
    let program = Program { path: env!("CARGO_BIN_EXE_stakeout").into(), memory: Some(memory) };
    (Sandbox::start(program, limits()), memory)
}

fn decode(sandbox: &Sandbox, bytes: &[u8]) -> Result<Picture, PictureError> {
    sandbox.decode("door", bytes, limits(), &|| true).map_err(|error| match error {
        DecodeError::Picture(error) => error,
        DecodeError::Stopped => panic!("it waits for ever"),
    })
}

/// The numbers of the running processes.
fn all_processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The decoder processes with this memory limit. One that has ended has no command line.
fn processes(memory: u64) -> Vec<u32> {
    let wanted = format!("decoder\0--memory\0{memory}\0");
    let command = |process: &u32| fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
    all_processes().into_iter().filter(|process| command(process).ends_with(&wanted)).collect()
}

/// A field of the kernel's description of a process; empty if it is gone.
fn status(process: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
    line.unwrap_or_default().to_owned()
}

/// The children of a process, zombies included.
fn children(parent: u32) -> Vec<u32> {
    let parent = parent.to_string();
    all_processes().into_iter().filter(|process| status(*process, "PPid") == parent).collect()
}

/// The only child of a process.
fn child(parent: u32) -> u32 {
    let mut found = Vec::new();
    wait_until("it has one child", || {
        found = children(parent);
        found.len() == 1
    });
    found[0]
}

fn descriptors(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

fn has_ended(process: u32) -> bool {
    // A process whose parent does not wait for it stays as a zombie.
    matches!(status(process, "State").chars().next(), None | Some('Z' | 'X'))
}

/// Kills a process, and waits until it is gone.
fn kill(process: u32) {
    signal_process(process, "-KILL");
    wait_until("the process ends", || has_ended(process));
}

/// Every picture of the tests.
fn pictures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["tests/fixtures/pictures", "models/bundled/samples"].map(|folder| root.join(folder));
    let files =
        folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|path| path.is_file()).collect();
    assert!(files.len() > 60, "{}", files.len());
    files
}

#[test]
fn every_picture_has_the_same_pixels_and_every_damaged_one_the_same_error() {
    let (sandbox, _) = sandbox(1);
    assert!(matches!(sandbox.state(), State::On(_)), "{:?}", sandbox.state());
    let mut different = Vec::new();
    for path in pictures() {
        let bytes = fs::read(&path).unwrap();
        // Whole, cut off, and with bytes that are wrong.
        let damaged = bytes.iter().enumerate().map(|(at, byte)| if at % 97 == 90 { !byte } else { *byte });
        for bytes in [bytes.clone(), bytes[..bytes.len() / 2].to_vec(), damaged.collect()] {
            let (here, there) = (picture::decode(&bytes, limits()), decode(&sandbox, &bytes));
            if here != there {
                different.push(format!("{}: {here:?} and {there:?}", path.display()));
            }
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    let large = decode(&sandbox, &Picture::of_rgb(2000, 1000, vec![7; 6_000_000]).to_jpeg(90).unwrap());
    assert_eq!(large.unwrap().rgb().len(), 6_000_000, "larger than all before");
    assert_eq!(sandbox.ended(), 0);
}

#[test]
fn a_killed_process_costs_the_picture_that_it_decodes_and_nothing_else() {
    let (sandbox, memory) = sandbox(2);
    let jpeg = fs::read(sample("red-car.jpg")).unwrap();
    let expected = picture::decode(&jpeg, limits()).unwrap();
    for round in 1..=50 {
        assert!(decode(&sandbox, &jpeg).unwrap() == expected, "round {round}");
        let running = processes(memory);
        assert_eq!(running.len(), 1, "round {round}: one source needs one process");
        // Stopped, so that it is killed in the middle of its work.
        signal_process(running[0], "-STOP");
        let lost = thread::scope(|scope| {
            let lost = scope.spawn(|| decode(&sandbox, &jpeg));
            wait_until("it has a picture", || sandbox.processes() == (0, 1));
            signal_process(running[0], "-KILL");
            lost.join().unwrap()
        });
        let is_right = |how: &str| how.starts_with("killed by SIGKILL");
        assert!(matches!(&lost, Err(PictureError::DecoderEnded { how }) if is_right(how)), "{lost:?}");
        assert_eq!(sandbox.ended(), round);
        // A zombie would still have a state.
        wait_until("it is gone", || status(running[0], "State").is_empty());
    }
    // One that was killed while it was idle costs nothing.
    decode(&sandbox, &jpeg).unwrap();
    kill(processes(memory)[0]);
    wait_until("it is gone", || processes(memory).is_empty());
    wait_until("it does not count as idle", || sandbox.processes() == (0, 0));
    assert!(decode(&sandbox, &jpeg).unwrap() == expected);
    assert_eq!(sandbox.ended(), 50);
    drop(sandbox);
    wait_until("the last process ends with the sandbox", || processes(memory).is_empty());
}

#[test]
fn a_picture_that_needs_more_memory_than_its_process_may_use_is_the_only_one_that_fails() {
    const LITTLE: u64 = 16_000_003;
    let program = Program { path: env!("CARGO_BIN_EXE_stakeout").into(), memory: Some(LITTLE) };
    let sandbox = Sandbox::start(program, limits());
    let (width, height) = (8000, 6000);
    let jpeg =
        Picture::of_rgb(width, height, vec![7; width as usize * height as usize * 3]).to_jpeg(50).unwrap();
    picture::decode(&jpeg, limits()).unwrap();
    let failed = decode(&sandbox, &jpeg).unwrap_err();
    assert!(matches!(&failed, PictureError::DecoderEnded { how } if how.contains("SIGABRT")), "{failed}");
    decode(&sandbox, &fs::read(sample("red-car.jpg")).unwrap()).unwrap();
}

#[test]
fn a_picture_is_decoded_only_with_the_memory_that_it_needs() {
    let (sandbox, _) = sandbox(5);
    let jpeg = fs::read(sample("red-car.jpg")).unwrap();
    let expected = picture::decode(&jpeg, limits()).unwrap();
    for sandbox in [sandbox, Sandbox::off()] {
        let begin = || sandbox.begin("door", &jpeg, limits(), &|| true).unwrap();
        let is_decoded = |outcome| matches!(outcome, Outcome::Decoded(picture) if picture == expected);
        let mut job = begin();
        let Outcome::Needs(needed) = job.decode_within(0).unwrap() else { panic!("no memory was granted") };
        assert_eq!(needed, picture::needed(&jpeg, limits()).unwrap());
        assert!(matches!(job.decode_within(needed - 1).unwrap(), Outcome::Needs(again) if again == needed));
        assert!(is_decoded(job.decode_within(needed).unwrap()));
        drop(job);
        // The next picture of the source is expected to need as much, and is decoded at once.
        let mut job = begin();
        assert_eq!(job.expected(), needed);
        assert!(is_decoded(job.decode_within(needed).unwrap()));
    }
}

#[test]
fn sources_do_not_share_a_process() {
    let (sandbox, memory) = sandbox(3);
    let jpeg = fs::read(sample("red-car.jpg")).unwrap();
    for source in ["door", "yard", "door", "barn", "yard"] {
        sandbox.decode(source, &jpeg, limits(), &|| true).unwrap();
    }
    assert_eq!(processes(memory).len(), 3);
    assert_eq!(sandbox.processes(), (3, 0));
}

#[test]
fn a_process_has_no_rights_and_no_secrets() {
    let (sandbox, memory) = sandbox(4);
    let State::On(layers) = sandbox.state() else { panic!("{:?}", sandbox.state()) };
    assert!(layers.contains(&"seccomp"), "{layers:?}");
    let process = processes(memory)[0];
    for (field, expected) in
        [("Seccomp", "2"), ("NoNewPrivs", "1"), ("Threads", "1"), ("CapEff", "0000000000000000")]
    {
        assert_eq!(status(process, field), expected, "{field}");
    }
    // Only root may look into it, because it is not dumpable.
    if let Ok(environment) = fs::read_to_string(format!("/proc/{process}/environ")) {
        assert!(
            environment.split('\0').all(|line| line.is_empty() || line.starts_with("LD_LIBRARY_PATH=")),
            "{environment}"
        );
    }
    for link in fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten() {
        let target = fs::read_link(link.unwrap().path()).unwrap();
        let target = target.display().to_string();
        let known = ["socket:", "/memfd:", "/dev/null"].iter().any(|known| target.starts_with(known));
        assert!(known, "{target}");
    }
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!((limit("Max core file size"), limit("Max open files")), ("0".to_owned(), "0".to_owned()));
    let memory_limit: u64 = limit("Max data size").parse().unwrap();
    assert!((memory..memory + (1 << 30)).contains(&memory_limit), "{memory_limit}");
}

#[test]
fn without_a_sandbox_pictures_are_decoded_in_the_service() {
    let jpeg = fs::read(sample("red-car.jpg")).unwrap();
    for (path, why) in [("/bin/false", "exit code 1"), ("/no/such/program", "No such file")] {
        let sandbox = Sandbox::start(Program { path: path.into(), memory: None }, limits());
        assert!(
            matches!(sandbox.state(), State::Impossible(reported) if reported.contains(why)),
            "{:?}",
            sandbox.state()
        );
        assert!(decode(&sandbox, &jpeg).unwrap() == picture::decode(&jpeg, limits()).unwrap());
        assert_eq!(sandbox.processes(), (0, 0));
    }
}

#[test]
fn a_service_loses_only_the_picture_whose_process_was_killed_and_leaks_nothing() {
    let (broker, port) = (Broker::start(), free_port());
    let subscriber = Subscriber::start(&broker);
    let sources = "  cams: { mqtt: cams, watch: [objects] }\n";
    let home = Home::with_sources(broker.port, "home", sources);
    let file = home.path("stakeout.yaml");
    let typed = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("listen: 127.0.0.1:{port}\n{typed}")).unwrap();
    let mut service = Service::start(&home);
    wait_until_ready(&service, port);
    service.wait_for_log("pictures are decoded in processes without files and network");
    subscriber.until("the source to be online", |message| message.line() == "r home/cams/status online");
    let jpeg = fs::read(sample("red-car.jpg")).unwrap();
    let sent = || value(port, r#"stakeout_frames_sent_total{source="cams"}"#).unwrap() as u64;
    let publish = |expected: u64| {
        publish_bytes(&broker, "cams", &jpeg, &[]);
        wait_until(&format!("picture {expected} is sent"), || sent() == expected);
    };
    assert_eq!(value(port, "stakeout_sandbox_active"), Some(1.0));
    publish(1);
    let before = descriptors(service.id());
    for round in 2..=11 {
        kill(child(service.id()));
        publish(round);
    }
    assert_eq!(value(port, "stakeout_sandbox_crashes_total"), Some(0.0), "they were idle");

    let process = child(service.id());
    signal_process(process, "-STOP");
    publish_bytes(&broker, "cams", &jpeg, &[]);
    let working = r#"stakeout_sandbox_processes{state="working"}"#;
    wait_until("it decodes", || value(port, working) == Some(1.0));
    signal_process(process, "-KILL");
    service.wait_for_log("decoding it ended the decoder process: killed by SIGKILL");
    let line = service.log().lines().find(|line| line.contains("SIGKILL")).unwrap().to_owned();
    assert!(line.contains("cams"), "{line}");
    publish(12);
    assert_eq!(value(port, "stakeout_sandbox_crashes_total"), Some(1.0));
    let failed = r#"stakeout_frames_failed_total{source="cams",cause="decoder_ended"}"#;
    assert_eq!(value(port, failed), Some(1.0));
    wait_until("no descriptor is left", || descriptors(service.id()) <= before);
    wait_until("no zombie is left", || {
        children(service.id()).iter().all(|process| !status(*process, "State").starts_with('Z'))
    });
    assert_eq!(children(service.id()).len(), 1);
    let last = child(service.id());
    service.stop();
    wait_until("the process ends with the service", || has_ended(last));
}

#[test]
fn no_process_survives_the_service() {
    let broker = Broker::start();
    let home = Home::new(broker.port, "");
    let mut service = Service::start(&home);
    service.wait_until_watching();
    let process = child(service.id());
    // One that hangs in a picture notices nothing; the kernel ends it.
    signal_process(process, "-STOP");
    service.signal("-KILL");
    service.wait();
    wait_until("its process ends", || has_ended(process));
}

#[test]
fn the_sandbox_can_be_switched_off() {
    let (broker, port) = (Broker::start(), free_port());
    let home = Home::new(broker.port, &format!("listen: 127.0.0.1:{port}\nsandbox: off\n"));
    let mut service = Service::start(&home);
    wait_until_ready(&service, port);
    service.wait_for_log("the sandbox is off");
    home.drop_picture("red-car.jpg", "1.jpg");
    wait_until("the picture is sent", || {
        value(port, r#"stakeout_frames_sent_total{source="Inbox"}"#) == Some(1.0)
    });
    assert_eq!(value(port, "stakeout_sandbox_active"), Some(0.0));
    assert_eq!(children(service.id()), Vec::<u32>::new());
    service.stop();
}

#[test]
fn the_command_of_a_decoder_process_is_for_the_service_only() {
    let output = stakeout().args(["decoder", "--memory", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("for the service itself"), "{text}");
}
