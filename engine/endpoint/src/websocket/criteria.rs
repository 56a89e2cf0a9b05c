//! `Subscription.criteria`: a search whose matches are told about (`fhir-api` 5.2).

use fhir::search::{Context, Query, matches_in, parse_query_in};
use fhir::{Resource, ResourceType};

/// Criteria that can be judged.
#[derive(Clone, Debug)]
pub(crate) struct Criteria {
    query: Query,
    base_url: String,
}

/// Why a text is no criteria.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CriteriaError {
    /// Not `Type?query`.
    #[error("criteria is not Type?query of a supported type")]
    Form,
    /// The query asks for what the type does not have.
    #[error("criteria cannot be used: {0}")]
    Query(String),
}

impl Criteria {
    /// Reads `Type?query`.
    pub(crate) fn parse(text: &str, base_url: &str) -> Result<Self, CriteriaError> {
        let (type_name, raw_query) = text.split_once('?').ok_or(CriteriaError::Form)?;
        let resource_type: ResourceType = type_name.parse().map_err(|_| CriteriaError::Form)?;
        let context = Context { base: Some(base_url), ..Context::default() };
        let query = parse_query_in(&context, resource_type, raw_query);
        if let Some(diagnostics) = query.diagnostics() {
            return Err(CriteriaError::Query(diagnostics));
        }
        Ok(Self { query, base_url: base_url.to_owned() })
    }

    /// Whether the resource matches.
    pub(crate) fn matches(&self, resource: &Resource) -> bool {
        let context = Context { base: Some(&self.base_url), ..Context::default() };
        matches_in(&context, &self.query, resource)
    }
}
