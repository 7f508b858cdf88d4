//! Parses the pages: their blocks of code, their inline code, and their headings.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A page of the repository.
pub struct Document {
    /// Its path from the root of the repository.
    pub name: String,
    pub text: String,
}

/// A block between fences.
pub struct Block {
    pub document: String,
    /// The line of its first fence.
    pub line: usize,
    /// The form after the fence: `sh`, `yaml`.
    pub kind: String,
    /// Without the indentation of its fence.
    pub text: String,
}

impl Block {
    pub fn place(&self) -> String {
        format!("{}:{}", self.document, self.line)
    }
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page that people read.
pub fn documents() -> Vec<Document> {
    let mut paths: Vec<PathBuf> = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()).collect();
    for folder in ["docs", "models/bundled", "tools", "systemd", "packaging", "grafana", "config", "fuzz"] {
        collect(&root().join(folder), &mut paths);
    }
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "md"));
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        Document { name, text: fs::read_to_string(path).unwrap() }
    };
    let documents: Vec<_> = paths.into_iter().map(read).collect();
    assert!(documents.len() > 12, "pages are missing");
    documents
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true if path.ends_with("target") => {}
            true => collect(&path, paths),
            false => paths.push(path),
        }
    }
}

/// The blocks of all documents.
pub fn blocks() -> Vec<Block> {
    documents().iter().flat_map(blocks_of).collect()
}

fn blocks_of(document: &Document) -> Vec<Block> {
    let (mut blocks, mut open): (Vec<Block>, Option<(usize, Block)>) = (vec![], None);
    for (number, line) in document.text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        match (open.take(), line.trim_start().strip_prefix("```")) {
            (None, Some(kind)) => {
                let kind = kind.trim().to_owned();
                let document = document.name.clone();
                open = Some((indent, Block { document, line: number + 1, kind, text: String::new() }));
            }
            (Some((_, block)), Some(_)) => blocks.push(block),
            (Some((outer, mut block)), None) => {
                block.text.push_str(line.get(outer.min(indent)..).unwrap_or_default());
                block.text.push('\n');
                open = Some((outer, block));
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{}: a block has no end", document.name);
    blocks
}

/// Inline code, `like this`, and its line.
pub fn spans(document: &Document) -> Vec<(usize, String)> {
    let (mut spans, mut inside) = (vec![], false);
    for (number, line) in document.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside {
            let code = line.split('`').skip(1).step_by(2);
            spans.extend(code.map(|code| (number + 1, code.to_owned())));
        }
    }
    spans
}

/// The name of a heading in a link, as GitHub makes it.
pub fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.collect::<String>().replace(' ', "-")
}

#[test]
fn pages_are_parsed() {
    let text =
        "# A `x`\n\n1. one:\n\n   ```sh\n   a\n     b\n   ```\n\nuse `y z` and `w`\n```json\n{}\n```\n";
    let document = Document { name: "a.md".to_owned(), text: text.to_owned() };
    let blocks = blocks_of(&document);
    let found: Vec<_> = blocks.iter().map(|block| (block.place(), &*block.kind, &*block.text)).collect();
    assert_eq!(found, [("a.md:5".to_owned(), "sh", "a\n  b\n"), ("a.md:11".to_owned(), "json", "{}\n")]);
    let spans = spans(&document);
    assert_eq!(spans, [(1, "x".to_owned()), (10, "y z".to_owned()), (10, "w".to_owned())]);
    assert_eq!(anchor("What is kept, on `disk`?"), "what-is-kept-on-disk");
}
