//! Connects to every server of a configuration and checks it, as a start does: for `stakeout doctor`.

use std::{io, sync::Arc};

use tokio::{runtime, task::JoinSet};

use super::{contract::VisionContract, link::Link};
use crate::config::ModelServer;

/// The result for each server, in the order of the configuration; an error says why it cannot be used, for people. Blocks for as long as
/// one request may take.
///
/// # Errors
/// The system gives no runtime.
pub fn survey(settings: &ModelServer, contract: &VisionContract) -> io::Result<Vec<Result<(), String>>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (settings, contract) = (Arc::new(settings.clone()), Arc::new(contract.clone()));
    let mut results = vec![Err("the check ended in a panic".to_owned()); settings.servers.len()];
    runtime.block_on(async {
        let mut checks = JoinSet::new();
        for server in 0..settings.servers.len() {
            let (settings, contract) = (Arc::clone(&settings), Arc::clone(&contract));
            checks.spawn(async move {
                (server, Link::open(&settings.servers[server], &settings, &contract).await.map(drop))
            });
        }
        while let Some(checked) = checks.join_next().await {
            if let Ok((server, result)) = checked {
                results[server] = result.map_err(|failure| failure.why().to_owned());
            }
        }
    });
    runtime.shutdown_background();
    Ok(results)
}
