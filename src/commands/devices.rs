//! `stakeout devices`: lists the devices that can run a model, and adds and removes plugins for them.

mod package;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use super::{ConfigArgs, DONE, FAILED, Format};
use crate::{
    config::{Device, OpenVino},
    engine::{
        onnx::Runtime,
        plugins::{self, Installed, PLUGINS, Plugin},
        processor::Processor,
    },
    terminal,
    trial::{self, DeviceEntry, Program},
};

/// The arguments of `stakeout devices`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The output format of the list
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// The ONNX Runtime library [default: the first one in the usual places]
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Fetch a plugin from the Python Package Index, for all users if root calls this
    Add {
        /// openvino, webgpu or qnn
        #[arg(value_parser = plugin)]
        name: &'static Plugin,
        /// Another folder, for packages; the plugin is not tried [default: the one of the machine for root, else the user's]
        #[arg(long, value_name = "FOLDER")]
        into: Option<PathBuf>,
    },
    /// Remove a plugin that was added
    Remove {
        /// Its name
        #[arg(value_parser = plugin)]
        name: &'static Plugin,
    },
    /// Forget which devices worked, crashed or were slow, so that the next start of the service tries them again
    Retry(ConfigArgs),
}

fn plugin(name: &str) -> Result<&'static Plugin, String> {
    Plugin::named(name).ok_or_else(|| {
        let names: Vec<_> = PLUGINS.iter().map(|plugin| plugin.name).collect();
        format!("there are {}", names.join(", "))
    })
}

/// Runs the command.
///
/// # Errors
/// A package cannot be fetched or removed, or standard output cannot be written.
pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.command {
        None => list(&mut terminal::output(), args),
        Some(Command::Add { name, into: None }) => {
            add(&mut terminal::output(), name, args.onnxruntime.as_deref())
        }
        Some(Command::Add { name, into: Some(folder) }) => {
            let target = folder.join(name.folder_name());
            package::fetch(name, folder, &target)?;
            writeln!(terminal::output(), "{}", target.display())?;
            Ok(ExitCode::from(DONE))
        }
        Some(Command::Remove { name }) => remove(&mut terminal::output(), name),
        Some(Command::Retry(config)) => retry(config),
    }
}

/// A device, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Row {
    /// Its value for `device:`.
    name: String,
    /// `cpu`, `gpu` or `npu`; empty if it is not known.
    kind: String,
    /// What it is, for people.
    title: String,
    /// The precisions in which it computes, the fastest first.
    precisions: Vec<&'static str>,
    /// The plugin that it needs, with its version; `None`: the library has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
    /// Why it cannot be used; `None`: it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

fn list(out: &mut impl Write, args: &Args) -> Result<ExitCode> {
    let runtime = Runtime::load(args.onnxruntime.as_deref())?;
    let rows = rows(&runtime, args.onnxruntime.as_deref());
    match args.format {
        Format::Json => rows.iter().try_for_each(|row| {
            let json = serde_json::to_string(row).context("a device is no JSON")?;
            writeln!(out, "{json}").context("standard output cannot be written")
        })?,
        Format::Table => write!(out, "{}", table(&rows)).context("standard output cannot be written")?,
    }
    Ok(ExitCode::from(DONE))
}

/// Every device of this machine, and every known plugin that is missing.
fn rows(runtime: &Runtime, onnxruntime: Option<&Path>) -> Vec<Row> {
    let processor = Processor::of_machine();
    let built = runtime.providers().into_iter().filter_map(|name| Device::parse(name).ok());
    let built: Vec<_> = built.collect();
    let mut rows: Vec<_> = built.iter().map(|device| of_library(runtime, *device, &processor)).collect();
    // The processor is what every machine has.
    rows.sort_by_key(|row| row.name != "cpu");
    let installed = plugins::installed();
    for plugin in &PLUGINS {
        let of_library = |device: &Device| Plugin::of(*device).is_some_and(|of| std::ptr::eq(of, plugin));
        if built.iter().any(of_library) {
            continue;
        }
        match installed.iter().find(|it| std::ptr::eq(it.plugin, plugin)) {
            Some(installed) => rows.extend(of_plugin(runtime, installed, onnxruntime, &processor)),
            None => rows.push(missing(plugin)),
        }
    }
    rows
}

