//! The clock of the machine is wrong: by days, by a year, in both directions, or it begins in 1970. No alert is dropped for it.
//!
//! The service runs with a library that shifts the time of day and nothing else.

use super::{
    state_folder::{delivered, raise},
    *,
};
use crate::common::service::{Home, Service};

/// Replaces `clock_gettime` of the C library; `CLOCK_SHIFT` is in seconds.
const SHIFT: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *time) {
    int failed = syscall(SYS_clock_gettime, id, time);
    const char *shift = getenv("CLOCK_SHIFT");
    if (!failed && id == CLOCK_REALTIME && shift) time->tv_sec += atol(shift);
    return failed;
}
"#;

#[test]
fn a_wrong_clock_drops_no_alert() {
    const DAY: i64 = 24 * 3600;
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("shift.c"), folder.path().join("shift.so"));
    fs::write(&source, SHIFT).unwrap();
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-o"]).args([&library, &source]);
    assert!(compile.status().expect("building the program needs a C compiler").success());
    let library = library.to_str().unwrap();
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();

    for shift in [8 * DAY, 365 * DAY, -365 * DAY, -now] {
        let mut broker = Broker::start();
        let home = Home::new(broker.port, "");
        broker.kill();
        let shift = shift.to_string();
        let wrong = [("LD_PRELOAD", library), ("CLOCK_SHIFT", &*shift)];
        let mut logged = BTreeSet::new();
        // Raised with the right clock, then with the wrong one.
        for environment in [&[][..], &wrong[..]] {
            let mut service = Service::with(&home, environment);
            service.wait_until_watching();
            raise(&home, &service, &format!("with-{}", environment.len()), 4);
            // In order: after a kill the last pictures would be scored again.
            service.stop();
            logged.extend(service.log().lines().filter_map(guarantees::alert_in));
        }
        assert_eq!(logged.len(), 8, "shifted by {shift} s");

        broker.restart();
        let subscriber = Subscriber::start(&broker);
        let mut service = Service::with(&home, &wrong);
        let last = |message: &ReceivedMessage| {
            message.topic.ends_with("/alert") && message.text().contains("with-2-3.jpg")
        };
        let seen = subscriber.until("the last alert", last);
        assert_eq!(delivered(&seen), logged, "shifted by {shift} s");
        let status = seen.iter().find(|message| message.topic == "home/outbox/status").unwrap();
        assert_eq!(
            status.text(),
            r#"{"state":"ok","dropped":0,"snapshots_dropped":0}"#,
            "shifted by {shift} s"
        );
        service.stop();
    }
}
