//! Who permits what, and that every doubt is a no.

use fhir::Resource;
use proptest::prelude::*;
use time::{Date, Duration};

use super::{TODAY, broad, consent, provision, resource};
use crate::consent::{Days, Period};
use crate::{ConsentPolicy, Excluded, Permission, Statistics};

fn judge(consents: &[Resource]) -> Result<Permission, Excluded> {
    let consents: Vec<&Resource> = consents.iter().collect();
    ConsentPolicy::default().judge(&consents, TODAY)
}

fn observed(date: &str) -> Resource {
    resource(&format!(r#"{{"resourceType":"Observation","id":"o","effectiveDateTime":"{date}"}}"#))
}

#[test]
fn broad_consent_permits_data_of_its_time() {
    let permission = judge(&[consent("active", &broad("2024-01-01", "2050-12-31"))]).unwrap();
    assert!(permission.covers(&observed("2024-01-01")));
    assert!(permission.covers(&observed("2025-06-01T10:00:00+02:00")));
    assert!(permission.covers(&resource(r#"{"resourceType":"Patient","id":"p","birthDate":"1950-01-01"}"#)));
    for outside in ["2023-12-31", "2023-12-31T23:59:59Z", "2051-01-01", "2023"] {
        assert!(!permission.covers(&observed(outside)), "{outside}");
    }
}

#[test]
fn share_c05_missing_expired_and_revoked_consents_exclude() {
    let valid = || consent("active", &broad("2024-01-01", "2050-12-31"));
    let cases: Vec<(Vec<Resource>, Excluded)> = vec![
        (vec![], Excluded::Missing),
        (vec![consent("active", &broad("2020-01-01", "2025-12-31"))], Excluded::NotToday),
        (vec![consent("active", &broad("2027-01-01", "2050-12-31"))], Excluded::NotToday),
        (vec![consent("inactive", &broad("2024-01-01", "2050-12-31"))], Excluded::Withdrawn),
        (vec![consent("draft", &broad("2024-01-01", "2050-12-31"))], Excluded::NotPermitted),
        (vec![consent("entered-in-error", &broad("2024-01-01", "2050-12-31"))], Excluded::NotPermitted),
        (vec![consent("active", &[])], Excluded::NotPermitted),
        (vec![valid(), consent("active", &[provision("deny", "8", "2026-01-01", "2050-12-31")])], Excluded::Withdrawn),
        (vec![valid(), consent("active", &[provision("deny", "6", "1900-01-01", "2050-12-31")])], Excluded::Withdrawn),
        (vec![valid(), consent("active", &[r#"{"type":"deny"}"#.to_owned()])], Excluded::Withdrawn),
    ];
    for (number, (consents, expected)) in cases.iter().enumerate() {
        assert_eq!(judge(consents).unwrap_err(), *expected, "case {number}");
    }
    let mut statistics = Statistics::default();
    cases.iter().for_each(|(consents, _)| statistics.count(&judge(consents)));
    statistics.count(&judge(&[valid()]));
    assert_eq!(statistics.permitted, 1);
    let count = |excluded| statistics.excluded.get(&excluded).copied().unwrap_or_default();
    assert_eq!((count(Excluded::Missing), count(Excluded::NotToday), count(Excluded::Withdrawn)), (1, 2, 4));
    assert_eq!(count(Excluded::NotPermitted), 3);
}

#[test]
fn share_c06_data_from_before_needs_the_retrospective_code() {
    let old = observed("2010-05-05");
    let without = judge(&[consent("active", &broad("2024-01-01", "2050-12-31"))]).unwrap();
    assert!(!without.covers(&old));
    for code in ["45", "46"] {
        let mut provisions = broad("2024-01-01", "2050-12-31");
        provisions.push(provision("permit", code, "2024-01-01", "2050-12-31"));
        assert!(judge(&[consent("active", &provisions)]).unwrap().covers(&old), "{code}");
    }
    // In another Consent it says nothing about this one.
    let other = consent("active", &[provision("permit", "45", "2024-01-01", "2050-12-31")]);
    assert!(!judge(&[consent("active", &broad("2024-01-01", "2050-12-31")), other]).unwrap().covers(&old));
}

#[test]
fn codes_of_two_consents_do_not_complete_each_other() {
    let halves = ["6", "8"].map(|code| consent("active", &[provision("permit", code, "2024-01-01", "2050-12-31")]));
    assert_eq!(judge(&halves).unwrap_err(), Excluded::NotPermitted);
}

#[test]
fn a_deny_takes_its_days_from_the_window() {
    let permission = judge(&[
        consent("active", &broad("2020-01-01", "2050-12-31")),
        consent("active", &[provision("deny", "6", "2022-01-01", "2022-12-31")]),
    ])
    .unwrap();
    assert!(permission.covers(&observed("2021-12-31")) && permission.covers(&observed("2023-01-01")));
    assert!(!permission.covers(&observed("2022-01-01")) && !permission.covers(&observed("2022-12-31")));
    assert!(!permission.covers(&observed("2022")), "a year of which a day is denied");
}

#[test]
fn what_cannot_be_read_excludes_the_person() {
    let valid = || consent("active", &broad("2024-01-01", "2050-12-31"));
    let with = |member: &str| resource(&format!(r#"{{"resourceType":"Consent","id":"x",{member}}}"#));
    let system = "urn:oid:2.16.840.1.113883.3.1937.777.24.5.3";
    let unreadable = [
        with(r#""patient":{}"#),
        with(r#""status":"aktiv""#),
        with(r#""status":"active","modifierExtension":[{"url":"x"}]"#),
        with(r#""status":"active","provision":{"type":"maybe"}"#),
        with(r#""status":"active","provision":{"type":"deny","provision":{}}"#),
        with(
            r#""status":"active","provision":{"type":"deny","provision":[{"type":"deny","period":{"start":"gestern"}}]}"#,
        ),
        with(
            r#""status":"active","provision":{"type":"deny","provision":[{"type":"deny","period":{"start":"2024-01-01","end":"2023-01-01"}}]}"#,
        ),
        with(&format!(
            r#""status":"active","provision":{{"type":"deny","provision":[{{"type":"deny","code":[{{"coding":[{{"system":"{system}","code":"8"}}]}}]}}]}}"#
        )),
        resource(r#"{"resourceType":"Patient","id":"x"}"#),
    ];
    for (number, other) in unreadable.into_iter().enumerate() {
        assert_eq!(judge(&[valid(), other]).unwrap_err(), Excluded::Unreadable, "case {number}");
    }
    let many: Vec<Resource> = (0..201).map(|_| valid()).collect();
    assert_eq!(judge(&many).unwrap_err(), Excluded::Unreadable);
}

#[test]
fn a_permit_that_is_restricted_permits_nothing() {
    let actor = provision("permit", "8", "2024-01-01", "2050-12-31").replacen('{', r#"{"actor":[{"role":{}}],"#, 1);
    let provisions = [provision("permit", "6", "2024-01-01", "2050-12-31"), actor];
    assert_eq!(judge(&[consent("active", &provisions)]).unwrap_err(), Excluded::NotPermitted);
}

#[test]
fn a_consent_that_permits_at_its_base_is_not_understood_as_broad_consent() {
    let mut consent = consent("active", &broad("2024-01-01", "2050-12-31"));
    let base = consent.get_mut("provision").and_then(fhir::Value::as_object_mut).unwrap();
    base.set("type", "permit");
    assert_eq!(judge(&[consent]).unwrap_err(), Excluded::NotPermitted);
}

#[test]
fn nothing_is_permitted_for_longer_than_the_provision_around_it_holds() {
    let mut consent = consent("active", &broad("2024-01-01", "2050-12-31"));
    let base = consent.get_mut("provision").and_then(fhir::Value::as_object_mut).unwrap();
    base.set("period", fhir::Object::new().with("start", "2024-01-01").with("end", "2025-12-31"));
    assert_eq!(judge(&[consent]).unwrap_err(), Excluded::NotToday);
}

#[test]
fn resources_without_a_date_are_left_out() {
    let permission = judge(&[consent("active", &broad("2000-01-01", "2050-12-31"))]).unwrap();
    for json in [
        r#"{"resourceType":"Observation","id":"o"}"#,
        r#"{"resourceType":"Observation","id":"o","effectiveDateTime":"gestern"}"#,
        r#"{"resourceType":"Encounter","id":"e","period":{"end":"2020-01-01"}}"#,
        r#"{"resourceType":"Device","id":"d"}"#,
    ] {
        assert!(!permission.covers(&resource(json)), "{json}");
    }
    assert!(permission.covers(&resource(r#"{"resourceType":"Encounter","id":"e","period":{"start":"2020-01-01"}}"#)));
    let specimen = r#"{"resourceType":"Specimen","id":"s","collection":{"collectedDateTime":"2020-01-01"}}"#;
    assert!(permission.covers(&resource(specimen)));
}

proptest! {
    #[test]
    fn days_without_others_are_those_that_are_in_none(
        own in prop::collection::vec((0_i64..60, 0_i64..20), 0..5),
        taken in prop::collection::vec((0_i64..60, 0_i64..20), 0..5),
    ) {
        let day = |number: i64| TODAY + Duration::days(number);
        let text = |date: Date| date.to_string();
        let period = |(start, length): &(i64, i64)| Period::read(Some(&text(day(*start))), Some(&text(day(start + length)))).unwrap();
        let left = own.iter().map(period).collect::<Days>().without(&taken.iter().map(period).collect());
        let is_in = |periods: &[(i64, i64)], number: i64| periods.iter().any(|(start, length)| (*start..=start + length).contains(&number));
        for number in -1..90 {
            prop_assert_eq!(left.contains(day(number)), is_in(&own, number) && !is_in(&taken, number), "day {}", number);
        }
    }

    #[test]
    fn a_further_deny_never_permits_more(start in 0_i64..3_000, length in 0_i64..3_000, at in 0_i64..4_000, code in prop::sample::select(vec!["6", "8", "45"])) {
        let text = |number: i64| (time::macros::date!(2020 - 01 - 01) + Duration::days(number)).to_string();
        let base = consent("active", &broad("2020-01-01", "2050-12-31"));
        let deny = consent("active", &[provision("deny", code, &text(start), &text(start + length))]);
        let resource = observed(&text(at));
        let covers = |consents: &[Resource]| judge(consents).is_ok_and(|permission| permission.covers(&resource));
        prop_assert!(covers(std::slice::from_ref(&base)) || !covers(&[base, deny]));
    }
}
