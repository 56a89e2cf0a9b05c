//! Certificates: inspecting, verifying and blocking them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Cert {
    /// Explain every certificate in a file: names, purposes, validity, what a partner would object to
    Inspect(CertFiles),
    /// Say whether the node would let a certificate in, and why not
    ///
    /// Judges by the code of the handshake and gives its reasons: chain, revocation, rules of the section trust. Without --anchor the
    /// trust store, the revocation lists and the policy of the node count; with it the named files alone.
    Verify(CertVerify),
    /// Print the SHA-512 thumbprint by which the allow-list names a certificate
    Thumbprint(CertFiles),
}

/// What is verified, and against what.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse cert verify partner.pem --directory /srv/schleuse        would this node let it in now?\n  schleuse cert verify partner.pem --time 2027-01-01T00:00:00Z      and next year?\n  schleuse cert verify partner.pem --anchor ca.pem --crl ca.crl --revocation hard\n  schleuse cert verify server.pem --purpose server --host dsf.partner.example --anchor ca.pem\n\nExit code 0: accepted; 1: refused, the last line says why."
)]
pub(crate) struct CertVerify {
    /// PEM or DER file: the certificate first, its issuing authorities after it as the partner sends them
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Directory of the node whose trust and policy count
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Trusted authorities instead of those of the node
    #[arg(long, value_name = "FILE")]
    pub(crate) anchor: Vec<PathBuf>,
    /// Further certificates that the partner sends
    #[arg(long, value_name = "FILE")]
    pub(crate) chain: Vec<PathBuf>,
    /// Revocation lists, with --anchor
    #[arg(long, value_name = "FILE", requires = "anchor")]
    pub(crate) crl: Vec<PathBuf>,
    /// What an unknown revocation status means, with --crl
    #[arg(long, default_value = "hard", value_parser = ["soft", "hard"])]
    pub(crate) revocation: String,
    /// Moment of the question instead of now, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) time: Option<String>,
    /// What the certificate is used for
    #[arg(long, default_value = "client", value_parser = ["client", "server"])]
    pub(crate) purpose: String,
    /// Host name that a server certificate must hold
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse block $(schleuse cert thumbprint partner.pem | cut -d' ' -f1) --reason \"key lost, ticket 4711\"\n  schleuse block THUMBPRINT --reason \"being looked at\" --until 2026-01-31T18:00:00Z\n  schleuse block                        what is blocked\n  schleuse block THUMBPRINT --lift      permit it again"
)]
pub(crate) struct Block {
    /// SHA-512 thumbprint of the certificate
    #[arg(value_name = "THUMBPRINT")]
    pub(crate) thumbprint: Option<String>,
    /// Why; stands in blocks.toml
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// When the block ends by itself, such as 2026-01-31T18:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// End the block
    #[arg(long, conflicts_with_all = ["reason", "until"], requires = "thumbprint")]
    pub(crate) lift: bool,
    /// Directory of the node
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CertFiles {
    /// PEM or DER files, chains too
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}
