//! Checks the structure that the page of `src/lib.rs` describes: which room may import which, that no files import each
//! other in a circle, where each heavy crate is used, and that pure modules touch no clock, disk or network.
//!
//! Whole files are parsed. Only items and statements under `#[cfg(test)]` are left out: what a test imports is its own business.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Expr, Item, Stmt, UseTree, visit::Visit};

/// What a pure module may not touch.
const IMPURE: &[&str] = &[
    "tokio",
    "tracing",
    "std::fs",
    "std::net",
    "std::thread",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
];

#[test]
fn no_room_imports_a_room_that_is_not_below_it() {
    let source = &*SOURCE;
    let mut wrong = Vec::new();
    for (file, imported) in source.imports() {
        let (from, to) = (row(&file.name), row(&imported.name));
        if from.room != to.room && to.row >= from.row {
            wrong.push(format!("src/{}.rs imports {} ({})", file.name, imported.name, to.room));
        }
    }
    assert!(wrong.is_empty(), "{} against the table of layers:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let source = &*SOURCE;
    let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (file, imported) in source.imports() {
        graph.entry(&file.name).or_default().insert(&imported.name);
    }
    let circles = circles(&graph);
    let shown: Vec<_> = circles.iter().map(|circle| circle.join(" <-> ")).collect();
    assert!(circles.is_empty(), "{} circles:\n{}", circles.len(), shown.join("\n"));
}

#[test]
fn each_heavy_crate_has_one_home() {
    let mut seen = BTreeSet::new();
    for file in &SOURCE.files {
        for (heavy, homes) in &PLAN.homes {
            if !file.paths.iter().any(|path| path.first() == Some(heavy)) {
                continue;
            }
            seen.insert(heavy);
            let at_home = homes.iter().any(|home| is_in(&file.name, home));
            assert!(at_home, "src/{}.rs uses {heavy}, whose home is {homes:?}", file.name);
        }
    }
    let expected = PLAN.homes.iter().map(|(heavy, _)| heavy).collect();
    assert_eq!(seen, expected, "remove a crate that is no longer used from the table in src/lib.rs");
}

#[test]
fn decisions_are_pure() {
    let source = &*SOURCE;
    let mut wrong = Vec::new();
    for pure in &PLAN.pure {
        let files = source.files.iter().filter(|file| is_in(&file.name, pure)).collect::<Vec<_>>();
        assert!(!files.is_empty(), "src/{pure} does not exist");
        for file in files {
            let touched = IMPURE.iter().find(|impure| file.paths.iter().any(|path| holds(path, impure)));
            wrong.extend(touched.map(|impure| format!("src/{}.rs uses {impure}", file.name)));
        }
    }
    assert!(wrong.is_empty(), "meant to be pure:\n{}", wrong.join("\n"));
}

/// Parsed once for all tests.
static SOURCE: LazyLock<Source> = LazyLock::new(Source::read);

/// The structure as the page of `src/lib.rs` describes it.
struct Plan {
    /// The rooms of each row, from low to high. A longer name wins over a shorter one; `*` is any one folder.
    layers: Vec<Vec<String>>,
    /// A heavy crate, and the only places that may use it.
    homes: Vec<(String, Vec<String>)>,
    /// Modules without side effects.
    pure: Vec<String>,
}

static PLAN: LazyLock<Plan> = LazyLock::new(|| {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let rows = |heading: &str| -> Vec<Vec<Vec<String>>> {
        let (_, table) =
            page.split_once(heading).unwrap_or_else(|| panic!("src/lib.rs has no table {heading:?}"));
        let rows = table.lines().skip(2).take_while(|line| line.starts_with("//! |"));
        rows.map(|row| row.split('|').skip(1).map(quoted).collect()).collect()
    };
    let homes = rows("//! | crate | home |");
    let homes = homes.iter().flat_map(|row| row[0].iter().map(|heavy| (heavy.clone(), row[1].clone())));
    Plan {
        layers: rows("//! | row | rooms |").into_iter().map(|row| row[1].clone()).collect(),
        homes: homes.collect(),
        pure: rows("//! | pure |").into_iter().flatten().flatten().collect(),
    }
});

/// The texts between backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A room and its row in the table of layers.
#[derive(Debug, Clone, Copy)]
struct Place {
    room: &'static str,
    row: usize,
}

fn row(file: &str) -> Place {
    let rows = PLAN.layers.iter().enumerate();
    let places = rows.flat_map(|(row, rooms)| rooms.iter().map(move |room| Place { room, row }));
    let of_file = places.filter(|place| is_in(file, place.room));
    of_file
        .max_by_key(|place| place.room.split('/').count())
        .unwrap_or_else(|| panic!("src/{file}.rs is in no room of the table in src/lib.rs"))
}

/// Whether a file is a room, or in its folder.
fn is_in(file: &str, room: &str) -> bool {
    let (mut file, mut room) = (file.split('/'), room.split('/'));
    room.all(|level| file.next().is_some_and(|own| level == "*" || level == own))
}

/// Whether `path` holds the segments of `part` one after the other; at its beginning if `part` is a crate or `std`.
fn holds(path: &[String], part: &str) -> bool {
    let part: Vec<_> = part.split("::").collect();
    let mut windows = path.windows(part.len());
    if part.len() == 1 || part[0] == "std" {
        return path.starts_with(&part.iter().map(|&segment| segment.to_owned()).collect::<Vec<_>>());
    }
    windows.any(|window| window == part.as_slice())
}

/// One file of the program, without its tests.
struct SourceFile {
    /// `alert/outbox/mod`
    name: String,
    /// `["alert", "outbox"]`
    module: Vec<String>,
    /// Every path that it names, imported or written out; `self` and `super` replaced by what they mean.
    paths: BTreeSet<Vec<String>>,
    /// What it gives to others under a name of its own: `Outbox`, and the path behind it.
    exports: BTreeMap<String, Vec<String>>,
}

/// All files of the program.
struct Source {
    files: Vec<SourceFile>,
}

impl Source {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut paths = Vec::new();
        collect(&root, &mut paths);
        let mut files = Vec::new();
        let mut tests = BTreeSet::new();
        for path in &paths {
            let name = path.strip_prefix(&root).unwrap().with_extension("").to_str().unwrap().to_owned();
            let (file, test_modules) = SourceFile::parse(name, &fs::read_to_string(path).unwrap());
            tests.extend(test_modules);
            files.push(file);
        }
        files.retain(|file| !tests.iter().any(|module: &Vec<String>| file.module.starts_with(module)));
        Self { files }
    }

    /// Each file with each other file that it imports from.
    fn imports(&self) -> impl Iterator<Item = (&SourceFile, &SourceFile)> {
        self.files.iter().flat_map(move |file| {
            let ours = file.paths.iter().filter(|path| path[0] == "crate");
            ours.filter_map(move |path| self.file_of(&path[1..], 0))
                .filter(move |imported| imported.name != file.name)
                .map(move |imported| (file, imported))
        })
    }

    /// The file that defines what a path names, through re-exports.
    fn file_of(&self, path: &[String], depth: usize) -> Option<&SourceFile> {
        let (file, rest) = (0..=path.len()).rev().find_map(|at| {
            let file = self.files.iter().find(|file| file.name != "main" && file.module == path[..at])?;
            Some((file, &path[at..]))
        })?;
        let behind = rest.first().and_then(|name| file.exports.get(name)).filter(|_| depth < 8);
        match behind {
            Some(behind) => self.file_of(&[&behind[1..], &rest[1..]].concat(), depth + 1),
            None => Some(file),
        }
    }
}

