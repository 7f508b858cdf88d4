//! The running service, as the API sees it: what answers requests, at every time from the start of the process.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

use super::{
    access::Access,
    checks::{Checked, RunChecks},
    configuration::Configuration,
    error::{Error, Kind},
    events::Events,
    role::Role,
};
use crate::{
    classify::{PictureEncoding, TextEncoding, score::Activation},
    config::{Config, Source},
    controls::ControlStore,
    history::{self, History, Inventory, Reader},
    observe::{NewestFrames, ServiceMetrics},
    recent_lines::RecentLines,
    source::Decoders,
    watches::Watches,
    yaml::names,
};

/// The requests that read or change the store at the same time at most. More of them wait: the disk is the limit.
const AT_THE_DISK: usize = 4;
/// The large requests of clients that may look which are received and answered at the same time at most. They have pictures: each may
/// have 16 MiB, and takes memory to decode.
const PICTURES: usize = 2;
/// The same for clients that may change something. These requests have texts of files of the configuration, each of 2 MiB.
const TEXTS: usize = 4;
/// The cameras that people try at the same time at most: each holds a thread and a decoder for up to half a minute.
const TRIES: usize = 2;
/// How long a reader waits for what was just observed.
const PATIENCE_WITH_WRITER: Duration = Duration::from_secs(1);
/// Readers see what was observed until then: writing it for each request would wear out flash cards.
const NEW: Duration = Duration::from_secs(10);
/// The entries of the history are counted again after this time: it reads indexes of a file that may be large.
const COUNTED_AGAIN: Duration = Duration::from_secs(60);

/// What answers requests.
pub struct Service {
    state_dir: PathBuf,
    /// The state of the parts.
    pub metrics: Arc<ServiceMetrics>,
    /// Alerts and scores as they happen.
    pub events: Events,
    /// Who has signed in.
    pub access: Access,
    live: OnceLock<Live>,
    /// The thread that writes the store, if there is one.
    history: OnceLock<history::Handle>,
    configuration: OnceLock<Configuration>,
    at_the_disk: Arc<Semaphore>,
    pictures: Arc<Semaphore>,
    texts: Arc<Semaphore>,
    tries: Arc<Semaphore>,
    tools: OnceLock<Arc<Tools>>,
    /// The last result of `doctor`. It is locked while its checks run.
    pub(super) checked: Arc<Mutex<Checked>>,
    inventory: Mutex<Option<(Instant, Inventory)>>,
}

/// What the command that starts the service hands in.
pub struct Tools {
    /// The newest lines of the log.
    pub lines: RecentLines,
    /// Runs the checks of `doctor`.
    pub checks: RunChecks,
}

/// What exists once the model is loaded.
pub struct Live {
    /// The newest frame of each source, and the configuration in force.
    pub newest: NewestFrames,
    /// Encodes texts with the model of the service.
    pub texts: TextEncoding,
    /// Encodes pictures with the model of the service.
    pub pictures: PictureEncoding,
    /// Decodes pictures that people send.
    pub decoders: Arc<Decoders>,
    /// The temporary labels.
    pub watches: Watches,
    /// What is set while the service runs.
    pub controls: ControlStore,
    /// How the model was trained to score.
    pub activation: Activation,
}

