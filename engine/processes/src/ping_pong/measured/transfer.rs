//! A measured transfer, and the result of a ping or pong with the speeds of both ways and what went wrong.

use fhir::{Number, Object, Resource, Value};
use serde::{Deserialize, Serialize};

use super::super::{PING, PING_STATUS, PING_STATUS_EXTENSION};
use super::{DOWNLOADED_BYTES, DOWNLOADED_DURATION, VERSION, decimal, decimal_input, parameter};
use crate::{task, terms};

const PING_ERROR: &str = "http://dsf.dev/fhir/CodeSystem/ping-error";
const ERROR_EXTENSION: &str = "http://dsf.dev/fhir/StructureDefinition/extension-error";
const UCUM: &str = "http://unitsofmeasure.org";
/// Errors of one message that are read; more than there are codes for one transfer.
const ERRORS: usize = 20;

/// A download.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Transfer {
    pub(super) bytes: i64,
    pub(super) milliseconds: i64,
}

// === impl Transfer ===

impl Transfer {
    /// What a partner tells of its download.
    pub(super) fn of(task: &Resource) -> Option<Self> {
        let duration = task::input(task, PING, DOWNLOADED_DURATION)?.get("valueDuration")?;
        let is_milliseconds = duration.str("code") == Some("ms") && duration.str("system") == Some(UCUM);
        let milliseconds = match duration.get("value")? {
            Value::Number(number) => number.as_str().parse::<f64>().ok().filter(|number| number.is_finite())?,
            _ => return None,
        };
        let bytes = decimal_input(task, DOWNLOADED_BYTES)?;
        let is_usable = is_milliseconds && bytes >= 0 && milliseconds >= 0.0;
        is_usable.then_some(Self { bytes, milliseconds: milliseconds as i64 })
    }

    pub(super) fn inputs(self) -> Vec<Object> {
        let mut duration = Object::new();
        if let Some(number) = Number::parse(&self.milliseconds.to_string()) {
            duration = duration.with("value", Value::Number(number));
        }
        let duration = duration.with("unit", "ms").with("system", UCUM).with("code", "ms");
        vec![decimal(DOWNLOADED_BYTES, self.bytes), parameter(DOWNLOADED_DURATION).with("valueDuration", duration)]
    }

    /// Megabits a second with two decimals. A time that is too short to be measured counts as one millisecond.
    fn speed(self) -> Option<Object> {
        let speed = self.bytes as f64 * 8.0 / 1_000.0 / self.milliseconds.max(1) as f64;
        let value = Number::parse(&format!("{speed:.2}"))?;
        let speed = Object::new().with("value", Value::Number(value)).with("unit", "Mbps");
        Some(speed.with("system", UCUM).with("code", "Mbit/s"))
    }
}

/// What came of one target.
pub(super) struct Outcome {
    pub(super) status: String,
    pub(super) organization: String,
    pub(super) endpoint: String,
    pub(super) correlation_key: String,
    pub(super) from_remote: Option<Transfer>,
    pub(super) to_remote: Option<Transfer>,
    pub(super) errors: Vec<String>,
}

// === impl Outcome ===

impl Outcome {
    /// The output of type `ping-status` or `pong-status`.
    pub(super) fn output(self, code: &str) -> Object {
        let identifier = |url: &str, system: &str, value: &str| {
            let identifier = Object::new().with("system", system).with("value", value);
            Object::new().with("url", url).with("valueIdentifier", identifier)
        };
        let key = Object::new().with("url", "correlation-key").with("valueString", self.correlation_key);
        let mut children: Vec<Value> = vec![
            identifier("organization-identifier", terms::ORGANIZATION_IDENTIFIER, &self.organization).into(),
            identifier("endpoint-identifier", terms::ENDPOINT_IDENTIFIER, &self.endpoint).into(),
            key.into(),
        ];
        let ways = [("download-speed-from-remote", self.from_remote), ("upload-speed-to-remote", self.to_remote)];
        for (url, transfer) in ways {
            if let Some(speed) = transfer.and_then(Transfer::speed) {
                children.push(Object::new().with("url", url).with("valueQuantity", speed).into());
            }
        }
        if !self.errors.is_empty() {
            let errors: Vec<Value> = self.errors.iter().map(|code| error_extension(code).into()).collect();
            children.push(Object::new().with("url", "errors").with("extension", errors).into());
        }
        let details = Object::new().with("url", PING_STATUS_EXTENSION).with("extension", children);
        let status = Object::new().with("system", PING_STATUS).with("version", VERSION).with("code", self.status);
        let mut output = Object::new().with("extension", vec![details.into()]);
        for (name, value) in parameter(code).iter() {
            output.set(name, value.clone());
        }
        output.with("valueCoding", status)
    }
}

