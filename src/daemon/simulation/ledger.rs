//! What was raised and what was delivered, and whether they agree. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::alert::outbox::Entry;

/// The book of one run.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    alerts: Vec<Booked>,
    by_id: HashMap<String, usize>,
    /// For each topic the numbers of its alerts, in the order in which they were first delivered.
    first: BTreeMap<String, Vec<usize>>,
    /// The numbers of all alerts, in the order in which the webhook first received them.
    first_posted: Vec<usize>,
    /// As counted by the outbox, in all lives together.
    pub(super) dropped: u64,
    /// What may have been dropped without being counted: the service died meanwhile.
    pub(super) uncounted: u64,
    /// Alerts could not be read for a while: newer ones were delivered first.
    pub(super) unreadable: bool,
    wrong: Vec<String>,
}

#[derive(Debug)]
struct Booked {
    entry: Entry,
    kept: Kept,
    /// How often the broker received it.
    delivered: u64,
    /// How often the webhook received it; `None` if there is none.
    posted: Option<u64>,
}

/// What the outbox promised about an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Nothing: the service died before it had taken the alert.
    Nothing,
    /// It is lost with the process, as the outbox reported.
    InMemory,
    /// It survives everything.
    OnDisk,
}

impl Ledger {
    /// These alerts are about to be appended. Returns the number of the first.
    pub(super) fn attempt(&mut self, entries: &[Entry], webhook: bool) -> usize {
        let first = self.alerts.len();
        for entry in entries {
            if self.by_id.insert(entry.id.clone(), self.alerts.len()).is_some() {
                self.wrong.push(format!("the id {} was used twice", entry.id));
            }
            let posted = webhook.then_some(0);
            self.alerts.push(Booked { entry: entry.clone(), kept: Kept::Nothing, delivered: 0, posted });
        }
        first
    }

    /// The outbox took the alerts since this number.
    pub(super) fn appended(&mut self, first: usize, in_memory: bool) {
        let kept = if in_memory { Kept::InMemory } else { Kept::OnDisk };
        self.alerts[first..].iter_mut().for_each(|alert| alert.kept = kept);
    }

    /// The outbox reports that everything is on the disk.
    pub(super) fn all_on_disk(&mut self) {
        self.change(Kept::InMemory, Kept::OnDisk);
    }

    /// What is on the disk is lost with the process.
    pub(super) fn at_risk(&mut self) {
        self.change(Kept::OnDisk, Kept::InMemory);
    }

    /// The service ended: what was only in memory is gone.
    pub(super) fn memory_lost(&mut self) {
        self.change(Kept::InMemory, Kept::Nothing);
    }

    fn change(&mut self, from: Kept, to: Kept) {
        self.alerts.iter_mut().filter(|alert| alert.kept == from).for_each(|alert| alert.kept = to);
    }

    /// The broker received a message to a topic of alerts. Returns what it is.
    pub(super) fn received(&mut self, topic: &str, payload: &[u8]) -> String {
        let payload = String::from_utf8_lossy(payload);
        let id = serde_json::from_str::<serde_json::Value>(&payload).unwrap_or_default()["id"].clone();
        let Some(&number) = id.as_str().and_then(|id| self.by_id.get(id)) else {
            self.wrong.push(format!("{topic} received an alert that was not raised: {payload}"));
            return "an alert that was not raised".to_owned();
        };
        let alert = &mut self.alerts[number];
        if alert.entry.topic != topic || alert.entry.payload != *payload {
            self.wrong.push(format!("alert {number} arrived with another content or at {topic}"));
        }
        alert.delivered += 1;
        if alert.delivered == 1 {
            self.first.entry(topic.to_owned()).or_default().push(number);
            return format!("alert {number}");
        }
        format!("alert {number} again")
    }

    /// The webhook received an alert.
    pub(super) fn posted(&mut self, entry: &Entry) {
        let Some(&number) = self.by_id.get(&entry.id) else {
            self.wrong.push(format!("the webhook received an alert that was not raised: {}", entry.id));
            return;
        };
        let posted = self.alerts[number].posted.get_or_insert(0);
        *posted += 1;
        if *posted == 1 {
            self.first_posted.push(number);
        }
    }

