//! Runs an engine on a thread of its own, with a time limit: an engine that hangs or panics costs its caller one error, and not
//! the thread.
//!
//! A library that ends the whole process is beyond this. Plugins are therefore tried in another process first.

use std::{
    borrow::Cow,
    io,
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use super::interface::{Engine, EngineError, Input, Metadata, ProviderShare, Rows, Values};

/// An engine on a thread of its own.
pub struct Supervised {
    metadata: Metadata,
    placement: Vec<ProviderShare>,
    jobs: SyncSender<Job>,
    /// The time that one run may take.
    limit: Duration,
    /// Why the engine never answers again.
    lost: Option<String>,
}

/// One run of the engine.
struct Job {
    inputs: Vec<Input<'static>>,
    outputs: Vec<String>,
    reply: SyncSender<Result<Vec<Rows>, EngineError>>,
}

impl Supervised {
    /// Moves the engine to a thread. The thread ends when this is dropped and the engine is idle.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn start(engine: Box<dyn Engine>, limit: Duration) -> io::Result<Self> {
        let (metadata, placement) = (engine.metadata().clone(), engine.placement());
        let (jobs, to_run) = sync_channel::<Job>(1);
        let mut engine = engine;
        thread::Builder::new().name("engine".to_owned()).spawn(move || {
            while let Ok(job) = to_run.recv() {
                let answer = job.run(&mut *engine);
                // The caller may have stopped waiting.
                let _ = job.reply.send(answer);
            }
        })?;
        Ok(Self { metadata, placement, jobs, limit, lost: None })
    }

    fn lose(&mut self, why: String) -> EngineError {
        self.lost = Some(why.clone());
        EngineError::Lost(why)
    }
}

impl Job {
    fn of(inputs: &[Input<'_>], outputs: &[&str], reply: SyncSender<Result<Vec<Rows>, EngineError>>) -> Self {
        let owned = |input: &Input<'_>| {
            let values = match &input.values {
                Values::Floats(values) => Values::Floats(Cow::Owned(values.to_vec())),
                Values::Integers(values) => Values::Integers(Cow::Owned(values.to_vec())),
            };
            Input { name: input.name, shape: input.shape.clone(), values }
        };
        let outputs = outputs.iter().map(|name| (*name).to_owned()).collect();
        Self { inputs: inputs.iter().map(owned).collect(), outputs, reply }
    }

    fn run(&self, engine: &mut dyn Engine) -> Result<Vec<Rows>, EngineError> {
        let outputs: Vec<&str> = self.outputs.iter().map(String::as_str).collect();
        engine.run(&self.inputs, &outputs)
    }
}

impl Engine for Supervised {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn run(&mut self, inputs: &[Input<'_>], outputs: &[&str]) -> Result<Vec<Rows>, EngineError> {
        self.health()?;
        let (reply, answered) = sync_channel(1);
        if self.jobs.send(Job::of(inputs, outputs, reply)).is_err() {
            return Err(self.lose("it has crashed".to_owned()));
        }
        match answered.recv_timeout(self.limit) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => {
                let seconds = self.limit.as_secs_f64();
                Err(self.lose(format!("it gave no answer within {seconds} seconds")))
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.lose("it has crashed".to_owned())),
        }
    }

    fn health(&mut self) -> Result<(), EngineError> {
        self.lost.clone().map_or(Ok(()), |why| Err(EngineError::Lost(why)))
    }

    fn placement(&self) -> Vec<ProviderShare> {
        self.placement.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::engine::fake::FakeEngine;

    /// Only a hang reaches it.
    const LONG: Duration = Duration::from_secs(120);

    fn run(engine: &mut Supervised, value: f32) -> Result<Vec<Rows>, EngineError> {
        let values = [value, 0.0, 0.0];
        let input = Input {
            name: "pixel_values",
            shape: vec![1, 3, 1, 1],
            values: Values::Floats(Cow::Borrowed(&values)),
        };
        engine.run(&[input], &["image_embeds"])
    }

    #[test]
    fn answers_and_errors_are_those_of_the_engine() {
        let engine = FakeEngine::new(|pictures| match pictures {
            [13.0] => Err(EngineError::Rejected("bad".to_owned())),
            pictures => Ok(pictures.to_vec()),
        });
        let mut engine = Supervised::start(Box::new(engine.run_by("A")), LONG).unwrap();
        assert_eq!(engine.metadata().outputs, ["image_embeds"]);
        assert_eq!(engine.placement()[0].provider, "A");
        assert_eq!(run(&mut engine, 2.0), Ok(vec![Rows { values: vec![1.0, 2.0], columns: 2 }]));
        assert_eq!(run(&mut engine, 13.0), Err(EngineError::Rejected("bad".to_owned())));
        assert_eq!((run(&mut engine, 3.0).is_ok(), engine.health()), (true, Ok(())));
    }

    #[test]
    fn an_engine_that_hangs_or_crashes_is_lost_for_good() {
        let (_keep, never) = mpsc::channel::<()>();
        let hangs = FakeEngine::new(move |_| {
            let _ = never.recv();
            Ok(vec![])
        });
        let crashes = FakeEngine::new(|_| panic!("a crash that a test wants"));
        for (engine, limit, expected) in [
            (hangs, Duration::from_millis(20), "it gave no answer within 0.02 seconds"),
            (crashes, LONG, "it has crashed"),
        ] {
            let mut engine = Supervised::start(Box::new(engine), limit).unwrap();
            for _ in 0..2 {
                assert_eq!(run(&mut engine, 1.0), Err(EngineError::Lost(expected.to_owned())));
            }
            assert_eq!(engine.health(), Err(EngineError::Lost(expected.to_owned())));
        }
    }
}
