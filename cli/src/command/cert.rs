//! `schleuse cert inspect` and `schleuse cert thumbprint`: files as hospitals have them.

use std::path::{Path, PathBuf};

use certs::{CertError, Inspection};
use serde_json::json;
use time::OffsetDateTime;

use crate::arguments::Format;
use crate::output::{answer, printable};

pub(super) fn inspect(files: &[PathBuf], format: Format) -> u8 {
    each(files, format, |bytes, file| {
        let inspections = certs::inspect(bytes, file, OffsetDateTime::now_utc())?;
        let text = inspections.iter().map(Inspection::text).collect::<Vec<_>>().join("\n");
        Ok((text, json!(inspections)))
    })
}

pub(super) fn thumbprint(files: &[PathBuf], format: Format) -> u8 {
    each(files, format, |bytes, file| {
        let holders = certs::inspect::holders(bytes, file)?;
        let list: Vec<_> = holders
            .iter()
            .map(|certificate| json!({ "file": file, "thumbprint": certificate.thumbprint(), "subject": certificate.subject().to_string() }))
            .collect();
        Ok((certs::inspect::thumbprints(&holders), json!(list)))
    })
}

/// Answers for every file; a file that cannot be read is an error with its remedy and does not hide the others.
fn each(
    files: &[PathBuf],
    format: Format,
    describe: impl Fn(&[u8], &str) -> Result<(String, serde_json::Value), CertError>,
) -> u8 {
    let (mut texts, mut values, mut failed) = (Vec::new(), Vec::new(), false);
    for file in files {
        match read(file).and_then(|bytes| describe(&bytes, &file.display().to_string())) {
            Ok((text, value)) => {
                texts.push(text);
                values.extend(value.as_array().cloned().unwrap_or_default());
            }
            Err(error) => {
                failed = true;
                eprintln!("schleuse: {}", printable(&error.to_string()));
                eprintln!("    remedy: {}", printable(&error.remedy()));
            }
        }
    }
    if !texts.is_empty() || format == Format::Json {
        answer(format, || texts.join("\n"), || json!(values));
    }
    u8::from(failed)
}

fn read(file: &Path) -> Result<Vec<u8>, CertError> {
    certs::pem::read_file(file)
}
