//! `schleuse source`: the records of a site, on the files themselves; the node need not run.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use node::Directory;
use serde_json::{Value, json};
use sources::ccdl::Definition;
use sources::folder::{self, Index, Statistics};
use sources::{IndexError, QueryError, ReadError, mapping};
use time::OffsetDateTime;

use super::fail;
use crate::arguments::{Format, SourceCount, SourceStats};
use crate::output::{Table, answer, printable};

#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error("node.toml is refused; `schleuse check {0}` says why")]
    Settings(PathBuf),
    #[error("the node has no section [source] in node.toml; name the folder with the records there")]
    NoSource,
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Query(#[from] QueryError),
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
            Self::Settings(_) | Self::NoSource | Self::Mapping(_) => 78,
            Self::Index(_) | Self::Read(_) | Self::Query(_) | Self::Definition { .. } => 1,
        }
    }
}

/// Prints the error of a command that failed.
fn ended(result: Result<u8, SourceError>) -> u8 {
    result.unwrap_or_else(|error| fail(&error, error.code()))
}

fn settings(directory: &Path) -> Result<node::Source, SourceError> {
    let (settings, _) =
        node::load(&Directory::new(directory)).map_err(|_| SourceError::Settings(directory.to_owned()))?;
    settings.source.ok_or(SourceError::NoSource)
}

fn open(directory: &Path) -> Result<Index, SourceError> {
    let source = settings(directory)?;
    let mapping = Arc::new(mapping::load(source.code_tree.as_deref())?);
    Ok(Index::open(&source.index, mapping)?)
}

pub(super) fn check(directory: &Path, format: Format) -> u8 {
    ended(try_check(directory, format))
}

fn try_check(directory: &Path, format: Format) -> Result<u8, SourceError> {
    let source = settings(directory)?;
    mapping::load(source.code_tree.as_deref())?;
    let state = folder::state(&source.folder, &source.index)?;
    let is_current = state.is_indexed && state.changed == 0;
    let text = || {
        let mut text = format!("{} files, {} bytes in {}\n", state.files, state.bytes, source.folder.display());
        for (path, reason) in &state.ignored {
            text.push_str(&printable(&format!("not indexed: {} ({reason})", path.display())));
            text.push('\n');
        }
        text.push_str(&match (state.is_indexed, state.changed) {
            (false, _) => "there is no index; run `schleuse source index`".to_owned(),
            (true, 0) => "the index is up to date".to_owned(),
            (true, changed) => format!("{changed} files changed since the index was made; run `schleuse source index`"),
        });
        text
    };
    let ignored = |(path, reason): &(PathBuf, &str)| json!({ "file": path.display().to_string(), "reason": reason });
    let json = || {
        json!({
            "files": state.files, "bytes": state.bytes, "indexed": state.is_indexed, "changed": state.changed,
            "ignored": state.ignored.iter().map(ignored).collect::<Vec<_>>(),
        })
    };
    answer(format, text, json);
    Ok(u8::from(!is_current))
}

pub(super) fn index(directory: &Path, format: Format) -> u8 {
    ended(try_index(directory, format))
}

fn try_index(directory: &Path, format: Format) -> Result<u8, SourceError> {
    let source = settings(directory)?;
    let begun = std::time::Instant::now();
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("indexing {bar:40} {bytes} of {total_bytes}, {bytes_per_sec}") {
        bar.set_style(style);
    }
    let built = folder::build(&source.folder, &source.index, &mut |progress| {
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

pub(super) fn count(arguments: &SourceCount, format: Format) -> u8 {
    ended(try_count(arguments, format))
}

fn try_count(arguments: &SourceCount, format: Format) -> Result<u8, SourceError> {
    let index = open(&arguments.directory)?;
    let read = std::fs::read(&arguments.definition);
    let bytes = read.map_err(|source| SourceError::Definition { path: arguments.definition.clone(), source })?;
    let definition = Definition::parse(&bytes)?;
    let plan = index.mapping().plan(&definition, OffsetDateTime::now_utc().date())?;
    let begun = std::time::Instant::now();
    let count = index.evaluate(&plan)?.len();
    let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
    answer(
        format,
        || format!("{count} of {} patients", index.patients()),
        || json!({ "count": count, "patients": index.patients(), "milliseconds": milliseconds }),
    );
    Ok(0)
}