/// A device that the library was built with.
fn of_library(runtime: &Runtime, device: Device, processor: &Processor) -> Row {
    let problem = runtime.device(device).err().map(|error| error.to_string());
    let (kind, title) = match device {
        Device::Cpu => ("cpu", processor.name.clone()),
        Device::OpenVino(_) | Device::CoreMl => ("", String::new()),
        _ => ("gpu", String::new()),
    };
    let (kind, name) = (kind.to_owned(), device.to_string());
    let precisions = match device {
        // The graph decides.
        Device::Cpu => vec!["fp32", "int8"],
        device if device.computes_in_half() => vec!["fp16", "fp32"],
        device => words(device, processor),
    };
    Row { name, kind, title, precisions, plugin: None, problem }
}

/// The devices of a plugin that is on this machine.
fn of_plugin(
    runtime: &Runtime,
    installed: &Installed,
    onnxruntime: Option<&Path>,
    processor: &Processor,
) -> Vec<Row> {
    let Installed { plugin, version, .. } = installed;
    let named = format!("{} {version}", plugin.name);
    let unusable = |problem: String| {
        let (name, plugin) = (plugin.name.to_owned(), Some(named.trim().to_owned()));
        let (kind, title, precisions) = (String::new(), String::new(), vec![]);
        vec![Row { name, kind, title, precisions, plugin, problem: Some(problem) }]
    };
    if !runtime.has_plugins() {
        let version = runtime.version();
        return unusable(format!("plugins need ONNX Runtime 1.23 or newer, and {version} is used"));
    }
    match trial::devices_of(installed, onnxruntime, &Program::running()) {
        Err(why) => unusable(why),
        Ok(devices) if devices.is_empty() => {
            unusable("it finds no device on this machine: is the driver installed?".to_owned())
        }
        Ok(devices) => {
            let row = |(device, entry): (Device, DeviceEntry)| {
                let of_plugin = if entry.version.is_empty() {
                    named.clone()
                } else {
                    format!("{} {}", plugin.name, entry.version)
                };
                Row {
                    name: device.to_string(),
                    kind: entry.kind,
                    title: entry.title,
                    precisions: words(device, processor),
                    plugin: Some(of_plugin.trim().to_owned()),
                    problem: None,
                }
            };
            devices.into_iter().map(row).collect()
        }
    }
}

/// A known plugin that is not on this machine.
fn missing(plugin: &'static Plugin) -> Row {
    let problem = match package::wheel(plugin) {
        Ok(_) => format!("its plugin is not installed: run `stakeout devices add {}`", plugin.name),
        Err(why) => why,
    };
    let (name, precisions) = (plugin.name.to_owned(), vec![]);
    let (kind, title) = (String::new(), String::new());
    Row { name, kind, title, precisions, plugin: None, problem: Some(problem) }
}

/// The precisions that `precision:` can ask a device for.
fn words(device: Device, processor: &Processor) -> Vec<&'static str> {
    match device {
        Device::OpenVino(OpenVino::Gpu(_) | OpenVino::Npu) => vec!["fp16", "fp32"],
        Device::OpenVino(_) => {
            trial::precisions(device, processor).into_iter().map(|precision| precision.word()).collect()
        }
        _ => vec!["fp32"],
    }
}

fn table(rows: &[Row]) -> String {
    let cells = rows.iter().map(|row| {
        let kind = if row.kind.is_empty() { "-" } else { &row.kind };
        let precisions = if row.precisions.is_empty() { "-".to_owned() } else { row.precisions.join(",") };
        [row.name.clone(), kind.to_owned(), precisions, row.plugin.clone().unwrap_or_else(|| "-".to_owned())]
    });
    let heading = ["DEVICE", "KIND", "PRECISIONS", "PLUGIN"].map(str::to_owned);
    let cells: Vec<_> = std::iter::once(heading).chain(cells).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 4] = std::array::from_fn(width);
    let last = rows.iter().map(|row| match &row.problem {
        None => terminal::one_line(&row.title).into_owned(),
        Some(problem) => format!("NOT USABLE: {}", terminal::one_line(problem)),
    });
    let last = std::iter::once(String::new()).chain(last);
    let line = |(cells, last): (&[String; 4], String)| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.chain([last]).collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    };
    cells.iter().zip(last).map(line).collect()
}