impl SourceFile {
    /// The file, and the modules that exist only for its tests.
    fn parse(name: String, text: &str) -> (Self, Vec<Vec<String>>) {
        let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("src/{name}.rs: {error}"));
        let mut module: Vec<_> = name.split('/').map(str::to_owned).collect();
        if ["mod", "lib", "main"].contains(&module[module.len() - 1].as_str()) {
            module.pop();
        }
        let mut names = Names { module: module.clone(), ..Names::default() };
        names.visit_file(&parsed);
        let Names { paths, exports, tests, .. } = names;
        (Self { name, module, paths, exports }, tests)
    }
}

/// Collects what a file names.
#[derive(Default)]
struct Names {
    module: Vec<String>,
    paths: BTreeSet<Vec<String>>,
    exports: BTreeMap<String, Vec<String>>,
    tests: Vec<Vec<String>>,
}

impl Names {
    /// A path from the root of the crate or of another crate.
    fn resolve(&self, path: &[String]) -> Vec<String> {
        let mut base = self.module.clone();
        let mut rest = path;
        match path.first().map(String::as_str) {
            Some("self") => rest = &path[1..],
            Some("super") => {
                while rest.first().is_some_and(|segment| segment == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            _ => return path.to_vec(),
        }
        [&["crate".to_owned()], base.as_slice(), rest].concat()
    }

    fn keep(&mut self, path: &[String]) {
        if !path.is_empty() {
            self.paths.insert(self.resolve(path));
        }
    }

    /// A path in the code; a single name is something local.
    fn keep_longer(&mut self, path: &[String]) {
        if path.len() > 1 {
            self.keep(path);
        }
    }

    fn use_tree(&mut self, before: &[String], tree: &UseTree, public: bool) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        let (path, name) = match tree {
            UseTree::Path(path) => return self.use_tree(&with(&path.ident), &path.tree, public),
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.use_tree(before, tree, public));
            }
            UseTree::Glob(_) => (before.to_vec(), None),
            UseTree::Name(name) if name.ident == "self" => (before.to_vec(), before.last().cloned()),
            UseTree::Name(name) => (with(&name.ident), Some(name.ident.to_string())),
            UseTree::Rename(rename) => (with(&rename.ident), Some(rename.rename.to_string())),
        };
        // A re-export is no use of what it names.
        match name.filter(|_| public) {
            Some(name) if ["self", "super", "crate"].contains(&path[0].as_str()) => {
                let path = self.resolve(&path);
                self.exports.insert(name, path);
            }
            _ => self.keep(&path),
        }
    }

    /// The paths in the arguments of a macro.
    fn tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons) = (Vec::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Ident(name) if path.is_empty() || colons == 2 => {
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() && colons < 2 => {
                    colons += 1;
                }
                token => {
                    self.keep_longer(&std::mem::take(&mut path));
                    colons = 0;
                    match token {
                        TokenTree::Ident(name) => path.push(name.to_string()),
                        TokenTree::Group(group) => self.tokens(group.stream()),
                        _ => {}
                    }
                }
            }
        }
        self.keep_longer(&path);
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_test(attributes(item)) {
            if let Item::Mod(module) = item {
                self.tests.push([self.module.as_slice(), &[module.ident.to_string()]].concat());
            }
            return;
        }
        match item {
            Item::Use(item) => {
                let public = !matches!(item.vis, syn::Visibility::Inherited);
                self.use_tree(&[], &item.tree, public);
            }
            Item::Mod(module) if module.content.is_some() => {
                self.module.push(module.ident.to_string());
                syn::visit::visit_item(self, item);
                self.module.pop();
            }
            _ => syn::visit::visit_item(self, item),
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_test(&function.attrs) {
            syn::visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        let attributes: &[Attribute] = match statement {
            Stmt::Local(local) => &local.attrs,
            Stmt::Expr(Expr::Call(call), _) => &call.attrs,
            Stmt::Expr(Expr::If(condition), _) => &condition.attrs,
            Stmt::Expr(Expr::Try(attempt), _) => &attempt.attrs,
            _ => &[],
        };
        if !is_test(attributes) {
            syn::visit::visit_stmt(self, statement);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.keep_longer(&segments);
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
        syn::visit::visit_macro(self, call);
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[cfg(test)]` or `#[cfg(fuzzing)]`.
fn is_test(attributes: &[Attribute]) -> bool {
    let condition =
        |attribute: &Attribute| attribute.meta.require_list().ok()?.parse_args::<syn::Path>().ok();
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .filter_map(condition)
        .any(|path| path.is_ident("test") || path.is_ident("fuzzing"))
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// The groups of files that reach each other.
fn circles(graph: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<Vec<String>> {
    let reached = |from: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(file) = open.pop() {
            for next in graph.get(file.as_str()).into_iter().flatten() {
                if seen.insert((*next).to_owned()) {
                    open.push((*next).to_owned());
                }
            }
        }
        seen
    };
    let reach: BTreeMap<_, _> = graph.keys().map(|file| (*file, reached(file))).collect();
    let circle = |file: &str| -> Vec<String> {
        let there_and_back =
            |other: &&String| reach.get(other.as_str()).is_some_and(|back| back.contains(file));
        reach[file].iter().filter(there_and_back).cloned().collect()
    };
    let all: BTreeSet<_> =
        graph.keys().map(|file| circle(file)).filter(|circle| !circle.is_empty()).collect();
    all.into_iter().collect()
}

#[test]
fn the_parser_sees_imports_paths_and_macros_but_no_tests() {
    let text = "
        mod tests_are_declared_first;
        #[cfg(test)]
        mod tests;
        use crate::{alert::{Alert, topics}, config::{self}};
        pub use self::disk::Disk;
        fn f() { super::g(format!(\"{}\", crate::mqtt::options(ort::version()))); }
        #[cfg(test)]
        use crate::daemon::House;
        #[cfg(test)]
        mod more { use crate::commands; }
        fn g() {
            #[cfg(test)]
            if crate::commands::is_test() { crate::daemon::stop() }
            #[cfg(test)]
            crate::daemon::check()?;
        }
    ";
    let (file, tests) = SourceFile::parse("alert/outbox/mod".to_owned(), text);
    let paths: BTreeSet<_> = file.paths.iter().map(|path| path.join("::")).collect();
    for expected in ["crate::alert::Alert", "crate::alert::topics", "crate::config", "crate::alert::g"] {
        assert!(paths.contains(expected), "{expected}: {paths:?}");
    }
    assert!(paths.contains("crate::mqtt::options") && paths.contains("ort::version"), "{paths:?}");
    assert!(!paths.iter().any(|path| path.contains("daemon") || path.contains("commands")), "{paths:?}");
    assert_eq!(file.exports["Disk"].join("::"), "crate::alert::outbox::disk::Disk");
    assert_eq!(tests.len(), 2);
    assert!(holds(&["std".to_owned(), "time".to_owned(), "Instant".to_owned()], "std::time::Instant"));
}

#[test]
fn the_page_of_the_structure_is_read() {
    assert_eq!(PLAN.layers[3], ["policy", "storage"]);
    assert!(PLAN.homes.iter().any(|(heavy, homes)| heavy == "turbojpeg" && homes[0] == "picture"));
    assert!(PLAN.pure.iter().any(|pure| pure == "trigger"));
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let rooms = page.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let unknown: Vec<_> =
        rooms.filter(|room| !PLAN.layers.iter().flatten().any(|known| known == room)).collect();
    assert_eq!(unknown, [""; 0], "add these rooms to the table in src/lib.rs");
}

#[test]
fn circles_are_found() {
    let edges = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("e", "d")];
    let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to) in edges {
        graph.entry(from).or_default().insert(to);
    }
    assert_eq!(circles(&graph), [["a", "b", "c"]]);
    assert!(is_in("source/kinds/folder/settings", "source/kinds/*/settings"));
    assert!(is_in("source/kinds/folder/scan", "source") && !is_in("source2/scan", "source"));
}
