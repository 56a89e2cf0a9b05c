//! Keys that belong to the language of policies and that nothing enforces yet.
//!
//! A security officer signs a policy off in the belief that it holds. So a value that would restrict something, and would
//! restrict nothing in this version, is an error with its remedy and never read in silence. Values that ask for nothing
//! beyond what happens anyway are accepted. Whoever makes one of these keys work removes it here.

use settings::Reader;

use super::AuditFormat;
use super::sections::AuditDraft;

/// `[audit]`
pub(super) fn refuse_audit(draft: &AuditDraft, readers: &mut [Reader<'_>]) {
    let format = ("is not written by this version", "write \"json-lines\"");
    draft.format.refuse_unless(|format| *format == AuditFormat::JsonLines, format, readers);
}
