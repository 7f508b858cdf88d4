//! A model server of the Open Inference Protocol, which runs the bundled model's graph for pictures. A test decides how it answers. It
//! ends as a process that is killed: connections break, and requests in flight get no answer.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll},
    thread,
};

use half::f16;
use prost::bytes::Bytes;
use stakeout::{
    config::{Device, Execution},
    engine::{
        Engine, Engines, GraphContent, GraphSource, Input, Values,
        remote::protocol::{
            self, InferTensor, ModelInferRequest, ModelInferResponse, ModelMetadataRequest,
            ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, ServerReadyRequest,
            ServerReadyResponse, TensorContents, TensorMetadata,
        },
    },
    model::Runtime,
};
use tokio::sync::oneshot;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, UnaryService},
    transport::server::{Server, TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower_service::Service;

use super::broker::free_port;

/// The name of the model.
pub const MODEL: &str = "bundled-vision";

/// How the server answers a request with pictures. Blank pictures, with which a client tries the server, always have their vectors.
#[derive(Debug, Clone, PartialEq)]
pub enum Reaction {
    /// The vectors.
    Vectors,
    /// The vectors, as numbers that are not raw.
    Numbers,
    /// Nothing, until the server is killed.
    Nothing,
    /// The vectors of this number of requests, then nothing.
    VectorsOf(usize),
    /// An error.
    Error(tonic::Code, &'static str),
    /// An error, if there are several pictures.
    ErrorForSeveral(tonic::Code, &'static str),
    /// The vectors with another shape.
    Shape(Vec<i64>),
    /// The vectors without the last bytes.
    Short,
    /// The opposite vectors, as a device gives that computes wrong.
    Opposite,
}

/// What the server does.
#[derive(Debug, Clone)]
pub struct Script {
    pub answer: Reaction,
    /// Whether the model is ready.
    pub is_ready: bool,
    /// The token that it requires.
    pub token: Option<&'static str>,
    pub metadata: ModelMetadataResponse,
}

impl Default for Script {
    fn default() -> Self {
        Self { answer: Reaction::Vectors, is_ready: true, token: None, metadata: metadata("FP32", -1) }
    }
}

/// What the bundled model's graph takes and gives, with numbers of this kind and this number of pictures (-1: any).
pub fn metadata(datatype: &str, pictures: i64) -> ModelMetadataResponse {
    let tensor = |name: &str, shape: Vec<i64>| TensorMetadata {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape,
    };
    ModelMetadataResponse {
        name: MODEL.to_owned(),
        platform: "onnxruntime_onnx".to_owned(),
        inputs: vec![tensor("pixel_values", vec![pictures, 3, -1, -1])],
        outputs: vec![tensor("image_embeds", vec![pictures, -1])],
    }
}

/// A running server. It is killed when it is dropped.
pub struct ModelServer {
    pub port: u16,
    state: Arc<State>,
    running: Option<Running>,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

struct State {
    script: Mutex<Script>,
    /// The numbers of pictures in the requests that were answered, without those with blank pictures.
    answered: Mutex<Vec<usize>>,
    /// Requests that get no answer.
    held: AtomicUsize,
    /// The values of the header `authorization`.
    tokens: Mutex<Vec<Option<String>>>,
}

impl ModelServer {
    pub fn start() -> Self {
        Self::with(Script::default())
    }

    pub fn with(script: Script) -> Self {
        let mut server = Self::down(script);
        server.restart();
        server
    }

    /// A server that does not run yet.
    pub fn down(script: Script) -> Self {
        let state = State {
            script: Mutex::new(script),
            answered: Mutex::default(),
            held: AtomicUsize::new(0),
            tokens: Mutex::default(),
        };
        Self { port: free_port(), state: Arc::new(state), running: None }
    }

    /// Its address in a configuration.
    pub fn address(&self) -> String {
        format!("grpc://127.0.0.1:{}", self.port)
    }

    /// Starts it at its port.
    pub fn restart(&mut self) {
        self.kill();
        self.state.held.store(0, Ordering::SeqCst);
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let service = InferenceService(Arc::clone(&self.state));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let incoming = TcpIncoming::bind(address).unwrap().with_nodelay(Some(true));
                ready.send(()).unwrap();
                tokio::select! {
                    served = Server::builder().serve_with_incoming(service, incoming) => served.unwrap(),
                    _ = stopped => {}
                }
            });
            // The connections end with the runtime.
        });
        is_ready.recv().expect("the port is free");
        self.running = Some(Running { stop, thread });
    }

    /// Ends it: connections break, and requests in flight get no answer.
    pub fn kill(&mut self) {
        if let Some(Running { stop, thread }) = self.running.take() {
            drop(stop);
            super::join("the model server ends", thread);
        }
    }

    /// Changes what it does.
    pub fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.state.script.lock().unwrap());
    }

    /// The numbers of pictures in the requests that were answered.
    pub fn answered(&self) -> Vec<usize> {
        self.state.answered.lock().unwrap().clone()
    }

    /// The number of requests that get no answer.
    pub fn held(&self) -> usize {
        self.state.held.load(Ordering::SeqCst)
    }

    /// The values of the header `authorization` of all requests.
    pub fn tokens(&self) -> Vec<Option<String>> {
        self.state.tokens.lock().unwrap().clone()
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        if let Some(Running { stop, thread }) = self.running.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

/// The graph of all servers of a process.
static GRAPH: LazyLock<Mutex<Box<dyn Engine>>> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/bundled/onnx/vision_model.onnx");
    let source = GraphSource { content: GraphContent::File(path), key: "a model server".to_owned() };
    let engines = Engines::from(&Runtime::load(None).unwrap());
    Mutex::new(engines.open(&source, &Execution::default(), Device::Cpu).unwrap())
});

