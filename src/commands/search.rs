//! `stakeout search`: finds stored frames by words or by a picture.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use jiff::{Timestamp, tz::TimeZone};
use unicode_width::UnicodeWidthStr as _;

use super::{ConfigArgs, DONE, moment, pictures, report};
use crate::{
    api::{
        self, Client, Time,
        search::{self, Match, Request, Response},
    },
    classify::{self, LabelEncoder, labels::VectorCache},
    config::Config,
    local_time, picture, terminal,
    topic::topic_level,
    trial,
    yaml::value,
};

/// The arguments of `stakeout search`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Find frames that are similar to this picture, or to it and the words: a file, a web address, or - for standard input
    #[arg(long, value_name = "PICTURE")]
    like: Option<String>,
    /// Only frames of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only frames since this moment: how long ago (`7d`), a time of today (`08:15`), a day (`2026-11-23`) or both
    #[arg(long, value_name = moment::FORMS, value_parser = moment::parse)]
    since: Option<Timestamp>,
    /// Only frames before this moment
    #[arg(long, value_name = moment::FORMS, value_parser = moment::parse)]
    until: Option<Timestamp>,
    /// The number of results at most
    #[arg(long, value_name = "N", default_value_t = search::TOP,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(search::MOST)))]
    top: u32,
    /// Print the answer as one JSON object
    #[arg(long)]
    json: bool,
    /// Write the stored picture of each result into this folder
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
    /// What to search for, such as "a dog at the gate"
    #[arg(required_unless_present = "like", value_name = "TEXT")]
    text: Option<String>,
}

/// Prints the moments that were found, the best first.
///
/// # Errors
/// The model cannot be loaded, a picture cannot be read, or the results cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = args.config.path();
    super::with_config(&path, |config| {
        let client = Client::of(&path, &config);
        let found = answer(args, &client, &config).and_then(|found| {
            let files = args.pictures.as_deref().map(|folder| write_pictures(folder, &client, &found));
            Ok((found, files.transpose()?.unwrap_or_default()))
        });
        let (found, files) = match found {
            Ok(found) => found,
            Err(error) => match error.downcast_ref::<api::Error>() {
                Some(error) => return Ok(report(error)),
                None => return Err(error),
            },
        };
        let mut out = terminal::output();
        if args.json {
            writeln!(out, "{}", serde_json::to_string(&found)?)
        } else {
            notes(&found, &TimeZone::system()).iter().for_each(terminal::say);
            lines(&found, &files, &TimeZone::system()).iter().try_for_each(|line| writeln!(out, "{line}"))
        }
        .context("standard output cannot be written")?;
        Ok(ExitCode::from(DONE))
    })
}

/// The running service encodes words with its own model. Without a service, and for a picture, this process loads the model.
fn answer(args: &Args, client: &Client, config: &Config) -> anyhow::Result<Response> {
    let request = Request {
        text: args.text.clone().unwrap_or_default(),
        source: args.source.clone(),
        since: args.since.map(Time),
        until: args.until.map(Time),
        top: Some(args.top),
        ..Request::default()
    };
    if args.like.is_none()
        && let Some(service) = client.running()?
    {
        return Ok(service.call(&search::VERB, &request)?);
    }
    let reader = client.reader()?;
    // Before the model is loaded, which takes longer.
    let words = args.text.as_deref().map(search::words).transpose()?;
    let like = args.like.as_deref().map(|typed| read_picture(typed, config)).transpose()?;
    let mut model = classify::load_model_as(config, &trial::chosen_before(config).apply(config))?;
    let mut vectors = Vec::new();
    if let Some(words) = &words {
        let texts = LabelEncoder::new(&model, VectorCache::none()).texts(words).map_err(api::Error::from)?;
        vectors.extend(texts.vectors.labels.iter().map(|vector| vector.to_vec()));
    }
    if let Some(like) = &like {
        vectors.extend(model.embed_pictures(&[like])?);
    }
    Ok(search::find(&reader, config, &request, &vectors)?)
}

fn read_picture(typed: &str, config: &Config) -> anyhow::Result<picture::Picture> {
    let items = pictures::find(&[typed.to_owned()]);
    let [item] = &items[..] else { bail!("--like takes one picture, and `{typed}` names {}", items.len()) };
    let bytes = item.read().with_context(|| item.shown())?;
    picture::decode(&bytes, config.limits()).with_context(|| item.shown())
}

/// Writes the picture of each result, if it has one. Returns the paths, in the order of the results.
fn write_pictures(folder: &Path, client: &Client, found: &Response) -> anyhow::Result<Vec<Option<PathBuf>>> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let write = |result: &Match| {
        let Some(address) = &result.picture else { return Ok(None) };
        let jpeg = match client.picture(address) {
            // Deleted meanwhile.
            Err(error) if error.kind == api::Kind::NotFound => return Ok(None),
            jpeg => jpeg?,
        };
        let path = folder.join(file_name(result));
        fs::write(&path, jpeg).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Some(path))
    };
    found.matches.iter().map(write).collect()
}

/// `2026-11-23T081530.125Z-front-door.jpg`: sorted by time, and without characters that a file system treats in a special way.
fn file_name(result: &Match) -> String {
    let time = result.time.0.strftime("%Y-%m-%dT%H%M%S%.3fZ");
    format!("{time}-{}.jpg", topic_level(&result.source))
}

