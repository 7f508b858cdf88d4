//! Reads the vocabulary of a SentencePiece file: `spiece.model`, `sentencepiece.bpe.model`. Pure.
//!
//! The file is a protobuf message, `ModelProto` of SentencePiece's `sentencepiece_model.proto`. Of its many fields these matter:
//! the pieces with their scores, the kind of the model, the id of the unknown piece, what becomes of unknown characters, and
//! the table of character replacements.

/// A vocabulary whose pieces have scores: a Unigram model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pieces {
    /// Each piece with its score, in the order of the ids.
    pub pieces: Vec<(String, f32)>,
    /// The id of the piece for unknown characters.
    pub unknown: usize,
    /// The id of the piece at the end of a text, if there is one.
    pub end: Option<usize>,
    /// Whether a character without a piece is divided into bytes, which have pieces.
    pub has_bytes: bool,
    /// How characters are replaced before the text is divided; empty if they are not.
    pub replacements: Vec<u8>,
}

/// `trainer_spec.model_type` of a Unigram model.
const UNIGRAM: u64 = 1;

impl Pieces {
    /// # Errors
    /// What is wrong with the file.
    pub fn read(file: &[u8]) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let (mut kind, mut unknown, mut end) = (UNIGRAM, 0, 2);
        let mut has_bytes = false;
        let mut replacements = Vec::new();
        for field in Fields(file) {
            match field? {
                (1, Content::Bytes(piece)) => pieces.push(read_piece(piece)?),
                (2, Content::Bytes(trainer)) => {
                    for field in Fields(trainer) {
                        match field? {
                            (3, Content::Number(value)) => kind = value,
                            (35, Content::Number(value)) => has_bytes = value != 0,
                            (40, Content::Number(value)) => unknown = value,
                            (42, Content::Number(value)) => end = value,
                            _ => {}
                        }
                    }
                }
                (3, Content::Bytes(normalizer)) => {
                    for field in Fields(normalizer) {
                        if let (2, Content::Bytes(table)) = field? {
                            replacements = table.to_vec();
                        }
                    }
                }
                _ => {}
            }
        }
        if kind != UNIGRAM {
            return Err("it is no Unigram model; a tokenizer.json is needed for other models".to_owned());
        }
        let id = |id: u64| usize::try_from(id).ok().filter(|id| *id < pieces.len());
        let (unknown, end) = (id(unknown).ok_or("it names no piece for unknown characters")?, id(end));
        Ok(Self { pieces, unknown, end, has_bytes, replacements })
    }
}

/// A message `SentencePiece`: the piece and its score.
fn read_piece(message: &[u8]) -> Result<(String, f32), String> {
    let (mut text, mut score) = (String::new(), 0.0);
    for field in Fields(message) {
        match field? {
            (1, Content::Bytes(bytes)) => {
                let piece = std::str::from_utf8(bytes).map_err(|_| "a piece is not UTF-8".to_owned())?;
                piece.clone_into(&mut text);
            }
            (2, Content::Float(value)) => score = value,
            _ => {}
        }
    }
    Ok((text, score))
}

/// What a field contains.
#[derive(Debug, Clone, Copy)]
enum Content<'a> {
    Number(u64),
    Float(f32),
    Bytes(&'a [u8]),
    /// Eight bytes, which no field that matters has.
    Long,
}

/// The fields of a protobuf message, with their numbers. The first error ends it.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Content<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| "it is no SentencePiece file, or is incomplete".to_owned()))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Content<'a>)> {
        let tag = self.varint()?;
        let content = match tag & 7 {
            0 => Content::Number(self.varint()?),
            1 => self.take(8).map(|_| Content::Long)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Content::Bytes(self.take(length)?)
            }
            5 => Content::Float(f32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((tag >> 3, content))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/common/protobuf.rs"));

    /// A SentencePiece file: its pieces with scores, and the fields of `trainer_spec` (number, value).
    pub(in crate::model::tokenizer) fn file(pieces: &[(&str, f32)], trainer: &[(u64, u64)]) -> Vec<u8> {
        let piece = |(text, score): &(&str, f32)| {
            let score = [&[2 << 3 | 5][..], &score.to_le_bytes()].concat();
            // A type that is not read follows.
            field(1, &[field(1, text.as_bytes()), score, vec![3 << 3, 1]].concat())
        };
        let setting = |(tag, value): &(u64, u64)| [number(tag << 3), number(*value)].concat();
        let pieces: Vec<u8> = pieces.iter().flat_map(piece).collect();
        let trainer: Vec<u8> = trainer.iter().flat_map(setting).collect();
        [pieces, field(2, &trainer), field(3, &field(1, b"nmt_nfkc"))].concat()
    }

    #[test]
    fn pieces_scores_and_ids_are_read() {
        let pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁a", -2.5)];
        let settings = [(3, 1), (35, 1), (40, 2), (42, 1), (4, 32_000)];
        let read = Pieces::read(&file(&pieces, &settings)).unwrap();
        let expected = pieces.map(|(piece, score)| (piece.to_owned(), score)).to_vec();
        assert_eq!((read.pieces, read.unknown, read.end, read.replacements), (expected, 2, Some(1), vec![]));
        assert!(read.has_bytes);
        // The defaults of SentencePiece.
        let read = Pieces::read(&file(&[("<unk>", 0.0), ("<s>", 0.0)], &[])).unwrap();
        assert_eq!((read.unknown, read.end, read.has_bytes), (0, None, false));
    }

    #[test]
    fn what_is_no_unigram_file_is_an_error() {
        let error = |file: &[u8]| Pieces::read(file).unwrap_err();
        let whole = file(&[("<unk>", 0.0)], &[]);
        assert!(Pieces::read(&whole).is_ok());
        // Some cuts are between two fields of the outer message, which only lacks what has a default then.
        let outcomes: Vec<_> = (1..whole.len()).map(|cut| Pieces::read(&whole[..cut]).is_ok()).collect();
        assert!(outcomes.iter().filter(|is_ok| **is_ok).count() <= 2, "{outcomes:?}");
        assert!(error(&file(&[("<unk>", 0.0)], &[(3, 2)])).starts_with("it is no Unigram model"));
        assert!(error(&file(&[("<unk>", 0.0)], &[(40, 7)])).contains("no piece for unknown"));
        assert!(error(b"").contains("no piece for unknown"));
        assert!(error(b"{\"model\": 1}").starts_with("it is no SentencePiece file"));
        assert!(error(&[0xff; 40]).starts_with("it is no SentencePiece file"));
        assert_eq!(error(&field(1, &field(1, &[0xff, 0xfe]))), "a piece is not UTF-8");
    }
}
