//! The cameras: those that answer on the network, those that are asked for their addresses, and addresses that are typed.

use std::{
    io::{BufRead, Write},
    path::Path,
    time::Duration,
};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{args::Args, dialog::Dialog};
use crate::{
    config::{
        self, Replaced,
        draft::{Draft, DraftSet, DraftSource, literal},
    },
    onvif::{self, Camera, Login, Profile},
    yaml::Secret,
};

/// The label set that every camera watches.
pub(super) const SET: &str = "objects";
/// How often an address is asked for again.
const MOST_TRIES: usize = 5;

/// The user and the password that were given last: cameras of one person often share them.
#[derive(Default)]
struct Given {
    username: Option<String>,
    password: Option<String>,
}

/// The sources that a person chooses, or that the options name.
pub(super) fn choose<R: BufRead, W: Write>(
    dialog: &mut Dialog<R, W>,
    args: &Args,
    file: &Path,
) -> Result<Vec<DraftSource>> {
    let mut sources = Sources { file, sources: vec![] };
    let mut given = Given { username: args.username.clone(), password: args.password.clone() };
    for typed in &args.camera {
        let (name, address) = named(typed);
        sources.typed(name, address, &given)?;
    }
    for typed in &args.onvif {
        let (name, host) = named(typed);
        if !asked(dialog, &mut sources, (name, host), &mut given)? {
            bail!("the camera {host} gave no address: nothing is written");
        }
    }
    let is_named = !args.camera.is_empty() || !args.onvif.is_empty();
    if args.discover || !is_named && dialog.confirm("Search the local network for cameras (ONVIF)?", false)? {
        discovered(dialog, args, &mut sources, &mut given)?;
    }
    if !is_named || args.discover && sources.sources.is_empty() {
        typed(dialog, &mut sources, &mut given)?;
    }
    Ok(sources.sources)
}

/// The sources so far.
struct Sources<'f> {
    file: &'f Path,
    sources: Vec<DraftSource>,
}

impl Sources<'_> {
    /// Adds a source for an address that was typed, if it is valid.
    fn typed(&mut self, name: Option<&str>, address: &str, given: &Given) -> Result<()> {
        let mut source = DraftSource::at(address);
        let has_login = address
            .split_once("://")
            .is_some_and(|(_, rest)| rest.split('/').next().is_some_and(|authority| authority.contains('@')));
        let is_remote = address.contains("://");
        if is_remote && !has_login {
            login(&mut source, given);
        }
        source.name = name.map_or_else(|| usual_name(address), str::to_owned);
        self.add(source)
    }

    /// Adds a source under a name of its own, after the check of a configuration with it.
    fn add(&mut self, mut source: DraftSource) -> Result<()> {
        let taken = |name: &str| self.sources.iter().any(|known| known.name == name);
        let name = source.name.clone();
        let mut number = 2;
        while taken(&source.name) {
            source.name = format!("{name}-{number}");
            number += 1;
        }
        self.check(&source)?;
        source.settings.insert("watch".to_owned(), json!([SET]));
        self.sources.push(source);
        Ok(())
    }

    /// Checks a configuration with only this source.
    fn check(&self, source: &DraftSource) -> Result<()> {
        let mut source = DraftSource { name: "camera".to_owned(), ..source.clone() };
        source.settings.insert("watch".to_owned(), json!([SET]));
        let draft = Draft {
            broker: config::draft::Broker { url: "mqtt://localhost".to_owned(), ..Default::default() },
            sets: vec![DraftSet {
                name: SET.to_owned(),
                background: vec!["nothing".to_owned()],
                labels: vec![config::draft::DraftLabel::of("something")],
            }],
            sources: vec![source],
            ..Draft::default()
        };
        let text = draft.text();
        let checked = config::look_with(self.file, Replaced { file: self.file, text: &text });
        if let Err(problems) = checked {
            // The line of a draft means nothing to a person.
            let problem = problems.iter().next();
            let (what, remedy) = problem.map_or(("it is invalid", ""), |it| (it.message(), it.remedy()));
            bail!("{what}: {remedy}");
        }
        Ok(())
    }
}

