//! Keys that belong to the language of policies and that nothing enforces yet.
//!
//! A security officer signs a policy off in the belief that it holds. So a value that would restrict something, and would
//! restrict nothing in this version, is an error with its remedy and never read in silence. Values that ask for nothing
//! beyond what happens anyway are accepted. Whoever makes one of these keys work removes it here.

use settings::Reader;

use super::sections::{AllowListDraft, AuditDraft};
use super::{AuditFormat, sections};

/// `[allow-list]`: there is no download yet that these keys could restrict. `protect-self`, `approval` and `max-delta` hold
/// for every change, wherever it comes from.
pub(super) fn refuse_allow_list(draft: &AllowListDraft, readers: &mut [Reader<'_>]) {
    let finding = (
        "has no effect: this version downloads no allow-list",
        "leave the key out; approval and protect-self hold for every change, wherever it comes from",
    );
    let default = sections::AllowListSection::default();
    draft.sources.refuse_unless(Vec::is_empty, finding, readers);
    draft.require_identifier.refuse_unless(|text| *text == default.require_identifier, finding, readers);
    draft.pin_server_sha256.refuse_unless(Vec::is_empty, finding, readers);
}

/// `[audit]`
pub(super) fn refuse_audit(draft: &AuditDraft, readers: &mut [Reader<'_>]) {
    let format = ("is not written by this version", "write \"json-lines\"");
    draft.format.refuse_unless(|format| *format == AuditFormat::JsonLines, format, readers);
    let sink = (
        "is not served by this version: records go to the files in audit/ alone",
        "write [], and ship the files with a log shipper",
    );
    draft.sink.refuse_unless(Vec::is_empty, sink, readers);
}
