//! `schleuse source`: the records of a site, on the files themselves; the node need not run.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use node::{Directory, RecordFolder};
use serde_json::{Value, json};
use sources::configured::{ConfigurationError, Sources};
use sources::folder::{self, Index, Statistics};
use sources::{Cql, IndexError, Question, ReadError, mapping};

use super::fail;
use crate::arguments::{Format, SourceCount, SourceStats};
use crate::local::Local;
use crate::output::{Table, answer, printable};

/// The expression that counts in a portal's library.
const EXPRESSION: &str = "InInitialPopulation";

#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error("node.toml is refused; `schleuse check {0}` says why")]
    Settings(PathBuf),
    #[error("the node has no section [source] in node.toml; name the folder with the records there")]
    NoSource,
    #[error("[source] of node.toml names no folder, and this command is about its files")]
    NoFolder,
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    #[error(transparent)]
    Count(#[from] sources::SourceError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Mapping(#[from] mapping::MappingError),
    #[error("{path}: {source}")]
    Definition {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl SourceError {
    const fn code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::NoSource | Self::NoFolder | Self::Mapping(_) | Self::Configuration(_) => 78,
            Self::Index(_) | Self::Read(_) | Self::Count(_) | Self::Definition { .. } => 1,
        }
    }
}

/// Prints the error of a command that failed.
fn ended(result: Result<u8, SourceError>) -> u8 {
    result.unwrap_or_else(|error| fail(&error, error.code()))
}

fn source(directory: &Path) -> Result<node::Source, SourceError> {
    let (settings, _) =
        node::load(&Directory::new(directory)).map_err(|_| SourceError::Settings(directory.to_owned()))?;
    settings.source.ok_or(SourceError::NoSource)
}

/// The folder with records, which some commands are about.
fn records(source: &node::Source) -> Result<&RecordFolder, SourceError> {
    source.records.as_ref().ok_or(SourceError::NoFolder)
}

fn open(directory: &Path) -> Result<Index, SourceError> {
    let source = source(directory)?;
    let mapping = Arc::new(mapping::load(source.code_tree.as_deref())?);
    Ok(Index::open(&records(&source)?.index, mapping)?)
}

/// Every source, as the engine opens them.
fn sources(directory: &Path) -> Result<Sources, SourceError> {
    let local = Local::load(directory).map_err(|_| SourceError::Settings(directory.to_owned()))?;
    let source = local.settings.source.as_ref().ok_or(SourceError::NoSource)?;
    Ok(Sources::open(&local.settings, source, local.policy.outbound())?)
}

pub(super) async fn check(directory: &Path, format: Format) -> u8 {
    ended(try_check(directory, format).await)
}

async fn try_check(directory: &Path, format: Format) -> Result<u8, SourceError> {
    let source = source(directory)?;
    let sources = sources(directory)?;
    let folder = source.records.as_ref().map(|records| folder::state(&records.folder, &records.index)).transpose()?;
    let mut servers = Vec::new();
    for server in sources.all.iter().skip(usize::from(folder.is_some())) {
        servers.push((server.name(), server.check().await));
    }
    let extractable = sources.records().map(drop);
    let is_current = folder.as_ref().is_none_or(|state| state.is_indexed && state.changed == 0);
    let text = || {
        let mut lines = Vec::new();
        if let (Some(records), Some(state)) = (&source.records, &folder) {
            lines.extend(folder_lines(&records.folder, state));
        }
        for (name, checked) in &servers {
            lines.push(match checked {
                Ok(found) => printable(&format!("{name}: {found}")),
                Err(error) => printable(&format!("{error}; {}", error.remedy().unwrap_or_default())),
            });
        }
        lines.push(match &extractable {
            Ok(()) => "data sets can be extracted".to_owned(),
            Err(error) => {
                printable(&format!("no data set can be extracted: {error}; {}", error.remedy().unwrap_or_default()))
            }
        });
        lines.join("\n")
    };
    let json = || {
        let mut members =
            folder.as_ref().map(folder_json).and_then(|json| json.as_object().cloned()).unwrap_or_default();
        members.insert("servers".to_owned(), servers.iter().map(server_json).collect());
        let reason = extractable.as_ref().err().map(ToString::to_string);
        members.insert("data-sets".to_owned(), json!({ "possible": reason.is_none(), "reason": reason }));
        Value::Object(members)
    };
    answer(format, text, json);
    Ok(u8::from(!is_current || servers.iter().any(|(_, checked)| checked.is_err())))
}

fn folder_lines(path: &Path, state: &folder::State) -> Vec<String> {
    let mut lines = vec![format!("{} files, {} bytes in {}", state.files, state.bytes, path.display())];
    let ignored = state.ignored.iter();
    lines.extend(ignored.map(|(path, reason)| printable(&format!("not indexed: {} ({reason})", path.display()))));
    lines.push(match (state.is_indexed, state.changed) {
        (false, _) => "there is no index; run `schleuse source index`".to_owned(),
        (true, 0) => "the index is up to date".to_owned(),
        (true, changed) => format!("{changed} files changed since the index was made; run `schleuse source index`"),
    });
    lines
}

fn folder_json(state: &folder::State) -> Value {
    let ignored = |(path, reason): &(PathBuf, &str)| json!({ "file": path.display().to_string(), "reason": reason });
    json!({
        "files": state.files, "bytes": state.bytes, "indexed": state.is_indexed, "changed": state.changed,
        "ignored": state.ignored.iter().map(ignored).collect::<Vec<_>>(),
    })
}

