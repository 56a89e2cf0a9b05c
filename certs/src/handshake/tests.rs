use std::sync::Arc;

use super::*;
use rustls::{CertificateError, OtherError};

#[test]
fn causes_that_rustls_hides_are_found() {
    let authority = rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(
        webpki::Error::CaUsedAsEndEntity,
    ))));
    assert_eq!(classify(&authority).code(), "authority-as-end-entity");
    let alert = classify(&rustls::Error::AlertReceived(AlertDescription::CertificateRequired));
    assert_eq!((alert.code().as_str(), alert.by_peer), ("peer-no-certificate", true));
    let wrapped = std::io::Error::new(std::io::ErrorKind::InvalidData, rustls::Error::NoCertificatesPresented);
    assert_eq!(classify_io(&wrapped).unwrap().code(), "no-certificate");
    assert_eq!(classify_io(&std::io::ErrorKind::UnexpectedEof.into()).unwrap().code(), "peer-disconnected");
    assert_eq!(classify_io(&std::io::ErrorKind::PermissionDenied.into()), None);
    assert_eq!(classify(&rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)).code(), "not-tls");
}

#[test]
fn details_are_bounded_and_of_one_line() {
    let failure = classify(&rustls::Error::General(format!("a\nb{}", "x".repeat(10_000))));
    assert!(failure.detail.chars().count() <= DETAIL_CHARACTERS);
    assert!(!failure.to_string().contains('\n'));
}
