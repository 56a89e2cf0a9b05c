//! Authorities and certificates beside the rules about them: E06, E07, W01, W03.

use std::collections::{BTreeMap, BTreeSet};

use certs::certificate::KeyType;
use certs::{Certificate, TrustStore};
use policies::Finding;
use policies::policy::TlsProfile;

use super::{Surroundings, error, warning};

/// Longest path upwards that is followed; certificates of one authority may name each other in a circle.
const DEEPEST: usize = 16;

/// Least bits of RSA that BSI TR-02102-1 recommends.
const BSI_RSA_BITS: usize = 3000;

/// Authorities that DSF has announced to take out of its trust store, by common name.
const ENDING: [&str; 12] = [
    "T-TeleSec GlobalRoot Class 2",
    "DFN-Verein Certification Authority 2",
    "DFN-Verein Global Issuing CA",
    "Fraunhofer User CA - G02",
    "USERTrust ECC Certification Authority",
    "USERTrust RSA Certification Authority",
    "Sectigo ECC Organization Validation Secure Server CA",
    "Sectigo RSA Organization Validation Secure Server CA",
    "GEANT OV ECC CA 4",
    "GEANT OV RSA CA 4",
    "GEANT Personal CA 4",
    "GEANT eScience Personal CA 4",
];

pub(super) fn findings(around: &Surroundings<'_>) -> Vec<Finding> {
    let Some(store) = around.authorities else { return Vec::new() };
    let mut findings = issuers(around, store);
    findings.extend(chains(around, store));
    findings.extend(short_keys(around, store));
    findings.extend(ending(store));
    findings
}

/// E06: names of issuers that no authority has, or that two have.
fn issuers(around: &Surroundings<'_>, store: &TrustStore) -> Vec<Finding> {
    let trust = around.policy.trust();
    let mut findings = Vec::new();
    let mut keys: BTreeMap<&str, BTreeSet<&[u8]>> = BTreeMap::new();
    for authority in store.certificates() {
        for name in authority.subject().values("CN") {
            keys.entry(name).or_default().insert(authority.public_key_info());
        }
    }
    let lists = [("issuer-cn", &trust.issuer_cn), ("allow-missing-country-for", &trust.allow_missing_country_for)];
    for (key, names) in lists {
        for name in names.iter().filter(|name| !keys.contains_key(name.as_str())) {
            let text = format!("trust.{key}: no authority of the trust store for clients is called \"{name}\" [E06]");
            findings.push(error(text, "add its certificate to the trust store, or take the name off the list"));
        }
    }
    for (name, keys) in keys.iter().filter(|(_, keys)| keys.len() > 1) {
        let is_judged_by = lists.iter().any(|(_, names)| names.iter().any(|listed| listed == name));
        let text = format!("{} authorities of the trust store for clients are called \"{name}\" [E06]", keys.len());
        let remedy = "list the one that is meant under trust.issuer-sha256 and not by name, or remove the other";
        findings.push(if is_judged_by { error(text, remedy) } else { warning(text, remedy) });
    }
    findings
}

/// E07: authorities whose clients a handshake would refuse.
fn chains(around: &Surroundings<'_>, store: &TrustStore) -> Vec<Finding> {
    let most = usize::from(around.policy.trust().max_depth);
    let mut findings = Vec::new();
    for authority in store.certificates().filter(|authority| authority.not_after() <= around.now) {
        let text = format!("the authority {} expired on {} [E07]", authority.subject(), authority.not_after().date());
        findings.push(error(text, "take it out of the trust store, or put its successor in its place"));
    }
    for authority in store.issuing_authorities() {
        let depth = depth(authority, store);
        if depth > most {
            let name = authority.subject();
            let text = format!(
                "trust.max-depth: {most}, but {depth} authorities stand above a certificate that {name} issues [E07]"
            );
            findings.push(error(text, "raise it, or take the authority out of the trust store"));
        }
    }
    findings
}

/// How many authorities stand above what this one issues, itself included.
fn depth(authority: &Certificate, store: &TrustStore) -> usize {
    let mut depth = 1;
    let mut current = authority;
    while depth < DEEPEST && !current.is_self_issued() {
        let issuer = store.certificates().find(|known| known.subject().der() == current.issuer().der());
        let Some(issuer) = issuer else { break };
        current = issuer;
        depth += 1;
    }
    depth
}

/// W01: keys that do not fit the profile `bsi`.
fn short_keys(around: &Surroundings<'_>, store: &TrustStore) -> Vec<Finding> {
    if around.policy.tls().profile != TlsProfile::Bsi {
        return Vec::new();
    }
    let own = around.server.iter().map(|certificate| ("server certificate", certificate));
    let trusted = store.certificates().map(|certificate| ("authority", certificate));
    let finding = |(what, certificate): (&str, &Certificate)| match certificate.key() {
        KeyType::Rsa { bits } if *bits < BSI_RSA_BITS => {
            let name = certificate.subject();
            let text = format!("tls.profile: \"bsi\", but the {what} {name} has an RSA key of {bits} bit [W01]");
            Some(warning(text, "see which partners depend on it; keys of 3072 bit or on an elliptic curve fit"))
        }
        _ => None,
    };
    own.chain(trusted).filter_map(finding).collect()
}

/// W03: authorities that will leave the network. Certificates that end soon are reported by the programs.
fn ending(store: &TrustStore) -> Vec<Finding> {
    let is_ending = |authority: &&Certificate| authority.subject().values("CN").any(|name| ENDING.contains(&name));
    let finding = |authority: &Certificate| {
        let text = format!("DSF is going to remove the authority {} [W03]", authority.subject());
        warning(text, "see which partners still have certificates of it, then take it out of the trust store")
    };
    store.certificates().filter(is_ending).map(finding).collect()
}
