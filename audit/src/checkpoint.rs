//! Signed checkpoints: records in which a process signs how far its chain had got.
//!
//! A chain without them can be made anew as a whole by whoever may write the file. A checkpoint names the number and the
//! hash of a record before it, under the key of the process; a chain that was made anew has no signature that fits. What
//! signs and what verifies is given from outside, so that this crate knows no certificates.
//!
//! The same look verifies signed cuts ([`crate::retention`]), which say what the process itself has removed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::retention::Cut;
use crate::verify::{Report, VerifyError, verify_with};
use crate::{Log, LogError, Position};

/// Between two checkpoints of a busy log; what is younger than this can be cut off or made anew without a trace in the file.
const INTERVAL: Duration = Duration::from_secs(60);
/// Name of the event.
const EVENT: &str = "checkpoint";

/// What a process signs with.
pub trait Signer: Send + Sync {
    /// Signs the text of a checkpoint; gives the SHA-256 of the certificate and the signature. The error is for the log.
    fn sign(&self, content: &str) -> Result<(String, String), String>;
}

/// Judges signatures.
pub trait Judge {
    /// Whether the signature is of the content by the key of that certificate; none if the certificate is not known.
    fn holds(&self, certificate: &str, content: &str, signature: &str) -> Option<bool>;
}

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Checkpoint {
    event: String,
    /// Number of the record up to which it is about.
    pub sequence: u64,
    /// Hash of that record.
    pub hash: String,
    /// SHA-256 of the certificate.
    pub certificate: String,
    /// The signature.
    pub signature: String,
}

/// What the checkpoints of a chain say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Signed {
    /// Checkpoints whose signature holds.
    pub checkpoints: u64,
    /// Number of the last record that one of them is about.
    pub signed_to: u64,
    /// Certificates of checkpoints and cuts that were not given, and how many each has signed.
    pub unknown_certificates: BTreeMap<String, u64>,
    /// The newest cut whose signature holds: what the process itself has removed.
    pub cut: Option<Cut>,
    /// Records of that cut that are still there: the process was ended before it had removed them, and will.
    pub not_yet_removed: u64,
    /// Records that are gone from the front of the chain without such a cut.
    pub removed_otherwise: u64,
}

/// What a signature in the log says.
enum Said {
    Holds,
    Unknown,
}

// === impl Checkpoint ===

impl Checkpoint {
    fn content(chain: &str, sequence: u64, hash: &str) -> String {
        format!("chain: {chain}\nsequence: {sequence}\nhash: {hash}\n")
    }
}

/// Writes a checkpoint over everything recorded so far, if there is anything since the last; returns its position.
pub fn write(log: &Log, chain: &str, signer: &dyn Signer, now: OffsetDateTime) -> Result<Option<Position>, LogError> {
    let (sequence, hash) = log.head();
    if sequence == 0 || log.is_checkpoint(sequence) {
        return Ok(None);
    }
    let hash = hash.to_string();
    let (certificate, signature) = signer
        .sign(&Checkpoint::content(chain, sequence, &hash))
        .map_err(|error| LogError::Record(format!("checkpoint cannot be signed: {error}").into()))?;
    let record = Checkpoint { event: EVENT.to_owned(), sequence, hash, certificate, signature };
    let position = log.append(now, &record)?;
    log.note_checkpoint(position);
    Ok(Some(position))
}

/// Writes checkpoints for as long as the process lives. One that cannot be signed is reported and tried again: records are
/// written and requests served without, because the chain itself is whole.
pub async fn keep(log: Arc<Log>, chain: &'static str, signer: Arc<dyn Signer>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let (log, signer) = (Arc::clone(&log), Arc::clone(&signer));
        let written =
            tokio::task::spawn_blocking(move || write(&log, chain, &*signer, OffsetDateTime::now_utc())).await;
        match written {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(%error, chain, "no checkpoint of the audit log"),
            Err(error) => {
                tracing::error!(%error, chain, "checkpoints of the audit log cannot be written any more");
                return;
            }
        }
    }
}

