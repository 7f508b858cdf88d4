//! The processor of this machine, as the kernel describes it: its name and its extensions.

use std::fs;

/// Where the kernel describes it.
const FILE: &str = "/proc/cpuinfo";

/// The name and the extensions of a processor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processor {
    /// Its name; empty if the kernel does not say it.
    pub name: String,
    /// The extensions that matter for a model, of those that it has.
    pub extensions: Vec<&'static str>,
}

/// Extensions that change how fast a model runs, as the kernel names them.
const EXTENSIONS: [&str; 10] = [
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimddp",
    "i8mm",
    "bf16",
];

impl Processor {
    /// The processor of this machine.
    #[must_use]
    pub fn of_machine() -> Self {
        Self::parse(&fs::read_to_string(FILE).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let value = |keys: &[&str]| {
            let line = text.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                keys.contains(&key.trim()).then_some(value.trim())
            });
            line.unwrap_or_default()
        };
        let has: Vec<_> = value(&["flags", "Features"]).split_whitespace().collect();
        Self {
            name: value(&["model name", "Model", "Hardware", "CPU part"]).to_owned(),
            extensions: EXTENSIONS.into_iter().filter(|extension| has.contains(extension)).collect(),
        }
    }

    /// Whether it multiplies numbers of the format bf16.
    #[must_use]
    pub fn has_bf16(&self) -> bool {
        self.extensions.iter().any(|extension| ["amx_bf16", "avx512_bf16", "bf16"].contains(extension))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_and_the_extensions_that_matter() {
        let xeon = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R)\nflags\t\t: fpu avx2 avx512f amx_bf16 amx_tile\n\n\
            processor\t: 1\nmodel name\t: another\n";
        let found = Processor::parse(xeon);
        let expected = Processor {
            name: "Intel(R) Xeon(R)".to_owned(),
            extensions: vec!["avx2", "avx512f", "amx_bf16"],
        };
        assert_eq!(found, expected);
        assert!(found.has_bf16());
        let arm = Processor::parse("processor : 0\nFeatures : fp asimd asimddp\nCPU part : 0xd0c\n");
        assert_eq!((&*arm.name, arm.has_bf16()), ("0xd0c", false));
        assert!(!Processor::parse("flags : avx2 notamx_bf16").has_bf16());
        assert_eq!(Processor::parse(""), Processor::default());
    }
}
