//! The 26 resource types of a DSF endpoint (`fhir-api`: DSF `AbstractResourceServiceImpl` and its 26 services).
//!
//! This list is the first axis of the table that drives routing, policy vocabulary, capability statement, metrics and
//! the exhaustive tests; the second axis, the interactions, lives in the crate `policies`.

use std::fmt;
use std::str::FromStr;

macro_rules! resource_types {
    ($($name:ident)*) => {
        /// A resource type that the endpoint serves.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ResourceType {
            $(#[doc = concat!("FHIR R4 `", stringify!($name), "`.")] $name,)*
        }

        impl ResourceType {
            /// Every type, in alphabetical order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name as it stands in paths and in `resourceType`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }

        impl FromStr for ResourceType {
            type Err = UnknownResourceType;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $(stringify!($name) => Ok(Self::$name),)*
                    _ => Err(UnknownResourceType),
                }
            }
        }
    };
}

resource_types! {
    ActivityDefinition Binary Bundle CodeSystem DocumentReference Endpoint Group HealthcareService Library Location
    Measure MeasureReport NamingSystem Organization OrganizationAffiliation Patient Practitioner PractitionerRole
    Provenance Questionnaire QuestionnaireResponse ResearchStudy StructureDefinition Subscription Task ValueSet
}

/// The text names no resource type of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown resource type")]
pub struct UnknownResourceType;

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
