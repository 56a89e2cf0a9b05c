//! `GET metadata`: the CapabilityStatement, generated from what routes and searches (`fhir-api` 1.12).

use fhir::search::{IncludeRule, SearchParameter};
use fhir::search::{common_parameters, include_rules, parameters, revinclude_rules};
use fhir::{Object, Resource, ResourceType, Value};
use policies::Interaction;

use crate::conformance::Conformance;
use crate::profile::default_profile;
use crate::shared::Shared;
use crate::terms;

/// FHIR codes of the interactions that a type has; conditional ones are flags of their own.
const INTERACTIONS: &[(Interaction, &str)] = &[
    (Interaction::Create, "create"),
    (Interaction::Read, "read"),
    (Interaction::Vread, "vread"),
    (Interaction::Update, "update"),
    (Interaction::Delete, "delete"),
    (Interaction::HistoryInstance, "history-instance"),
    (Interaction::HistoryType, "history-type"),
    (Interaction::Search, "search-type"),
];

/// The statement of this node, with the profiles that are stored.
pub(crate) fn capability_statement(shared: &Shared, conformance: &Conformance) -> Resource {
    let mut statement = Resource::new("CapabilityStatement");
    statement.set("status", "active");
    statement.set("date", shared.software.release_date.as_str());
    statement.set("publisher", shared.software.name.as_str());
    statement.set("kind", "instance");
    let software = Object::new()
        .with("name", shared.software.name.as_str())
        .with("version", shared.software.version.as_str())
        .with("releaseDate", shared.software.release_date.as_str());
    statement.set("software", software);
    let implementation =
        Object::new().with("description", shared.software.name.as_str()).with("url", shared.base_url.as_str());
    statement.set("implementation", implementation);
    statement.set("fhirVersion", "4.0.1");
    statement.set("format", strings(["application/fhir+json", "application/fhir+xml"]));
    statement.set("rest", vec![Value::Object(rest(shared, conformance))]);
    statement
}

fn rest(shared: &Shared, conformance: &Conformance) -> Object {
    let websocket = shared.base_url.strip_prefix("http").map_or_else(String::new, |rest| format!("ws{rest}/ws"));
    let extension = Object::new().with("url", terms::WEBSOCKET_EXTENSION).with("valueUrl", websocket);
    let coding = Object::new()
        .with("system", "http://terminology.hl7.org/CodeSystem/restful-security-service")
        .with("code", "Certificates")
        .with("display", "Certificates");
    let service = Object::new().with("coding", vec![Value::Object(coding)]);
    let security = Object::new().with("cors", false).with("service", vec![Value::Object(service)]);
    let profiles = conformance.supported_profiles();
    let resources: Vec<Value> = ResourceType::ALL
        .iter()
        .map(|resource_type| {
            let supported = profiles.get(resource_type.as_str()).map_or(&[][..], Vec::as_slice);
            Value::Object(resource(*resource_type, supported))
        })
        .collect();
    let system = ["transaction", "batch", "history-system"].map(code);
    Object::new()
        .with("extension", vec![Value::Object(extension)])
        .with("mode", "server")
        .with("security", security)
        .with("resource", resources)
        .with("interaction", Vec::from(system))
}

fn resource(resource_type: ResourceType, supported_profiles: &[String]) -> Object {
    let interactions: Vec<Value> = INTERACTIONS
        .iter()
        .filter(|(interaction, _)| interaction.applies_to(Some(resource_type)))
        .map(|(_, name)| code(name))
        .collect();
    let mut resource = Object::new().with("type", resource_type.as_str());
    if let Some(profile) = default_profile(resource_type) {
        resource.set("profile", profile);
    }
    if !supported_profiles.is_empty() {
        resource.set("supportedProfile", strings(supported_profiles.iter().map(String::as_str)));
    }
    let conditional = |interaction: Interaction| interaction.applies_to(Some(resource_type));
    resource.set("interaction", interactions);
    resource.set("versioning", "versioned");
    resource.set("readHistory", true);
    resource.set("updateCreate", false);
    resource.set("conditionalCreate", true);
    resource.set("conditionalRead", "full-support");
    resource.set("conditionalUpdate", conditional(Interaction::ConditionalUpdate));
    let conditional_delete = if conditional(Interaction::ConditionalDelete) { "single" } else { "not-supported" };
    resource.set("conditionalDelete", conditional_delete);
    resource.set("referencePolicy", strings(["literal", "logical"]));
    let includes: Vec<String> = include_rules(resource_type).flat_map(include_names).collect();
    if !includes.is_empty() {
        resource.set("searchInclude", strings(includes.iter().map(String::as_str)));
    }
    let reverse: Vec<String> = revinclude_rules(resource_type).flat_map(include_names).collect();
    if !reverse.is_empty() {
        resource.set("searchRevInclude", strings(reverse.iter().map(String::as_str)));
    }
    let listed = common_parameters().iter().chain(parameters(resource_type)).filter(|parameter| parameter.is_listed);
    resource.set("searchParam", listed.map(search_parameter).collect::<Vec<_>>());
    if Interaction::Snapshot.applies_to(Some(resource_type)) {
        let definition = "http://hl7.org/fhir/OperationDefinition/StructureDefinition-snapshot";
        resource.push("operation", Object::new().with("name", "snapshot").with("definition", definition));
    }
    resource
}

/// `Source:parameter` and `Source:parameter:Target`, as a query may name it.
fn include_names(rule: &IncludeRule) -> Vec<String> {
    let base = format!("{}:{}", rule.source, rule.parameter);
    let mut names: Vec<String> = rule.targets.iter().map(|target| format!("{base}:{target}")).collect();
    if !rule.needs_target {
        names.insert(0, base);
    }
    names
}

fn search_parameter(parameter: &SearchParameter) -> Value {
    Value::Object(Object::new().with("name", parameter.name).with("type", parameter.kind.fhir_type()))
}

fn code(name: &str) -> Value {
    Value::Object(Object::new().with("code", name))
}

fn strings<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<Value> {
    texts.into_iter().map(Value::from).collect()
}