/// `NAME=ADDRESS`; an address with a query has a `=` of its own, after its scheme.
fn named(typed: &str) -> (Option<&str>, &str) {
    match typed.split_once('=') {
        Some((name, address)) if !name.is_empty() && !name.contains(['/', ':', '?']) => (Some(name), address),
        _ => (None, typed),
    }
}

/// A name for an address: the host, or the folder.
fn usual_name(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let name = if address.contains("://") {
        let authority = rest.split('/').next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let is_numeric = host.chars().all(|letter| letter.is_ascii_digit() || ".:[]".contains(letter));
        let host = if host.starts_with('[') { "" } else { host.split(':').next().unwrap_or_default() };
        if is_numeric && !host.is_empty() {
            format!("camera-{}", host.replace('.', "-"))
        } else {
            host.to_owned()
        }
    } else {
        let name = Path::new(rest).file_stem().map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or_default()
    };
    if name.trim().is_empty() { "camera".to_owned() } else { name }
}

/// Adds user and password to a source.
fn login(source: &mut DraftSource, given: &Given) {
    if let Some(username) = &given.username {
        source.settings.insert("username".to_owned(), json!(username));
        if let Some(password) = &given.password {
            source.settings.insert("password".to_owned(), json!(password));
        }
    }
}

/// Searches the network, and asks the cameras that a person chooses for their addresses.
fn discovered<R: BufRead, W: Write>(
    dialog: &mut Dialog<R, W>,
    args: &Args,
    sources: &mut Sources<'_>,
    given: &mut Given,
) -> Result<()> {
    let wait = Duration::from_secs(args.wait);
    dialog.say(format_args!("Searching for {} seconds ...", args.wait))?;
    let found = match onvif::discover(args.probe.unwrap_or(onvif::GROUP), wait) {
        Ok(found) => found,
        Err(error) => {
            dialog.say(format_args!(
                "The search failed: {error}. Cameras can be named with --onvif and --camera."
            ))?;
            return Ok(());
        }
    };
    if found.is_empty() {
        dialog.say(
            "No camera answered. It may be in another network (--onvif HOST), or have ONVIF switched off.",
        )?;
        return Ok(());
    }
    for (at, camera) in found.iter().enumerate() {
        dialog.say(format_args!("  {}  {}", at + 1, described(camera)))?;
    }
    for at in dialog.choose("Which ones", found.len())? {
        let camera = &found[at];
        let Some(address) = reachable(camera) else { continue };
        if !asked(dialog, sources, (camera.name.as_deref(), address), given)? {
            dialog.say("This camera is left out.")?;
        }
    }
    Ok(())
}

/// The address of a camera that is used: over IPv4 and without TLS if there is one, because few cameras have a valid certificate.
fn reachable(camera: &Camera) -> Option<&str> {
    let rank = |address: &&String| (!address.starts_with("http://"), address.contains("://["));
    camera.addresses.iter().min_by_key(rank).map(String::as_str)
}

fn described(camera: &Camera) -> String {
    let parts = [camera.name.as_deref(), camera.hardware.as_deref(), camera.location.as_deref()];
    let mut parts: Vec<_> = parts.into_iter().flatten().collect();
    parts.dedup();
    let address = reachable(camera).unwrap_or_default();
    if parts.is_empty() { address.to_owned() } else { format!("{}  {address}", parts.join(", ")) }
}

