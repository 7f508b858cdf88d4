//! The broker: where it is, and whether it accepts a connection.

use std::{
    io::{BufRead, Write},
    net::{TcpStream, ToSocketAddrs as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::{args::Args, dialog::Dialog};
use crate::{
    config::{
        self, Loaded, Mqtt, Replaced,
        draft::{Broker, Draft},
    },
    mqtt,
    yaml::error::Problems,
};

/// Where a broker usually is.
const USUAL: &str = "mqtt://localhost:1883";
/// The longest wait for a broker of this machine.
const SHORT: Duration = Duration::from_millis(500);
/// How often another address or login is asked for.
const MOST_TRIES: usize = 5;

/// The broker that a person chooses, or that the options name.
pub(super) fn choose<R: BufRead, W: Write>(
    dialog: &mut Dialog<R, W>,
    args: &Args,
    file: &Path,
) -> Result<Broker> {
    let mut broker = Broker {
        url: args.broker.clone().unwrap_or_default(),
        username: args.broker_username.clone(),
        password: args.broker_password.clone(),
        prefix: None,
    };
    if broker.url.is_empty() {
        broker.url = address(dialog)?;
    }
    for _ in 0..MOST_TRIES {
        let settings = match settings(&broker, file) {
            Ok(Loaded { unseen: true, .. }) => {
                dialog.say("Only the service can read its credentials, so the broker is not tried.")?;
                return Ok(broker);
            }
            Ok(loaded) => loaded.config.mqtt,
            Err(problems) if !dialog.asks() => bail!("the broker cannot be used:\n{problems}"),
            Err(problems) => {
                dialog.say(format_args!("{problems}"))?;
                broker.url = dialog.ask("Broker", Some(USUAL))?;
                continue;
            }
        };
        match connect(&settings)? {
            Ok(lacks) => {
                dialog.say(format_args!("The broker {} accepts the connection.", mqtt::url(&settings)))?;
                if let Some(lacks) = lacks {
                    dialog.say(lacks)?;
                }
                return Ok(broker);
            }
            Err(why) => {
                dialog.say(format_args!("Not connected to {}: {why}", mqtt::url(&settings)))?;
                if !dialog.asks() || !ask_again(dialog, &mut broker, why.is_configuration)? {
                    return Ok(broker);
                }
            }
        }
    }
    dialog.say("The broker is taken as it is; `stakeout check` tries it again.")?;
    Ok(broker)
}

/// The address of a broker: that of this machine if one answers there.
fn address<R: BufRead, W: Write>(dialog: &mut Dialog<R, W>) -> Result<String> {
    if is_here() {
        dialog.say("A broker answers on this machine.")?;
    } else {
        dialog.say("No broker answers on this machine. Alerts need one: install mosquitto, or name one on the network.")?;
    }
    dialog.ask("Broker", Some(USUAL))
}

/// Whether something answers at the usual port of this machine.
fn is_here() -> bool {
    let addresses = ("localhost", 1883).to_socket_addrs();
    addresses.into_iter().flatten().any(|address| TcpStream::connect_timeout(&address, SHORT).is_ok())
}

/// Asks for another login or address; false if the broker is taken as it is.
fn ask_again<R: BufRead, W: Write>(
    dialog: &mut Dialog<R, W>,
    broker: &mut Broker,
    is_login: bool,
) -> Result<bool> {
    if is_login {
        let user = dialog.ask("User at the broker (empty: none)", broker.username.as_deref())?;
        broker.username = Some(user).filter(|user| !user.is_empty());
        broker.password = match &broker.username {
            Some(_) => Some(dialog.secret("Password at the broker")?).filter(|password| !password.is_empty()),
            None => None,
        };
        return Ok(true);
    }
    if dialog.confirm("Take this broker nevertheless?", false)? {
        return Ok(false);
    }
    broker.url = dialog.ask("Broker", Some(&broker.url.clone()))?;
    Ok(true)
}

/// A configuration with this broker.
fn settings(broker: &Broker, file: &Path) -> Result<Loaded, Problems> {
    let text = Draft { broker: broker.clone(), ..Draft::default() }.text();
    config::look_with(file, Replaced { file, text: &text })
}

/// What the broker does not support; or why there is no connection.
fn connect(settings: &Mqtt) -> Result<Result<Option<&'static str>, mqtt::NotUsable>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    Ok(runtime.block_on(mqtt::check_connection(settings)))
}
