//! The graph for pictures at model servers, as an [`Engine`].
//!
//! A batch is divided among several requests, which are in flight at the same time: while the server computes one, the next one
//! arrives. If the server fails, the pictures without an answer are sent to the next one at once.

use std::{
    fmt, io,
    sync::{Arc, mpsc},
    thread,
};

use tokio::runtime;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

use super::{
    contract::{PIXEL_VALUES, VisionContract},
    failure::Failure,
    link::{self, Link, Pictures},
    pool::Pool,
};
use crate::{
    config::ModelServer,
    engine::interface::{Connection, Engine, EngineError, Input, InputInfo, Metadata, Rows, Values},
};

/// The servers that one batch is tried at. After that the caller decides, whose heart beats meanwhile.
const TRIES: usize = 2;

/// The graph for pictures at the servers of a configuration.
pub(crate) struct RemoteGraph {
    metadata: Metadata,
    in_flight: usize,
    pool: Arc<Pool>,
    handle: runtime::Handle,
    /// Ends the thread.
    _stop: DropGuard,
}

impl RemoteGraph {
    /// Connects to the servers. Waits until it is known which of them is used. While no server answers, this succeeds, and a run
    /// is [`EngineError::Unavailable`].
    ///
    /// # Errors
    /// [`EngineError::Rejected`]: no server has the graph, so a person must change something.
    pub(crate) fn open(settings: &Arc<ModelServer>, contract: &VisionContract) -> Result<Self, EngineError> {
        let pool = Arc::new(Pool::new(Arc::clone(settings), contract.clone()));
        let stop = CancellationToken::new();
        let handle = spawn(Arc::clone(&pool), stop.clone())
            .map_err(|error| EngineError::Unavailable(format!("no thread for the model server: {error}")))?;
        let _stop = stop.drop_guard();
        pool.wait_until_settled(settings.timeout);
        if pool.is_hopeless() {
            return Err(EngineError::Rejected(pool.why()));
        }
        if pool.preferred().is_none() {
            warn!("no model server answers, so frames wait: {}", pool.why());
        }
        let (width, height) = contract.size;
        let shape = vec![None, Some(3), Some(height as usize), Some(width as usize)];
        let inputs = vec![InputInfo { name: PIXEL_VALUES.to_owned(), shape }];
        // Servers may call it otherwise: each link knows the name there.
        let outputs = contract.outputs.iter().take(1).map(|name| (*name).to_owned()).collect();
        let metadata = Metadata { inputs, outputs };
        Ok(Self { metadata, in_flight: settings.in_flight, pool, handle, _stop })
    }

    /// Runs some pictures at one server, and waits for the answers.
    fn ask(&self, link: Arc<Link>, requests: Vec<Pictures>) -> (Vec<(usize, Rows)>, Option<Failure>) {
        let (answer, answered) = mpsc::sync_channel(1);
        let in_flight = self.in_flight;
        self.handle.spawn(async move {
            // The receiver waits for it.
            let _ = answer.send(link::infer_all(link, requests, in_flight).await);
        });
        answered.recv().unwrap_or_else(|_| {
            (Vec::new(), Some(Failure::Away("the request ended without an answer".to_owned())))
        })
    }
}

/// Starts the thread that drives the connections, until the stop.
fn spawn(pool: Arc<Pool>, stop: CancellationToken) -> io::Result<runtime::Handle> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new().name("model-server".to_owned()).spawn(move || {
        runtime.block_on(stop.run_until_cancelled(pool.run()));
        // A look-up of a name may take longer.
        runtime.shutdown_background();
    })?;
    Ok(handle)
}

impl Engine for RemoteGraph {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn run(&mut self, inputs: &[Input<'_>], outputs: &[&str]) -> Result<Vec<Rows>, EngineError> {
        let (number, values) = match inputs {
            [Input { name: PIXEL_VALUES, shape, values: Values::Floats(values) }] if outputs.len() == 1 => {
                (shape.first().copied().unwrap_or_default(), &values[..])
            }
            _ => {
                return Err(EngineError::Rejected(
                    "a model server runs the graph for pictures only".to_owned(),
                ));
            }
        };
        let mut batch = Batch::new(values, number);
        for _ in 0..TRIES {
            let Some((server, link)) = self.pool.preferred() else { break };
            let (asked, requests) = batch.requests(&link, self.in_flight);
            let (answers, failure) = self.ask(link, requests);
            answers.into_iter().for_each(|(request, rows)| batch.answer(&asked[request], &rows));
            match failure {
                None => {
                    self.pool.has_answered(server);
                    return Ok(vec![batch.rows()]);
                }
                Some(Failure::Rejected(why)) => {
                    return Err(EngineError::Rejected(format!(
                        "the model server rejects the pictures: {why}"
                    )));
                }
                Some(failure) => self.pool.has_failed(server, failure),
            }
        }
        Err(EngineError::Unavailable(self.pool.why()))
    }

    fn health(&mut self) -> Result<(), EngineError> {
        match self.pool.preferred() {
            Some(_) => Ok(()),
            None => Err(EngineError::Unavailable(self.pool.why())),
        }
    }

    fn connection(&self) -> Connection {
        self.pool.connection().map_or(Connection::Away, Connection::Open)
    }

    fn distrust(&mut self, connection: u64, why: &str) {
        self.pool.distrust(connection, why);
    }
}

impl fmt::Debug for RemoteGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteGraph").field("metadata", &self.metadata).finish_non_exhaustive()
    }
}

