//! What can be wrong with a certificate or key file: one name per cause, the place, and what to do about it.
//!
//! The files come from hospital PKIs, exports of Windows tools and copy-and-paste; the reader is an administrator, often
//! not a specialist. So every [`Problem`] answers with [`CertError::remedy`], with the `openssl` command where there is one.

/// A file could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct CertError {
    /// The file as the caller named it.
    pub file: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a certificate or key file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The operating system refused the file.
    #[error("cannot be read: {reason}")]
    Unreadable { reason: String },
    /// No byte, or only white space.
    #[error("the file is empty")]
    Empty,
    /// More than [`crate::limits::FILE_BYTES`] or [`crate::limits::CERTIFICATE_BYTES`].
    #[error("larger than {limit} bytes, which no certificate or key needs")]
    TooLarge { limit: usize },
    /// More than [`crate::limits::BLOCKS`].
    #[error("more than {limit} PEM blocks")]
    TooManyBlocks { limit: usize },
    /// Saved as UTF-16, as Windows editors and PowerShell redirection do.
    #[error("the text is UTF-16, PEM is plain ASCII")]
    Utf16,
    /// Neither PEM nor DER.
    #[error("neither PEM nor DER")]
    UnknownFormat,
    /// Base64 of a certificate without the BEGIN and END lines.
    #[error("base64 without the BEGIN and END lines")]
    MissingMarkers,
    /// A BEGIN line without its END line.
    #[error("line {line}: the {label} block has no END line, the file is truncated")]
    Truncated { line: usize, label: String },
    /// BEGIN and END name different things.
    #[error("line {line}: the {label} block ends with END {end}")]
    MismatchedEnd { line: usize, label: String, end: String },
    /// The text between BEGIN and END is not base64.
    #[error("line {line}: the text of the {label} block is not base64")]
    BadBase64 { line: usize, label: String },
    /// PEM or DER without any certificate.
    #[error("no certificate in it, only: {found}")]
    NoCertificate { found: String },
    /// No private key in the file.
    #[error("no private key in it, only: {found}")]
    NoPrivateKey { found: String },
    /// A private key stands where a certificate is expected.
    #[error("holds a private key where a certificate is expected")]
    KeyInsteadOfCertificate,
    /// A certificate stands where a private key is expected.
    #[error("holds a certificate where a private key is expected")]
    CertificateInsteadOfKey,
    /// A signing request, which no CA has signed yet.
    #[error("holds a certificate signing request, not a certificate")]
    SigningRequest,
    /// A PKCS #12 container (`.p12`, `.pfx`).
    #[error("is a PKCS #12 container")]
    Pkcs12,
    /// A Java key store.
    #[error("is a Java key store")]
    JavaKeyStore,
    /// A PKCS #7 container (`.p7b`, `.p7c`).
    #[error("is a PKCS #7 container")]
    Pkcs7,
    /// A revocation list.
    #[error("holds a certificate revocation list")]
    RevocationList,
    /// OpenSSL's own form with trust settings behind the certificate.
    #[error("line {line}: holds a TRUSTED CERTIFICATE block, an OpenSSL-only form")]
    TrustedCertificate { line: usize },
    /// The bytes are not an X.509 certificate.
    #[error("line {line}: not an X.509 certificate: {reason}")]
    NotACertificate { line: usize, reason: String },
    /// Bytes follow the certificate inside its block or DER file.
    #[error("line {line}: {count} bytes follow the end of the certificate")]
    TrailingBytes { line: usize, count: usize },
    /// The private key needs a pass phrase.
    #[error("line {line}: the private key is encrypted with a pass phrase")]
    EncryptedKey { line: usize },
    /// More than one private key; which one is meant cannot be told.
    #[error("holds {count} private keys, one is expected")]
    SeveralPrivateKeys { count: usize },
    /// Every user of the machine can read or replace the key.
    #[error("the private key is open to every user of this machine (mode {mode:03o})")]
    ExposedKey { mode: u32 },
    /// The key is damaged or of a kind that TLS does not use.
    #[error("line {line}: the private key cannot be used: {reason}")]
    UnusableKey { line: usize, reason: String },
    /// No certificate of the file belongs to the key.
    #[error("no certificate in it belongs to the private key in {key_file} (the first is for {subject})")]
    KeyMismatch { key_file: String, subject: String },
    /// A trust store without any certificate.
    #[error("no certificate authority in it")]
    NoTrustAnchor,
    /// A certificate in a trust store that is not a CA.
    #[error("{subject} is not a certificate authority")]
    NotAnAuthority { subject: String },
    /// Not a revocation list that can be used.
    #[error("is no revocation list that can be used: {reason}")]
    NotAList { reason: String },
    /// The signature of a revocation list is not its issuer's.
    #[error("the revocation list was not signed by the known certificate of {issuer}")]
    ListSignature { issuer: String },
    /// rustls cannot use the certificate as a trust anchor.
    #[error("{subject} cannot be a trust anchor: {reason}")]
    UnusableAnchor { subject: String, reason: String },
}

