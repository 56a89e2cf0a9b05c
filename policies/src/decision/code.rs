//! The stable codes of denials, with cause and remedy for `docs/errors.md`.

use std::fmt;

macro_rules! codes {
    ($($name:ident = $code:literal, $status:literal, $cause:literal, $remedy:literal;)*) => {
        /// Why a request is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DenyCode {
            $(#[doc = concat!($code, ": ", $cause)] $name,)*
        }

        impl DenyCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it stands in audit records, OperationOutcomes and documentation.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status of the answer.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// What happened, for people who run a node.
            #[must_use]
            pub const fn cause(self) -> &'static str {
                match self { $(Self::$name => $cause,)* }
            }

            /// What to do about it.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }
        }
    };
}

codes! {
    UnknownIdentity = "GW-IDENT-003", 403,
        "no active organisation of the allow-list and no person of the policy has the thumbprint of the certificate",
        "compare the thumbprint with the Organization of the caller; load the current allow-list, or add the person to [identity]";
    Network = "GW-IDENT-004", 403,
        "the person is limited to other networks",
        "extend networks of the [[identity.person]] table, or come from one of them";
    BeyondRole = "GW-POL-011", 403,
        "the DSF roles of the caller do not grant the operation; rules cannot grant more",
        "remote organisations create Tasks and read; for a person extend dsf-role in [[identity.person]]";
    NotAllowed = "GW-POL-012", 403,
        "no rule of the policy allows the interaction",
        "add an allow rule if this is wanted; the audit record with the correlation id names who asked for what";
    DeniedByRule = "GW-POL-013", 403,
        "a rule of the policy denies the interaction",
        "the named rule says why; deny rules win over allow rules";
    Restricted = "GW-POL-014", 403,
        "a rule with the effect restrict applies, and its demands on time, size or network are not met",
        "the named rule says what it demands; come at another time, or have the rule changed";
    Task = "GW-POL-020", 403,
        "the Task breaks a rule of DSF Tasks or is not authorised by an ActivityDefinition",
        "check requester, recipient, instantiatesCanonical, message-name and profile; check that the process is installed and admits the requester";
    BodyMissing = "GW-POL-030", 403,
        "the interaction needs a resource and the body has none",
        "send the resource as application/fhir+json or application/fhir+xml";
    BodyType = "GW-POL-031", 403,
        "the resource in the body is of another type than the path",
        "send the resource to the path of its type";
    BundleKind = "GW-POL-032", 403,
        "the Bundle is no batch or transaction, or the policy does not allow its type",
        "send a batch or transaction; see [bundle] allow";
    BundleEntry = "GW-POL-033", 400,
        "an entry of the Bundle is malformed or asks for what entries must not ask for",
        "entries have a method, a relative url, and a resource of the type of the url if and only if they write";
    BundleSize = "GW-POL-034", 413,
        "the Bundle has more entries than the policy allows",
        "send several Bundles, or raise [limits.query] bundle-entries";
    Search = "GW-POL-040", 400,
        "the search uses parameters that the policy does not allow",
        "see [search] and [limits.query]";
}

impl fmt::Display for DenyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