impl Service {
    /// A service whose model is not loaded yet.
    #[must_use]
    pub fn new(state_dir: &Path, metrics: Arc<ServiceMetrics>) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            metrics,
            events: Events::default(),
            access: Access::load(state_dir),
            live: OnceLock::new(),
            history: OnceLock::new(),
            configuration: OnceLock::new(),
            at_the_disk: Arc::new(Semaphore::new(AT_THE_DISK)),
            pictures: Arc::new(Semaphore::new(PICTURES)),
            texts: Arc::new(Semaphore::new(TEXTS)),
            tries: Arc::new(Semaphore::new(TRIES)),
            tools: OnceLock::new(),
            checked: Arc::default(),
            inventory: Mutex::default(),
        }
    }

    /// These are the tools. Later calls have no effect.
    pub fn set_tools(&self, tools: Tools) {
        let _ = self.tools.set(tools.into());
    }

    /// What the command that started the service has handed in; `None` before that.
    pub(super) fn tools(&self) -> Option<&Arc<Tools>> {
        self.tools.get()
    }

    /// The folder of the service's state.
    pub(super) fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Everything is loaded. Later calls have no effect.
    pub fn set_live(&self, live: Live) {
        let _ = self.live.set(live);
    }

    /// This thread writes the store. Later calls have no effect.
    pub fn set_history(&self, history: history::Handle) {
        let _ = self.history.set(history);
    }

    /// These are the files of the configuration. Later calls have no effect.
    pub fn set_configuration(&self, configuration: Configuration) {
        let _ = self.configuration.set(configuration);
    }

    /// The files of the configuration.
    ///
    /// # Errors
    /// The service has just begun to start.
    pub fn configuration(&self) -> Result<&Configuration, Error> {
        self.configuration.get().ok_or_else(|| {
            Error::new(Kind::Unavailable, "the service is starting")
                .remedy("Repeat the request in a few seconds.")
        })
    }

    /// Runs work on the main file of the configuration, which blocks for the disk, when no other such work runs.
    ///
    /// # Errors
    /// `work` failed.
    pub async fn on_configuration<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let configuration = self.configuration()?;
        let path = configuration.path().to_owned();
        let turn = configuration.turn().acquire_owned().await;
        // The work goes on when the client leaves, so the work keeps the turn.
        self.blocking(move || {
            let _turn = turn;
            work(&path)
        })
        .await
    }

    /// How the model was trained to score; `None` while it is being loaded.
    #[must_use]
    pub fn activation(&self) -> Option<Activation> {
        self.live.get().map(|live| live.activation)
    }

    /// What exists once the model is loaded.
    ///
    /// # Errors
    /// It is not loaded yet.
    pub fn live(&self) -> Result<&Live, Error> {
        self.live.get().ok_or_else(|| {
            Error::new(Kind::Unavailable, "the service is starting: the model is being loaded")
                .remedy("Repeat the request in a few seconds.")
        })
    }

    /// The right to send a picture. It ends when the result is dropped.
    ///
    /// # Errors
    /// Too many pictures are being received or decoded.
    pub fn picture_place(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.place_for(Role::View)
    }

    /// The right to send a large request that a client with this role may send. It ends when the result is dropped. Those that may only
    /// look take no place of those that may change something.
    ///
    /// # Errors
    /// Too many large requests are being received or answered.
    pub fn place_for(&self, role: Role) -> Result<OwnedSemaphorePermit, Error> {
        let (places, what) = match role {
            Role::View => (&self.pictures, "the service receives and decodes other pictures"),
            Role::Change => (&self.texts, "the service receives and checks other texts"),
        };
        Arc::clone(places)
            .try_acquire_owned()
            .map_err(|_| Error::new(Kind::Unavailable, what).remedy("Repeat the request in a few seconds."))
    }

    /// The right to try a camera. It ends when the result is dropped.
    ///
    /// # Errors
    /// Too many cameras are being tried.
    pub fn try_place(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.tries).try_acquire_owned().map_err(|_| {
            Error::new(Kind::TooMany, "other cameras are being tried").remedy("Try again in half a minute.")
        })
    }

    /// Reads what the service remembers.
    ///
    /// # Errors
    /// There is no store, or `read` failed.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if let Some(history) = self.history.get() {
            // What is on the disk is read even if that does not work now.
            let _ = tokio::time::timeout(PATIENCE_WITH_WRITER, history.flush(NEW)).await;
        }
        let folder = self.state_dir.clone();
        self.blocking(move || read(&Reader::open(&folder)?)).await
    }

    /// What the history holds. It is counted at most once a minute.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) async fn inventory(&self) -> Result<Inventory, Error> {
        // Others wait for the one that counts.
        let mut counted = self.inventory.lock().await;
        if let Some((_, inventory)) = counted.as_ref().filter(|(at, _)| at.elapsed() < COUNTED_AGAIN) {
            return Ok(inventory.clone());
        }
        let read = self.read(|reader| Ok(Inventory::of(reader.connection()).map_err(history::Error::from)?));
        let inventory = read.await?;
        *counted = Some((Instant::now(), inventory.clone()));
        Ok(inventory)
    }

    /// Changes what the service remembers.
    ///
    /// # Errors
    /// There is no store, or `write` failed.
    pub async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut History) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if let Some(history) = self.history.get() {
            return history.change(write).await?;
        }
        let folder = self.state_dir.clone();
        if !history::store::path(&folder).exists() {
            return Err(Error::new(
                Kind::Conflict,
                "there is no history: it is off, or the service is starting",
            ));
        }
        self.blocking(move || write(&mut History::open(&folder)?)).await
    }

    /// Runs work that blocks for the disk, on another thread.
    ///
    /// # Errors
    /// `work` failed.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let place = Arc::clone(&self.at_the_disk).acquire_owned().await;
        // The work goes on when the client leaves, so the work keeps the place and not this future.
        let work = move || {
            let _place = place;
            work()
        };
        spawn_blocking(work).await.unwrap_or_else(|_| {
            Err(Error::new(Kind::Failed, "answering the request failed")
                .remedy("The log of the service says why."))
        })
    }
}

