//! `stakeout console`: prints a link that signs a browser in to the console of the running service, and opens it on a desktop.
//!
//! Where the service does not listen, the command itself serves the console on a port of this machine while it runs: it forwards
//! browsers to a socket of the service, where they have to sign in like everywhere else.

use std::{
    env,
    io::{IsTerminal as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::{net::TcpListener, signal};

use self::browser::LinkPage;
use super::{ConfigArgs, DONE, print_problems, report};
use crate::{
    api::{
        Client, Error, Role,
        client::Running,
        sign_in::{self, Listens, SignOutAll},
    },
    config, local_time, terminal, web,
};

mod browser;
mod default_browser;

/// The arguments of `stakeout console`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// The browser may only look
    #[arg(long)]
    view: bool,
    /// Only print the link
    #[arg(long)]
    no_open: bool,
    /// The port to serve the console on, if the configuration has no `listen` [default: a free one]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// End the sessions of all browsers instead
    #[arg(long, conflicts_with_all = ["view", "no_open", "port"])]
    sign_out_all: bool,
}

/// Prints a link, and opens it. A mistake in the configuration does not matter: the console may be the way to correct it.
///
/// # Errors
/// No port can be opened, or standard output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = args.config.path();
    let state_dir = match config::state_dir(&path) {
        Ok(state_dir) => state_dir,
        Err(problems) => return Ok(print_problems(&problems)),
    };
    match ask(args, &Client::at(&path, &state_dir)) {
        Ok(Outcome::SignedOut(sessions)) => {
            terminal::say(format_args!("browsers that were signed out: {sessions}"));
            Ok(ExitCode::from(DONE))
        }
        Ok(Outcome::Code(running, response)) => show(args, &running, &response),
        Err(error) => Ok(report(&error)),
    }
}

enum Outcome {
    SignedOut(u64),
    Code(Running, sign_in::Response),
}

fn ask(args: &Args, client: &Client) -> Result<Outcome, Error> {
    let running = client.running()?.ok_or_else(|| client.not_running())?;
    if args.sign_out_all {
        let ended = running.call(&sign_in::SIGN_OUT_ALL, &SignOutAll {})?;
        return Ok(Outcome::SignedOut(ended.sessions));
    }
    let role = if args.view { Role::View } else { Role::Change };
    let response = running.call(&sign_in::VERB, &sign_in::Request { role })?;
    Ok(Outcome::Code(running, response))
}

fn show(args: &Args, running: &Running, response: &sign_in::Response) -> anyhow::Result<ExitCode> {
    let surroundings = Surroundings::of_process();
    if let Some(listens) = &response.listens {
        let base = surroundings.base(listens);
        if let Some(page) = print_link(args, &surroundings, &base, response)? {
            // The browser may read it after this command has ended.
            page.keep();
        }
        return Ok(ExitCode::from(DONE));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(serve(args, &surroundings, running.socket_for_browsers(), response))
}

/// Serves the console until Ctrl-C.
async fn serve(
    args: &Args,
    surroundings: &Surroundings,
    socket: PathBuf,
    response: &sign_in::Response,
) -> anyhow::Result<ExitCode> {
    let port = args.port.unwrap_or(0);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| format!("cannot listen at 127.0.0.1:{port}: choose another port with `--port`"))?;
    let address = listener.local_addr().context("the port has no address")?;
    // Deleted at the end.
    let _page = print_link(args, surroundings, &format!("http://{address}"), response)?;
    terminal::say(
        "The console is here while this command runs; Ctrl-C ends it. With `listen:` in the configuration, the service itself serves it.",
    );
    let mut terminated = signal::unix::signal(signal::unix::SignalKind::terminate()).context("no signals")?;
    tokio::select! {
        () = web::forward::run(listener, socket.into()) => {}
        _ = signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
    Ok(ExitCode::from(DONE))
}

/// Prints the link to standard output, and what to know about it to standard error. Returns the page that a browser was opened with.
fn print_link(
    args: &Args,
    surroundings: &Surroundings,
    base: &str,
    response: &sign_in::Response,
) -> anyhow::Result<Option<LinkPage>> {
    let link = format!("{base}/console/#sign-in={}", response.code);
    let mut output = terminal::output();
    writeln!(output, "{}", terminal::one_line(&link))
        .and_then(|()| output.flush())
        .context("standard output cannot be written")?;
    drop(output);
    let may = match response.role {
        Role::View => "look",
        Role::Change => "look and change",
    };
    let until = local_time::local(response.until.0);
    terminal::say(format_args!("The link works once, until {until}, and signs in a browser that may {may}."));
    if let Some(hint) = surroundings.hint(base) {
        terminal::say(hint);
    }
    let opens = !args.no_open && surroundings.has_desktop;
    Ok(opens.then(|| open(&link, response)).flatten())
}

/// Opens the default browser, unless it may not read the page that leads to the link. The link was printed, so a failure only needs a note.
fn open(link: &str, response: &sign_in::Response) -> Option<LinkPage> {
    if let Some(sandbox) = default_browser::sandbox() {
        terminal::say(format_args!(
            "Your browser is a {sandbox}, so this command cannot open the link in it: open the link above."
        ));
        return None;
    }
    let lasts = response.until.0.duration_since(Timestamp::now());
    let page = browser::open(link, lasts.try_into().unwrap_or_default())
        .inspect_err(|error| tracing::debug!(%error, "no browser can be opened"))
        .ok();
    terminal::say("If the browser shows no page, open the link above.");
    page
}

/// Where the command runs.
#[derive(Debug)]
struct Surroundings {
    /// There is a desktop, and a person who waits for the browser.
    has_desktop: bool,
    /// The address of this machine that the person has logged in to, with SSH.
    ssh: Option<IpAddr>,
    /// The address of this machine in its network.
    own: Option<IpAddr>,
}

impl Surroundings {
    fn of_process() -> Self {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        // A browser that root starts is a danger, and most refuse to start.
        let is_root = rustix::process::geteuid().is_root();
        Self {
            has_desktop: (is_set("DISPLAY") || is_set("WAYLAND_DISPLAY"))
                && std::io::stdout().is_terminal()
                && !is_root,
            // `CLIENT PORT SERVER PORT`
            ssh: env::var("SSH_CONNECTION").ok().and_then(|value| value.split(' ').nth(2)?.parse().ok()),
            own: own_address(),
        }
    }

    /// The beginning of the link to a service that listens.
    fn base(&self, listens: &Listens) -> String {
        if let Some(base_url) = &listens.base_url {
            return base_url.clone();
        }
        let scheme = if listens.tls { "https" } else { "http" };
        match listens.address.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_unspecified() => {
                let here = IpAddr::from(Ipv4Addr::LOCALHOST);
                let ip = if self.has_desktop { here } else { self.ssh.or(self.own).unwrap_or(here) };
                format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
            }
            _ => format!("{scheme}://{}", listens.address),
        }
    }

    /// What a person who has logged in from another machine needs to know.
    fn hint(&self, base: &str) -> Option<String> {
        let ssh = self.ssh?;
        let (_, authority) = base.split_once("://")?;
        let address = authority.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback())?;
        let port = address.port();
        Some(format!("On the machine that you have come from, first run: ssh -N -L {port}:{address} {ssh}"))
    }
}

