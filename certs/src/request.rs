//! Signing requests: a key is made where it is used, and only a request for its certificate leaves the machine.

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};

/// What the certificate will be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The address of the node.
    Server,
    /// The identity of the organisation, which DSF also lets answer as a server.
    Client,
}

/// Why there is no key or no request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("{0} cannot stand in a certificate")]
    Name(String),
    #[error("the key cannot be used: {0}")]
    Key(#[from] rcgen::Error),
}

/// A new private key on P-256, as PEM.
pub fn new_private_key() -> Result<String, RequestError> {
    Ok(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?.serialize_pem())
}

/// A request (PKCS #10, PEM) for a certificate over this key: the organisation as its subject, the host as its name.
pub fn signing_request(
    private_key_pem: &str,
    organization: &str,
    host: &str,
    purpose: Purpose,
) -> Result<String, RequestError> {
    let key = KeyPair::from_pem(private_key_pem)?;
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, organization);
    subject.push(DnType::CommonName, host);
    params.distinguished_name = subject;
    let name = match host.parse() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) => SanType::DnsName(host.try_into().map_err(|_| RequestError::Name(host.to_owned()))?),
    };
    params.subject_alt_names = vec![name];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match purpose {
        Purpose::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Purpose::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    Ok(params.serialize_request(&key)?.pem()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_host_organisation_and_purpose() {
        use x509_parser::prelude::*;
        let key = new_private_key().unwrap();
        for purpose in [Purpose::Server, Purpose::Client] {
            let pem = signing_request(&key, "hospital.example", "dsf.hospital.example", purpose).unwrap();
            let (_, block) = parse_x509_pem(pem.as_bytes()).unwrap();
            assert_eq!(block.label, "CERTIFICATE REQUEST");
            let (_, request) = X509CertificationRequest::from_der(&block.contents).unwrap();
            assert_eq!(
                request.certification_request_info.subject.to_string(),
                "O=hospital.example, CN=dsf.hospital.example"
            );
            let extensions: Vec<_> = request.requested_extensions().unwrap().collect();
            let names_server = extensions
                .iter()
                .any(|found| matches!(found, ParsedExtension::ExtendedKeyUsage(usage) if usage.server_auth));
            assert_eq!(names_server, purpose == Purpose::Server);
            assert!(extensions.iter().any(|found| matches!(
                found,
                ParsedExtension::SubjectAlternativeName(names)
                    if names.general_names == [GeneralName::DNSName("dsf.hospital.example")]
            )));
        }
        assert!(matches!(signing_request(&key, "a", "ä.example", Purpose::Server), Err(RequestError::Name(_))));
        assert!(signing_request("no key", "a", "a.example", Purpose::Server).is_err());
    }
}
