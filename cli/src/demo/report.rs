//! What a person sees of the demonstration: progress on standard error, the table on standard output.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::data_set::{Compared, SharingError};
use super::feasibility::Told;
use super::network::Network;
use super::ping::Reply;
use super::records::Count;
use crate::arguments::Format;
use crate::output::{Table, answer, printable};

/// Steps on standard error: a spinner on a terminal, plain lines elsewhere.
pub(crate) struct Progress {
    current: Mutex<Option<(ProgressBar, String, Instant)>>,
}

/// One line of the table.
pub(crate) struct Row {
    pub(crate) site: String,
    pub(crate) role: String,
    pub(crate) reply: Option<Reply>,
    pub(crate) days_left: Option<i64>,
}

// === impl Progress ===

impl Progress {
    pub(crate) const fn new() -> Self {
        Self { current: Mutex::new(None) }
    }

    /// Ends the step before and begins one.
    pub(crate) fn begin(&self, text: &str) {
        self.end();
        let bar = ProgressBar::new_spinner();
        bar.set_style(ProgressStyle::default_spinner());
        bar.set_message(format!("{text} ..."));
        bar.enable_steady_tick(Duration::from_millis(120));
        self.replace(Some((bar, text.to_owned(), Instant::now())));
    }

    /// Ends the current step with its duration.
    pub(crate) fn end(&self) {
        if let Some((bar, text, since)) = self.replace(None) {
            bar.finish_and_clear();
            eprintln!("  done  {text} ({:.1} s)", since.elapsed().as_secs_f64());
        }
    }

    /// Ends the current step with an error and all its causes.
    pub(crate) fn failed(&self, error: &dyn std::error::Error) {
        if let Some((bar, text, _)) = self.replace(None) {
            bar.finish_and_clear();
            eprintln!("  failed  {text}");
        }
        eprintln!("schleuse: {}", printable(&error.to_string()));
        let mut cause = error.source();
        while let Some(source) = cause {
            eprintln!("  because: {}", printable(&source.to_string()));
            cause = source.source();
        }
    }

    /// Says that the network serves and how to use it.
    pub(crate) fn serving(&self, root: &Path, network: &Network) {
        eprintln!(
            "\nThe network is running; Ctrl-C stops it. Everything about it: {}",
            root.join("demo.json").display()
        );
        if let Some(site) = network.sites.first() {
            eprintln!("Try, as the portal's organisation:");
            let folder = root.join(site.folder()).join("certificates");
            eprintln!(
                "  curl --cacert {} --cert {} --key {} {}/metadata",
                root.join("authority/ca.pem").display(),
                folder.join("client.pem").display(),
                folder.join("client.key").display(),
                site.base_url(),
            );
            eprintln!("  schleuse status {}", root.join(site.folder()).display());
        }
    }

    fn replace(&self, step: Option<(ProgressBar, String, Instant)>) -> Option<(ProgressBar, String, Instant)> {
        std::mem::replace(&mut *self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner), step)
    }
}

// === impl Row ===

impl Row {
    pub(crate) fn is_answered(&self) -> bool {
        self.reply.as_ref().is_some_and(Reply::is_answered)
    }

    fn status(&self) -> &str {
        self.reply.as_ref().map_or("not pinged", |reply| reply.status.as_str())
    }

    fn cells(&self) -> [String; 7] {
        let reply = self.reply.as_ref();
        let dash = || "-".to_owned();
        [
            self.site.clone(),
            self.role.clone(),
            if self.is_answered() { "yes" } else { "no" }.to_owned(),
            self.status().to_owned(),
            reply.and_then(|reply| reply.round_trip.clone()).unwrap_or_else(dash),
            self.days_left.map_or_else(dash, |days| days.to_string()),
            reply.and_then(|reply| reply.error.clone()).unwrap_or_default(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "site": self.site,
            "role": self.role,
            "reachable": self.is_answered(),
            "status": self.status(),
            "round-trip": self.reply.as_ref().and_then(|reply| reply.round_trip.clone()),
            "certificate-days-left": self.days_left,
            "error": self.reply.as_ref().and_then(|reply| reply.error.clone()),
        })
    }
}

/// A question to a site: what it has counted for itself, and what it told the portal.
pub(crate) struct Asked<'c> {
    pub(crate) count: &'c Count,
    pub(crate) told: Option<Told>,
}

impl Asked<'_> {
    /// Whether the count is the truth and what was told can come of it.
    pub(crate) fn fits(&self) -> bool {
        self.count.is_true() && self.told.as_ref().is_some_and(|told| told.fits(self.count.truth))
    }

    fn cells(&self) -> [String; 7] {
        let (told, reason) = match &self.told {
            Some(Told::Count(told)) => (told.to_string(), String::new()),
            Some(Told::Nothing(reason)) => ("-".to_owned(), reason.clone()),
            None => ("-".to_owned(), "not asked".to_owned()),
        };
        let verdict = match &self.told {
            _ if self.fits() => "fits",
            Some(Told::Count(_)) => "WRONG",
            Some(Told::Nothing(_)) | None => "no answer",
        };
        [
            self.count.site.clone(),
            told,
            self.count.counted.to_string(),
            self.count.truth.to_string(),
            verdict.to_owned(),
            self.count.question.to_owned(),
            reason,
        ]
    }

    fn json(&self) -> Value {
        let told = match &self.told {
            Some(Told::Count(told)) => Some(*told),
            Some(Told::Nothing(_)) | None => None,
        };
        json!({
            "site": self.count.site, "cohort": self.count.question, "told": told, "counted": self.count.counted,
            "truth": self.count.truth, "fits": self.fits(),
        })
    }
}

/// Prints the tables: who answered, what each site told the portal beside its own count and the truth, and the merged data
/// set beside the truth, or why there is none.
pub(crate) fn print(format: Format, rows: &[Row], asked: &[Asked<'_>], compared: Result<&[Compared], &SharingError>) {
    let text = || {
        let mut table =
            Table::new(&["site", "role", "reachable", "status", "round trip", "certificate days left", "reason"]);
        for row in rows {
            table.row(row.cells());
        }
        let mut cohorts = Table::new(&["site", "told", "counted", "truth", "", "cohort", "reason"]);
        for asked in asked {
            cohorts.row(asked.cells());
        }
        let merged = match compared {
            Ok(compared) => format!(
                "{}\nPersons are linked without names, so a few of several sites are missed; everything else is exact.",
                merged_table(compared)
            ),
            Err(error) => format!("There is no merged data set: {error}."),
        };
        format!("\n{table}\n{cohorts}\nTold counts are noisy, rounded to tens, and 0 below five.\n\n{merged}")
    };
    let json = || {
        let merged: Vec<_> = compared.unwrap_or_default().iter().map(Compared::json).collect();
        let mut tables = json!({
            "ping": rows.iter().map(Row::json).collect::<Vec<_>>(),
            "feasibility": asked.iter().map(Asked::json).collect::<Vec<_>>(),
            "data-set": merged,
        });
        if let (Err(error), Some(members)) = (compared, tables.as_object_mut()) {
            members.insert("data-set-error".to_owned(), json!(error.to_string()));
        }
        tables
    };
    answer(format, text, json);
}

fn merged_table(compared: &[Compared]) -> Table {
    let mut merged = Table::new(&["merged data set", "provided", "truth", ""]);
    for compared in compared {
        let fits = if compared.fits() { "fits" } else { "WRONG" };
        merged.row([
            compared.what.to_owned(),
            compared.provided.to_string(),
            compared.truth.to_string(),
            fits.to_owned(),
        ]);
    }
    merged
}
