//! A connection to one model server that has the expected graph: checks it, and runs it.

use std::{sync::Arc, time::Duration};

use http::uri::PathAndQuery;
use prost::{Message, bytes::Bytes};
use tokio::time::timeout;
use tonic::{
    Request,
    client::Grpc,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use tonic_prost::ProstCodec;

use super::{
    answer::{self, Expected},
    connect::{connect, in_words},
    contract::{PIXEL_VALUES, Terms, VisionContract},
    failure::{self, Asked, Failure},
    protocol::{
        self, InferTensor, ModelInferRequest, ModelInferResponse, ModelMetadataRequest,
        ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, RequestedOutput, ServerReadyRequest,
        ServerReadyResponse,
    },
};
use crate::{
    config::{ModelServer, ServerAddress},
    engine::interface::Rows,
};

/// The largest answer: the vectors of a thousand pictures have some megabytes.
const LARGEST_ANSWER: usize = 64 << 20;
/// A server is to give a request up this long after this side has. Otherwise the library here would do so first, in its own words.
const MARGIN: Duration = Duration::from_secs(1);

/// A connection to a server.
pub(super) struct Link {
    caller: Caller,
    contract: VisionContract,
    terms: Terms,
    /// The length of a vector.
    columns: usize,
}

/// Sends requests.
struct Caller {
    channel: Channel,
    /// The name of the model.
    model: String,
    authorization: Option<MetadataValue<Ascii>>,
    timeout: Duration,
}

/// Pictures of one request.
#[derive(Debug, Clone)]
pub(super) struct Pictures {
    /// The number of pictures whose vectors are wanted. A graph that fixes the number gets blank ones after them.
    pub(super) wanted: usize,
    /// The number of pictures in the request.
    pub(super) sent: usize,
    /// Their numbers, as the server takes them.
    pub(super) pixels: Bytes,
}

impl Link {
    /// Connects to a server, checks that it has the expected graph, and runs that with a blank picture.
    pub(super) async fn open(
        server: &ServerAddress,
        settings: &ModelServer,
        contract: &VisionContract,
    ) -> Result<Self, Failure> {
        within(settings.timeout, async {
            let caller = Caller {
                channel: connect(server, &settings.tls).await?,
                model: settings.name.clone(),
                authorization: authorization(settings)?,
                timeout: settings.timeout,
            };
            let server: ServerReadyResponse =
                caller.call(protocol::SERVER_READY, ServerReadyRequest {}, 0).await?;
            if !server.ready {
                return Err(Failure::Away("it is not ready".to_owned()));
            }
            caller.check_model().await?;
            let request = ModelMetadataRequest { name: settings.name.clone() };
            let metadata: ModelMetadataResponse = caller.call(protocol::MODEL_METADATA, request, 0).await?;
            let terms = contract.agree(&metadata).map_err(|difference| caller.unsuitable(&difference))?;
            let mut link = Self { caller, contract: contract.clone(), terms, columns: 0 };
            let blank = link.pictures(&vec![0.0; link.tensor_len()]);
            link.columns = link.infer(blank).await?.columns;
            Ok(link)
        })
        .await
    }

    /// The length of a vector.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// The failure of a server whose graph is not the expected one.
    pub(super) fn unsuitable(&self, difference: &str) -> Failure {
        self.caller.unsuitable(difference)
    }

    /// The number of pictures in each request, if the graph fixes it.
    pub(super) fn batch(&self) -> Option<usize> {
        self.terms.batch
    }

    /// Checks whether a request could succeed now.
    pub(super) async fn check(&self) -> Result<(), Failure> {
        within(self.caller.timeout, self.caller.check_model()).await
    }

    /// Prepares pictures for a request: numbers of whole pictures, one after the other.
    pub(super) fn pictures(&self, values: &[f32]) -> Pictures {
        let wanted = values.len() / self.tensor_len();
        let sent = self.terms.batch.unwrap_or(wanted);
        if sent <= wanted {
            return Pictures { wanted, sent: wanted, pixels: self.terms.pixels.encode(values) };
        }
        let mut filled = values.to_vec();
        filled.resize(sent * self.tensor_len(), 0.0);
        Pictures { wanted, sent, pixels: self.terms.pixels.encode(&filled) }
    }

    /// The vectors of pictures.
    pub(super) async fn infer(&self, pictures: Pictures) -> Result<Rows, Failure> {
        let Pictures { wanted, sent, pixels } = pictures;
        let Terms { pixels: width, output, .. } = self.terms;
        let (columns, rows) = self.contract.size;
        let request = ModelInferRequest {
            model_name: self.caller.model.clone(),
            inputs: vec![InferTensor {
                name: PIXEL_VALUES.to_owned(),
                datatype: width.word().to_owned(),
                shape: [sent, 3, rows as usize, columns as usize]
                    .map(|size| i64::try_from(size).unwrap_or(i64::MAX))
                    .to_vec(),
                contents: None,
            }],
            outputs: vec![RequestedOutput { name: output.to_owned() }],
            raw_input_contents: vec![pixels],
        };
        let answer: ModelInferResponse = self.caller.call(protocol::MODEL_INFER, request, sent).await?;
        let expected = Expected { output, rows: sent, columns: (self.columns > 0).then_some(self.columns) };
        let mut rows = answer::rows(answer, expected)
            .map_err(|error| Failure::Away(format!("its answer is wrong: {error}")))?;
        rows.values.truncate(wanted * rows.columns);
        Ok(rows)
    }

    fn tensor_len(&self) -> usize {
        let (width, height) = self.contract.size;
        3 * width as usize * height as usize
    }
}

impl Caller {
    async fn check_model(&self) -> Result<(), Failure> {
        let request = ModelReadyRequest { name: self.model.clone() };
        let model: ModelReadyResponse = self.call(protocol::MODEL_READY, request, 0).await?;
        if model.ready {
            return Ok(());
        }
        // A server that loads the model answers the same as one that does not know it.
        Err(Failure::Away(format!(
            "it has no model of the name {} that is ready: load the model there, or correct `name` of `model`",
            self.model
        )))
    }

    fn unsuitable(&self, difference: &str) -> Failure {
        Failure::Unsuitable(format!(
            "its model {} is another graph: {difference}. Serve the graph for pictures that `stakeout models serve` writes, or \
             correct `name` of `model`",
            self.model
        ))
    }

    /// Calls a method. `pictures` is the number of pictures in the request.
    async fn call<Q, A>(&self, method: &'static str, message: Q, pictures: usize) -> Result<A, Failure>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout + MARGIN);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        let mut client = Grpc::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER);
        within(self.timeout, async move {
            client.ready().await.map_err(|error| Failure::Away(in_words(&error)))?;
            let codec = ProstCodec::<Q, A>::default();
            match client.unary(request, PathAndQuery::from_static(method), codec).await {
                Ok(answer) => Ok(answer.into_inner()),
                Err(status) => Err(self.failure(&status, pictures)),
            }
        })
        .await
    }

    fn failure(&self, status: &tonic::Status, pictures: usize) -> Failure {
        let asked = Asked { model: &self.model, pictures, with_token: self.authorization.is_some() };
        match failure::of_status(status, asked) {
            // The cause within says more than the status that was made of it.
            Failure::Away(_) if std::error::Error::source(status).is_some() => {
                Failure::Away(in_words(status))
            }
            failure => failure,
        }
    }
}

/// The value of the header that has the token. It is never shown.
fn authorization(settings: &ModelServer) -> Result<Option<MetadataValue<Ascii>>, Failure> {
    let Some(token) = &settings.token else { return Ok(None) };
    let value = MetadataValue::<Ascii>::try_from(format!("Bearer {}", token.reveal()));
    let mut value = value.map_err(|_| Failure::Unsuitable("the token cannot be sent".to_owned()))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The result of `work`, if there is one in time.
async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        let seconds = limit.as_secs_f64();
        Err(Failure::Away(format!(
            "no answer within {seconds} s: check what the server logs, raise `timeout` of `model`, or lower `max_batch`"
        )))
    })
}

/// Vectors of pictures in requests that are in flight at the same time: the most requests, and the pictures of each.
///
/// Returns the vectors of the requests that were answered, by the number of the request, and the first failure. After a failure no
/// request is waited for.
pub(super) async fn infer_all(
    link: Arc<Link>,
    requests: Vec<Pictures>,
    in_flight: usize,
) -> (Vec<(usize, Rows)>, Option<Failure>) {
    let mut waiting = requests.into_iter().enumerate();
    let mut running = tokio::task::JoinSet::new();
    let mut answers = Vec::new();
    loop {
        while running.len() < in_flight
            && let Some((number, pictures)) = waiting.next()
        {
            let link = Arc::clone(&link);
            running.spawn(async move { (number, link.infer(pictures).await) });
        }
        match running.join_next().await {
            None => return (answers, None),
            Some(Ok((number, Ok(rows)))) => answers.push((number, rows)),
            Some(Ok((_, Err(failure)))) => return (answers, Some(failure)),
            Some(Err(_)) => return (answers, Some(Failure::Away("the request ended in a panic".to_owned()))),
        }
    }
}
