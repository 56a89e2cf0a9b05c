//! The parts of `docs/errors.md` about the gateway name every code that stands in its sources, and none that does not.

#[path = "../../policies/tests/page/mod.rs"]
mod page;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use page::Row;

/// Code, status, cause, remedy.
type Line = (&'static str, &'static str, &'static str, &'static str);

const GATEWAY: &[Line] = &[
    (
        "GW-IDENT-001",
        "403, empty",
        "the certificate has expired, or is not valid yet",
        "renew it; check the clocks of both machines",
    ),
    (
        "GW-IDENT-002",
        "403, empty",
        "the trust store changed and no longer covers the certificate",
        "add the issuing authority to trust/client-authorities.pem if it is still to be trusted",
    ),
    (
        "GW-IDENT-003",
        "403, empty",
        "the thumbprint is on no allow-list, its organisation is inactive, or two organisations carry it",
        "compare the recorded thumbprint with the Organization of the caller; load the current allow-list",
    ),
    (
        "GW-IDENT-005",
        "403, empty",
        "a rule of [trust] refuses the certificate; the reason of the record names it",
        "use another certificate, or have the security officer change the rule",
    ),
    ("GW-HEAD-001", "431", "the request head is larger than [limits.head]", "send less, or raise the limit"),
    ("GW-HEAD-002", "431", "too many header fields", "send less, or raise the limit"),
    (
        "GW-HEAD-003",
        "408",
        "the head was not complete in time",
        "a slow network or an attack; the limit is [limits.timeouts] header",
    ),
    ("GW-HEAD-004", "400", "a line does not end with CRLF", "the client or a proxy before it is faulty"),
    ("GW-HEAD-005", "400", "malformed request line", "the client is faulty"),
    ("GW-HEAD-006", "505", "another version of HTTP, or 1.0 without the framing of 1.1", "use HTTP/1.1 or HTTP/2"),
    (
        "GW-HEAD-007",
        "400",
        "malformed name of a header field, an underscore in it, or a continued line",
        "the client is faulty, or tries to hide a field",
    ),
    ("GW-HEAD-008", "400", "control character in a header field", "the client is faulty"),
    ("GW-HEAD-009", "400", "no Host", "the client is faulty"),
    ("GW-HEAD-010", "400", "more than one Host", "the client is faulty, or tries to be taken for another"),
    (
        "GW-HEAD-011",
        "400",
        "Content-Length beside Transfer-Encoding, repeated, or no plain number",
        "the client is faulty, or tries to smuggle a request",
    ),
    (
        "GW-HEAD-012",
        "400",
        "Transfer-Encoding other than chunked",
        "the client is faulty, or tries to smuggle a request",
    ),
    ("GW-HEAD-013", "400", "the target is no path", "the node is no proxy"),
    ("GW-HEAD-014", "405", "CONNECT", "the node is no proxy"),
    ("GW-HEAD-015", "400", "the HTTP library refused the head", "the client is faulty"),
    ("GW-FIELD-001", "431", "too many header fields, over HTTP/2 as well", "send less, or raise [limits.head]"),
    ("GW-FIELD-002", "400", "malformed header field", "the client is faulty"),
    ("GW-FIELD-003", "400", "a field that must stand once stands more often", "send it once"),
    ("GW-FIELD-004", "400", "no host, or two that differ", "the client is faulty"),
    ("GW-FIELD-005", "421", "the host is not that of base-url", "use the base URL of the node"),
    ("GW-FIELD-006", "417", "Expect other than 100-continue", "leave it out"),
    ("GW-FIELD-007", "415", "a compressed body, which cannot be judged", "send it without Content-Encoding"),
    (
        "GW-FIELD-008",
        "400",
        "Upgrade elsewhere than on /ws, or an incomplete WebSocket handshake",
        "use a WebSocket client on /ws",
    ),
    ("GW-FIELD-009", "416", "more than one range", "ask for one range"),
    ("GW-BODY-001", "413", "the body is larger than [limits.body] for its type", "send less, or raise the limit"),
    ("GW-BODY-002", "415", "the media type cannot be judged", "use application/fhir+json or application/fhir+xml"),
    ("GW-BODY-003", "400", "a body where none belongs", "leave it out"),
    ("GW-BODY-004", "403", "no body where one belongs", "send the resource"),
    (
        "GW-BODY-005",
        "408",
        "the body was not complete in time",
        "a slow network or an attack; see [limits.timeouts] body-idle",
    ),
    ("GW-BODY-006", "503", "bodies of other requests fill the memory", "try again; fewer at once, or smaller ones"),
    (
        "GW-BODY-007",
        "400",
        "document type, depth, number of members, duplicate members or a foreign encoding",
        "send plain UTF-8 JSON or XML within [limits.json] and [limits.xml]",
    ),
    ("GW-BODY-008", "403", "the body is no FHIR resource", "correct it; the diagnostics name the place"),
    ("GW-BODY-009", "none", "the connection ended within the body", "nothing; the client went away"),
    (
        "GW-RATE-001",
        "429",
        "the identity sends more requests per second than [limits.rate] per-identity",
        "wait as Retry-After says, or raise the limit",
    ),
    (
        "GW-RATE-002",
        "429",
        "the identity has too many requests at the same time",
        "send fewer at once, or raise concurrent-per-identity",
    ),
    (
        "GW-RATE-003",
        "429",
        "the identity sends more often than only.rate of a restriction permits",
        "wait as Retry-After says, or have the named rule changed",
    ),
    (
        "GW-AUDIT-001",
        "503",
        "the audit log cannot be written, and nothing is done unrecorded",
        "make room on the disk, correct the owner of audit/, restart",
    ),
    (
        "GW-AUDIT-002",
        "503",
        "a sink of the audit log takes no records, and [audit] dead-sink demands that nothing is changed then",
        "repair the receiver: `schleuse doctor` names it and the cause; records wait and are sent when it lives",
    ),
    ("GW-LINK-001", "503", "the engine is not connected", "see whether it runs, and its log"),
    ("GW-LINK-002", "503", "the gateway has had no allow-list yet", "wait until the engine is ready"),
    ("GW-LINK-003", "503", "the engine's socket cannot be reached", "see whether the engine runs, and its log"),
    (
        "GW-LINK-004",
        "504",
        "the engine did not answer within [limits.timeouts] upstream",
        "see the engine's log and the load of the machine",
    ),
    ("GW-LINK-005", "502", "the connection to the engine broke", "see the engine's log; was it restarted?"),
    ("GW-FWD-001", "500", "the request could not be forwarded", "see the gateway's log, and report it"),
    ("GW-FWD-002", "as recorded", "the HTTP library ended the request with this status", "see the error in the record"),
    (
        "GW-FWD-003",
        "408 or none",
        "the client went away, or sent or took its bytes too slowly",
        "nothing, unless it repeats: then the network",
    ),
    ("GW-FWD-004", "400", "the client broke the rules of HTTP within the request", "the client is faulty"),
];