    /// The states that a label may have after a restart, by the topic of its state: that of its last alert that is on the disk, or of a
    /// later one; `None` if no alert is certain to be there.
    pub(super) fn states(&self) -> BTreeMap<&str, BTreeSet<Option<bool>>> {
        let mut states = BTreeMap::new();
        for alert in &self.alerts {
            let Some(mark) = &alert.entry.mark else { continue };
            let states: &mut BTreeSet<_> =
                states.entry(&*mark.topic).or_insert_with(|| BTreeSet::from([None]));
            if alert.kept == Kept::OnDisk {
                states.clear();
            }
            states.insert(Some(mark.raised));
        }
        states
    }

    /// How many alerts were raised.
    pub(super) fn raised(&self) -> usize {
        self.alerts.len()
    }

    /// Something is wrong.
    pub(super) fn note(&mut self, wrong: String) {
        self.wrong.push(wrong);
    }

    /// Checks the book after a healthy phase, and returns what is wrong. `limited`: the outbox may have dropped alerts.
    pub(super) fn check(&mut self, limited: bool) -> Vec<String> {
        let mut wrong = std::mem::take(&mut self.wrong);
        let certain = || self.alerts.iter().enumerate().filter(|(_, alert)| alert.kept == Kept::OnDisk);
        let numbers = |missing: &dyn Fn(&Booked) -> bool| {
            certain().filter(|(_, alert)| missing(alert)).map(|(number, _)| number).collect::<Vec<_>>()
        };
        let lost = numbers(&|alert| alert.delivered == 0);
        let unposted = numbers(&|alert| alert.posted == Some(0));
        for (missing, receiver) in [(lost, "broker"), (unposted, "webhook")] {
            if missing.len() as u64 > self.dropped + self.uncounted {
                wrong.push(format!(
                    "the {receiver} never received {missing:?}, and {} are counted as dropped",
                    self.dropped
                ));
            }
        }
        if self.dropped > 0 && !limited {
            wrong.push(format!("{} alerts were dropped although there was room", self.dropped));
        }
        let webhook = ("the webhook", &self.first_posted);
        let receivers = self.first.iter().map(|(topic, numbers)| (topic.as_str(), numbers)).chain([webhook]);
        for (receiver, numbers) in receivers.filter(|_| !self.unreadable) {
            if let Some(pair) = numbers.windows(2).find(|pair| pair[0] > pair[1]) {
                wrong.push(format!("{receiver} received alert {} before alert {}", pair[0], pair[1]));
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str) -> Entry {
        let payload = format!(r#"{{"id":"{id}"}}"#);
        Entry { id: id.to_owned(), topic: "t".to_owned(), payload, snapshot: None, mark: None }
    }

    /// A book with the alerts 0 to 2. All are on the disk, and these were delivered, in this order.
    fn book(delivered: &[&str]) -> Ledger {
        let mut ledger = Ledger::default();
        let first = ledger.attempt(&["0", "1", "2"].map(entry), false);
        ledger.appended(first, false);
        for id in delivered {
            ledger.received("t", entry(id).payload.as_bytes());
        }
        ledger
    }

    #[test]
    fn a_lost_an_early_a_changed_and_an_invented_alert_are_noticed() {
        assert_eq!(book(&["0", "1", "2", "1"]).check(false), [""; 0]);
        let wrong = |delivered: &[&str]| book(delivered).check(false).join("; ");
        assert!(wrong(&["0", "2"]).contains("never received [1]"));
        assert!(wrong(&["0", "2", "1"]).contains("alert 2 before alert 1"));
        assert!(wrong(&["0", "1", "2", "3"]).contains("was not raised"));
        let mut ledger = book(&["0", "1", "2"]);
        ledger.received("u", entry("0").payload.as_bytes());
        assert!(ledger.check(false).join("").contains("alert 0 arrived with another content"));
    }

    #[test]
    fn what_is_dropped_must_be_counted_and_only_within_limits() {
        let mut ledger = book(&["1", "2"]);
        ledger.dropped = 1;
        assert_eq!(ledger.check(true), [""; 0]);
        assert!(ledger.check(false).join("").contains("although there was room"));
    }

    #[test]
    fn what_was_only_in_memory_may_be_lost_with_the_process() {
        let mut ledger = book(&["0", "1", "2"]);
        let first = ledger.attempt(&[entry("3"), entry("4")], false);
        ledger.appended(first, true);
        ledger.memory_lost();
        assert_eq!(ledger.check(false), [""; 0]);
        let first = ledger.attempt(&[entry("5")], false);
        ledger.appended(first, true);
        ledger.all_on_disk();
        ledger.memory_lost();
        assert!(ledger.check(false).join("").contains("never received [5]"));
    }
}
