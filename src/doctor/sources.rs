//! The sources: whether each delivers, and what.

use std::{thread, time::Duration};

use super::{finding::Finding, rights::Rights};
use crate::{
    alert::publisher,
    config::{After, Config, Folder, Http, MqttSource, Source, SourceKind, Stream},
    mqtt,
    source::{self, StreamProbe},
};

/// So long a camera is looked at.
const LONGEST: Duration = Duration::from_secs(15);
/// So many cameras at a time.
const AT_ONCE: usize = 8;

/// One finding for each source, in their order.
pub(super) fn findings(config: &Config, rights: &Rights) -> Vec<Finding> {
    let mut findings = Vec::new();
    for sources in config.sources.chunks(AT_ONCE) {
        thread::scope(|scope| {
            let looks: Vec<_> =
                sources.iter().map(|source| scope.spawn(move || look(source, config, rights))).collect();
            findings.extend(looks.into_iter().zip(sources).map(|(look, source)| {
                look.join().unwrap_or_else(|_| {
                    let remedy = "please report it, with what stands above";
                    Finding::failed(format!("source {}", source.name), "a fault in the program", remedy)
                })
            }));
        });
    }
    findings
}

fn look(source: &Source, config: &Config, rights: &Rights) -> Finding {
    let what = format!("source {}", source.name);
    match &source.kind {
        SourceKind::Folder(settings) => folder(what, settings, rights),
        SourceKind::Stream(settings) => stream(what, settings, config.max_pixels),
        SourceKind::Http(settings) => http(what, settings, config.max_pixels),
        SourceKind::Mqtt(settings) => topics(what, settings, config),
    }
}

fn folder(what: String, settings: &Folder, rights: &Rights) -> Finding {
    let shown = settings.path.display();
    let looked = rights.read(&settings.path).and_then(|()| rights.unreadable(&settings.path));
    let unreadable = match looked {
        Ok(unreadable) => unreadable,
        Err(error) => {
            let remedy = "make the folder, and readable for the user who runs the service; under systemd also see `ProtectHome=`";
            return Finding::failed(what, format!("{shown} cannot be read: {error}"), remedy);
        }
    };
    let written = match &settings.after {
        After::Keep => Ok(()),
        After::Delete => rights.write(&settings.path),
        // It need not be there yet.
        After::Move(to) => {
            rights.write(&settings.path).and_then(|()| if to.exists() { rights.write(to) } else { Ok(()) })
        }
    };
    match written {
        Err(error) => Finding::failed(
            what,
            format!("files in {shown} cannot be taken away afterwards: {error}"),
            "make the folder writable for the user who runs the service; under systemd also `ReadWritePaths=` in a drop-in",
        ),
        Ok(()) if unreadable > 0 => Finding::note(
            what,
            format!("{shown} can be read, but not {unreadable} of the files and folders in it"),
            "make them readable for the user who runs the service",
        ),
        Ok(()) => Finding::ok(what, format!("{shown} can be read")),
    }
}

fn stream(what: String, settings: &Stream, max_pixels: u64) -> Finding {
    match source::probe_stream(settings, max_pixels, LONGEST) {
        Ok(probe) => seen(what, settings, &probe, max_pixels),
        Err(error) => {
            let remedy =
                "see that the camera is on, that this machine reaches it, and its address, user and password";
            Finding::failed(what, error.to_string(), remedy)
        }
    }
}

/// What was seen of a stream, in words.
fn seen(what: String, settings: &Stream, probe: &StreamProbe, max_pixels: u64) -> Finding {
    let Some((width, height)) = probe.size else {
        let message =
            format!("it sends {}, of which no whole picture came in {} s", probe.codec, LONGEST.as_secs());
        return Finding::failed(
            what,
            message,
            "`transport: tcp` if it is `udp`; a shorter key-frame interval in the camera",
        );
    };
    let key_frames = match probe.key_frames {
        Some(interval) => format!("a key frame every {:.1} s", interval.as_secs_f64()),
        None => "few key frames".to_owned(),
    };
    let decoded =
        if probe.only_key_frames { "only key frames are decoded" } else { "every frame is decoded" };
    let message =
        format!("{} {width}x{height}, {:.0} frames/s, {key_frames}: {decoded}", probe.codec, probe.rate);
    if u64::from(width) * u64::from(height) > max_pixels {
        return Finding::failed(
            what,
            message,
            "its frames have more than `max_pixels`: raise it, or take another stream of the camera",
        );
    }
    if probe.all_for_want_of_key_frames {
        let every = settings.every.as_secs_f64();
        let remedy =
            format!("a key-frame interval of {every} s or less in the camera would save most of the work");
        return Finding::note(what, message, remedy);
    }
    Finding::ok(what, message)
}

fn http(what: String, settings: &Http, max_pixels: u64) -> Finding {
    match source::probe_http(settings, max_pixels) {
        Ok((width, height)) => Finding::ok(what, format!("gives pictures of {width}x{height}")),
        Err(error) => {
            let remedy =
                "see that the camera is on, that this machine reaches it, and its address, user and password";
            Finding::failed(what, error.to_string(), remedy)
        }
    }
}

fn topics(what: String, settings: &MqttSource, config: &Config) -> Finding {
    let broker = settings.broker.as_ref().unwrap_or(&config.mqtt);
    let shown = mqtt::url(broker);
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Finding::failed(what, "the system gives no more files or threads", "see `ulimit -n`");
    };
    match runtime.block_on(publisher::check_connection(broker)) {
        Ok(()) => Finding::ok(what, format!("the broker {shown} takes us in")),
        Err(why) => {
            Finding::failed(what, format!("not connected to {shown}: {why}"), "see `broker` of this source")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Decode, Hwaccel, Input, Pace, Transport, Unchanged},
        doctor::finding::State,
    };

    #[test]
    fn what_is_said_of_a_camera() {
        let settings = Stream {
            input: Input::File("x".into()),
            every: Duration::from_secs(1),
            decode: Decode::Auto,
            hwaccel: Hwaccel::None,
            transport: Transport::Tcp,
            pace: Pace::Real,
            stall_after: Duration::from_secs(20),
            unchanged: Unchanged::Score,
        };
        let good = StreamProbe {
            codec: "h264".to_owned(),
            size: Some((1920, 1080)),
            rate: 24.9,
            key_frames: Some(Duration::from_secs(1)),
            only_key_frames: true,
            all_for_want_of_key_frames: false,
        };
        let say = |probe: &StreamProbe, max_pixels| seen("camera".to_owned(), &settings, probe, max_pixels);
        let finding = say(&good, 100_000_000);
        let expected = "h264 1920x1080, 25 frames/s, a key frame every 1.0 s: only key frames are decoded";
        assert_eq!((finding.state, &*finding.message), (State::Ok, expected));
        assert_eq!(say(&good, 1_000).state, State::Failed);
        let slow = StreamProbe { only_key_frames: false, all_for_want_of_key_frames: true, ..good.clone() };
        assert_eq!(say(&slow, 100_000_000).state, State::Note);
        let blind = StreamProbe { size: None, ..good };
        assert_eq!(say(&blind, 100_000_000).state, State::Failed);
    }
}
