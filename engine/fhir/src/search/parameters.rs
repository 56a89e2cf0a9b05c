//! The parameters of the 26 types and the references that may be included (`fhir-api.md` 2.1 to 2.4).

use crate::ResourceType::{self, *};

/// How values are read, indexed and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `_id`; not indexed, the store knows the id.
    Id,
    /// A `code` or other plain text compared as a code; a code of a required binding must be one of its codes.
    Code,
    /// The codings of a CodeableConcept.
    Concept,
    /// An Identifier.
    Identifier,
    /// A boolean.
    Boolean,
    /// Text, compared without regard to case unless a modifier says otherwise.
    String,
    /// A URI compared as it stands.
    Uri,
    /// The canonical URL of the resource, whose `version` may be asked for too.
    CanonicalUrl,
    /// A date or instant.
    Date,
    /// A Reference.
    Reference,
    /// A canonical reference, compared by prefix.
    Canonical,
}

/// A modifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Modifier {
    /// `:not`
    Not,
    /// `:exact`
    Exact,
    /// `:contains`
    Contains,
    /// `:below`
    Below,
    /// `:identifier`
    Identifier,
}

/// A search parameter.
#[derive(Debug, PartialEq, Eq)]
pub struct SearchParameter {
    /// The name in queries.
    pub name: &'static str,
    /// How values are read, indexed and compared.
    pub kind: Kind,
    /// The elements, dotted; `name(member=value)` takes only elements with that member.
    pub paths: &'static [&'static str],
    /// The modifiers that it takes.
    pub modifiers: &'static [Modifier],
    /// The types that a reference may point to.
    pub targets: &'static [ResourceType],
    /// Whether the CapabilityStatement lists it.
    pub is_listed: bool,
}

/// A reference that `_include` or `_revinclude` may follow.
#[derive(Debug, PartialEq, Eq)]
pub struct IncludeRule {
    /// The type that holds the reference.
    pub source: ResourceType,
    /// The parameter of `source`.
    pub parameter: &'static str,
    /// The types on the other end.
    pub targets: &'static [ResourceType],
    /// Whether the target type must be named.
    pub needs_target: bool,
}

// === impl Kind ===

impl Kind {
    /// `SearchParameter.type` in a CapabilityStatement.
    #[must_use]
    pub const fn fhir_type(self) -> &'static str {
        match self {
            Self::Code | Self::Concept | Self::Identifier | Self::Boolean => "token",
            Self::Id | Self::String => "string",
            Self::Uri | Self::CanonicalUrl => "uri",
            Self::Date => "date",
            Self::Reference | Self::Canonical => "reference",
        }
    }
}

// === impl Modifier ===

impl Modifier {
    /// The modifier as written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Not => "not",
            Self::Exact => "exact",
            Self::Contains => "contains",
            Self::Below => "below",
            Self::Identifier => "identifier",
        }
    }
}

// === impl SearchParameter ===