/// The pictures of a run, and the vectors of those that were answered.
struct Batch<'v> {
    pictures: Vec<&'v [f32]>,
    /// In the order of the pictures.
    vectors: Vec<Option<Vec<f32>>>,
}

impl<'v> Batch<'v> {
    /// `number` pictures of equal length.
    fn new(values: &'v [f32], number: usize) -> Self {
        let length = values.len() / number.max(1);
        let pictures: Vec<_> = values.chunks_exact(length.max(1)).take(number).collect();
        let vectors = vec![None; pictures.len()];
        Self { pictures, vectors }
    }

    /// Requests for the pictures without a vector, and the numbers of the pictures in each of them.
    fn requests(&self, link: &Link, in_flight: usize) -> (Vec<Vec<usize>>, Vec<Pictures>) {
        let open: Vec<_> =
            (0..self.pictures.len()).filter(|number| self.vectors[*number].is_none()).collect();
        let size = in_one_request(open.len(), in_flight, link.batch());
        let asked: Vec<_> = open.chunks(size).map(<[usize]>::to_vec).collect();
        let request = |numbers: &Vec<usize>| {
            let pictures: Vec<_> = numbers.iter().map(|number| self.pictures[*number]).collect();
            link.pictures(&pictures.concat())
        };
        let requests = asked.iter().map(request).collect();
        (asked, requests)
    }

    fn answer(&mut self, numbers: &[usize], rows: &Rows) {
        let vectors = rows.values.chunks_exact(rows.columns.max(1));
        numbers
            .iter()
            .zip(vectors)
            .for_each(|(number, vector)| self.vectors[*number] = Some(vector.to_vec()));
    }

    /// All vectors.
    fn rows(self) -> Rows {
        let columns = self.vectors.iter().flatten().map(Vec::len).next().unwrap_or_default();
        Rows { values: self.vectors.into_iter().flatten().flatten().collect(), columns }
    }
}

/// The number of pictures in one request. A graph that fixes the number decides; otherwise the pictures are divided evenly.
fn in_one_request(pictures: usize, in_flight: usize, fixed: Option<usize>) -> usize {
    fixed.unwrap_or_else(|| pictures.div_ceil(in_flight.max(1))).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_divided_among_the_requests_in_flight() {
        // Pictures, requests in flight, the number that the graph fixes; the pictures of each request.
        for (pictures, in_flight, fixed, expected) in [
            (1, 4, None, vec![1]),
            (4, 4, None, vec![1, 1, 1, 1]),
            (8, 4, None, vec![2, 2, 2, 2]),
            (7, 4, None, vec![2, 2, 2, 1]),
            (5, 4, None, vec![2, 2, 1]),
            (8, 1, None, vec![8]),
            (3, 4, Some(1), vec![1, 1, 1]),
            (5, 4, Some(4), vec![4, 1]),
            (2, 4, Some(8), vec![2]),
        ] {
            let numbers: Vec<_> = (0..pictures).collect();
            let size = in_one_request(pictures, in_flight, fixed);
            let found: Vec<_> = numbers.chunks(size).map(<[usize]>::len).collect();
            assert_eq!(found, expected, "{pictures} {in_flight} {fixed:?}");
        }
    }

    #[test]
    fn vectors_have_the_order_of_their_pictures_whatever_the_order_of_the_answers_is() {
        let values: Vec<f32> = (0..12_u8).map(f32::from).collect();
        let mut batch = Batch::new(&values, 4);
        assert_eq!(batch.pictures[3], [9.0, 10.0, 11.0]);
        batch.answer(&[2, 3], &Rows { values: vec![2.0, 2.5, 3.0, 3.5], columns: 2 });
        assert_eq!(batch.vectors.iter().map(Option::is_some).collect::<Vec<_>>(), [false, false, true, true]);
        batch.answer(&[0, 1], &Rows { values: vec![0.0, 0.5, 1.0, 1.5], columns: 2 });
        let expected = Rows { values: vec![0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5], columns: 2 };
        assert_eq!(batch.rows(), expected);
    }
}
