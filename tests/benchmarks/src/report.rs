//! What a benchmark found: figures with their targets, tables beside them, as text and as JSON.

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use crate::error::{During as _, Outcome};
use crate::machine::Machine;

/// The result of one benchmark.
#[derive(Debug)]
pub(crate) struct Report {
    name: &'static str,
    quick: bool,
    machine: Machine,
    versions: Vec<(String, String)>,
    figures: Vec<Figure>,
    tables: Vec<Table>,
    notes: Vec<String>,
    /// What the tables are made from; only in the file.
    samples: serde_json::Value,
}

/// One measured value.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Target>,
}

/// What a value has to be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Target {
    AtMost(f64),
    Below(f64),
    AtLeast(f64),
    Equals(f64),
}

/// Rows of texts under a title.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Table {
    title: String,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

// === impl Report ===

impl Report {
    pub(crate) const fn new(name: &'static str, quick: bool, machine: Machine) -> Self {
        Self {
            name,
            quick,
            machine,
            versions: Vec::new(),
            figures: Vec::new(),
            tables: Vec::new(),
            notes: Vec::new(),
            samples: serde_json::Value::Null,
        }
    }

    pub(crate) fn version(&mut self, program: &str, version: String) {
        self.versions.push((program.to_owned(), version));
    }

    /// A value that has a target.
    pub(crate) fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str, target: Target) {
        self.figures.push(Figure { name: name.into(), value, unit, target: Some(target) });
    }

    /// A value for information.
    pub(crate) fn value(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure { name: name.into(), value, unit, target: None });
    }

    pub(crate) fn table(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// A table, if there is anything to show.
    pub(crate) fn tables(&mut self, table: Option<Table>) {
        self.tables.extend(table);
    }

    /// Single values, for who wants to look closer.
    pub(crate) fn samples(&mut self, samples: serde_json::Value) {
        self.samples = samples;
    }

    /// How something was measured, where the name does not say it.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Prints and writes everything.
    pub(crate) fn finish(&self, folder: &Path) -> Outcome<()> {
        print!("{}", self.text());
        let path = folder.join(format!("{}.json", self.name));
        let figures: Vec<_> = self
            .figures
            .iter()
            .map(|figure| {
                let mut json = json!(figure);
                if let (Some(members), Some(target)) = (json.as_object_mut(), figure.target) {
                    members.insert("verdict".to_owned(), json!(self.verdict(figure.value, target)));
                }
                json
            })
            .collect();
        let document = json!({
            "benchmark": self.name,
            "quick": self.quick,
            "machine": self.machine,
            "versions": self.versions.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "figures": figures,
            "tables": self.tables,
            "notes": self.notes,
            "samples": self.samples,
        });
        std::fs::write(&path, format!("{document:#}\n")).during(format!("writing {}", path.display()))?;
        println!("\nwritten to {}", path.display());
        Ok(())
    }

    fn text(&self) -> String {
        let machine = &self.machine;
        let quick = if self.quick { " (quick)" } else { "" };
        let mut text = format!(
            "\n== {}{quick} ==\n{} cores {}, {} MiB, Linux {}\nload before {:.2}, fdatasync p50 {:.0} us, profile {}, commit {}\n",
            self.name,
            machine.cores,
            machine.cpu,
            machine.memory_mib,
            machine.kernel,
            machine.load,
            machine.fdatasync_p50_us,
            machine.profile,
            machine.commit,
        );
        for (program, version) in &self.versions {
            text.push_str(&format!("{program} {version}\n"));
        }
        for table in &self.tables {
            text.push('\n');
            text.push_str(&table.text());
        }
        let rows = self.figures.iter().map(|figure| {
            let (target, verdict) = match figure.target {
                None => (String::new(), String::new()),
                Some(target) => (target.to_string(), self.verdict(figure.value, target)),
            };
            vec![figure.name.clone(), number(figure.value), figure.unit.to_owned(), target, verdict]
        });
        let header = ["figure", "measured", "unit", "must be", "verdict"];
        if !self.figures.is_empty() {
            text.push('\n');
            text.push_str(&Table::new("Figures", &header, rows.collect()).text());
        }
        for note in &self.notes {
            text.push_str(&format!("- {note}\n"));
        }
        text
    }

    fn verdict(&self, value: f64, target: Target) -> String {
        if !self.machine.was_idle() {
            return format!("no verdict (load {:.2})", self.machine.load);
        }
        if target.holds(value) { "holds".to_owned() } else { "missed".to_owned() }
    }
}

// === impl Target ===

impl Target {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::Below(limit) => value < limit,
            Self::AtLeast(limit) => value >= limit,
            Self::Equals(wanted) => (value - wanted).abs() < f64::EPSILON,
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "<= {}", number(*limit)),
            Self::Below(limit) => write!(f, "< {}", number(*limit)),
            Self::AtLeast(limit) => write!(f, ">= {}", number(*limit)),
            Self::Equals(wanted) => write!(f, "= {}", number(*wanted)),
        }
    }
}

// === impl Table ===

impl Table {
    pub(crate) fn new(title: impl Into<String>, header: &[&str], rows: Vec<Vec<String>>) -> Self {
        Self { title: title.into(), header: header.iter().map(|name| (*name).to_owned()).collect(), rows }
    }

    /// Aligned columns: the first to the left, numbers to the right.
    fn text(&self) -> String {
        let mut widths = vec![0; self.header.len()];
        for row in std::iter::once(&self.header).chain(&self.rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = format!("{}\n", self.title);
        for row in std::iter::once(&self.header).chain(&self.rows) {
            let mut line = String::from(" ");
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let is_number = cell.chars().next().is_some_and(|first| first.is_ascii_digit() || first == '-');
                line.push(' ');
                if column > 0 && is_number {
                    line.push_str(&format!("{cell:>width$}"));
                } else {
                    line.push_str(&format!("{cell:<width$}"));
                }
                line.push(' ');
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Three significant digits, whole numbers above that.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "none".to_owned(),
        0.0 => "0".to_owned(),
        magnitude if magnitude >= 100.0 => format!("{value:.0}"),
        magnitude if magnitude >= 10.0 => format!("{value:.1}"),
        magnitude if magnitude >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_hold_at_their_limits_as_written() {
        assert!(Target::AtMost(10.0).holds(10.0));
        assert!(!Target::Below(10.0).holds(10.0));
        assert!(Target::AtLeast(10.0).holds(10.0));
        assert!(Target::Equals(0.0).holds(0.0));
        assert!(!Target::AtMost(1.0).holds(f64::NAN));
        assert!(!Target::AtLeast(1.0).holds(f64::NAN));
    }

    #[test]
    fn columns_are_aligned() {
        let table = Table::new("T", &["a", "b"], vec![vec!["xyz".to_owned(), "1.5".to_owned()]]);
        assert_eq!(table.text(), "T\n  a    b\n  xyz  1.5\n");
    }
}
