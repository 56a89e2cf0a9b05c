//! `schleuse fhir convert`

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use fhir::{Format, ParseError};

use super::sources::{self, Source, SourceError};
use crate::arguments::{FhirConvert, FhirFormat};
use crate::command::fail;
use crate::output::printable;

#[derive(Debug, thiserror::Error)]
enum ConvertError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{file}: {source}")]
    Unreadable {
        file: String,
        #[source]
        source: ParseError,
    },
    #[error("{path}: {source}")]
    Write {
        path: String,
        #[source]
        source: std::io::Error,
    },
}

pub(in crate::command) fn run(arguments: &FhirConvert) -> u8 {
    let sources = match sources::find(&arguments.sources) {
        Ok(sources) => sources,
        Err(error) => return fail(&error, 2),
    };
    if sources.len() > 1 && arguments.output.is_none() {
        eprintln!("schleuse: {} resources are to be converted; name a folder for them with --output", sources.len());
        return 2;
    }
    let mut failed = 0;
    for source in &sources {
        if let Err(error) = convert(source, arguments) {
            eprintln!("schleuse: {}", printable(&error.to_string()));
            failed += 1;
        }
    }
    if arguments.output.is_some() {
        eprintln!("{} of {} resources written", sources.len() - failed, sources.len());
    }
    u8::from(failed > 0)
}

fn convert(source: &Source, arguments: &FhirConvert) -> Result<(), ConvertError> {
    let bytes = source.bytes()?;
    let (from, resource) = sources::parse(&bytes)
        .map_err(|error| ConvertError::Unreadable { file: source.name.clone(), source: error })?;
    let to = match (arguments.to, from) {
        (Some(FhirFormat::Xml), _) | (None, Format::Json) => Format::Xml,
        (Some(FhirFormat::Json), _) | (None, Format::Xml) => Format::Json,
    };
    let mut text = fhir::print(to, &resource, arguments.pretty);
    text.push('\n');
    match &arguments.output {
        Some(folder) => write(&target(folder, source, to), &text),
        None => {
            // A closed pipe (`schleuse ... | head`) is not a failure of the command.
            let _ = std::io::stdout().lock().write_all(text.as_bytes());
            Ok(())
        }
    }
}

fn target(folder: &Path, source: &Source, to: Format) -> PathBuf {
    let extension = match to {
        Format::Xml => "xml",
        Format::Json => "json",
    };
    folder.join(&source.relative).with_extension(extension)
}

fn write(path: &Path, text: &str) -> Result<(), ConvertError> {
    let failed = |source| ConvertError::Write { path: path.display().to_string(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    // Nothing that exists is overwritten: it may be the source itself.
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
