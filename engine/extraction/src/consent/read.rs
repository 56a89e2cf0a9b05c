//! Reading a Consent: what it permits and denies, in flat lists. What cannot be read is `None`.

use fhir::{Object, Resource, Value};

use super::{POLICY_ROOT, Period};
use crate::limits;

/// Members that restrict a provision to actors, purposes or data, which are not understood here. A permit that is so
/// restricted permits nothing; a deny denies all the same.
const RESTRICTIONS: [&str; 8] =
    ["actor", "action", "securityLabel", "purpose", "class", "dataPeriod", "data", "modifierExtension"];

/// A Consent as the filter needs it.
#[derive(Default)]
pub(super) struct ReadConsent {
    pub(super) is_active: bool,
    /// It was active once, or it was refused: `inactive`, `rejected`.
    pub(super) is_withdrawn: bool,
    /// The base provision denies, so that only what is named is permitted.
    pub(super) is_denied_at_base: bool,
    permits: Vec<Provision>,
    pub(super) denies: Vec<Provision>,
}

/// One permit or deny of one code.
pub(super) struct Provision {
    /// Last arc of the policy's OID; `None` is every code.
    code: Option<String>,
    pub(super) period: Period,
}

/// What a nested provision has from the one around it.
struct Outer {
    is_permit: bool,
    period: Period,
    depth: usize,
}

// === impl ReadConsent ===

impl ReadConsent {
    pub(super) fn permitted(&self, code: &str) -> impl Iterator<Item = Period> {
        self.permits.iter().filter(move |permit| permit.code.as_deref() == Some(code)).map(|permit| permit.period)
    }

    fn nested(&mut self, parent: &Object, outer: &Outer, count: &mut usize) -> Option<()> {
        let Some(provisions) = parent.get("provision") else { return Some(()) };
        let Value::Array(provisions) = provisions else { return None };
        for provision in provisions {
            *count += 1;
            if outer.depth >= limits::PROVISION_DEPTH || *count > limits::PROVISIONS {
                return None;
            }
            let provision = provision.as_object()?;
            let is_permit = is_permit(provision)?.unwrap_or(outer.is_permit);
            let period = period(provision)?;
            self.enter(provision, is_permit, period, outer.period)?;
            let inner = Outer { is_permit, period: period.unwrap_or(outer.period), depth: outer.depth + 1 };
            self.nested(provision, &inner, count)?;
        }
        Some(())
    }

    fn enter(&mut self, provision: &Object, is_permit: bool, own: Option<Period>, outer: Period) -> Option<()> {
        let codes = codes(provision)?;
        let of_codes = |period| codes.iter().map(move |code| Provision { code: Some(code.clone()), period });
        if !is_permit {
            let period = own.unwrap_or(outer);
            match codes.is_empty() {
                true => self.denies.push(Provision { code: None, period }),
                false => self.denies.extend(of_codes(period)),
            }
        } else if !RESTRICTIONS.iter().any(|name| provision.get(name).is_some()) {
            // Nothing is permitted for longer than the provision around it holds.
            let period = own.map_or(Some(outer), |own| own.within(outer));
            self.permits.extend(period.into_iter().flat_map(of_codes));
        }
        Some(())
    }
}

// === impl Provision ===

impl Provision {
    pub(super) fn is_of(&self, code: &str) -> bool {
        self.code.as_deref().is_none_or(|own| own == code)
    }
}

/// The Consent, or `None` if a part of it cannot be read. One that is not given yet or was entered in error says nothing.
pub(super) fn read(consent: &Resource) -> Option<ReadConsent> {
    let mut read = ReadConsent::default();
    if consent.type_name() != "Consent" || consent.get("modifierExtension").is_some() {
        return None;
    }
    match consent.str("status")? {
        "active" => read.is_active = true,
        // What it denied is no longer said; that it has ended is what counts of it.
        "inactive" | "rejected" => {
            read.is_withdrawn = true;
            return Some(read);
        }
        "draft" | "proposed" | "entered-in-error" => return Some(read),
        _ => return None,
    }
    let Some(base) = consent.get("provision") else { return Some(read) };
    let base = base.as_object()?;
    read.is_denied_at_base = is_permit(base)? == Some(false);
    let outer = Outer { is_permit: false, period: period(base)?.unwrap_or(Period::ALWAYS), depth: 0 };
    read.nested(base, &outer, &mut 0)?;
    Some(read)
}

/// `None` inside if it is not said.
fn is_permit(provision: &Object) -> Option<Option<bool>> {
    match provision.get("type") {
        None => Some(None),
        Some(value) => match value.as_str()? {
            "permit" => Some(Some(true)),
            "deny" => Some(Some(false)),
            _ => None,
        },
    }
}

/// `None` inside if it has none.
fn period(provision: &Object) -> Option<Option<Period>> {
    let Some(period) = provision.get("period") else { return Some(None) };
    let period = period.as_object()?;
    let text = |name: &str| match period.get(name) {
        None => Some(None),
        Some(value) => value.as_str().map(Some),
    };
    Period::read(text("start")?, text("end")?).map(Some)
}

/// The policy codes of a provision; codes of other systems are none. A code of the policies' system that is not one of
/// them cannot be read.
fn codes(provision: &Object) -> Option<Vec<String>> {
    let Some(concepts) = provision.get("code") else { return Some(Vec::new()) };
    let Value::Array(concepts) = concepts else { return None };
    let mut codes = Vec::new();
    for coding in concepts.iter().flat_map(|concept| concept.list("coding")) {
        if coding.str("system").and_then(|system| system.strip_prefix("urn:oid:")) != Some(POLICY_ROOT) {
            continue;
        }
        let arc = coding.str("code")?.strip_prefix(POLICY_ROOT)?.strip_prefix('.')?;
        if arc.is_empty() || !arc.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        codes.push(arc.to_owned());
    }
    Some(codes)
}