impl SearchParameter {
    const fn new(name: &'static str, kind: Kind, paths: &'static [&'static str]) -> Self {
        let modifiers: &[Modifier] = match kind {
            Kind::Code | Kind::Concept | Kind::Identifier => &[Modifier::Not],
            Kind::String => &[Modifier::Exact, Modifier::Contains],
            Kind::Uri | Kind::CanonicalUrl => &[Modifier::Below],
            Kind::Reference => &[Modifier::Identifier],
            Kind::Id | Kind::Boolean | Kind::Date | Kind::Canonical => &[],
        };
        Self { name, kind, paths, modifiers, targets: &[], is_listed: true }
    }

    const fn reference(name: &'static str, paths: &'static [&'static str], targets: &'static [ResourceType]) -> Self {
        Self { targets, ..Self::new(name, Kind::Reference, paths) }
    }

    const fn canonical(name: &'static str, paths: &'static [&'static str], targets: &'static [ResourceType]) -> Self {
        Self { targets, ..Self::new(name, Kind::Canonical, paths) }
    }

    const fn unlisted(self) -> Self {
        Self { is_listed: false, ..self }
    }
}

type P = SearchParameter;

const ACTIVE: P = P::new("active", Kind::Boolean, &["active"]);
const DATE: P = P::new("date", Kind::Date, &["date"]);
const IDENTIFIER: P = P::new("identifier", Kind::Identifier, &["identifier"]);
const NAME: P = P::new("name", Kind::String, &["name"]);
const NAME_OR_ALIAS: P = P::new("name", Kind::String, &["name", "alias"]);
const STATUS: P = P::new("status", Kind::Code, &["status"]);
const URL: P = P::new("url", Kind::CanonicalUrl, &["url"]);
const VERSION: P = P::new("version", Kind::Code, &["version"]);

static COMMON: [P; 3] = [
    P::new("_id", Kind::Id, &["id"]),
    P::new("_lastUpdated", Kind::Date, &["meta.lastUpdated"]),
    P::new("_profile", Kind::Uri, &["meta.profile"]),
];

static ACTIVITY_DEFINITION: [P; 6] = [DATE, P { modifiers: &[], ..IDENTIFIER }, NAME, STATUS, URL, VERSION];
static METADATA: [P; 6] = [DATE, IDENTIFIER, NAME, STATUS, URL, VERSION];
static BINARY: [P; 1] = [P::new("contentType", Kind::Code, &["contentType"])];
static IDENTIFIER_ONLY: [P; 1] = [IDENTIFIER];
static DOCUMENT_REFERENCE: [P; 1] = [P::new("identifier", Kind::Identifier, &["identifier", "masterIdentifier"])];
static ENDPOINT: [P; 5] = [
    P::new("address", Kind::Uri, &["address"]),
    IDENTIFIER,
    NAME,
    P::reference("organization", &["managingOrganization"], &[Organization]),
    STATUS,
];
static HEALTHCARE_SERVICE: [P; 3] = [ACTIVE, IDENTIFIER, NAME];
static LOCATION: [P; 2] = [IDENTIFIER, NAME_OR_ALIAS];
static MEASURE: [P; 7] = [
    DATE,
    P::canonical("depends-on", &["library", "relatedArtifact(type=depends-on).resource"], &[Library]),
    IDENTIFIER,
    NAME,
    STATUS,
    URL,
    VERSION,
];
static NAMING_SYSTEM: [P; 3] = [DATE, NAME, STATUS];
static ORGANIZATION: [P; 5] = [
    ACTIVE,
    P::reference("endpoint", &["endpoint"], &[Endpoint]),
    IDENTIFIER,
    NAME_OR_ALIAS,
    P::new("type", Kind::Concept, &["type"]),
];
static ORGANIZATION_AFFILIATION: [P; 6] = [
    ACTIVE,
    P::reference("endpoint", &["endpoint"], &[Endpoint]),
    IDENTIFIER,
    P::reference("participating-organization", &["participatingOrganization"], &[Organization]),
    P::reference("primary-organization", &["organization"], &[Organization]),
    P::new("role", Kind::Concept, &["code"]),
];
static PERSON: [P; 2] = [ACTIVE, IDENTIFIER];
static PRACTITIONER_ROLE: [P; 4] = [
    ACTIVE,
    IDENTIFIER,
    P::reference("organization", &["organization"], &[Organization]),
    P::reference("practitioner", &["practitioner"], &[Practitioner]),
];
static QUESTIONNAIRE_RESPONSE: [P; 6] = [
    P::reference("author", &["author"], &[Practitioner, Organization, Patient, PractitionerRole]),
    P::new("authored", Kind::Date, &["authored"]),
    IDENTIFIER,
    P::canonical("questionnaire", &["questionnaire"], &[Questionnaire]).unlisted(),
    STATUS,
    P::reference("subject", &["subject"], &[Organization, Practitioner, PractitionerRole]).unlisted(),
];
static RESEARCH_STUDY: [P; 3] = [
    P::reference("enrollment", &["enrollment"], &[Group]),
    IDENTIFIER,
    P::reference("principalinvestigator", &["principalInvestigator"], &[Practitioner, PractitionerRole]),
];
static SUBSCRIPTION: [P; 4] = [
    P::new("criteria", Kind::String, &["criteria"]),
    P::new("payload", Kind::Code, &["channel.payload"]),
    STATUS,
    P::new("type", Kind::Code, &["channel.type"]),
];
static TASK: [P; 5] = [
    P::new("authored-on", Kind::Date, &["authoredOn"]),
    IDENTIFIER,
    P::new("modified", Kind::Date, &["lastModified"]),
    P::reference("requester", &["requester"], &[Practitioner, Organization, Patient, PractitionerRole]),
    STATUS,
];

/// `_id`, `_lastUpdated`, `_profile`: the parameters of every type.
#[must_use]
pub fn common_parameters() -> &'static [SearchParameter] {
    &COMMON
}

/// The parameters of the type beside the common ones, by name.
#[must_use]
pub fn parameters(resource_type: ResourceType) -> &'static [SearchParameter] {
    match resource_type {
        ActivityDefinition => &ACTIVITY_DEFINITION,
        CodeSystem | Library | Questionnaire | StructureDefinition | ValueSet => &METADATA,
        Binary => &BINARY,
        Bundle | Group | MeasureReport => &IDENTIFIER_ONLY,
        DocumentReference => &DOCUMENT_REFERENCE,
        Endpoint => &ENDPOINT,
        HealthcareService => &HEALTHCARE_SERVICE,
        Location => &LOCATION,
        Measure => &MEASURE,
        NamingSystem => &NAMING_SYSTEM,
        Organization => &ORGANIZATION,
        OrganizationAffiliation => &ORGANIZATION_AFFILIATION,
        Patient | Practitioner => &PERSON,
        PractitionerRole => &PRACTITIONER_ROLE,
        Provenance => &[],
        QuestionnaireResponse => &QUESTIONNAIRE_RESPONSE,
        ResearchStudy => &RESEARCH_STUDY,
        Subscription => &SUBSCRIPTION,
        Task => &TASK,
    }
}

/// The parameter of the type with this name, common ones too.
#[must_use]
pub fn find(resource_type: ResourceType, name: &str) -> Option<&'static SearchParameter> {
    COMMON.iter().chain(parameters(resource_type)).find(|parameter| parameter.name == name)
}