fn server_json((name, checked): &(&str, Result<String, sources::SourceError>)) -> Value {
    match checked {
        Ok(found) => json!({ "name": name, "ready": true, "found": found }),
        Err(error) => {
            json!({ "name": name, "ready": false, "error": error.to_string(), "remedy": error.remedy() })
        }
    }
}

pub(super) fn index(directory: &Path, format: Format) -> u8 {
    ended(try_index(directory, format))
}

fn try_index(directory: &Path, format: Format) -> Result<u8, SourceError> {
    let source = source(directory)?;
    let records = records(&source)?;
    let begun = std::time::Instant::now();
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("indexing {bar:40} {bytes} of {total_bytes}, {bytes_per_sec}") {
        bar.set_style(style);
    }
    let built = folder::build(&records.folder, &records.index, &mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.bytes);
    });
    bar.finish_and_clear();
    let built = built?;
    let seconds = begun.elapsed().as_secs_f64();
    let text = || match built.read {
        0 => format!("nothing changed; the index of {} files is up to date", built.files),
        read => format!(
            "{read} of {} files read: {} resources, {} bytes in {seconds:.1} s; {} files are not indexed",
            built.files,
            built.resources,
            built.bytes,
            built.ignored.len()
        ),
    };
    let json = || {
        json!({
            "files": built.files, "read": built.read, "resources": built.resources, "bytes": built.bytes,
            "ignored": built.ignored.len(), "seconds": seconds,
        })
    };
    answer(format, text, json);
    Ok(0)
}

pub(super) fn stats(arguments: &SourceStats, format: Format) -> u8 {
    ended(try_stats(arguments, format))
}

fn try_stats(arguments: &SourceStats, format: Format) -> Result<u8, SourceError> {
    let index = open(&arguments.directory)?;
    let statistics = index.statistics()?;
    let most = usize::try_from(arguments.most).unwrap_or(usize::MAX);
    let mut codes = Vec::new();
    for element in &arguments.codes {
        codes.push((element.as_str(), index.codes(element, most)?));
    }
    let text = || {
        let mut text = types_text(&statistics);
        for (element, counts) in &codes {
            let mut table = Table::new(&[*element, "system", "resources", "persons"]);
            for count in counts {
                let (resources, persons) = (count.resources.to_string(), count.persons.to_string());
                table.row([count.code.clone(), count.system.clone(), resources, persons]);
            }
            text.push_str(&format!("\n{table}"));
        }
        text
    };
    answer(format, text, || stats_json(&statistics, &codes));
    Ok(0)
}

fn types_text(statistics: &Statistics) -> String {
    let mut table = Table::new(&["type", "resources", "of patients"]);
    for count in &statistics.types {
        table.row([count.name.clone(), count.resources.to_string(), count.of_patients.to_string()]);
    }
    format!(
        "{} patients in {} files; {} resources are replaced by later copies\n\n{table}",
        statistics.patients, statistics.files, statistics.replaced
    )
}

fn stats_json(statistics: &Statistics, codes: &[(&str, Vec<folder::CodeCount>)]) -> Value {
    let types: Vec<Value> = statistics
        .types
        .iter()
        .map(|count| json!({ "type": count.name, "resources": count.resources, "of-patients": count.of_patients }))
        .collect();
    let of = |count: &folder::CodeCount| json!({ "system": count.system, "code": count.code, "resources": count.resources, "persons": count.persons });
    let codes: serde_json::Map<String, Value> = codes
        .iter()
        .map(|(element, counts)| ((*element).to_owned(), counts.iter().map(of).collect::<Vec<_>>().into()))
        .collect();
    json!({
        "patients": statistics.patients, "files": statistics.files, "replaced": statistics.replaced,
        "types": types, "codes": codes,
    })
}

pub(super) async fn count(arguments: &SourceCount, format: Format) -> u8 {
    ended(try_count(arguments, format).await)
}

async fn try_count(arguments: &SourceCount, format: Format) -> Result<u8, SourceError> {
    let sources = sources(&arguments.directory)?;
    let read =
        |path: &PathBuf| std::fs::read(path).map_err(|source| SourceError::Definition { path: path.clone(), source });
    let mut question = Question::ccdl(read(&arguments.definition)?);
    // What is no definition is told as that, whoever counts.
    question.definition()?;
    if let Some(path) = &arguments.cql {
        let text = String::from_utf8_lossy(&read(path)?).into_owned();
        question.cql = Some(Cql { text, expression: EXPRESSION.to_owned() });
    }
    let begun = std::time::Instant::now();
    let mut counts = Vec::new();
    for source in &sources.all {
        counts.push((source.name(), source.count(&question).await?));
    }
    let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
    let count: u64 = counts.iter().map(|(_, count)| count).sum();
    let patients =
        sources.folder.as_ref().map(|folder| Ok::<_, ReadError>(folder.current()?.patients())).transpose()?;
    let text = || match (counts.as_slice(), patients) {
        ([_], Some(patients)) => format!("{count} of {patients} patients"),
        _ => {
            let lines: Vec<String> = counts.iter().map(|(name, count)| format!("{count} in {name}")).collect();
            format!("{count} patients\n{}", lines.join("\n"))
        }
    };
    let json = || {
        let counts: Vec<Value> = counts.iter().map(|(name, count)| json!({ "name": name, "count": count })).collect();
        json!({ "count": count, "patients": patients, "sources": counts, "milliseconds": milliseconds })
    };
    answer(format, text, json);
    Ok(0)
}
