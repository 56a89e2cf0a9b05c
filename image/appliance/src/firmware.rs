//! What the firmware of this machine says of itself.

use std::fs;

const SECURE_BOOT: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Whether the firmware verified the signature of what it started (Secure Boot). A variable is four bytes of attributes and
/// its value.
pub(crate) fn verified() -> bool {
    fs::read(SECURE_BOOT).is_ok_and(|bytes| matches!(bytes.as_slice(), [_, _, _, _, 1]))
}
