//! `stakeout health`, the health check of a container.

use std::{fs, process::Output};

use crate::common::{
    broker::free_port,
    service::{Home, Service},
    stakeout, wait_until,
};

const TOKEN: &str = "hunter2hunter2hunter2";

fn health(home: &Home) -> Output {
    stakeout().args(["health", "--config"]).arg(home.path("stakeout.yaml")).output().unwrap()
}

/// The check has the token of the configuration, and needs nothing else of it: the service may run with an older one.
#[test]
fn a_service_with_a_token_is_asked_with_it() {
    let port = free_port();
    let listen = format!("listen: {{ address: \"0.0.0.0:{port}\", token: {TOKEN} }}\n");
    let home = Home::new(free_port(), &listen);
    let silent = health(&home);
    assert_eq!(silent.status.code(), Some(1));
    let message = String::from_utf8_lossy(&silent.stderr).into_owned();
    assert!(message.contains(&format!("no service answers at 127.0.0.1:{port}")), "{message}");

    let mut service = Service::start(&home);
    service.wait_for_log("listening");
    wait_until("the service is healthy", || health(&home).status.success());
    assert_eq!(health(&home).stdout, b"ok\n");

    let valid = fs::read_to_string(home.path("stakeout.yaml")).unwrap();
    for mistake in ["tresholds: 1\n", "more: [\n", "mqtt: {}\n"] {
        fs::write(home.path("stakeout.yaml"), format!("{valid}{mistake}")).unwrap();
        let output = health(&home);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{mistake:?}: {message}");
    }
    let wrong = valid.replace(TOKEN, "another-token-of-this-length");
    fs::write(home.path("stakeout.yaml"), wrong).unwrap();
    let refused = health(&home);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{message}");
    assert!(message.contains("401") && !message.contains("another-token"), "{message}");
    fs::write(home.path("stakeout.yaml"), &valid).unwrap();
    service.stop();
}

#[test]
fn without_an_endpoint_the_check_says_what_to_add() {
    let home = Home::new(free_port(), "");
    let output = health(&home);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("add `listen: 127.0.0.1:9464`"), "{message}");
    fs::write(home.path("stakeout.yaml"), "listen: 9464\n").unwrap();
    assert_eq!(health(&home).status.code(), Some(78));
}