/// The name of a source as in the configuration, dynamic sources included.
///
/// # Errors
/// There is no such source; `parameter` names it.
pub fn known_source(config: &Config, parameter: &str, typed: &str) -> Result<Arc<str>, Error> {
    Ok(source_named(config, parameter, typed)?.name.as_str().into())
}

/// The source with this name, dynamic sources included.
///
/// # Errors
/// There is no such source; `parameter` names it.
pub fn source_named<'c>(config: &'c Config, parameter: &str, typed: &str) -> Result<&'c Source, Error> {
    config.sources.iter().find(|source| source.name == typed).ok_or_else(|| {
        let known: Vec<_> = config.sources.iter().map(|source| &*source.name).collect();
        let suggestion = names::suggest(typed, &known);
        Error::parameter(parameter, format!("there is no source `{typed}`; {suggestion}"))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::samples;

    /// A service without a model in this state folder.
    pub(crate) fn starting(state_dir: &Path) -> Arc<Service> {
        let metrics = Arc::new(ServiceMetrics::new(&samples::config()));
        Arc::new(Service::new(state_dir, metrics))
    }

    #[tokio::test]
    async fn a_service_that_starts_or_fails_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let service = starting(folder.path());
        let error = service.live().err().unwrap();
        assert_eq!((error.kind, error.kind.status()), (Kind::Unavailable, 503));
        assert!(error.what.contains("model"), "{error}");
        let broken = service.read(|_| -> Result<(), Error> { panic!("a fault") }).await;
        assert_eq!(broken.unwrap_err().kind, Kind::Failed);
        assert_eq!(service.read(|_| Ok(1)).await, Ok(1), "the next request is answered");
    }

    #[test]
    fn large_requests_of_each_role_have_their_own_few_places() {
        let folder = tempfile::tempdir().unwrap();
        let service = starting(folder.path());
        for (role, other, most) in [(Role::View, Role::Change, PICTURES), (Role::Change, Role::View, TEXTS)] {
            let places: Vec<_> = (0..most).map(|_| service.place_for(role).unwrap()).collect();
            assert_eq!(service.place_for(role).unwrap_err().kind, Kind::Unavailable);
            assert!(service.place_for(other).is_ok());
            drop(places);
            assert!(service.place_for(role).is_ok());
        }
    }

    #[tokio::test]
    async fn a_client_that_leaves_makes_no_room_while_its_work_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let service = starting(folder.path());
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let finished = Arc::new(std::sync::Mutex::new(finished));
        for _ in 0..AT_THE_DISK {
            let (begun, begins) = tokio::sync::oneshot::channel();
            let finished = Arc::clone(&finished);
            let work = service.blocking(move || {
                let _ = begun.send(());
                let _ = finished.lock().map(|finished| finished.recv());
                Ok(())
            });
            tokio::select! {
                _ = work => panic!("it waits"),
                begun = begins => begun.unwrap(),
            }
        }
        assert_eq!(service.at_the_disk.available_permits(), 0);
        drop(finish);
        assert_eq!(service.blocking(|| Ok(1)).await, Ok(1), "the work has ended");
    }

    #[test]
    fn sources_are_known_by_their_exact_name() {
        let config = samples::config();
        assert_eq!(known_source(&config, "source", "back"), Ok("back".into()));
        for (typed, text) in
            [("front door", "did you mean `Front Door`?"), ("garage", "known: `Front Door` and `back`")]
        {
            let error = known_source(&config, "source", typed).unwrap_err();
            assert_eq!((error.kind, error.place.as_deref()), (Kind::BadRequest, Some("source")));
            assert!(error.what.contains(text), "{error}");
        }
    }
}
