//! `Subscription.criteria`: a search whose matches are told about (`fhir-api` 5.2).

use fhir::search::{Query, matches_in, parse_query_in};
use fhir::{Resource, ResourceType};
use store::IndexContext;

/// Criteria that can be judged.
#[derive(Clone, Debug)]
pub(crate) struct Criteria {
    query: Query,
    context: IndexContext,
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
    pub(crate) fn parse(text: &str, context: &IndexContext) -> Result<Self, CriteriaError> {
        let (type_name, raw_query) = text.split_once('?').ok_or(CriteriaError::Form)?;
        let resource_type: ResourceType = type_name.parse().map_err(|_| CriteriaError::Form)?;
        let query = parse_query_in(&context.as_context(), resource_type, raw_query);
        if let Some(diagnostics) = query.diagnostics() {
            return Err(CriteriaError::Query(diagnostics));
        }
        Ok(Self { query, context: context.clone() })
    }

    /// Whether the resource matches.
    pub(crate) fn matches(&self, resource: &Resource) -> bool {
        matches_in(&self.context.as_context(), &self.query, resource)
    }
}