/// Asks a camera for its addresses, and adds it. False if it has none, or does not accept the login.
fn asked<R: BufRead, W: Write>(
    dialog: &mut Dialog<R, W>,
    sources: &mut Sources<'_>,
    (name, address): (Option<&str>, &str),
    given: &mut Given,
) -> Result<bool> {
    for _ in 0..MOST_TRIES {
        let login = given.username.as_ref().map(|username| Login {
            username: username.clone(),
            password: Secret::new(referenced(given.password.as_deref().unwrap_or_default())),
        });
        match onvif::profiles(address, login.as_ref()) {
            Ok(profiles) => return added(dialog, sources, (name, address), &profiles, given),
            Err(error) => {
                dialog.say(format_args!("{error}"))?;
                let is_login = matches!(error, onvif::OnvifError::NoLogin(_) | onvif::OnvifError::Denied(_));
                if !is_login || !dialog.asks() || !ask_login(dialog, given)? {
                    return Ok(false);
                }
            }
        }
    }
    Ok(false)
}

/// A password that was given as a reference to the environment, as this process has it.
fn referenced(password: &str) -> String {
    let name = password.strip_prefix("${env:").and_then(|rest| rest.strip_suffix('}'));
    name.and_then(|name| std::env::var(name).ok()).unwrap_or_else(|| password.to_owned())
}

/// Asks for user and password; false if there is no user.
fn ask_login<R: BufRead, W: Write>(dialog: &mut Dialog<R, W>, given: &mut Given) -> Result<bool> {
    let username = dialog.ask("User at the camera (empty: none)", given.username.as_deref())?;
    if username.is_empty() {
        return Ok(false);
    }
    let password = dialog.secret("Password at the camera")?;
    *given =
        Given { username: Some(username), password: Some(password).filter(|password| !password.is_empty()) };
    Ok(true)
}

/// Adds a camera with the profile that suits a model.
fn added<R: BufRead, W: Write>(
    dialog: &mut Dialog<R, W>,
    sources: &mut Sources<'_>,
    (name, address): (Option<&str>, &str),
    profiles: &[Profile],
    given: &Given,
) -> Result<bool> {
    for profile in profiles.iter().filter(|profile| profile.stream.is_some()) {
        let shown = profile.stream.as_deref().unwrap_or_default();
        dialog.say(format_args!("     {}: {shown}", profile_shown(profile)))?;
    }
    let Some(profile) = onvif::preferred(profiles) else {
        dialog.say("The camera reports no stream.")?;
        return Ok(false);
    };
    // What a device on the network reports must not make the service read files or variables.
    let mut source = DraftSource::at(&literal(profile.stream.as_deref().unwrap_or_default()));
    login(&mut source, given);
    source.comment =
        Some(format!("{}; others of this camera are in its own settings", profile_shown(profile)));
    let usual = name.map_or_else(|| usual_name(&with_scheme(address)), str::to_owned);
    source.name = dialog.ask("Name of this camera", Some(&usual))?;
    let taken = source.settings.get("rtsp").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Err(error) = sources.add(source) {
        dialog.say(format_args!("{error:#}"))?;
        return Ok(false);
    }
    dialog.say(format_args!("Taken: {taken}"))?;
    Ok(true)
}

fn with_scheme(address: &str) -> String {
    if address.contains("://") { address.to_owned() } else { format!("http://{address}") }
}

