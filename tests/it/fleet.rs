//! Three machines share the pictures of one broker, as docs/fleet.md describes, and are restarted one after the other while pictures
//! arrive.

use std::{collections::BTreeSet, fs};

use crate::common::{
    broker::{Broker, Publisher, ReceivedMessage, Subscriber},
    service::{Home, Service, sample},
};

const MACHINES: [&str; 3] = ["fleet/one", "fleet/two", "fleet/three"];
/// The sources of each machine.
const SITES: [&str; 4] = ["north", "east", "south", "west"];
/// The pictures of each site that arrive while one machine restarts. Each is that of another camera, and so a source of its own, which
/// raises exactly one alert. A machine admits at most 32 new cameras of a site at once: all of them together are fewer.
const PICTURES: usize = 10;

/// Waits until every site of a machine is subscribed.
fn until_online(subscriber: &Subscriber, machine: &str, seen: &mut Vec<ReceivedMessage>) {
    let mut missing: BTreeSet<_> =
        SITES.map(|site| format!("r {machine}/{site}/status online")).into_iter().collect();
    while !missing.is_empty() {
        let message = subscriber.next();
        missing.remove(&message.line());
        seen.push(message);
    }
}

/// The cameras whose alerts are among these messages.
fn alerted(seen: &[ReceivedMessage]) -> BTreeSet<String> {
    let raised = seen.iter().filter(|message| {
        message.topic.ends_with("/objects/red_car/alert") && message.text().contains(r#""state":"raised""#)
    });
    let camera = |message: &ReceivedMessage| {
        let levels: Vec<_> = message.topic.split('/').collect();
        levels[levels.len() - 4].to_owned()
    };
    raised.map(camera).collect()
}

#[test]
fn a_rolling_restart_under_load_loses_no_alert() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker);
    let sources: String = SITES
        .map(|site| {
            format!("  {site}: {{ mqtt: {site}/+, name: \"{site}-{{1}}\", share: farm, watch: [objects] }}\n")
        })
        .concat();
    let homes = MACHINES.map(|machine| Home::with_sources(broker.port, machine, &sources));
    let mut services = homes.each_ref().map(Service::start);
    let mut seen = Vec::new();
    // Their messages may arrive in any order.
    let mut missing: BTreeSet<_> = MACHINES
        .iter()
        .flat_map(|machine| SITES.map(|site| format!("r {machine}/{site}/status online")))
        .collect();
    while !missing.is_empty() {
        missing.remove(&subscriber.next().line());
    }

    let red_car = fs::read(sample("red-car.jpg")).unwrap();
    let mut publisher = Publisher::connect(broker.port);
    let mut expected = BTreeSet::new();
    for (round, machine) in MACHINES.iter().enumerate() {
        let mut publish = |half: usize| {
            for number in (0..PICTURES).filter(|number| number % 2 == half) {
                let camera = round * PICTURES + number;
                for site in SITES {
                    publisher.publish(&format!("{site}/{camera}"), &red_car);
                    expected.insert(format!("{site}-{camera}"));
                }
            }
            publisher.settle();
        };
        // Pictures are in flight to the machine when it stops, and arrive while it is away.
        publish(0);
        services[round].signal("-TERM");
        publish(1);
        let status = services[round].wait();
        assert!(status.success(), "{machine}: {status}");
        services[round] = Service::start(&homes[round]);
        until_online(&subscriber, machine, &mut seen);
    }
    assert_eq!(expected.len(), MACHINES.len() * SITES.len() * PICTURES);
    let mut found = alerted(&seen);
    while !found.is_superset(&expected) {
        found.extend(alerted(&[subscriber.next()]));
    }
    for service in &mut services {
        service.stop();
    }
    assert_eq!(found, expected);
}