const fn rule(source: ResourceType, parameter: &'static str, targets: &'static [ResourceType]) -> IncludeRule {
    IncludeRule { source, parameter, targets, needs_target: false }
}

const fn rule_with_target(
    source: ResourceType,
    parameter: &'static str,
    targets: &'static [ResourceType],
) -> IncludeRule {
    IncludeRule { source, parameter, targets, needs_target: true }
}

static INCLUDES: [IncludeRule; 14] = [
    rule(Endpoint, "organization", &[Organization]),
    rule(Organization, "endpoint", &[Endpoint]),
    rule(OrganizationAffiliation, "endpoint", &[Endpoint]),
    rule(OrganizationAffiliation, "primary-organization", &[Organization]),
    rule(OrganizationAffiliation, "participating-organization", &[Organization]),
    rule(PractitionerRole, "organization", &[Organization]),
    rule(PractitionerRole, "practitioner", &[Practitioner]),
    rule(ResearchStudy, "enrollment", &[Group]),
    rule_with_target(ResearchStudy, "principalinvestigator", &[Practitioner, PractitionerRole]),
    rule(Measure, "depends-on", &[Library]),
    rule_with_target(Task, "requester", &[Practitioner, Organization, Patient, PractitionerRole]),
    rule_with_target(QuestionnaireResponse, "author", &[Practitioner, Organization, Patient, PractitionerRole]),
    rule(QuestionnaireResponse, "questionnaire", &[Questionnaire]),
    rule_with_target(QuestionnaireResponse, "subject", &[Organization, Practitioner, PractitionerRole]),
];

static REVERSE: [(ResourceType, IncludeRule); 5] = [
    (Endpoint, rule(Organization, "endpoint", &[Endpoint])),
    (Organization, rule(Endpoint, "organization", &[Organization])),
    (Organization, rule(OrganizationAffiliation, "primary-organization", &[Organization])),
    (Organization, rule(OrganizationAffiliation, "participating-organization", &[Organization])),
    (Group, rule(ResearchStudy, "enrollment", &[Group])),
];

/// What `_include` may follow from the type.
pub fn include_rules(searched: ResourceType) -> impl Iterator<Item = &'static IncludeRule> {
    INCLUDES.iter().filter(move |rule| rule.source == searched)
}

/// What `_revinclude` may follow to the type.
pub fn revinclude_rules(searched: ResourceType) -> impl Iterator<Item = &'static IncludeRule> {
    REVERSE.iter().filter(move |(target, _)| *target == searched).map(|(_, rule)| rule)
}
