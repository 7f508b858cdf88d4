//! What the systemd units promise to the people of the machine.

use std::{fs, path::Path};

/// The values of a key of a unit.
fn values(unit: &str, key: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(unit);
    let text = fs::read_to_string(path).unwrap();
    let value = |line: &str| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned);
    text.lines().filter_map(value).collect()
}

/// Members of the group reach the socket of the service; others do not. Each instance has a folder of its own, which is not in that
/// of another one: systemd deletes a folder with everything in it when its service stops.
#[test]
fn members_of_the_group_reach_the_socket_and_others_do_not() {
    let folders = ["stakeout.service", "stakeout@.service"].map(|unit| {
        assert_eq!(values(unit, "RuntimeDirectoryMode"), ["0750"], "{unit}");
        // The group of the folder is that of the user.
        assert_eq!(
            (values(unit, "User"), values(unit, "Group")),
            (vec!["stakeout".to_owned()], vec![]),
            "{unit}"
        );
        values(unit, "RuntimeDirectory")
    });
    assert_eq!(folders, [["stakeout"], ["stakeout-%i"]]);
    let users = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/sysusers.d/stakeout.conf");
    let users = fs::read_to_string(users).unwrap();
    for line in ["g stakeout -", "u stakeout - "] {
        assert!(users.lines().any(|it| it.starts_with(line)), "{line}");
    }
}
