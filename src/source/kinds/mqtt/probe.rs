//! Checks whether the broker of an MQTT source accepts a connection.

use super::settings::MqttSettings;
use crate::{
    mqtt,
    policy::Mqtt,
    source::kind::{BROKER_REMEDY, Probe},
};

pub(super) fn probe(settings: &MqttSettings, broker: &Mqtt) -> Probe {
    let broker = settings.broker.as_ref().unwrap_or(broker);
    let shown = mqtt::url(broker);
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Probe::failed("the system provides no more files or threads", "check `ulimit -n`");
    };
    match runtime.block_on(mqtt::check_connection(broker)) {
        // A source needs neither retained messages nor acknowledgements.
        Ok(_) => Probe::good(format!("the broker {shown} accepts the connection")),
        Err(why) => Probe::failed(format!("not connected to {shown}: {why}"), BROKER_REMEDY),
    }
}
