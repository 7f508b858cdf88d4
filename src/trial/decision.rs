//! Chooses among candidates that were tried: the fastest one that computes right. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{candidates::Candidate, protocol::Measurement};
use crate::{config::Device, model::canary::verdict::Figures};

/// Another candidate must need less than this share of the processor's time, so that the noise of a measurement decides nothing.
const BETTER: f64 = 0.9;

/// A candidate and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The candidate.
    pub candidate: Candidate,
    /// What became of it.
    pub outcome: TrialOutcome,
}

/// What became of a candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialOutcome {
    /// It ran.
    Measured(Measurement),
    /// It cannot be used, and said why.
    Failed(String),
    /// It ended its process.
    Crashed(String),
    /// It did not answer in time.
    Hung(String),
}

/// What was chosen, and from what.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The choice. `None`: the processor at full precision.
    pub chosen: Option<Candidate>,
    /// One row for each candidate, for people: its name, and its figures or why it is not used.
    pub rows: Vec<(String, String)>,
}

/// Chooses the fastest candidate that computes right.
#[must_use]
pub fn decide(trials: &[Trial]) -> Decision {
    let rows = trials.iter().map(|trial| (trial.candidate.to_string(), text(&trial.outcome))).collect();
    let fastest = trials.iter().filter_map(|trial| Some((trial.candidate, speed(&trial.outcome)?)));
    let fastest: Vec<_> = fastest.collect();
    let reference = fastest.iter().find(|(candidate, _)| is_reference(candidate)).map(|(_, time)| *time);
    let best = fastest.iter().filter(|(candidate, _)| !is_reference(candidate)).min_by_key(|(_, time)| *time);
    let chosen = best.filter(|(_, time)| {
        reference.is_some_and(|reference| time.as_secs_f64() < reference.as_secs_f64() * BETTER)
    });
    Decision { chosen: chosen.map(|(candidate, _)| *candidate), rows }
}

fn is_reference(candidate: &Candidate) -> bool {
    candidate.device == Device::Cpu && candidate.variant == "fp32"
}

/// The mean time of a picture alone and a picture of a batch: a service with few cameras runs both. `None`: it computes wrong, or does
/// not run.
fn speed(outcome: &TrialOutcome) -> Option<Duration> {
    match outcome {
        TrialOutcome::Measured(Measurement { canary: Some(Err(_)), .. }) => None,
        TrialOutcome::Measured(measured) => Some((measured.one + measured.batched) / 2),
        _ => None,
    }
}

