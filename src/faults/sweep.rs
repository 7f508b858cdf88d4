//! The fault sweep: runs a scenario once for each operation that it carries out, and lets that one fail.

use std::sync::Arc;

use super::{
    disk::{Disk, Fault, Operation},
    random::Random,
};

/// The operations that fail.
pub(crate) const OPERATIONS: [Operation; 6] = [
    Operation::Open,
    Operation::Read,
    Operation::Write,
    Operation::Sync,
    Operation::Rename,
    Operation::Delete,
];

/// Runs `scenario` on an empty disk: first without faults, and then for every operation that this took once with this operation
/// failing, and once with all later ones of its kind failing, too. `prepare` runs before on the disk, without faults.
/// `check` runs after, with a disk that works. Returns how many faults there were.
pub(crate) fn sweep(
    prepare: impl Fn(&Arc<Disk>),
    scenario: impl Fn(&Arc<Disk>),
    check: impl Fn(&Arc<Disk>, Option<Fault>),
) -> usize {
    let run = |fault: Option<Fault>| {
        let disk = Disk::new(Random::new(fault.map_or(0, |fault| fault.nth), 0));
        prepare(&disk);
        disk.set_fault(fault);
        scenario(&disk);
        let counts = OPERATIONS.map(|operation| disk.count(operation));
        disk.set_fault(None);
        check(&disk, fault);
        counts
    };
    let faults = faults(run(None));
    for fault in &faults {
        run(Some(*fault));
    }
    faults.len()
}

/// Every fault that is possible if the operations are carried out this often.
pub(crate) fn faults(counts: [u64; OPERATIONS.len()]) -> Vec<Fault> {
    let each = OPERATIONS.into_iter().zip(counts);
    let each = each.flat_map(|(operation, count)| (1..=count).map(move |nth| (operation, nth)));
    let both = |(operation, nth)| [false, true].map(|permanent| Fault { operation, nth, permanent });
    each.flat_map(both).collect()
}