#[derive(Clone)]
struct InferenceService(Arc<State>);

impl Service<http::Request<Body>> for InferenceService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let state = Arc::clone(&self.0);
        Box::pin(async move { Ok(answer(state, request).await) })
    }
}

async fn answer(state: Arc<State>, request: http::Request<Body>) -> http::Response<Body> {
    let token = request.headers().get("authorization").map(|token| token.to_str().unwrap().to_owned());
    state.tokens.lock().unwrap().push(token.clone());
    let script = state.script.lock().unwrap().clone();
    if script.token.is_some_and(|expected| token != Some(format!("Bearer {expected}"))) {
        return Status::unauthenticated("wrong token").into_http();
    }
    let is_known = |name: &str| match name {
        MODEL => Ok(()),
        _ => Err(Status::not_found(format!("Request for unknown model: '{name}' is not found"))),
    };
    let path = request.uri().path().to_owned();
    match path.as_str() {
        protocol::SERVER_READY => {
            let ready = |_: ServerReadyRequest| async { Ok(ServerReadyResponse { ready: true }) };
            unary(request, ready).await
        }
        protocol::MODEL_READY => {
            let ready = move |asked: ModelReadyRequest| async move {
                Ok(ModelReadyResponse { ready: script.is_ready && asked.name == MODEL })
            };
            unary(request, ready).await
        }
        protocol::MODEL_METADATA => {
            let describe = move |asked: ModelMetadataRequest| async move {
                is_known(&asked.name)?;
                Ok(script.metadata)
            };
            unary(request, describe).await
        }
        protocol::MODEL_INFER => {
            let run = move |asked: ModelInferRequest| async move {
                is_known(&asked.model_name)?;
                infer(&state, &script, asked).await
            };
            unary(request, run).await
        }
        _ => Status::unimplemented("no such method").into_http(),
    }
}

type Reply<A> = Pin<Box<dyn Future<Output = Result<Response<A>, Status>> + Send>>;

/// A method, which is called once.
struct Method<Q, A>(Option<Box<dyn FnOnce(Q) -> Reply<A> + Send>>);

impl<Q, A> UnaryService<Q> for Method<Q, A> {
    type Response = A;
    type Future = Reply<A>;