/// Reasons of refused handshakes: `peer-` in front means that the other side refused ours.
const HANDSHAKES: &[Line] = &[
    (
        "no-certificate",
        "",
        "the client showed no certificate",
        "scanners do so; else install the client certificate there",
    ),
    (
        "unknown-issuer",
        "",
        "the issuer is not in the trust store, or an issuing authority is missing in the chain",
        "add it to trust/, or have the whole chain sent",
    ),
    ("expired", "", "the certificate has expired", "renew it"),
    ("not-yet-valid", "", "the certificate is not valid yet", "check the clocks of both machines"),
    ("revoked", "", "the certificate was revoked", "get a new one"),
    ("revocation-unknown", "", "no current revocation list", "get the list"),
    (
        "wrong-purpose",
        "",
        "the extended key usage does not permit this use",
        "get a certificate for client (or server) authentication",
    ),
    (
        "authority-as-end-entity",
        "",
        "a certificate of an authority was used; so are plain self-signed ones",
        "get one that an authority issued",
    ),
    ("wrong-name", "", "the server certificate does not name the host that was called", "compare with the base URL"),
    ("bad-signature", "", "a signature is wrong", "the certificate or key is damaged, or somebody forges"),
    (
        "unsupported-algorithm",
        "",
        "a key or signature of a kind that is not supported",
        "use RSA of 2048 bit or more, or ECDSA P-256, P-384, P-521",
    ),
    ("malformed-certificate", "", "the certificate cannot be read", "get a new one"),
    ("critical-extension", "", "the certificate has a critical extension that is not understood", "get one without it"),
    ("too-many-certificates", "", "the chain is too long", "send leaf and issuing authorities only"),
    ("certificate-refused", "", "refused without a more precise reason", "ask the side that refused"),
    ("no-common-version", "", "no version of TLS that both offer", "1.2 or 1.3 is needed; see [tls] profile"),
    ("no-common-parameters", "", "no suite, group or signature that both offer", "see [tls] profile"),
    ("unknown-server-name", "", "the name in the handshake is not served here", "use the host of the base URL"),
    ("not-tls", "", "the other side does not speak TLS", "use https"),
    (
        "disconnected",
        "",
        "the other side closed without a word",
        "a firewall, a scanner, or it refused our certificate",
    ),
    ("other", "", "anything else", "see the detail in the log"),
];

#[test]
fn every_code_of_the_gateway_is_on_the_page() {
    let listed: BTreeSet<String> = GATEWAY.iter().map(|(code, ..)| (*code).to_owned()).collect();
    let found: BTreeSet<String> = sources(&root().join("gateway/src"))
        .iter()
        .flat_map(|text| text.split('"').filter(|part| is_code(part)).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(listed, found, "list every code of gateway/src here");
    page::check("gateway", &rows(GATEWAY));
}

#[test]
fn every_reason_of_a_handshake_is_on_the_page() {
    let text = std::fs::read_to_string(root().join("certs/src/handshake.rs")).unwrap();
    let words = text.lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split_once("=> \""));
    let found: BTreeSet<&str> =
        words.filter_map(|(_, rest)| rest.split('"').next()).filter(|word| !word.contains(' ')).collect();
    let listed: BTreeSet<&str> = HANDSHAKES.iter().map(|(code, ..)| *code).collect();
    assert_eq!(listed, found, "list every reason of certs/src/handshake.rs here");
    page::check("handshakes", &rows(HANDSHAKES));
}

fn rows(lines: &[Line]) -> Vec<Row> {
    lines.iter().map(|(code, status, cause, remedy)| Row::new(code, status, cause, remedy)).collect()
}

/// `GW-`, a word, `-`, three digits.
fn is_code(text: &str) -> bool {
    let Some((word, digits)) = text.strip_prefix("GW-").and_then(|rest| rest.split_once('-')) else { return false };
    word.bytes().all(|byte| byte.is_ascii_uppercase())
        && digits.len() == 3
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The text of every source file that is no test.
fn sources(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            texts.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            texts.push(std::fs::read_to_string(&path).expect("a readable file"));
        }
    }
    texts
}