fn error_extension(code: &str) -> Object {
    let coding = Object::new().with("system", PING_ERROR).with("version", VERSION).with("code", code);
    let error = Object::new().with("url", "error").with("valueCoding", coding);
    let mut children: Vec<Value> = vec![error.into()];
    if let Some(page) = page(code) {
        let fix = format!("https://dsf.dev/s/{page}");
        children.push(Object::new().with("url", "potential-fix").with("valueUrl", fix).into());
    }
    Object::new().with("url", ERROR_EXTENSION).with("extension", children)
}

/// The page of DSF's troubleshooting guide for an error.
fn page(code: &str) -> Option<&'static str> {
    let pages = [
        ("ssl-handshake", "error-ssl"),
        ("timeout-read", "read-timeout"),
        ("timeout-connect", "connection-timeout"),
        ("connect-timeout", "connection-timeout"),
        ("http-host-connect", "connection-refused"),
        ("unknown-host", "unknown-host"),
    ];
    let found = pages.iter().find(|(end, _)| code.ends_with(end)).map(|(_, page)| *page);
    found.or_else(|| code.contains("-http-").then_some("error-http"))
}

/// An error for the partner: a string without value, with the code in an extension.
pub(super) fn error_input(code: &str) -> Object {
    let absent = Object::new()
        .with("url", "http://hl7.org/fhir/StructureDefinition/data-absent-reason")
        .with("valueCode", "not-applicable");
    let extensions = vec![absent.into(), error_extension(code).into()];
    parameter("error").with("_valueString", Object::new().with("extension", extensions))
}

/// Codes of errors that a partner tells; what has not the form of one is left out.
pub(super) fn errors_in(task: &Resource) -> Vec<String> {
    let of_input = |input: &Value| {
        let extensions = input.get("_valueString").map_or(&[][..], |value| value.list("extension"));
        let error = extensions.iter().find(|extension| extension.str("url") == Some(ERROR_EXTENSION))?;
        let coding = error.list("extension").iter().find_map(|child| child.get("valueCoding"))?;
        let code = coding.str("code").filter(|_| coding.str("system") == Some(PING_ERROR))?;
        let is_code = (1..=64).contains(&code.len())
            && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        is_code.then(|| code.to_owned())
    };
    task.list("input").iter().filter_map(of_input).take(ERRORS).collect()
}

/// The code of a message that was not sent.
pub(super) fn send_error(text: &str, is_forbidden: bool) -> &'static str {
    if is_forbidden {
        return "send-message-http-403";
    }
    let known = [
        ("answered 401", "send-message-http-401"),
        ("answered 500", "send-message-http-500"),
        ("answered 502", "send-message-http-502"),
        ("answered 503", "send-message-http-503"),
        ("answered 504", "send-message-http-504"),
        (" answered ", "send-message-http-unexpected"),
        ("TLS with", "send-message-ssl-handshake"),
        ("timed out", "send-message-connect-timeout"),
        ("refused", "send-message-http-host-connect"),
        ("unknown host", "send-message-unknown-host"),
    ];
    known.iter().find(|(part, _)| text.contains(part)).map_or("local-unknown", |(_, code)| code)
}

#[cfg(test)]
mod tests {
    use fhir::Resource;

    use super::{Transfer, error_input, errors_in, send_error};

    #[test]
    fn a_transfer_is_told_and_read_back_and_its_speed_has_two_decimals() {
        let transfer = Transfer { bytes: 10_000_000, milliseconds: 3_000 };
        let mut task = Resource::new("Task");
        for input in transfer.inputs() {
            task.push("input", input);
        }
        assert_eq!(Transfer::of(&task), Some(transfer));
        let speed = |bytes: i64, milliseconds: i64| {
            let speed = Transfer { bytes, milliseconds }.speed().unwrap();
            match speed.get("value").unwrap() {
                fhir::Value::Number(number) => number.as_str().to_owned(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(speed(10_000_000, 3_000), "26.67");
        assert_eq!(speed(0, 5), "0.00");
        assert_eq!(speed(1_000, 0), "8.00");
        assert_eq!(Transfer::of(&Resource::new("Task")), None);
    }

    #[test]
    fn errors_are_told_and_only_codes_are_read_back() {
        let mut task = Resource::new("Task");
        task.push("input", error_input("local-binary-download-http-403"));
        task.push("input", error_input("Not A Code"));
        assert_eq!(errors_in(&task), ["local-binary-download-http-403"]);
    }

    #[test]
    fn what_was_not_sent_has_the_reference_s_code() {
        assert_eq!(send_error("https://x answered 403: forbidden", true), "send-message-http-403");
        assert_eq!(send_error("https://x answered 502: bad gateway", false), "send-message-http-502");
        assert_eq!(send_error("connection to https://x refused: ..", false), "send-message-http-host-connect");
        assert_eq!(send_error("something else", false), "local-unknown");
    }
}
