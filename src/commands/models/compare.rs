//! Compares a model with a reference on pictures. They run one after the other, so that neither takes time or memory from the
//! other.

use std::{io::Write, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::agreement::{Agreement, PictureAnswer};
use crate::{
    classify::{Classifier, labels::VectorCache},
    commands::{embed::embed, pictures::Item},
    config::Execution,
    engine::Engines,
    model::{Model, ModelError, Options, hub::Found},
    picture::{Limits, MAX_PIXELS},
    policy::LabelSet,
    progress::Counted,
    terminal,
};

/// A model and how it runs.
pub(super) struct Side {
    pub found: Found,
    pub execution: Execution,
    pub engines: Engines,
}

impl Side {
    /// Whether no file of the model is missing.
    pub(super) fn is_complete(&self) -> bool {
        self.engines.server().is_some() || self.found.files.is_complete(&self.found.suffix)
    }

    pub(super) fn load(&self) -> Result<Model, ModelError> {
        let options = Options { execution: self.execution, ..self.found.options() };
        Model::load(self.engines.clone(), &self.found.files, &options)
    }

    fn answers(&self, sets: &[LabelSet], items: &Arc<[Item]>) -> Result<Answers> {
        let mut model = self.load()?;
        let (variant, device) = match self.engines.server() {
            Some(server) => (server.name.clone(), "a model server".to_owned()),
            None => (self.found.variant().to_owned(), model.device().to_string()),
        };
        let grey = vec![0.0; model.preprocessor().tensor_len()];
        // The first run takes longer than the runs after it.
        model.embed_prepared(&grey)?;
        let mut classifier = Classifier::as_the_pipeline(model, sets, &VectorCache::of_user())?;
        let mut progress = Counted::new(items.len(), "pictures");
        let mut pictures = Vec::with_capacity(items.len());
        let took = embed(&mut classifier, items, Limits::of(MAX_PIXELS), |classifier, number, vector| {
            if let Err(error) = &vector {
                let name = items[number].shown();
                progress.aside(|| terminal::say(format_args!("error: {name}: {error:#}")));
            }
            pictures.push(vector.ok().map(|vector| {
                let scores = (0..sets.len()).map(|set| classifier.scores(set, &vector)).collect();
                PictureAnswer { vector: vector.to_vec(), scores }
            }));
            progress.one_more();
            Ok(())
        })?;
        progress.end();
        if pictures.iter().all(Option::is_none) {
            bail!("none of the pictures could be scored");
        }
        Ok(Answers { variant, device, pictures, took })
    }
}

/// The answers of a model for every picture.
struct Answers {
    variant: String,
    device: String,
    /// In the order of the pictures; `None` for a picture that could not be scored.
    pictures: Vec<Option<PictureAnswer>>,
    took: Duration,
}

impl Answers {
    /// Pictures per second of the model.
    fn speed(&self) -> f64 {
        self.pictures.iter().flatten().count() as f64 / self.took.as_secs_f64().max(1e-6)
    }
}

/// The answers of two models for the same pictures.
pub(super) struct Comparison {
    items: Arc<[Item]>,
    sets: Vec<LabelSet>,
    against: Answers,
    tried: Answers,
    agreement: Agreement,
}

impl Comparison {
    /// Runs the reference and then the model.
    ///
    /// # Errors
    /// A model cannot be used, or none of the pictures.
    pub(super) fn run([against, tried]: [Side; 2], sets: Vec<LabelSet>, items: Arc<[Item]>) -> Result<Self> {
        let against = against.answers(&sets, &items)?;
        let tried = tried.answers(&sets, &items)?;
        let agreement = Agreement::between(&against.pictures, &tried.pictures)
            .context("there is no picture that both could score")?;
        Ok(Self { items, sets, against, tried, agreement })
    }

    /// Whether the best label is the same on at least this share of the pictures, and no cosine is smaller.
    pub(super) fn agrees(&self, share: f32, cosine: f32) -> bool {
        self.agreement.same_share() >= share && self.agreement.least_cosine >= cosine
    }

    pub(super) fn json(&self, model: &str, agrees: bool) -> serde_json::Value {
        let Self { agreement, items, .. } = self;
        let side = |side: &Answers| json!({"variant": side.variant, "device": side.device, "pictures_a_second": side.speed()});
        let difference = &agreement.difference;
        let (set, label) = self.label(difference.set, difference.label);
        json!({
            "model": model,
            "pictures": agreement.pictures,
            "failed": items.len() - agreement.pictures,
            "tried": side(&self.tried),
            "against": side(&self.against),
            "cosine": {"median": agreement.median_cosine, "min": agreement.least_cosine,
                       "min_at": items[agreement.least_cosine_at].name},
            "same_best_label": agreement.same_best,
            "agreement": agreement.same_share(),
            "score_difference": {"max": difference.size(), "image": items[difference.picture].name, "label_set": set,
                                 "label": label, "score": difference.tried, "against": difference.against},
            "agrees": agrees,
        })
    }

    fn label(&self, set: usize, label: usize) -> (&str, &str) {
        let set = &self.sets[set];
        (&set.name, &set.labels[label].name)
    }

    pub(super) fn table(&self, out: &mut impl Write, model: &str) -> std::io::Result<()> {
        let Self { agreement, items, tried, against, .. } = self;
        let failed = items.len() - agreement.pictures;
        let failed = if failed == 0 { String::new() } else { format!(" ({failed} could not be scored)") };
        writeln!(
            out,
            "{model}: {} on {} against {} on {}, {} pictures{failed}",
            tried.variant, tried.device, against.variant, against.device, agreement.pictures
        )?;
        let (median, least) = (agreement.median_cosine, agreement.least_cosine);
        let worst = &items[agreement.least_cosine_at].name;
        writeln!(out, "  cosine of the vectors   median {median:.4}, least {least:.4} ({worst})")?;
        let percent = agreement.same_share() * 100.0;
        let (same, all) = (agreement.same_best, agreement.pictures);
        writeln!(out, "  same best label         {same} of {all} ({percent:.1} %)")?;
        let difference = &agreement.difference;
        let label = self.label(difference.set, difference.label).1;
        let (size, a, b) = (difference.size(), difference.tried, difference.against);
        let picture = &items[difference.picture].name;
        writeln!(out, "  largest score apart     {size:.4} ({label}: {a:.4} and {b:.4}, {picture})")?;
        let (fast, slow) = (tried.speed(), against.speed());
        let times = fast / slow;
        writeln!(
            out,
            "  speed                   {fast:.1} pictures a second, against {slow:.1}: {times:.2} times as fast"
        )
    }
}