impl CertError {
    /// Names the file in which the problem is.
    #[must_use]
    pub fn new(file: &str, problem: Problem) -> Self {
        Self { file: file.to_owned(), problem }
    }

    /// What the administrator can do about it; a sentence, with the command where one helps.
    #[must_use]
    pub fn remedy(&self) -> String {
        let f = &self.file;
        match &self.problem {
            Problem::Unreadable { .. } => {
                "check that the path is right and that the user of the process may read the file".to_owned()
            }
            Problem::Empty => "put the PEM text into the file; an earlier copy or download probably failed".to_owned(),
            Problem::TooLarge { .. } | Problem::TooManyBlocks { .. } => {
                "name the file with the certificate or key itself, not a bundle or archive".to_owned()
            }
            Problem::Utf16 => format!("convert it: iconv -f UTF-16 -t ASCII {f} > {f}.pem"),
            Problem::UnknownFormat => format!("see what it is with: file {f}; export it again as PEM (base64)"),
            Problem::MissingMarkers => {
                format!("convert it: (base64 -d {f} | openssl x509 -inform DER) > {f}.pem")
            }
            Problem::Truncated { .. } | Problem::MismatchedEnd { .. } => {
                "copy the file again and completely, from the BEGIN line to the END line".to_owned()
            }
            Problem::BadBase64 { .. } => {
                "copy the file again; a line was changed, for example by a mail program or by escaped line ends"
                    .to_owned()
            }
            Problem::NoCertificate { .. } => "name the file that holds the certificate (BEGIN CERTIFICATE)".to_owned(),
            Problem::NoPrivateKey { .. } => "name the file that holds the private key (BEGIN PRIVATE KEY)".to_owned(),
            Problem::KeyInsteadOfCertificate => {
                "name the certificate file here; certificate and key may have been exchanged in node.toml".to_owned()
            }
            Problem::CertificateInsteadOfKey => {
                "name the key file here; certificate and key may have been exchanged in node.toml".to_owned()
            }
            Problem::SigningRequest => "name the certificate that the CA issued for this request".to_owned(),
            Problem::Pkcs12 => format!(
                "unpack it: openssl pkcs12 -in {f} -clcerts -nokeys -out client.pem && \
                 openssl pkcs12 -in {f} -nocerts -noenc -out client.key"
            ),
            Problem::JavaKeyStore => format!(
                "convert it: keytool -importkeystore -srckeystore {f} -destkeystore store.p12 -deststoretype PKCS12, \
                 then unpack store.p12 with openssl pkcs12"
            ),
            Problem::Pkcs7 => {
                format!("unpack it: openssl pkcs7 -in {f} -print_certs -out certificates.pem (DER: -inform DER)")
            }
            Problem::RevocationList => "name the certificate file here".to_owned(),
            Problem::TrustedCertificate { .. } => format!("convert it: openssl x509 -in {f} -out {f}.pem"),
            Problem::NotACertificate { .. } => format!("see what is wrong with: openssl x509 -in {f} -noout -text"),
            Problem::TrailingBytes { .. } => format!("write it afresh: openssl x509 -in {f} -out {f}.pem"),
            Problem::EncryptedKey { .. } => format!(
                "decrypt it into a file that only the service user can read: \
                 (umask 077; openssl pkey -in {f} -out {f}.decrypted)"
            ),
            Problem::SeveralPrivateKeys { .. } => "keep one private key per file".to_owned(),
            Problem::ExposedKey { .. } => {
                format!("close it: chmod 600 {f}; if others had accounts here, have a certificate issued for a new key")
            }
            Problem::UnusableKey { .. } => {
                format!(
                    "RSA of 2048 to 8192 bit and EC P-256, P-384 or P-521 are supported; see: openssl pkey -in {f} -noout -text"
                )
            }
            Problem::KeyMismatch { key_file, .. } => format!(
                "compare: openssl x509 -in {f} -noout -pubkey and openssl pkey -in {key_file} -pubout must print the same"
            ),
            Problem::NoTrustAnchor => {
                "put the root and issuing CA certificates of the partners there as PEM".to_owned()
            }
            Problem::NotAnAuthority { .. } => {
                "put only CA certificates into a trust store; organisations are admitted by the allow-list".to_owned()
            }
            Problem::NotAList { .. } => format!(
                "fetch the complete list of the authority again; see what it is with: openssl crl -in {f} -noout -text \
                 (DER: -inform DER)"
            ),
            Problem::ListSignature { .. } => {
                "fetch the list again from the authority; if its certificate was renewed, add the new one to the trust store"
                    .to_owned()
            }
            Problem::UnusableAnchor { .. } => "ask the CA for its certificate in version 3 form".to_owned(),
        }
    }
}
