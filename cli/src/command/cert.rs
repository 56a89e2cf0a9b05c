//! `schleuse cert inspect`, `thumbprint` and `verify`: files as hospitals have them.

use std::path::{Path, PathBuf};

use certs::{
    CertError, Certificate, CertificateRules, ClientTrust, Inspection, LiveRevocation, Revocation, RevocationMode,
    TrustStore, Verdict,
};
use serde_json::json;
use time::OffsetDateTime;

use crate::arguments::{CertVerify, Format};
use crate::output::{answer, printable};

pub(super) fn inspect(files: &[PathBuf], format: Format) -> u8 {
    each(files, format, |bytes, file| {
        let inspections = certs::inspect(bytes, file, OffsetDateTime::now_utc())?;
        let text = inspections.iter().map(Inspection::text).collect::<Vec<_>>().join("\n");
        Ok((text, json!(inspections)))
    })
}

/// Why a certificate cannot be judged.
#[derive(Debug, thiserror::Error)]
enum VerifyError {
    #[error("{error}\n  remedy: {}", .error.remedy())]
    File { error: CertError },
    #[error("{0}")]
    Trust(#[from] node::TrustError),
    #[error("{0}")]
    Configuration(String),
    #[error("{0} is no time; write it as 2027-01-01T00:00:00Z")]
    Time(String),
    #[error("name the host that the certificate must hold with --host")]
    Host,
    #[error("no verifier can be built: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

impl VerifyError {
    const fn code(&self) -> u8 {
        match self {
            Self::Time(_) | Self::Host => 2,
            Self::Configuration(_) => 78,
            Self::File { .. } | Self::Trust(_) | Self::Verifier(_) => 1,
        }
    }
}

impl From<CertError> for VerifyError {
    fn from(error: CertError) -> Self {
        Self::File { error }
    }
}

pub(super) fn verify(arguments: &CertVerify, format: Format) -> u8 {
    match judge(arguments) {
        Ok(verdict) => {
            let text = || {
                let mut lines: Vec<String> = verdict
                    .steps
                    .iter()
                    .map(|step| {
                        let word = if step.holds { "ok" } else { "REFUSED" };
                        let code = step.code.as_deref().map_or(String::new(), |code| format!(" [{code}]"));
                        printable(&format!("{}: {word}{code}: {}", step.step, step.text))
                    })
                    .collect();
                lines.push(if verdict.accepted { "accepted".to_owned() } else { "refused".to_owned() });
                lines.join("\n") + "\n"
            };
            answer(format, text, || json!(verdict));
            u8::from(!verdict.accepted)
        }
        Err(error) => super::fail(&error, error.code()),
    }
}

fn judge(arguments: &CertVerify) -> Result<Verdict, VerifyError> {
    let now = match &arguments.time {
        None => OffsetDateTime::now_utc(),
        Some(text) => OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339)
            .map_err(|_| VerifyError::Time(printable(text)))?,
    };
    let mut sent = certificates(&arguments.file)?;
    let certificate = sent.remove(0);
    for file in &arguments.chain {
        sent.extend(certificates(file)?);
    }
    if arguments.purpose == "server" {
        let host = arguments.host.as_deref().ok_or(VerifyError::Host)?;
        let store = if arguments.anchor.is_empty() {
            let (settings, _) = node_files(&arguments.directory)?;
            anchors(&settings.trust_stores.server)?
        } else {
            anchors(&arguments.anchor)?
        };
        return Ok(certs::verdict::judge_server(&certificate, &sent, &store, host, now)?);
    }
    let (trust, rules) = client_trust(arguments)?;
    Ok(certs::verdict::judge_client(&certificate, &sent, &trust, &rules, now)?)
}

fn client_trust(arguments: &CertVerify) -> Result<(ClientTrust, CertificateRules), VerifyError> {
    if arguments.anchor.is_empty() {
        let (settings, policy) = node_files(&arguments.directory)?;
        let trust = node::client_trust(&settings, &policy)?;
        return Ok((trust, node::certificate_rules(policy.trust())));
    }
    let store = anchors(&arguments.anchor)?;
    let mut trust = ClientTrust::of(store);
    if !arguments.crl.is_empty() {
        let mode = if arguments.revocation == "soft" { RevocationMode::Soft } else { RevocationMode::Hard };
        // The age of files that were named by hand says nothing; their own dates count.
        let revocation =
            Revocation::load(&arguments.crl, &trust.store, mode, std::time::Duration::from_secs(400 * 86_400));
        let revocation = revocation.map_err(node::TrustError::Files)?;
        trust.revocation = Some(LiveRevocation::new(revocation));
    }
    Ok((trust, CertificateRules::default()))
}

fn node_files(directory: &Path) -> Result<(node::Settings, policies::Policy), VerifyError> {
    let directory = node::Directory::new(directory);
    let lines = |findings: Vec<policies::Finding>| {
        VerifyError::Configuration(findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    };
    let (settings, _) = node::load(&directory).map_err(lines)?;
    let policy = node::read_policy(&settings).map_err(lines)?;
    let policy = policies::Policy::load(&policy.files).map_err(lines)?;
    Ok((settings, policy))
}

fn anchors(files: &[PathBuf]) -> Result<TrustStore, VerifyError> {
    Ok(TrustStore::load(files).map_err(node::TrustError::Files)?)
}

fn certificates(file: &Path) -> Result<Vec<Certificate>, VerifyError> {
    Ok(certs::read_certificates(&certs::pem::read_file(file)?, &file.display().to_string())?)
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
