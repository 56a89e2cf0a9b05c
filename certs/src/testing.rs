//! Material for the tests of this crate.

use std::sync::LazyLock;

use time::{Duration, OffsetDateTime};

use crate::development::{Authority, Issued, KeyType, Subject, Validity};

pub(crate) const NOW: OffsetDateTime = time::macros::datetime!(2026-03-01 12:00 UTC);

pub(crate) fn year() -> Validity {
    Validity::days(NOW, 365)
}

pub(crate) struct Consortium {
    pub(crate) root: Authority,
    pub(crate) issuing: Authority,
    pub(crate) organization: Issued,
    pub(crate) server: Issued,
}

pub(crate) static CONSORTIUM: LazyLock<Consortium> = LazyLock::new(|| {
    let root =
        Authority::root(&Subject::german("Test", "Test Root"), KeyType::EcdsaP256, Validity::days(NOW, 3650)).unwrap();
    let issuing = root
        .issuing(&Subject::german("Test", "Test Issuing CA"), KeyType::EcdsaP256, Validity::days(NOW, 1825))
        .unwrap();
    let organization = issuing
        .issue_organization(&Subject::german("Klinikum Süd", "dsf.klinikum.example"), &[], KeyType::EcdsaP256, year())
        .unwrap();
    let server = issuing
        .issue_server(
            &Subject::german("Klinikum Süd", "dsf.klinikum.example"),
            &["dsf.klinikum.example"],
            KeyType::EcdsaP256,
            year(),
        )
        .unwrap();
    Consortium { root, issuing, organization, server }
});

/// Runs openssl with the arguments in a folder; `None` (and a line that says so) if this machine has none.
pub(crate) fn openssl(folder: &std::path::Path, arguments: &[&str]) -> Option<Vec<u8>> {
    let output = match std::process::Command::new("openssl").args(arguments).current_dir(folder).output() {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: openssl is not here ({error})");
            return None;
        }
    };
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

pub(crate) fn days(count: i64) -> Duration {
    Duration::days(count)
}