/// The address with which this machine would reach others. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address for documentation: every network has a way to it, and no machine has it.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_has_an_address_that_the_person_can_reach() {
        let ip = |text: &str| text.parse::<IpAddr>().ok();
        let at = |ssh, own| Surroundings { has_desktop: false, ssh: ip(ssh), own: ip(own) };
        let listens = |address: &str, tls, base_url: Option<&str>| Listens {
            address: address.to_owned(),
            tls,
            base_url: base_url.map(str::to_owned),
        };
        for (surroundings, listens, expected) in [
            (at("", "10.0.0.2"), listens("127.0.0.1:9464", false, None), "http://127.0.0.1:9464"),
            (at("", "10.0.0.2"), listens("0.0.0.0:9464", false, None), "http://10.0.0.2:9464"),
            (at("10.9.9.9", "10.0.0.2"), listens("0.0.0.0:9464", true, None), "https://10.9.9.9:9464"),
            (at("fd00::7", ""), listens("[::]:9464", false, None), "http://[fd00::7]:9464"),
            (
                Surroundings { has_desktop: true, ..at("10.9.9.9", "10.0.0.2") },
                listens("0.0.0.0:9464", false, None),
                "http://127.0.0.1:9464",
            ),
            (at("", ""), listens("0.0.0.0:9464", false, None), "http://127.0.0.1:9464"),
            (at("", "10.0.0.2"), listens("192.0.2.7:80", false, None), "http://192.0.2.7:80"),
            (
                at("10.9.9.9", "10.0.0.2"),
                listens("127.0.0.1:9464", false, Some("https://home.example.org/eyes")),
                "https://home.example.org/eyes",
            ),
        ] {
            assert_eq!(surroundings.base(&listens), expected, "{surroundings:?} {listens:?}");
        }
    }

    #[test]
    fn who_comes_from_another_machine_learns_how_to_reach_this_one() {
        let surroundings = |ssh: &str| Surroundings { has_desktop: false, ssh: ssh.parse().ok(), own: None };
        let hint = surroundings("10.9.9.9").hint("http://127.0.0.1:4711").unwrap();
        assert!(hint.ends_with("ssh -N -L 4711:127.0.0.1:4711 10.9.9.9"), "{hint}");
        for (ssh, base) in [
            ("", "http://127.0.0.1:4711"),
            ("10.9.9.9", "http://10.9.9.9:4711"),
            ("10.9.9.9", "https://h.example/x"),
        ] {
            assert_eq!(surroundings(ssh).hint(base), None, "{ssh} {base}");
        }
    }
}