fn add(out: &mut impl Write, plugin: &'static Plugin, onnxruntime: Option<&Path>) -> Result<ExitCode> {
    let folder =
        plugins::own_folder().context("there is no folder for plugins: set HOME or XDG_DATA_HOME")?;
    let target = folder.join(plugin.folder_name());
    if !target.join(plugin.library).is_file() {
        package::fetch(plugin, &folder, &target)?;
    }
    writeln!(out, "{}", target.display())?;
    // What was added is useless if it finds nothing; that is better known now.
    let version = plugin.package.version.to_owned();
    let installed = Installed { plugin, version, library: target.join(plugin.library) };
    match trial::devices_of(&installed, onnxruntime, &Program::running()) {
        Ok(devices) if devices.is_empty() => {
            terminal::say(format_args!(
                "note: {} finds no device on this machine: is the driver installed?",
                plugin.name
            ));
        }
        Ok(devices) => {
            let names: Vec<_> = devices.iter().map(|(device, _)| device.to_string()).collect();
            terminal::say(format_args!(
                "it finds {}; `device: auto` tries them at the next start",
                names.join(", ")
            ));
        }
        Err(why) => {
            terminal::say(format_args!("error: {} cannot be used: {why}", plugin.name));
            return Ok(ExitCode::from(FAILED));
        }
    }
    Ok(ExitCode::from(DONE))
}

fn remove(out: &mut impl Write, plugin: &'static Plugin) -> Result<ExitCode> {
    let folder =
        plugins::own_folder().context("there is no folder for plugins: set HOME or XDG_DATA_HOME")?;
    let removed = package::remove(plugin, &folder)?;
    if removed.is_empty() {
        match plugin.installed() {
            Some(installed) => bail!(
                "{} is in {}, where this command did not put it: remove the package stakeout-{} or the folder",
                plugin.name,
                installed.library.display(),
                plugin.name
            ),
            None => bail!("{} is not installed", plugin.name),
        }
    }
    for path in removed {
        writeln!(out, "removed {}", path.display())?;
    }
    Ok(ExitCode::from(DONE))
}

fn retry(config: &ConfigArgs) -> Result<ExitCode> {
    super::with_config(&config.path(), |config| {
        let state_dir = &config.state_dir;
        let count = trial::forget(state_dir)
            .with_context(|| format!("cannot delete what was measured, in {}", state_dir.display()))?;
        terminal::say(format_args!(
            "{count} outcomes are forgotten: the next start of the service tries the devices again"
        ));
        Ok(ExitCode::from(DONE))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_column_for_everything() {
        let cpu = Row {
            name: "cpu".to_owned(),
            kind: "cpu".to_owned(),
            title: "A processor".to_owned(),
            precisions: vec!["fp32", "int8"],
            plugin: None,
            problem: None,
        };
        let openvino = Row {
            name: "openvino:cpu".to_owned(),
            precisions: vec!["bf16", "fp32"],
            plugin: Some("openvino 1.8.1".to_owned()),
            ..cpu.clone()
        };
        let webgpu = Row {
            name: "webgpu".to_owned(),
            kind: String::new(),
            precisions: vec![],
            problem: Some("its plugin is\nnot installed".to_owned()),
            ..cpu.clone()
        };
        let expected = "\
DEVICE        KIND  PRECISIONS  PLUGIN
cpu           cpu   fp32,int8   -               A processor
openvino:cpu  cpu   bf16,fp32   openvino 1.8.1  A processor
webgpu        -     -           -               NOT USABLE: its plugin is\\nnot installed
";
        assert_eq!(table(&[cpu, openvino, webgpu]), expected);
    }

    #[test]
    fn a_missing_plugin_says_what_to_do() {
        for plugin in &PLUGINS {
            let problem = missing(plugin).problem.unwrap();
            let words = ["stakeout devices add", "no package", "by its file"];
            assert!(words.iter().any(|words| problem.contains(words)), "{problem}");
        }
        assert!(plugin("cuda").unwrap_err().contains("openvino, webgpu, qnn, tensorrt-rtx"));
    }
}
