//! The part of `docs/errors.md` about the engine's refusals names every code.

#[path = "../../../policies/tests/page/mod.rs"]
mod page;

use endpoint::Code;
use page::Row;

#[test]
fn every_code_of_a_refusal_is_on_the_page() {
    let rows: Vec<Row> = Code::ALL
        .iter()
        .map(|code| {
            let (status, cause, remedy) = explanation(*code);
            Row::new(code.as_str(), &status, cause, remedy)
        })
        .collect();
    page::check("engine", &rows);
}

/// Exhaustive, so that a new code does not compile without its explanation.
fn explanation(code: Code) -> (&'static str, &'static str, &'static str) {
    match code {
        Code::Permit => (
            "403",
            "a request without exactly one readable permit; none of the gateway's",
            "look who else can open `run/engine.sock`; gateway and engine must be of one release",
        ),
        Code::PolicyUnknown => (
            "503",
            "the gateway decided by a policy or an allow-list that the engine does not have",
            "passes within seconds of a reload; if it stays, one of the processes refused the reload, see its log",
        ),
        Code::PermitMismatch => {
            ("500", "the request is not the one that was permitted", "report it: this must not happen")
        }
        Code::IdentityUnknown => (
            "403",
            "the caller is not, or no longer, on the stored allow-list",
            "load the current allow-list; compare the thumbprint with the Organization of the caller",
        ),
        Code::Forbidden => (
            "403",
            "tags, process authorisation or another rule on stored resources refuses the caller",
            "the engine's log names the rule; check tags, requester, recipient and the transition of the Task",
        ),
        Code::Structure => ("403", "the body is no FHIR resource", "correct the body; the log names line and element"),
        Code::Hostile => (
            "400",
            "the body has a document type, duplicate members, a foreign encoding, or is too deep",
            "send plain UTF-8 JSON or XML",
        ),
        Code::Profile => (
            "403",
            "the resource does not conform to its profiles",
            "the OperationOutcome names every element; install the profile if it is unknown",
        ),
        Code::Reference => (
            "403",
            "a reference does not lead to a resource that exists and may be referred to",
            "create the target first, or refer to it by its identifier",
        ),
        Code::Duplicate => {
            ("403", "another resource has the same identifier, url or other key", "update that one instead")
        }
        Code::NotFound => ("404", "no resource with this id", "search for it"),
        Code::Gone => ("410", "the resource was deleted", "its history has the last version"),
        Code::UpdateAsCreate => ("405", "an update of an id that does not exist", "create it; the node chooses ids"),
        Code::BadRequest => {
            ("400", "the request contradicts itself or cannot be understood", "the diagnostics say what")
        }
        Code::VersionConflict => (
            "412",
            "somebody else changed the resource meanwhile",
            "read it again, repeat the change, send the new version in `If-Match`",
        ),
        Code::MultipleMatches => {
            ("412", "several resources match a condition that must find one", "make the condition narrower")
        }
        Code::MediaType => (
            "415, 406",
            "a media type that is not read or written",
            "use `application/fhir+json` or `application/fhir+xml`",
        ),
        Code::NotRouted => ("404, 405", "no such route", "see `metadata` for what the node offers"),
        Code::TooLarge => ("413, 503", "larger than a limit, or too many WebSockets", "send less, or close some"),
        Code::Internal => {
            ("500", "the store or another part of the engine failed", "see the engine's log; is the disk full?")
        }
        Code::Audit => (
            "503",
            "the audit log cannot be written, and nothing is done unrecorded",
            "make room on the disk, correct the owner of `audit/`, restart",
        ),
        Code::OwnOrganization => (
            "403",
            "the change would leave the node without its own organisation, endpoint or certificate",
            "keep the own Organization and Endpoint active, with the certificate in use; add a new one before removing the old",
        ),
        Code::Approval => (
            "403",
            "the policy demands approval for changes of the allow-list; the change is kept under the digest that the answer names",
            "officers look at it with `schleuse allow-list pending` and approve or reject it; send it without other resources",
        ),
        Code::Snapshot => (
            "400, 500",
            "no snapshot can be made of a StructureDefinition: its base is not known, or its differential contradicts it",
            "the OperationOutcome names every element; store the base first, or in the same transaction",
        ),
        Code::AnswerTooLarge => (
            "400",
            "the page of a search or history is too large, or what the entries of a Bundle read",
            "ask for fewer entries with `_count`, or in several Bundles",
        ),
        Code::TooCostly => (
            "400",
            "a search, a page of a history or the criteria of a conditional interaction take too long (10 s; 2 s while writing)",
            "add a condition that matches less, such as an identifier or a short range of `_lastUpdated`",
        ),
        Code::NoRoom => (
            "507",
            "the disk has no room for more content of Binaries",
            "free space on the disk of `[store]`, or delete Binaries for good; everything else goes on meanwhile",
        ),
        Code::LimitReached => (
            "403",
            "a restriction of the policy counts, and what it permits in this period is used up",
            "wait for the next hour, day, week or month (in the policy's time zone), or have `only.count` of the named rule changed",
        ),
        Code::Precondition => ("412", "`If-Match` or `If-Unmodified-Since` of a read does not hold", "read without it"),
    }
}