/// The lines of the results: time, source, a bar, the lift, how long the event lasted, the region, and the file of the picture.
fn lines(found: &Response, files: &[Option<PathBuf>], zone: &TimeZone) -> Vec<String> {
    const BAR: usize = 10;
    let width = |result: &Match| terminal::one_line(&result.source).width();
    let widest = found.matches.iter().map(width).max().unwrap_or(0);
    let highest = found.matches.iter().map(|result| result.lift).fold(found.line, f32::max);
    let line = |(number, result): (usize, &Match)| {
        let time = local_time::in_zone(result.time.0, zone);
        let source = terminal::one_line(&result.source);
        let padding = " ".repeat(widest - width(result));
        // `as` saturates.
        let full = ((result.lift / highest * BAR as f32).round() as usize).min(BAR);
        let bar = "█".repeat(full) + &"·".repeat(BAR - full);
        let seconds = result.last.0.duration_since(result.first.0).as_secs().max(0).unsigned_abs();
        let lasted = match seconds {
            0 => String::new(),
            _ => value::duration_text(Duration::from_secs(seconds)),
        };
        let region = result.region.as_deref().map(|name| format!("  in {}", terminal::one_line(name)));
        let file = files.get(number).and_then(Option::as_ref);
        let file = file.map(|path| format!("  {}", path.display())).unwrap_or_default();
        let lift = result.lift;
        let line = format!(
            "{time}  {source}{padding}  {bar} {lift:4.1}  {lasted:<6}{}{file}",
            region.unwrap_or_default()
        );
        line.trim_end().to_owned()
    };
    let mut lines: Vec<_> = found.matches.iter().enumerate().map(line).collect();
    let likely = found.matches.iter().filter(|result| result.likely).count();
    if likely < lines.len() {
        lines.insert(likely, "--- probably nothing below ---".to_owned());
    }
    lines
}

/// What was searched, and what was not.
fn notes(found: &Response, zone: &TimeZone) -> Vec<String> {
    let counted = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut notes = Vec::new();
    if let (Some(Time(first)), Some(Time(last))) = (found.first, found.last) {
        let sources = counted(found.sources as u64, "source");
        let (first, last) = (local_time::in_zone(first, zone), local_time::in_zone(last, zone));
        let embeddings = counted(found.embeddings, "embedding");
        notes.push(format!("searched {embeddings} of {sources}; stored are frames of {first} to {last}"));
    }
    if found.embeddings == 0 {
        notes.push("no frame is stored that could be searched".to_owned());
    }
    if found.embeddings_of_other_models > 0 {
        let others = counted(found.embeddings_of_other_models, "embedding");
        notes.push(format!("{others} of other models cannot be searched with the model {}", found.model));
    }
    if found.pictures_to_embed > 0 {
        let pictures = counted(found.pictures_to_embed, "stored picture");
        notes.push(format!("{pictures} not embedded with this model yet: a later search finds them"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(source: &str, time: &str, seconds: i64, lift: f32, likely: bool) -> Match {
        let time: Timestamp = time.parse().unwrap();
        Match {
            source: source.to_owned(),
            region: None,
            time: Time(time),
            first: Time(time),
            last: Time(time + jiff::SignedDuration::from_secs(seconds)),
            lift,
            similarity: 0.25,
            likely,
            picture: None,
        }
    }

    fn response(matches: Vec<Match>) -> Response {
        Response {
            matches,
            line: 4.0,
            model: "bundled".to_owned(),
            embeddings: 1,
            sources: 1,
            first: Some(Time("2026-11-20T00:00:00Z".parse().unwrap())),
            last: Some(Time("2026-11-23T08:15:30Z".parse().unwrap())),
            embeddings_of_other_models: 0,
            pictures_to_embed: 0,
        }
    }

    #[test]
    fn results_are_aligned_and_the_line_is_between_them() {
        let mut found = response(vec![
            result("front-door", "2026-11-23T08:15:30.125Z", 132, 8.0, true),
            result("猫", "2026-11-22T18:00:00Z", 0, 6.1, true),
            result("yard\u{1b}", "2026-11-21T09:00:00Z", 5, 3.9, false),
        ]);
        found.matches[1].region = Some("gate".to_owned());
        let files = [Some(PathBuf::from("out/1.jpg")), None];
        let expected = [
            "2026-11-23 08:15:30 +00:00  front-door  ██████████  8.0  2m12s   out/1.jpg",
            "2026-11-22 18:00:00 +00:00  猫          ████████··  6.1          in gate",
            "--- probably nothing below ---",
            "2026-11-21 09:00:00 +00:00  yard\\u001b  █████·····  3.9  5s",
        ];
        assert_eq!(lines(&found, &files, &TimeZone::UTC), expected);
        assert_eq!(file_name(&found.matches[0]), "2026-11-23T081530.125Z-front-door.jpg");
        let only_unlikely = response(vec![result("yard", "2026-11-21T09:00:00Z", 0, -0.5, false)]);
        let lines = lines(&only_unlikely, &[], &TimeZone::UTC);
        assert_eq!(lines[0], "--- probably nothing below ---");
        assert!(lines[1].contains("  ·········· -0.5"), "{lines:?}");
    }

    #[test]
    fn the_notes_say_what_was_searched() {
        let found = response(vec![]);
        let searched = "searched 1 embedding of 1 source; stored are frames of 2026-11-20 00:00:00 +00:00 to \
                        2026-11-23 08:15:30 +00:00";
        assert_eq!(notes(&found, &TimeZone::UTC), [searched]);
        let other = Response {
            embeddings: 0,
            embeddings_of_other_models: 7,
            pictures_to_embed: 1,
            first: None,
            last: None,
            ..found
        };
        let expected = [
            "no frame is stored that could be searched",
            "7 embeddings of other models cannot be searched with the model bundled",
            "1 stored picture not embedded with this model yet: a later search finds them",
        ];
        assert_eq!(notes(&other, &TimeZone::UTC), expected);
    }
}
