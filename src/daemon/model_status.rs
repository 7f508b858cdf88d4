//! Publishes whether the device or the server that runs the model computes right, as the topic `model`.

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    alert::{Topics, board::Board},
    classify::{CanaryState, Checked},
};

/// What to do about a device that fails.
const REMEDY: &str = "update the driver of the device and its plugin, and restart the service; `stakeout devices` says what works, and \
    `device: cpu` needs none";

/// What to do about a model server that fails.
const REMEDY_OF_SERVER: &str = "serve the graph that `stakeout models serve` writes, and update the driver of the server; \
    `stakeout models verify` compares the server with this machine";

/// Publishes the state now, and its changes for as long as the service runs.
pub(super) fn publish(topics: &Topics, board: &Board, mut states: watch::Receiver<CanaryState>) {
    let (topic, board) = (topics.model(), board.clone());
    board.set(&topic, &to_json(&states.borrow_and_update()).to_string());
    tokio::spawn(async move {
        while states.changed().await.is_ok() {
            board.set(&topic, &to_json(&states.borrow_and_update()).to_string());
        }
    });
}

fn to_json(state: &CanaryState) -> Value {
    let mut json = json!({ "state": state.word() });
    let remedy = match state.checked {
        Some(Checked::Server) => REMEDY_OF_SERVER,
        Some(Checked::Device(_)) | None => REMEDY,
    };
    if let Some(Checked::Device(device)) = state.checked {
        json["device"] = json!(device.to_string());
    }
    if let (Some(problem), Some(cause)) = (&state.problem, state.cause()) {
        json["cause"] = json!(cause);
        json["since"] = json!(format!("{:.0}", problem.since));
        json["remedy"] = json!(remedy);
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        classify::{CanaryProblem, Consequence},
        config::Device,
        model::canary::verdict::Fault,
    };

    fn failed() -> CanaryState {
        let since = "2026-11-27T08:15:30.9Z".parse().unwrap();
        let problem = CanaryProblem { fault: Fault::Constant, consequence: Consequence::OnProcessor, since };
        CanaryState {
            checked: Some(Checked::Device(Device::WebGpu(0))),
            figures: None,
            problem: Some(problem),
        }
    }

    #[test]
    fn the_published_state() {
        assert_eq!(to_json(&CanaryState::default()).to_string(), r#"{"state":"ok"}"#);
        let expected = format!(
            r#"{{"state":"fallback","device":"webgpu","cause":"the device webgpu failed its check: its answer is the same for every picture; the model runs on the processor since then","since":"2026-11-27T08:15:30Z","remedy":"{REMEDY}"}}"#
        );
        assert_eq!(to_json(&failed()).to_string(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_published() {
        let (board, states) = (Board::new(), watch::Sender::new(CanaryState::default()));
        let values = board.subscribe();
        let value = || values.borrow().get("home/model").map(ToString::to_string);
        publish(&Topics::new("home"), &board, states.subscribe());
        assert_eq!(value().as_deref(), Some(r#"{"state":"ok"}"#), "before the first connection");
        states.send_replace(failed());
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        assert!(value().unwrap().contains(r#""state":"fallback""#));
    }
}
