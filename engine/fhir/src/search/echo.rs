//! The query as the links of a result repeat it: parameters by name, then `_sort`, `_include`, `_revinclude`, `_format`,
//! `_pretty`, `_summary`, `_count`, `_page`; what was left out as an error is left out here too.

use std::fmt::Write as _;

use super::{Direction, Query};

/// The relation of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// This page.
    Itself,
    /// The first page.
    First,
    /// The page before.
    Previous,
    /// The page after.
    Next,
    /// The last page.
    Last,
}

/// A link of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it leads.
    pub relation: Relation,
    /// The query, percent-encoded, without `?`.
    pub query: String,
}

// === impl Relation ===

impl Relation {
    /// The relation as written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Itself => "self",
            Self::First => "first",
            Self::Previous => "previous",
            Self::Next => "next",
            Self::Last => "last",
        }
    }
}

// === impl Query ===

impl Query {
    /// The query without `_count` and `_page`, percent-encoded.
    #[must_use]
    pub fn echo(&self) -> String {
        let mut filters: Vec<_> = self.filters.iter().map(|filter| (filter.name(), filter.echo.as_str())).collect();
        filters.sort_by(|a, b| a.0.cmp(&b.0));
        let mut out = String::new();
        for (name, value) in &filters {
            add(&mut out, name, value);
        }
        if !self.sort.is_empty() {
            let keys: Vec<_> = self
                .sort
                .iter()
                .map(|key| match key.direction {
                    Direction::Ascending => key.parameter.name.to_owned(),
                    Direction::Descending => format!("-{}", key.parameter.name),
                })
                .collect();
            add(&mut out, "_sort", &keys.join(","));
        }
        for include in &self.include {
            add(&mut out, "_include", &include.text);
        }
        for include in &self.revinclude {
            add(&mut out, "_revinclude", &include.text);
        }
        if let Some(format) = &self.format {
            add(&mut out, "_format", format);
        }
        if self.pretty {
            add(&mut out, "_pretty", "true");
        }
        if let Some(summary) = self.summary {
            add(&mut out, "_summary", summary.as_str());
        }
        out
    }

    /// The links of a result with `total` matches.
    #[must_use]
    pub fn links(&self, total: u64) -> Vec<Link> {
        let base = self.echo();
        let link = |relation, page: Option<u64>| {
            let mut query = base.clone();
            match page {
                Some(page) => {
                    add(&mut query, "_count", &self.count.to_string());
                    add(&mut query, "_page", &page.to_string());
                }
                None => add(&mut query, "_count", "0"),
            }
            Link { relation, query }
        };
        if self.is_past_end(total) {
            return vec![link(Relation::Itself, None)];
        }
        let page = u64::from(self.page);
        let last = total.div_ceil(u64::from(self.count.max(1)));
        let mut links = vec![link(Relation::Itself, Some(page)), link(Relation::First, Some(1))];
        if page > 1 {
            links.push(link(Relation::Previous, Some(page - 1)));
        }
        if page < last {
            links.push(link(Relation::Next, Some(page + 1)));
        }
        links.push(link(Relation::Last, Some(last)));
        links
    }
}

fn add(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push('&');
    }
    encode(out, name);
    out.push('=');
    encode(out, value);
}

fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'/' | b',') {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}