fn profile_shown(profile: &Profile) -> String {
    let size = profile.size.map(|(width, height)| format!("{width}x{height}"));
    let parts = [Some(profile.name.clone()), size, profile.codec.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Asks for addresses until there is none.
fn typed<R: BufRead, W: Write>(
    dialog: &mut Dialog<R, W>,
    sources: &mut Sources<'_>,
    given: &mut Given,
) -> Result<()> {
    if !dialog.asks() {
        return Ok(());
    }
    dialog.say("Addresses of cameras: rtsp://..., http://... of a picture, or a folder with pictures. An empty line ends the list.")?;
    loop {
        let address = dialog.ask("Camera", None)?;
        if address.is_empty() {
            return Ok(());
        }
        if let Err(error) = sources.check(&DraftSource::at(&address)) {
            dialog.say(format_args!("{error:#}"))?;
            continue;
        }
        let has_no_login = address.contains("://") && !address.contains('@');
        let question = "Does it need a user and a password?";
        let needs_login =
            has_no_login && dialog.confirm(question, given.username.is_some())? && ask_login(dialog, given)?;
        let name = dialog.ask("Name", Some(&usual_name(&address)))?;
        let none = Given::default();
        let login = if needs_login { &*given } else { &none };
        if let Err(error) = sources.typed(Some(&name), &address, login) {
            dialog.say(format_args!("{error:#}"))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_precede_an_address() {
        for (typed, expected) in [
            ("door=rtsp://h/s?a=b", (Some("door"), "rtsp://h/s?a=b")),
            ("rtsp://h/s?a=b", (None, "rtsp://h/s?a=b")),
            ("/srv/a=b", (None, "/srv/a=b")),
            ("inbox=/srv/a", (Some("inbox"), "/srv/a")),
            ("10.0.0.2", (None, "10.0.0.2")),
        ] {
            assert_eq!(named(typed), expected, "{typed}");
        }
    }

    #[test]
    fn a_camera_without_a_name_is_called_by_its_address() {
        for (address, expected) in [
            ("rtsp://me:pw@10.0.0.21:554/s", "camera-10-0-0-21"),
            ("rtsp://door.lan/s", "door.lan"),
            ("http://[fe80::1]/s", "camera"),
            ("/srv/inbox", "inbox"),
            ("/srv/day.mp4", "day"),
            ("/", "camera"),
        ] {
            let name = usual_name(address);
            assert!(
                name == expected || expected == "camera" && name.starts_with("camera"),
                "{address}: {name}"
            );
        }
    }

    #[test]
    fn sources_are_checked_and_have_names_of_their_own() {
        let file = Path::new("/nonexistent/stakeout.yaml");
        let mut sources = Sources { file, sources: vec![] };
        let given = Given { username: Some("viewer".to_owned()), password: Some("hunter2".to_owned()) };
        for address in ["rtsp://h/1", "rtsp://h/2", "rtsp://me:pw@h/3", "/srv/inbox"] {
            sources.typed(Some("door"), address, &given).unwrap();
        }
        let found: Vec<_> =
            sources.sources.iter().map(|it| (&*it.name, it.settings.contains_key("username"))).collect();
        assert_eq!(found, [("door", true), ("door-2", true), ("door-3", false), ("door-4", false)]);
        let error = sources.typed(None, "rtsp://", &given).unwrap_err().to_string();
        assert!(error.contains("no usable host") && !error.contains("hunter2"), "{error}");
        assert_eq!(sources.sources.len(), 4);
    }

    #[test]
    fn what_a_camera_reports_is_no_reference() {
        let file = Path::new("/nonexistent/stakeout.yaml");
        let mut sources = Sources { file, sources: vec![] };
        let mut dialog = Dialog::new(&b""[..], Vec::new(), false);
        let profile = Profile {
            stream: Some("rtsp://10.0.0.2/s?x=${file:/etc/hostname}".to_owned()),
            size: Some((640, 480)),
            ..Profile::default()
        };
        let camera = (Some("a: ${env:HOME}"), "10.0.0.2");
        assert!(added(&mut dialog, &mut sources, camera, &[profile], &Given::default()).unwrap());
        let source = &sources.sources[0];
        assert_eq!(source.settings["rtsp"], "rtsp://10.0.0.2/s?x=$${file:/etc/hostname}");
        assert_eq!(source.name, "a: ${env:HOME}", "a name has no references");
    }

    #[test]
    fn a_camera_is_asked_at_its_plain_address() {
        let camera = |addresses: &[&str]| Camera {
            addresses: addresses.iter().map(ToString::to_string).collect(),
            name: Some("Front".to_owned()),
            hardware: Some("Front".to_owned()),
            location: None,
        };
        let several = camera(&["https://10.0.0.2/a", "http://[fe80::1]/a", "http://10.0.0.2/a"]);
        assert_eq!(reachable(&several), Some("http://10.0.0.2/a"));
        assert_eq!(described(&several), "Front  http://10.0.0.2/a");
        assert_eq!(reachable(&camera(&[])), None);
    }
}
