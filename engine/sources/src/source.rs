//! What every data source can do: count the persons of a question, and say whether it is ready. Some also give records
//! ([`Records`]), from which data sets are extracted.
//!
//! A question carries the same cohort in one or two languages; each source evaluates the one that it understands. Nothing
//! falls back to the other one: a question without the language of a source has no answer there.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::canonical;
use crate::ccdl::Definition;
use crate::error::SourceError;
use crate::mapping::Mapping;
use crate::privacy::Fingerprint;
use crate::records::Records;

/// A boxed future, so that sources of all kinds stand in one list.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A data source.
pub trait Source: Send + Sync {
    /// Its name in messages for the administrator.
    fn name(&self) -> &str;

    /// The part of a question that it evaluates.
    fn language(&self) -> Language;

    /// How many persons belong to the cohort: exactly, or an error.
    fn count<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<u64, SourceError>>;

    /// The records as they are now, for extraction. A source that only counts has none.
    fn records(&self) -> Result<Arc<dyn Records>, SourceError> {
        Err(SourceError::CountsOnly { name: self.name().to_owned() })
    }

    /// Tries whether it could count now; says what was found.
    fn check(&self) -> BoxFuture<'_, Result<String, SourceError>>;
}

/// A language of questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Clinical Cohort Definition Language, `application/json`.
    Ccdl,
    /// Clinical Quality Language, `text/cql`.
    Cql,
}

/// A question as it arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The cohort definition, a JSON document.
    pub definition: Option<Vec<u8>>,
    /// The same in CQL.
    pub cql: Option<Cql>,
}

/// A CQL library and the expression in it that is true for the persons of the cohort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cql {
    /// The library.
    pub text: String,
    /// Name of the expression.
    pub expression: String,
}

// === impl Question ===

impl Question {
    /// A question in CCDL alone.
    #[must_use]
    pub const fn ccdl(definition: Vec<u8>) -> Self {
        Self { definition: Some(definition), cql: None }
    }

    /// The definition, read.
    pub fn definition(&self) -> Result<Definition, SourceError> {
        let bytes = self.definition.as_deref().ok_or(SourceError::NoDefinition)?;
        Ok(Definition::parse(bytes)?)
    }

    /// The library.
    pub fn cql(&self) -> Result<&Cql, SourceError> {
        self.cql.as_ref().ok_or(SourceError::NoCql)
    }

    /// What is asked of sources with these languages. A language that none of them evaluates does not count: who writes it
    /// differently asks the same. A definition that the mapping knows counts by what it means, another one by what stands
    /// in it (FLARE may know more than we do).
    pub fn fingerprint(&self, languages: &[Language], mapping: &Mapping) -> Result<Fingerprint, SourceError> {
        let ccdl = match languages.contains(&Language::Ccdl) {
            true => {
                let definition = self.definition()?;
                Some(canonical::fingerprint(&definition, mapping).unwrap_or_else(|| definition.fingerprint()))
            }
            false => None,
        };
        let cql = match languages.contains(&Language::Cql) {
            true => Some(self.cql()?.fingerprint()),
            false => None,
        };
        match (ccdl, cql) {
            (Some(one), None) | (None, Some(one)) => Ok(one),
            (Some(ccdl), Some(cql)) => Ok(ccdl.and(cql)),
            (None, None) => Err(SourceError::NoSource),
        }
    }
}

// === impl Cql ===

impl Cql {
    /// What is asked: the statements, however they are spaced, without the name of the library.
    fn fingerprint(&self) -> Fingerprint {
        let statements = self.statements().unwrap_or(&self.text);
        let words: Vec<&str> = statements.split_whitespace().collect();
        Fingerprint::of_text(&format!("cql {} {}", self.expression, words.join(" ")))
    }

    /// Everything behind the line that names the library, if there is one.
    pub(crate) fn statements(&self) -> Option<&str> {
        let text = self.text.trim_start();
        let (first, rest) = text.split_once('\n')?;
        first.starts_with("library ").then_some(rest)
    }
}

/// The sum over all sources. If one cannot count there is no sum: a part would look like the whole.
pub async fn count_all(sources: &[Arc<dyn Source>], question: &Question) -> Result<u64, SourceError> {
    if sources.is_empty() {
        return Err(SourceError::NoSource);
    }
    let mut sum: u64 = 0;
    for source in sources {
        sum = sum.checked_add(source.count(question).await?).ok_or(SourceError::TooMany)?;
    }
    Ok(sum)
}
