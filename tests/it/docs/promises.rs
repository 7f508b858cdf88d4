//! The tables of promises in `docs/security.md` and `docs/reliability.md`: each promise names the tests that prove it, and the last
//! result. `tools/attacks.py` runs what the tables name.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use syn::{Attribute, Item};

use super::{blocks::root, commands};

const PAGES: [&str; 2] = ["docs/security.md", "docs/reliability.md"];
const HEAD: &str = "| promise | proven by | last result |";

/// A row of a table of promises.
#[derive(Debug, PartialEq)]
struct Promise {
    line: usize,
    text: String,
    /// Names of tests with their modules, and commands.
    proofs: Vec<String>,
    result: String,
}

fn promises(page: &str) -> Vec<Promise> {
    let mut inside = false;
    let mut found = vec![];
    for (number, line) in page.lines().enumerate() {
        inside = line == HEAD || inside && line.starts_with('|');
        if !inside || line == HEAD || line.starts_with("|---") {
            continue;
        }
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [text, proofs, result] = cells[..] else {
            panic!("line {}: not three cells: {line}", number + 1)
        };
        let proofs = proofs.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        found.push(Promise { line: number + 1, text: text.to_owned(), proofs, result: result.to_owned() });
    }
    found
}

/// The names of all tests, with their modules: of the library, and of the black-box tests.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in ["src", "tests/it"] {
        let folder = root().join(folder);
        for file in files(&folder) {
            let mut modules: Vec<_> = file
                .strip_prefix(&folder)
                .unwrap()
                .with_extension("")
                .iter()
                .map(|part| part.to_str().unwrap().to_owned())
                .collect();
            modules.retain(|part| !["mod", "main", "lib"].contains(&part.as_str()));
            let parsed = syn::parse_file(&fs::read_to_string(&file).unwrap()).unwrap();
            collect(&parsed.items, &modules, &mut names);
        }
    }
    names
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|kind| kind == "rs")).collect()
}

fn collect(items: &[Item], modules: &[String], names: &mut BTreeSet<String>) {
    let full = |name: &str| modules.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join("::");
    let is_test = |attribute: &Attribute| {
        attribute.path().segments.last().is_some_and(|segment| segment.ident == "test")
    };
    for item in items {
        match item {
            Item::Fn(function) if function.attrs.iter().any(is_test) => {
                names.insert(full(&function.sig.ident.to_string()));
            }
            Item::Mod(module) => {
                let inner = [modules, &[module.ident.to_string()]].concat();
                let items = module.content.iter().flat_map(|(_, items)| items.clone());
                collect(&items.collect::<Vec<_>>(), &inner, names);
            }
            // Property tests are functions inside a macro.
            Item::Macro(found) if found.mac.path.segments.last().is_some_and(|it| it.ident == "proptest") => {
                let tokens = found.mac.tokens.to_string();
                let functions = tokens.split("fn ").skip(1).filter_map(|rest| rest.split([' ', '(']).next());
                names.extend(functions.map(full));
            }
            _ => {}
        }
    }
}

/// What is wrong with a promise, if `tests` exist.
fn fault(promise: &Promise, tests: &BTreeSet<String>) -> Option<String> {
    if promise.proofs.is_empty() {
        return Some("no test proves it".to_owned());
    }
    for proof in &promise.proofs {
        let is_command = ["tools/", "make ", "cargo "].iter().any(|begin| proof.starts_with(begin));
        let fault = match is_command {
            true => commands::commands(proof).iter().find_map(|command| commands::fault(command)),
            false => (!tests.contains(proof)).then(|| format!("there is no test {proof}")),
        };
        if fault.is_some() {
            return fault;
        }
    }
    let date = |text: &str| text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok();
    let is_result = match promise.result.split_once(' ') {
        Some(("passed", rest)) => date(rest.get(..10).unwrap_or_default()),
        Some(("not", rest)) => rest.starts_with("run: "),
        _ => false,
    };
    (!is_result).then(|| format!("the last result is {:?}", promise.result))
}

#[test]
fn each_promise_names_tests_that_exist() {
    let tests = tests();
    assert!(tests.len() > 500, "{}", tests.len());
    let mut wrong = vec![];
    for page in PAGES {
        let promises = promises(&fs::read_to_string(root().join(page)).unwrap());
        assert!(promises.len() > 10, "{page}: {}", promises.len());
        for promise in promises {
            let fault = fault(&promise, &tests);
            wrong.extend(fault.map(|fault| format!("{page}:{}: {}: {fault}", promise.line, promise.text)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_promise_without_a_proof_is_found() {
    let page =
        format!("{HEAD}\n|---|---|---|\n| a | `b::c`, `make x` | passed 2026-11-27 |\n\n| d | e | f |\n");
    let found = promises(&page);
    let proofs = vec!["b::c".to_owned(), "make x".to_owned()];
    let (text, result) = ("a".to_owned(), "passed 2026-11-27".to_owned());
    assert_eq!(found, [Promise { line: 3, text, proofs, result }]);

    let tests = BTreeSet::from(["a::b".to_owned()]);
    let promise = |proofs: &[&str], result: &str| Promise {
        line: 1,
        text: "it holds".to_owned(),
        proofs: proofs.iter().map(|&proof| proof.to_owned()).collect(),
        result: result.to_owned(),
    };
    for (proofs, result, expected) in [
        (&["a::b"][..], "passed 2026-11-27", None),
        (&["a::b", "make test"], "passed 2026-11-27, 2,000 schedules", None),
        (&["tools/fuzz.sh 60"], "not run: it needs a nightly compiler", None),
        (&[], "passed 2026-11-27", Some("no test")),
        (&["a::c"], "passed 2026-11-27", Some("a::c")),
        (&["b"], "passed 2026-11-27", Some("no test b")),
        (&["make nothing"], "passed 2026-11-27", Some("no target nothing")),
        (&["tools/nothing.sh"], "passed 2026-11-27", Some("tools/nothing.sh")),
        (&["a::b"], "passed", Some("last result")),
        (&["a::b"], "passed 2026-13-27", Some("last result")),
        (&["a::b"], "it will pass", Some("last result")),
    ] {
        let found = fault(&promise(proofs, result), &tests);
        assert_eq!(found.is_some(), expected.is_some(), "{proofs:?} {result}: {found:?}");
        assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()), "{proofs:?} {result}");
    }
}
