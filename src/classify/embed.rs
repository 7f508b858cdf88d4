//! Embeds pictures in batches: the one path of the service and the commands from prepared pictures to vectors.

use std::sync::Arc;

use tracing::warn;

use crate::model::{Model, ModelError};

/// The embedding of each picture, in order; `values` are prepared pictures, one after the other. At most `max_batch`
/// pictures go into one `run` of the model. If the model rejects a batch, its pictures are run one by one, so that only the
/// bad one fails.
pub(super) fn embed_each(
    model: &mut Model,
    values: &[f32],
    max_batch: usize,
    mut run: impl FnMut(&mut Model, &[f32]) -> Result<Vec<Vec<f32>>, ModelError>,
) -> Vec<Result<Arc<[f32]>, ModelError>> {
    let one = model.preprocessor().tensor_len();
    let mut embeddings = Vec::with_capacity(values.len() / one);
    for batch in values.chunks(one * max_batch) {
        match run(model, batch) {
            Ok(vectors) => embeddings.extend(vectors.into_iter().map(|vector| Ok(vector.into()))),
            Err(reason @ (ModelError::Run(_) | ModelError::NotANumber)) if batch.len() > one => {
                warn!(%reason, pictures = batch.len() / one, "a batch failed; its pictures are tried one by one");
                for picture in batch.chunks(one) {
                    let vector = run(model, picture).map(|vectors| vectors.into_iter().flatten().collect());
                    embeddings.push(vector);
                }
            }
            Err(reason) => embeddings.extend(batch.chunks(one).map(|_| Err(reason.clone()))),
        }
    }
    embeddings
}
