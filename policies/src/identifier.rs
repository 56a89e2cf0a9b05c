//! Newtypes for everything that names somebody or something across a border.
//!
//! Parsing is the only constructor, comparison is whole-value and case-sensitive: there is no prefix, no suffix and no
//! normalised form by which one name could pass for another. Serialised forms are parsed again when they are read.

use std::fmt;
use std::str::FromStr;

use crate::limits;

/// System of the identifier of an organisation.
pub const ORGANIZATION_IDENTIFIER: &str = "http://dsf.dev/sid/organization-identifier";
/// System of the identifier of an endpoint.
pub const ENDPOINT_IDENTIFIER: &str = "http://dsf.dev/sid/endpoint-identifier";
/// System of the identifier of a person.
pub const PRACTITIONER_IDENTIFIER: &str = "http://dsf.dev/sid/practitioner-identifier";
/// System of the identifier of a draft Task.
pub const TASK_IDENTIFIER: &str = "http://dsf.dev/sid/task-identifier";
/// System of the roles that persons have.
pub const PRACTITIONER_ROLE: &str = "http://dsf.dev/fhir/CodeSystem/practitioner-role";

/// The text cannot be this identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentifier {
    /// A thumbprint is SHA-512 in lower-case hexadecimal digits.
    #[error("a thumbprint has 128 lower-case hexadecimal digits")]
    Thumbprint,
    /// The text is empty, too long, padded with white space or has control characters.
    #[error(
        "an identifier has 1 to {} bytes, no control characters and no white space around it",
        limits::IDENTIFIER_BYTES
    )]
    Text,
    /// FHIR R4 type `id`: `[A-Za-z0-9\-\.]{1,64}`.
    #[error("an id has 1 to 64 letters, digits, '-' or '.'")]
    ResourceId,
    /// A version is a decimal number without sign or leading zero.
    #[error("a version is a positive decimal number")]
    VersionId,
    /// A rule id has letters, digits, '-', '_' and '.'.
    #[error("a rule id has 1 to 64 letters, digits, '-', '_' or '.'")]
    RuleId,
    /// `system|code` has exactly one `|`.
    #[error("a coding is written system|code with exactly one '|'")]
    Coding,
}

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $valid:expr, $error:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The text.
            #[must_use]
            pub const fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidIdentifier;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err($error) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidIdentifier;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_newtype!(
    /// SHA-512 over the DER of a certificate, 128 lower-case hexadecimal digits.
    Thumbprint,
    |text| text.len() == 128 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
    InvalidIdentifier::Thumbprint
);
text_newtype!(
    /// Value of the organisation identifier, by convention the shortest FQDN of the home page.
    OrganizationIdentifier,
    is_identifier_text,
    InvalidIdentifier::Text
);
text_newtype!(
    /// Value of the endpoint identifier, by convention the FQDN of the node.
    EndpointIdentifier,
    is_identifier_text,
    InvalidIdentifier::Text
);
text_newtype!(
    /// Value of the practitioner identifier, an e-mail address or `<thumbprint>@certificate.invalid`.
    PractitionerIdentifier,
    is_identifier_text,
    InvalidIdentifier::Text
);
text_newtype!(
    /// Logical id of a resource.
    ResourceId,
    |text| {
        (1..=limits::RESOURCE_ID_CHARACTERS).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
            && text.bytes().any(|byte| byte != b'.')
            && !text.contains("..")
    },
    InvalidIdentifier::ResourceId
);
text_newtype!(
    /// Id of a rule, as it stands in decisions, audit records and metrics.
    RuleId,
    |text| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    },
    InvalidIdentifier::RuleId
);

fn is_identifier_text(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= limits::IDENTIFIER_BYTES
        && text.trim() == text
        && !text.chars().any(char::is_control)
}

/// Version of a resource: 1, 2, 3 ...
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct VersionId(u64);

/// `system|code`: a role of an organisation or of a person.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Role {
    system: Box<str>,
    code: Box<str>,
}

// === impl Thumbprint ===

impl Thumbprint {
    /// The first eight digits, for logs and traces.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or_default()
    }
}

// === impl VersionId ===

impl VersionId {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for VersionId {
    type Err = InvalidIdentifier;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || (text.len() > 1 && text.starts_with('0')) {
            return Err(InvalidIdentifier::VersionId);
        }
        text.parse().map(Self).map_err(|_| InvalidIdentifier::VersionId)
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Role ===

impl Role {
    /// A role of the system with the code; neither is empty or contains `|`.
    pub fn new(system: &str, code: &str) -> Result<Self, InvalidIdentifier> {
        let valid = |text: &str| is_identifier_text(text) && !text.contains('|');
        if valid(system) && valid(code) {
            Ok(Self { system: system.into(), code: code.into() })
        } else {
            Err(InvalidIdentifier::Coding)
        }
    }

    /// The code system.
    #[must_use]
    pub const fn system(&self) -> &str {
        &self.system
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> &str {
        &self.code
    }
}

impl FromStr for Role {
    type Err = InvalidIdentifier;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (system, code) = text.split_once('|').ok_or(InvalidIdentifier::Coding)?;
        Self::new(system, code)
    }
}

impl TryFrom<String> for Role {
    type Error = InvalidIdentifier;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.to_string()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}", self.system, self.code)
    }
}

#[cfg(test)]
mod tests;
