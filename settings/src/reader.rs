//! The walk over a parsed document.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::{Finding, Severity, parse_duration, parse_size};

/// Collects the findings of one file while its keys are taken.
pub struct Reader<'t> {
    file: &'t str,
    text: &'t str,
    findings: Vec<Finding>,
}

/// A parsed file.
pub struct Document<'t> {
    root: Option<Spanned<DeTable<'t>>>,
}

/// A table whose keys are taken one by one.
pub struct Section<'d> {
    path: String,
    span: Range<usize>,
    table: Option<&'d DeTable<'d>>,
    known: BTreeSet<&'static str>,
}

/// A value with its place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<T> {
    /// The value.
    pub value: T,
    /// Dotted key.
    pub key: String,
    /// Where it stands, in bytes.
    pub span: Range<usize>,
}

// === impl Reader ===

impl<'t> Reader<'t> {
    /// A reader for the file called `file` with this content.
    #[must_use]
    pub fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, findings: Vec::new() }
    }

    /// Parses the whole file; syntax errors become findings and the document is empty.
    pub fn parse(&mut self) -> Document<'t> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            let text = error.message().lines().next().unwrap_or_default().to_owned();
            self.error(&span, "", text, "correct the TOML syntax of this line");
        }
        Document { root: errors.is_empty().then_some(root) }
    }

    /// Reports an error at a place of the file.
    pub fn error(&mut self, span: &Range<usize>, key: &str, text: impl Into<String>, remedy: impl Into<String>) {
        self.report(Severity::Error, span, key, text.into(), remedy.into());
    }

    /// Reports a warning at a place of the file.
    pub fn warn(&mut self, span: &Range<usize>, key: &str, text: impl Into<String>, remedy: impl Into<String>) {
        self.report(Severity::Warning, span, key, text.into(), remedy.into());
    }

    /// Reports an error at an item.
    pub fn refuse<T>(&mut self, item: &Item<T>, text: impl Into<String>, remedy: impl Into<String>) {
        self.error(&item.span, &item.key, text, remedy);
    }

    /// The line of a place, counted from 1.
    #[must_use]
    pub fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    /// Whether an error was found so far.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(Finding::is_error)
    }

    /// The findings so far, in the order of the file.
    #[must_use]
    pub fn into_findings(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| finding.line);
        self.findings
    }

    fn report(&mut self, severity: Severity, span: &Range<usize>, key: &str, text: String, remedy: String) {
        let line = self.line(span);
        self.findings.push(Finding { severity, file: self.file.to_owned(), line, key: key.to_owned(), text, remedy });
    }
}

// === impl Document ===

impl<'t> Document<'t> {
    /// The top level of the file.
    #[must_use]
    pub fn root(&self) -> Section<'_> {
        let table = self.root.as_ref();
        Section {
            path: String::new(),
            span: table.map_or(0..0, Spanned::span),
            table: table.map(|table| shorten(table.get_ref())),
            known: BTreeSet::new(),
        }
    }
}

/// The parsed tree borrows the text; sections need only the shorter of both lifetimes.
fn shorten<'d, 't: 'd>(table: &'d DeTable<'t>) -> &'d DeTable<'d> {
    table
}

// === impl Section ===

