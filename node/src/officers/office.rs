//! Who is in office, as a signed policy says it: the certificates of the officers and how many of them must sign.
//!
//! A running node takes other officers from a policy alone, and only from one that enough of the officers before and enough
//! of the new ones have signed. So the officers change with the policy, in one step and in both processes, and nobody who
//! may edit `node.toml` makes himself an officer of a running node.

use certs::Certificate;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Officers;

/// Officers in a signed policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Office {
    /// How many must sign.
    pub required: usize,
    /// Their certificates as PEM.
    pub certificates: Vec<String>,
}

impl Office {
    /// These officers.
    #[must_use]
    pub fn of(officers: &Officers) -> Self {
        let mut certificates: Vec<&Certificate> = officers.all.iter().map(|officer| &officer.certificate).collect();
        certificates.sort_by_key(|certificate| certificate.sha256().to_owned());
        let certificates = certificates.into_iter().map(Certificate::to_pem).collect();
        Self { required: officers.required, certificates }
    }

    /// The officers; an error says what is wrong with them.
    pub fn officers(&self) -> Result<Officers, String> {
        let mut certificates = Vec::with_capacity(self.certificates.len());
        for text in &self.certificates {
            let mut found = certs::read_certificates(text.as_bytes(), "certificate of an officer")
                .map_err(|error| error.to_string())?;
            match (found.pop(), found.is_empty()) {
                (Some(certificate), true) => certificates.push(certificate),
                _ => return Err("an entry of officers is not one certificate".to_owned()),
            }
        }
        let officers = Officers::of(self.required, certificates);
        if officers.required == 0 || officers.persons() < officers.required {
            return Err(format!("{} officers are to sign, and {} are named", officers.required, officers.persons()));
        }
        Ok(officers)
    }

    /// Their names, for people.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.officers().map(|officers| officers.names()).unwrap_or_default()
    }

    /// What is signed of it, each letter.
    pub(crate) fn content(&self, word: &str) -> String {
        let mut text = format!("{word}-required: {}\n", self.required);
        for certificate in &self.certificates {
            let digest = crate::hex(&Sha256::digest(certificate.as_bytes()));
            text.push_str(&format!("{word}-certificate: {digest}\n"));
        }
        text
    }
}