/// Verifies a chain, the signatures in it and where it begins; `chain` is the name that the process signs.
pub fn verify_signed(path: &Path, chain: &str, judge: &dyn Judge) -> Result<(Report, Signed), VerifyError> {
    let mut signed = Signed::default();
    // A checkpoint is written a moment after the record that it is about: others may stand between.
    let mut recent: BTreeMap<u64, String> = BTreeMap::new();
    let report = verify_with(path, &mut |sequence, hash, line| {
        recent.insert(sequence, hash.to_owned());
        if recent.len() > RECENT {
            recent.pop_first();
        }
        if let Some(cut) = Cut::read(line) {
            let content = cut.content(chain);
            if let Said::Holds = signed.judge(judge, &cut.certificate, &content, &cut.signature, "cut")? {
                signed.cut = Some(cut);
            }
            return Ok(());
        }
        let Some(checkpoint) = read(line) else { return Ok(()) };
        // Of a chain that begins later the first may be about what was archived.
        if let Some(known) = recent.get(&checkpoint.sequence)
            && *known != checkpoint.hash
        {
            return Err("the checkpoint is about another record than the one with its number".to_owned());
        }
        let content = Checkpoint::content(chain, checkpoint.sequence, &checkpoint.hash);
        let Checkpoint { certificate, signature, .. } = &checkpoint;
        if let Said::Holds = signed.judge(judge, certificate, &content, signature, "checkpoint")? {
            signed.checkpoints += 1;
            signed.signed_to = checkpoint.sequence;
        }
        Ok(())
    })?;
    signed.look_at_front(&report).map_err(|text| VerifyError::Front { path: path.to_owned(), text })?;
    Ok((report, signed))
}

// === impl Signed ===

impl Signed {
    fn judge(
        &mut self,
        judge: &dyn Judge,
        certificate: &str,
        content: &str,
        signature: &str,
        what: &str,
    ) -> Result<Said, String> {
        match judge.holds(certificate, content, signature) {
            Some(true) => Ok(Said::Holds),
            Some(false) => Err(format!("the signature of the {what} does not hold")),
            None => {
                *self.unknown_certificates.entry(certificate.to_owned()).or_default() += 1;
                Ok(Said::Unknown)
            }
        }
    }

    /// Compares where the chain begins with what the newest cut says.
    fn look_at_front(&mut self, report: &Report) -> Result<(), String> {
        let gone = report.first_sequence.saturating_sub(1);
        let Some(cut) = &self.cut else {
            self.removed_otherwise = gone;
            return Ok(());
        };
        let hash =
            if cut.last_sequence == gone { Some(&report.first_previous) } else { report.ends.get(&cut.last_sequence) };
        // What others have removed beyond it has taken the record with it.
        if cut.last_sequence >= gone && hash != Some(&cut.hash) {
            return Err(format!("the cut is about another record {} than the chain has", cut.last_sequence));
        }
        self.not_yet_removed = cut.last_sequence.saturating_sub(gone);
        self.removed_otherwise = cut.removed_otherwise.saturating_add(gone.saturating_sub(cut.last_sequence));
        Ok(())
    }
}

/// Records that are remembered while a checkpoint about them may come.
const RECENT: usize = 100_000;

/// The checkpoint in a line.
fn read(line: &[u8]) -> Option<Checkpoint> {
    #[derive(Deserialize)]
    struct Line {
        record: Checkpoint,
    }
    const MARK: &[u8] = b"\"event\":\"checkpoint\"";
    // Most lines are something else; they are not parsed twice.
    line.windows(MARK.len()).any(|window| window == MARK).then_some(())?;
    let line: Line = serde_json::from_slice(line).ok()?;
    (line.record.event == EVENT).then_some(line.record)
}

#[cfg(test)]
mod tests;