fn text(outcome: &TrialOutcome) -> String {
    match outcome {
        TrialOutcome::Measured(Measurement { one, batched, canary, .. }) => {
            let times = format!("{:.0} ms a picture, {:.0} ms in a batch", ms(*one), ms(*batched));
            match canary {
                None => times,
                Some(Ok(Figures { cosine, difference, .. })) => {
                    format!("{times}, scores differ by at most {difference:.4}, least cosine {cosine:.5}")
                }
                Some(Err(fault)) => format!("not used: {fault}"),
            }
        }
        TrialOutcome::Failed(why) | TrialOutcome::Crashed(why) | TrialOutcome::Hung(why) => {
            format!("not used: {why}")
        }
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

impl Decision {
    /// Why, in a few words; empty if there was no choice.
    #[must_use]
    pub fn reason(&self) -> String {
        let Some(chosen) = self.chosen else {
            return match self.rows.len() {
                0 | 1 => String::new(),
                _ => "`device: auto` measured nothing that is faster and computes right".to_owned(),
            };
        };
        let name = chosen.to_string();
        let figures = self.rows.iter().find(|(row, _)| *row == name).map_or("", |(_, figures)| figures);
        format!("`device: auto` measured it as the fastest one that computes right ({figures})")
    }

    /// One line for the log.
    #[must_use]
    pub fn summary(&self) -> String {
        let chosen = self.chosen.map_or("cpu fp32".to_owned(), |chosen| chosen.to_string());
        let rows: Vec<_> = self.rows.iter().map(|(name, text)| format!("{name}: {text}")).collect();
        format!("`device: auto` uses {chosen} ({})", rows.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        config::{OpenVino, Precision},
        model::canary::verdict::Fault,
    };

    fn measured(one: u64, batched: u64, canary: Option<Result<(), Fault>>) -> TrialOutcome {
        let took = Duration::from_millis(one);
        let figures = Figures { cosine: 0.9999, difference: 0.001, took };
        TrialOutcome::Measured(Measurement {
            load: Duration::ZERO,
            one: took,
            batched: Duration::from_millis(batched),
            canary: canary.map(|passed| passed.map(|()| figures)),
            placement: BTreeMap::new(),
        })
    }

    #[test]
    fn a_table_of_trials() {
        let cpu = Candidate { device: Device::Cpu, precision: Precision::Auto, variant: "fp32" };
        let int8 = Candidate { variant: "int8", ..cpu };
        let openvino = |precision| Candidate { device: Device::OpenVino(OpenVino::Cpu), precision, ..cpu };
        let [full, bf16] = [Precision::Fp32, Precision::Bf16].map(openvino);
        let right = || Some(Ok(()));
        let reference = || (cpu, measured(200, 210, None));
        type Case<'a> = (&'a str, Vec<(Candidate, TrialOutcome)>, Option<Candidate>);
        let cases: [Case<'_>; 10] = [
            ("nothing was tried", vec![], None),
            ("only the processor", vec![reference()], None),
            (
                "the fastest",
                vec![reference(), (full, measured(183, 172, right())), (bf16, measured(84, 54, right()))],
                Some(bf16),
            ),
            ("slower", vec![reference(), (full, measured(250, 220, right()))], None),
            ("hardly faster", vec![reference(), (full, measured(190, 190, right()))], None),
            ("faster in batches", vec![reference(), (full, measured(210, 100, right()))], Some(full)),
            (
                "the fastest one computes wrong",
                vec![
                    reference(),
                    (bf16, measured(10, 10, Some(Err(Fault::NotANumber)))),
                    (int8, measured(93, 62, right())),
                ],
                Some(int8),
            ),
            (
                "others cannot be used",
                vec![
                    reference(),
                    (full, TrialOutcome::Failed("no".to_owned())),
                    (bf16, TrialOutcome::Crashed("SIGSEGV".to_owned())),
                    (int8, TrialOutcome::Hung("late".to_owned())),
                ],
                None,
            ),
            ("without the processor nothing can be compared", vec![(bf16, measured(1, 1, right()))], None),
            (
                "the processor fails",
                vec![(cpu, TrialOutcome::Failed("no".to_owned())), (bf16, measured(1, 1, right()))],
                None,
            ),
        ];
        for (name, trials, expected) in cases {
            let trials: Vec<_> =
                trials.into_iter().map(|(candidate, outcome)| Trial { candidate, outcome }).collect();
            let decision = decide(&trials);
            assert_eq!(decision.chosen, expected, "{name}");
            assert_eq!(decision.reason().is_empty(), trials.len() < 2 && expected.is_none(), "{name}");
            let stored = serde_json::to_string(&trials).unwrap();
            assert_eq!(serde_json::from_str::<Vec<Trial>>(&stored).unwrap(), trials, "{name}: {stored}");
        }
    }

    #[test]
    fn the_log_has_every_figure() {
        let cpu = Candidate { device: Device::Cpu, precision: Precision::Auto, variant: "fp32" };
        let trials = [
            Trial { candidate: cpu, outcome: measured(200, 210, None) },
            Trial {
                candidate: Candidate { variant: "int8", ..cpu },
                outcome: measured(93, 62, Some(Ok(()))),
            },
            Trial {
                candidate: Candidate { device: Device::WebGpu(0), ..cpu },
                outcome: TrialOutcome::Crashed("killed by SIGSEGV".to_owned()),
            },
        ];
        let expected = "`device: auto` uses cpu int8 (cpu fp32: 200 ms a picture, 210 ms in a batch; cpu int8: 93 ms a picture, \
            62 ms in a batch, scores differ by at most 0.0010, least cosine 0.99990; webgpu fp32: not used: killed by SIGSEGV)";
        assert_eq!(decide(&trials).summary(), expected);
    }
}
