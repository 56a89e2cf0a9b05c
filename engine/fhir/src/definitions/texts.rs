//! What R4 says about its elements for people. Only snapshots carry it, so it is read apart from the other tables, when the
//! first snapshot is made.

use std::collections::HashMap;
use std::sync::LazyLock;

const TEXTS: &str = include_str!("r4-texts.txt");

/// The texts of an element of R4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElementTexts {
    /// The summary.
    pub short: &'static str,
    /// The definition; the summary where R4 says nothing further.
    pub definition: &'static str,
    /// Why the element is a modifier, if it is one.
    pub modifier_reason: Option<&'static str>,
    /// The profile of its type, such as `SimpleQuantity`.
    pub profile: Option<&'static str>,
}

static BY_PATH: LazyLock<HashMap<&'static str, ElementTexts>> =
    LazyLock::new(|| TEXTS.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect());

/// The texts of the element at the path where R4 defines it (`Resource.id`, `Task.input.value[x]`).
#[must_use]
pub fn texts(path: &str) -> Option<ElementTexts> {
    BY_PATH.get(path).copied()
}

fn line(line: &'static str) -> Option<(&'static str, ElementTexts)> {
    let mut fields = line.split('\t');
    let (path, short) = (fields.next()?, fields.next()?);
    let mut field = || fields.next().filter(|field| !field.is_empty());
    let definition = field().unwrap_or(short);
    Some((path, ElementTexts { short, definition, modifier_reason: field(), profile: field() }))
}