impl<'d> Section<'d> {
    /// Whether the section stands in the file.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Where the section stands.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Dotted path of the section.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Dotted path of a key in it.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Every key that stands in the section, for maps with free names. Counts as taken.
    pub fn names(&self) -> Vec<Item<String>> {
        let Some(table) = self.table else { return Vec::new() };
        let item = |key: &Spanned<std::borrow::Cow<'_, str>>| Item {
            value: key.get_ref().to_string(),
            key: self.key(key.get_ref()),
            span: key.span(),
        };
        table.keys().map(item).collect()
    }

    /// A table below this one; absent ones read as empty.
    pub fn section(&mut self, reader: &mut Reader<'_>, name: &'static str) -> Self {
        let found = self.take(name);
        self.as_section(reader, self.key(name), found)
    }

    /// A table below this one with a name that only the file knows (see [`Section::names`]).
    pub fn section_named(&self, reader: &mut Reader<'_>, name: &str) -> Self {
        self.as_section(reader, self.key(name), self.table.and_then(|table| table.get(name)))
    }

    /// The tables of an array of tables, `[[name]]`.
    pub fn sections(&mut self, reader: &mut Reader<'_>, name: &'static str) -> Vec<Self> {
        let key = self.key(name);
        let Some(found) = self.take(name) else { return Vec::new() };
        let DeValue::Array(elements) = found.get_ref() else {
            reader.error(&found.span(), &key, "is not a list of tables", format!("write [[{key}]]"));
            return Vec::new();
        };
        elements.iter().map(|element| self.as_section(reader, key.clone(), Some(element))).collect()
    }

    fn as_section(&self, reader: &mut Reader<'_>, path: String, found: Option<&'d Spanned<DeValue<'d>>>) -> Self {
        let table = match found.map(Spanned::get_ref) {
            Some(DeValue::Table(table)) => Some(table),
            Some(_) => {
                let span = found.map_or(0..0, Spanned::span);
                reader.error(&span, &path, "is not a table", format!("write [{path}] or {{ ... }}"));
                None
            }
            None => None,
        };
        Self { path, span: found.map_or_else(|| self.span(), Spanned::span), table, known: BTreeSet::new() }
    }

    /// A string.
    pub fn string(&mut self, reader: &mut Reader<'_>, name: &'static str) -> Option<Item<String>> {
        self.value(reader, name, "a string in quotes", |value| match value {
            DeValue::String(text) => Some(text.to_string()),
            _ => None,
        })
    }

    /// A string that must stand in the file; its absence is an error with this remedy.
    pub fn required_string(
        &mut self,
        reader: &mut Reader<'_>,
        name: &'static str,
        remedy: &str,
    ) -> Option<Item<String>> {
        let present = self.table.is_some_and(|table| table.get(name).is_some());
        let item = self.string(reader, name);
        if !present {
            reader.error(&self.span, &self.key(name), "is missing", remedy);
        }
        item
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, reader: &mut Reader<'_>, name: &'static str) -> Option<Item<bool>> {
        self.value(reader, name, "true or false", |value| match value {
            DeValue::Boolean(value) => Some(*value),
            _ => None,
        })
    }

    /// A whole number within bounds.
    pub fn integer(&mut self, reader: &mut Reader<'_>, name: &'static str, bounds: Range<i64>) -> Option<Item<i64>> {
        let expected = format!("a whole number from {} to {}", bounds.start, bounds.end - 1);
        self.value(reader, name, &expected, |value| match value {
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().filter(|number| bounds.contains(number))
            }
            _ => None,
        })
    }

    /// A duration with its unit.
    pub fn duration(&mut self, reader: &mut Reader<'_>, name: &'static str) -> Option<Item<Duration>> {
        self.value(reader, name, "a duration with its unit, such as \"30s\" (ms, s, min, h, d)", |value| match value {
            DeValue::String(text) => parse_duration(text),
            _ => None,
        })
    }

    /// A size with its unit, in bytes.
    pub fn size(&mut self, reader: &mut Reader<'_>, name: &'static str) -> Option<Item<u64>> {
        self.value(reader, name, "a size with its unit, such as \"4MiB\" (B, KiB, MiB, GiB)", |value| match value {
            DeValue::String(text) => parse_size(text),
            _ => None,
        })
    }

    /// A string or a list of strings.
    pub fn strings(&mut self, reader: &mut Reader<'_>, name: &'static str) -> Option<Vec<Item<String>>> {
        let key = self.key(name);
        let found = self.take(name)?;
        let one = std::slice::from_ref(found);
        let elements = match found.get_ref() {
            DeValue::Array(elements) => &elements[..],
            _ => one,
        };
        let mut items = Vec::with_capacity(elements.len());
        for element in elements {
            match element.get_ref() {
                DeValue::String(text) => {
                    items.push(Item { value: text.to_string(), key: key.clone(), span: element.span() })
                }
                _ => reader.error(&element.span(), &key, "is not a list of strings", "write [\"...\", \"...\"]"),
            }
        }
        Some(items)
    }

    /// One of a closed set of words.
    pub fn choice<T: Copy>(
        &mut self,
        reader: &mut Reader<'_>,
        name: &'static str,
        choices: &[(&str, T)],
    ) -> Option<Item<T>> {
        let item = self.string(reader, name)?;
        match choices.iter().find(|(word, _)| *word == item.value) {
            Some((_, value)) => Some(Item { value: *value, key: item.key, span: item.span }),
            None => {
                let words = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
                reader.refuse(&item, format!("\"{}\" is not known here", item.value), format!("write one of {words}"));
                None
            }
        }
    }

    /// Reports every key that was not taken.
    pub fn finish(self, reader: &mut Reader<'_>) {
        let Some(table) = self.table else { return };
        for key in table.keys() {
            let name: &str = key.get_ref();
            if self.known.contains(name) {
                continue;
            }
            let remedy = match nearest(name, &self.known) {
                Some(known) => format!("did you mean \"{known}\"?"),
                None if self.known.is_empty() => "remove it".to_owned(),
                None => format!("known here: {}", self.known.iter().copied().collect::<Vec<_>>().join(", ")),
            };
            reader.error(&key.span(), &self.key(name), "unknown key", remedy);
        }
    }

    fn take(&mut self, name: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.known.insert(name);
        self.table?.get(name)
    }

    fn value<T>(
        &mut self,
        reader: &mut Reader<'_>,
        name: &'static str,
        expected: &str,
        read: impl FnOnce(&DeValue<'_>) -> Option<T>,
    ) -> Option<Item<T>> {
        let found = self.take(name)?;
        let key = self.key(name);
        match read(found.get_ref()) {
            Some(value) => Some(Item { value, key, span: found.span() }),
            None => {
                reader.error(&found.span(), &key, format!("is not {expected}"), format!("write {expected}"));
                None
            }
        }
    }
}

/// The known name that differs least, if it differs in at most a third of its letters.
fn nearest<'k>(name: &str, known: &BTreeSet<&'k str>) -> Option<&'k str> {
    known
        .iter()
        .map(|candidate| (distance(name, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, bounded by the length of key names.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (line, a) in left.chars().enumerate() {
        let mut diagonal = line;
        let mut before = line + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(right.chars()) {
            let above = *cell;
            let cost = diagonal + usize::from(a != b);
            *cell = cost.min(above + 1).min(before + 1);
            diagonal = above;
            before = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
