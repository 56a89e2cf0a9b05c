//! `[identity]`: persons of the hospital and what they may do.

use std::net::IpAddr;

use settings::{Item, Reader, Section};

use super::draft::{Located, list, quote, text_list};
use crate::identifier::{Role, RuleId, Thumbprint};
use crate::identity::DsfRole;
use crate::interaction::DsfOperation;
use crate::network::Network;

/// `[identity]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentitySection {
    /// `[[identity.person]]`
    pub people: Vec<Person>,
}

/// `[[identity.person]]`: rights for the holders of some certificates. Everything that matches a person adds up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Its id.
    pub id: RuleId,
    /// Certificates.
    pub thumbprints: Vec<Thumbprint>,
    /// E-mail addresses; they count only for certificates whose thumbprint some table lists.
    pub emails: Vec<String>,
    /// What the person may do at all.
    pub dsf_roles: Vec<DsfRole>,
    /// Roles that process authorisations ask for.
    pub practitioner_roles: Vec<Role>,
    /// Networks from which the person may come; empty: any. Every table that matches a person must admit the address.
    pub networks: Vec<Network>,
}

#[derive(Default)]
pub(super) struct PeopleDraft {
    people: Vec<(Located, Person)>,
}

// === impl Person ===

impl Person {
    /// Whether the table is about the certificate.
    #[must_use]
    pub fn matches(&self, thumbprint: &Thumbprint, email: Option<&str>) -> bool {
        self.thumbprints.contains(thumbprint) || email.is_some_and(|email| self.emails.iter().any(|own| own == email))
    }

    /// Whether the person may come from the address.
    #[must_use]
    pub fn admits_address(&self, address: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(address))
    }
}

// === impl PeopleDraft ===

impl PeopleDraft {
    pub(super) fn read(&mut self, section: &mut Section<'_>, reader: &mut Reader<'_>, file: usize) {
        for mut table in section.sections(reader, "person") {
            if let Some(person) = read_person(&mut table, reader, file) {
                self.people.push(person);
            }
            table.finish(reader);
        }
    }

    pub(super) fn build(self) -> IdentitySection {
        IdentitySection { people: self.people.into_iter().map(|(_, person)| person).collect() }
    }
}

fn read_person(table: &mut Section<'_>, reader: &mut Reader<'_>, file: usize) -> Option<(Located, Person)> {
    let id = rule_id(table, reader);
    let value = |item: Option<Item<Vec<_>>>| item.map(|item| item.value).unwrap_or_default();
    let thumbprints =
        value(list(table, reader, "thumbprint", "a thumbprint of 128 lower-case hexadecimal digits", |text| {
            text.parse().ok()
        }));
    let emails = text_list(table, reader, "email").map(|item| item.value).unwrap_or_default();
    let dsf_roles = dsf_roles(table, reader);
    let practitioner_roles = list(table, reader, "practitioner-role", "system|code", |text| text.parse::<Role>().ok())
        .map(|item| item.value)
        .unwrap_or_default();
    let networks = networks(table, reader);
    if thumbprints.is_empty() && emails.is_empty() {
        reader.error(&table.span(), table.path(), "matches nobody", "list thumbprint or email");
    }
    if dsf_roles.is_empty() && practitioner_roles.is_empty() {
        reader.error(&table.span(), table.path(), "grants nothing", "list dsf-role or practitioner-role");
    }
    if networks.is_empty() && practitioner_roles.iter().any(|role| role.code() == "DSF_ADMIN") {
        let remedy = "list the networks of administrators under networks";
        reader.warn(&table.span(), table.path(), "DSF_ADMIN is granted without limit to networks [W02]", remedy);
    }
    let id = id?;
    let place = Located::of(file, &id);
    Some((place, Person { id: id.value, thumbprints, emails, dsf_roles, practitioner_roles, networks }))
}

/// The id of a rule or of a person.
pub(super) fn rule_id(table: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<Item<RuleId>> {
    let item = table.required_string(reader, "id", "give it an id; it stands in every decision and audit record")?;
    match item.value.parse() {
        Ok(id) => Some(Item { value: id, key: item.key, span: item.span }),
        Err(_) => {
            reader.refuse(&item, "is not an id", "write 1 to 64 letters, digits, '-', '_' or '.'");
            None
        }
    }
}

/// `networks`: CIDR notation.
pub(super) fn networks(table: &mut Section<'_>, reader: &mut Reader<'_>) -> Vec<Network> {
    let item = list(table, reader, "networks", "a network such as \"10.0.0.0/8\"", |text| text.parse().ok());
    item.map(|item| item.value).unwrap_or_default()
}

/// `dsf-role`: `"READ"`, `"CREATE[Task]"`, `"UPDATE[Task, QuestionnaireResponse]"`.
fn dsf_roles(table: &mut Section<'_>, reader: &mut Reader<'_>) -> Vec<DsfRole> {
    let mut roles = Vec::new();
    for item in table.strings(reader, "dsf-role").unwrap_or_default() {
        match parse_dsf_role(&item.value) {
            Ok(role) => roles.push(role),
            Err((text, remedy)) => reader.refuse(&item, text, remedy),
        }
    }
    roles
}

fn parse_dsf_role(text: &str) -> Result<DsfRole, (String, String)> {
    let (name, types) = match text.split_once('[') {
        None => (text, None),
        Some((name, rest)) => match rest.strip_suffix(']') {
            Some(types) => (name, Some(types)),
            None => return Err(("has no closing bracket".to_owned(), "write \"CREATE[Task]\"".to_owned())),
        },
    };
    let Ok(operation) = name.parse::<DsfOperation>() else {
        let names: Vec<&str> = DsfOperation::ALL.iter().map(|operation| operation.as_str()).collect();
        return Err((format!("\"{}\" is no DSF role", quote(name)), format!("write one of {}", names.join(", "))));
    };
    let types = types.map_or(Ok(Vec::new()), |types| types.split(',').map(|name| parse_type(name.trim())).collect())?;
    Ok(DsfRole { operation, types })
}

fn parse_type(name: &str) -> Result<fhir::ResourceType, (String, String)> {
    name.parse().map_err(|_| {
        let known: Vec<&str> = fhir::ResourceType::ALL.iter().map(|known| known.as_str()).collect();
        (format!("\"{}\" is no resource type", quote(name)), format!("write one of {}", known.join(", ")))
    })
}

/// Ids of persons are unique over all files.
pub(super) fn check(draft: &PeopleDraft, readers: &mut [Reader<'_>]) {
    for (index, (place, person)) in draft.people.iter().enumerate() {
        if draft.people.iter().take(index).any(|(_, other)| other.id == person.id)
            && let Some(reader) = readers.get_mut(place.file)
        {
            let text = format!("the id \"{}\" is used twice", person.id);
            reader.error(&place.span, &place.key, text, "give each [[identity.person]] its own id");
        }
    }
}
