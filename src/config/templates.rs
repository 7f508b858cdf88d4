//! The sentences around the prompts of a label set: one, several, or named groups of sentences.

use crate::{
    policy::{Template, TemplateError},
    yaml::{
        fields::Form,
        names,
        reader::{Reader, Section},
    },
};

/// The form of `template`.
pub(super) const SENTENCE: Form = Form::like("a sentence with `{}` for the prompt");
/// The form of an item of `templates`.
pub(super) const SENTENCE_OR_GROUP: Form =
    Form::like("a sentence with `{}` for the prompt, or the name of a group of sentences");

/// Groups of sentences by name. An average over a group depends less on how a picture was taken, and more on what it shows.
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

/// Reads `template` or `templates`.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Vec<Template>> {
    let Some(at) = section.get("templates") else {
        return section.read(reader, "template", |reader, at| reader.parsed(at, sentence)).map(|it| vec![it]);
    };
    if section.get("template").is_some() {
        let remedy = "move the sentence of `template` into the list of `templates`, and remove `template`";
        reader.problem(at.key, "`template` and `templates` exclude each other", remedy);
        return None;
    }
    let read = reader.list(&at, |reader, at| reader.parsed(at, group_or_sentence))?.concat();
    // A sentence of two groups counts once.
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
        return Err(format!("write the name of a group like this: `templates: {name}`"));
    }
    let template: Template = text.parse().map_err(|error: TemplateError| error.to_string())?;
    let remedy = "add `{}`, otherwise all labels would be the same sentence: `a photo of {}`";
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
    fn a_word_is_a_group_or_a_mistake() {
        let count = |text: &str| group_or_sentence(text).map(|read| read.len());
        assert_eq!([count("camera"), count("plain"), count("a {0} by a {0}")], [Ok(15), Ok(1), Ok(1)]);
        assert_eq!(count("Camera").unwrap_err(), "did you mean `camera`?");
        assert_eq!(count("photos").unwrap_err(), "did you mean `photo`?");
        assert!(count("outdoors").unwrap_err().ends_with("the groups are `camera`, `photo` and `plain`"));
        assert!(count("a {} of {}").unwrap_err().contains("may occur once"));
        assert!(sentence("camera").unwrap_err().contains("`templates: camera`"));
    }
}