    fn call(&mut self, request: Request<Q>) -> Reply<A> {
        let method = self.0.take().expect("a method is called once");
        method(request.into_inner())
    }
}

/// Answers one request with the result of `method`.
async fn unary<Q, A, F>(
    request: http::Request<Body>,
    method: impl FnOnce(Q) -> F + Send + 'static,
) -> http::Response<Body>
where
    Q: prost::Message + Default + Send + 'static,
    A: prost::Message + Send + 'static,
    F: Future<Output = Result<A, Status>> + Send + 'static,
{
    let method: Box<dyn FnOnce(Q) -> Reply<A> + Send> = Box::new(move |asked| {
        let answer = method(asked);
        Box::pin(async move { answer.await.map(Response::new) })
    });
    let mut grpc = Grpc::new(ProstCodec::<A, Q>::default()).max_decoding_message_size(usize::MAX);
    grpc.unary(Method(Some(method)), request).await
}

async fn infer(
    state: &State,
    script: &Script,
    asked: ModelInferRequest,
) -> Result<ModelInferResponse, Status> {
    let input = &asked.inputs[0];
    assert_eq!((&*input.name, &*input.datatype), ("pixel_values", &*script.metadata.inputs[0].datatype));
    let shape: Vec<_> = input.shape.iter().map(|size| usize::try_from(*size).unwrap()).collect();
    let pixels = decode(&input.datatype, &asked.raw_input_contents[0]);
    assert_eq!(pixels.len(), shape.iter().product::<usize>());
    let is_blank = pixels.iter().all(|pixel| *pixel == 0.0);
    let answer = if is_blank { Reaction::Vectors } else { script.answer.clone() };
    let is_held = match answer {
        Reaction::Nothing => true,
        Reaction::VectorsOf(most) => state.answered.lock().unwrap().len() >= most,
        _ => false,
    };
    if is_held {
        state.held.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<()>().await;
    }
    match answer {
        Reaction::Error(code, text) => return Err(Status::new(code, text)),
        Reaction::ErrorForSeveral(code, text) if shape[0] > 1 => return Err(Status::new(code, text)),
        _ => {}
    }
    let input =
        Input { name: "pixel_values", shape: shape.clone(), values: Values::Floats((&pixels).into()) };
    let mut rows = GRAPH.lock().unwrap().run(&[input], &["image_embeds"]).unwrap().remove(0);
    if answer == Reaction::Opposite {
        rows.values.iter_mut().for_each(|value| *value = -*value);
    }
    let mut output = InferTensor {
        name: "image_embeds".to_owned(),
        datatype: script.metadata.outputs[0].datatype.clone(),
        shape: vec![i64::try_from(shape[0]).unwrap(), i64::try_from(rows.columns).unwrap()],
        contents: None,
    };
    let mut raw = encode(&output.datatype, &rows.values);
    match answer {
        Reaction::Shape(shape) => output.shape = shape,
        Reaction::Short => raw.truncate(raw.len() - 4),
        _ => {}
    }
    if !is_blank {
        state.answered.lock().unwrap().push(shape[0]);
    }
    let is_raw = script.answer != Reaction::Numbers || is_blank;
    if !is_raw {
        output.contents = Some(TensorContents { fp32_contents: rows.values });
    }
    Ok(ModelInferResponse {
        model_name: asked.model_name,
        outputs: vec![output],
        raw_output_contents: is_raw.then(|| Bytes::from(raw)).into_iter().collect(),
    })
}

fn decode(datatype: &str, bytes: &[u8]) -> Vec<f32> {
    match datatype {
        "FP32" => bytes.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number)).collect(),
        "FP16" => {
            bytes.as_chunks::<2>().0.iter().map(|number| f16::from_le_bytes(*number).to_f32()).collect()
        }
        other => panic!("{other}"),
    }
}

fn encode(datatype: &str, values: &[f32]) -> Vec<u8> {
    match datatype {
        "FP32" => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        "FP16" => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
        other => panic!("{other}"),
    }
}
