//! A Task as its rules see it: the few elements that DSF gives a meaning.

use fhir::{Object, Value};

use crate::allow_list::AllowList;
use crate::identifier::{OrganizationIdentifier, PRACTITIONER_IDENTIFIER, PractitionerIdentifier, TASK_IDENTIFIER};

/// System of the codes of inputs.
pub const BPMN_MESSAGE: &str = "http://dsf.dev/fhir/CodeSystem/bpmn-message";

/// `instantiatesCanonical` in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessCanonical<'a> {
    /// Canonical URL of the process.
    pub url: &'a str,
    /// Its domain.
    pub domain: &'a str,
    /// Its name.
    pub name: &'a str,
    /// `major.minor`.
    pub version: &'a str,
}

/// A Task as its rules see it.
#[derive(Clone, Copy, Debug)]
pub struct TaskView<'a> {
    pub(super) tree: &'a Object,
}

// === impl TaskView ===

impl<'a> TaskView<'a> {
    /// Looks at a Task.
    #[must_use]
    pub const fn of(tree: &'a Object) -> Self {
        Self { tree }
    }

    /// `status`
    #[must_use]
    pub fn status(self) -> Option<&'a str> {
        self.tree.str("status")
    }

    /// `meta.profile`
    pub fn profiles(self) -> impl Iterator<Item = &'a str> {
        self.tree.get("meta").map_or(&[][..], |meta| meta.list("profile")).iter().filter_map(Value::as_str)
    }

    /// `instantiatesCanonical` as it was sent.
    #[must_use]
    pub fn canonical_text(self) -> Option<&'a str> {
        self.tree.str("instantiatesCanonical")
    }

    /// `instantiatesCanonical`, if it is the canonical of a process.
    #[must_use]
    pub fn canonical(self) -> Option<ProcessCanonical<'a>> {
        ProcessCanonical::parse(self.canonical_text()?)
    }

    /// The message name, if exactly one input has it and it is not blank.
    #[must_use]
    pub fn message_name(self) -> Option<&'a str> {
        let mut inputs = self.tree.list("input").iter().filter(|input| has_code(input, "message-name"));
        let name = inputs.next()?.str("valueString").filter(|name| !name.trim().is_empty());
        if inputs.next().is_some() { None } else { name }
    }

    /// The value of the input with the code `business-key` or `correlation-key`, if exactly one has it.
    #[must_use]
    pub fn key(self, code: &str) -> Option<&'a str> {
        let mut inputs = self.tree.list("input").iter().filter(|input| has_code(input, code));
        let key = inputs.next()?.str("valueString");
        if inputs.next().is_some() { None } else { key }
    }

    /// Values of task identifiers.
    pub fn task_identifiers(self) -> impl Iterator<Item = &'a str> {
        let identifiers = self.tree.list("identifier").iter();
        identifiers
            .filter(|identifier| identifier.str("system") == Some(TASK_IDENTIFIER))
            .map(|identifier| identifier.str("value").unwrap_or_default())
    }

    /// The value of `requester.identifier`, if it has the system.
    #[must_use]
    pub fn requester_identifier(self, system: &str) -> Option<&'a str> {
        let identifier = self.tree.get("requester")?.get("identifier")?;
        if identifier.str("system") == Some(system) { identifier.str("value") } else { None }
    }

    /// The organisation that the requester names.
    #[must_use]
    pub fn requester_organization(self, allow_list: &AllowList) -> Option<OrganizationIdentifier> {
        allow_list.resolve_organization(self.tree.get("requester")?)
    }

    /// Whether the requester is the person. A literal reference beside the identifier must not name something else than
    /// a practitioner.
    #[must_use]
    pub fn is_requested_by_person(self, person: &PractitionerIdentifier) -> bool {
        let Some(requester) = self.tree.get("requester") else { return false };
        self.requester_identifier(PRACTITIONER_IDENTIFIER) == Some(person.as_str())
            && requester.str("type").is_none_or(|name| name == "Practitioner")
            && requester.str("reference").is_none_or(|literal| literal.starts_with("Practitioner/"))
    }

    /// Whether the local organisation is the only recipient.
    #[must_use]
    pub fn is_received_by_local(self, allow_list: &AllowList) -> bool {
        match self.tree.get("restriction").map_or(&[][..], |restriction| restriction.list("recipient")) {
            [recipient] => allow_list.resolve_organization(recipient).as_ref() == Some(allow_list.local()),
            _ => false,
        }
    }

    /// Whether there is any output.
    #[must_use]
    pub fn has_output(self) -> bool {
        self.tree.get("output").is_some()
    }
}

// === impl ProcessCanonical ===

impl<'a> ProcessCanonical<'a> {
    /// Reads `http[s]://<domain>/bpe/Process/<name>|<major>.<minor>`.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (url, version) = text.split_once('|')?;
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
        let (domain, name) = rest.split_once("/bpe/Process/")?;
        let (major, minor) = version.split_once('.')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let legal_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (is_domain(domain) && legal_name && digits(major) && digits(minor)).then_some(Self {
            url,
            domain,
            name,
            version,
        })
    }
}

/// Two or more labels of letters, digits and inner hyphens; the last one without hyphen.
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match text.rsplit_once('.') {
        Some((head, last)) => head.split('.').all(is_label) && is_label(last) && !last.contains('-'),
        None => false,
    }
}

/// Whether the input has the code.
pub(super) fn has_code(input: &Value, code: &str) -> bool {
    let codings = input.get("type").map_or(&[][..], |concept| concept.list("coding"));
    codings.iter().any(|coding| coding.str("system") == Some(BPMN_MESSAGE) && coding.str("code") == Some(code))
}
