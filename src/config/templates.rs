//! The sentences around the prompts of a label set: one, several, or groups of them that have a name.

use crate::{
    policy::Template,
    yaml::names,
    yaml::{
        reader::{Reader, Section, Setting},
        tree::Value,
    },
};

/// Where nothing is typed; what the `zero-shot-image-classification` pipeline takes.
const DEFAULT: &str = "This is a photo of {}.";

/// Sentences that belong together, by the name of their group. An average over them is less about how a picture was
/// taken, and more about what it shows.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "camera",
        &[
            "a security camera photo of {}",
            "a photo of {} in daylight",
            "a photo of {} at night",
            "a black and white infra-red photo of {}",
            "a photo of {} in the rain",
            "a photo of {} in fog",
            "a photo of {} in snow",
            "a wide angle photo of {}",
            "a photo of {} from above",
            "a close-up photo of {}",
            "a photo of {} in the distance",
            "a blurry photo of {}",
            "a low resolution photo of {}",
            "a dark photo of {}",
            "a bright photo of {}",
        ],
    ),
    (
        "photo",
        &[
            "a photo of {}",
            "a good photo of {}",
            "a bad photo of {}",
            "a cropped photo of {}",
            "a close-up photo of {}",
            "a blurry photo of {}",
            "a dark photo of {}",
            "a bright photo of {}",
        ],
    ),
    ("plain", &["{}"]),
];

/// `template: SENTENCE`, or `templates:` with one or more sentences and names of groups.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Vec<Template>> {
    match (section.get("template"), section.get("templates")) {
        (Some(_), Some(at)) => {
            let remedy = "put the sentence of `template` into the list of `templates`, and remove `template`";
            reader.problem(at.key, "`template` and `templates` cannot be here both", remedy);
            None
        }
        (Some(at), None) => {
            reader.parsed(&at, "a sentence with `{}` for the prompt", sentence).map(|it| vec![it])
        }
        (None, Some(at)) => several(reader, &at),
        (None, None) => Some(vec![DEFAULT.parse().expect("the default is a sentence")]),
    }
}

fn several(reader: &mut Reader<'_>, at: &Setting<'_>) -> Option<Vec<Template>> {
    const EXPECTED: &str = "a sentence with `{}` for the prompt, or the name of a group of sentences";
    let read = match &at.node.value {
        Value::List(items) if items.is_empty() => {
            reader.problem(at.span(), "`templates` is empty", "list one at least, or leave it out");
            return None;
        }
        Value::List(items) => {
            let items = reader.items(at, items);
            // All of them first: one that is wrong must not hide the next.
            let read: Vec<_> =
                items.iter().map(|at| reader.parsed(at, EXPECTED, group_or_sentence)).collect();
            read.into_iter().collect::<Option<Vec<_>>>()?.concat()
        }
        _ => reader.parsed(at, EXPECTED, group_or_sentence)?,
    };
    // One that is in two groups counts once.
    let mut different: Vec<Template> = Vec::with_capacity(read.len());
    for template in read {
        if !different.contains(&template) {
            different.push(template);
        }
    }
    Some(different)
}

fn group_or_sentence(text: &str) -> Result<Vec<Template>, String> {
    if let Some((_, group)) = group(text) {
        return Ok(group.iter().map(|text| text.parse().expect("a group holds sentences")).collect());
    }
    let names: Vec<_> = GROUPS.iter().map(|(name, _)| *name).collect();
    match names::nearest(text, names.iter().copied()) {
        Some(near) => Err(format!("did you mean `{near}`?")),
        None => {
            sentence(text).map(|template| vec![template]).map_err(|remedy| match text.contains(['{', '}']) {
                true => remedy,
                false => format!("{remedy}\nthe groups are {}", names::list(&names, "and")),
            })
        }
    }
}

fn sentence(text: &str) -> Result<Template, String> {
    if let Some((name, _)) = group(text) {
        return Err(format!("a group of sentences is named like this: `templates: {name}`"));
    }
    let template: Template = text.parse().map_err(|error: crate::policy::TemplateError| error.to_string())?;
    let remedy = "without `{}` all labels would be the same sentence: `a photo of {}`";
    template.has_slot().then_some(template).ok_or_else(|| remedy.to_owned())
}

fn group(name: &str) -> Option<&'static (&'static str, &'static [&'static str])> {
    GROUPS.iter().find(|(known, _)| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_holds_different_sentences_with_a_slot() {
        for (name, group) in GROUPS {
            let read = group_or_sentence(name).unwrap();
            assert_eq!(read.len(), group.len(), "{name}");
            for (number, template) in read.iter().enumerate() {
                assert!(template.has_slot() && !read[..number].contains(template), "{name}: {template}");
            }
        }
    }

    #[test]
    fn what_is_meant_by_a_word() {
        let told = |text: &str| group_or_sentence(text).map(|read| read.len());
        assert_eq!([told("camera"), told("plain"), told("a {0} by a {0}")], [Ok(15), Ok(1), Ok(1)]);
        assert_eq!(told("Camera").unwrap_err(), "did you mean `camera`?");
        assert_eq!(told("photos").unwrap_err(), "did you mean `photo`?");
        assert!(told("outdoors").unwrap_err().ends_with("the groups are `camera`, `photo` and `plain`"));
        assert!(told("a {} of {}").unwrap_err().contains("may stand once"));
        assert!(sentence("camera").unwrap_err().contains("`templates: camera`"));
    }
}
