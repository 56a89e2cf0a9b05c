use time::macros::datetime;

use super::{IsoDuration, parse_date, parse_retry_cycle};

#[test]
fn durations_of_the_field_are_added() {
    let start = datetime!(2024-01-31 10:00 UTC);
    for (text, expected) in [
        ("PT20S", datetime!(2024-01-31 10:00:20 UTC)),
        ("PT22H", datetime!(2024-02-01 08:00 UTC)),
        ("PT60M", datetime!(2024-01-31 11:00 UTC)),
        ("P1DT1H1M1.5S", datetime!(2024-02-01 11:01:01.5 UTC)),
        ("PT0,25S", datetime!(2024-01-31 10:00:00.25 UTC)),
        ("P1M", datetime!(2024-02-29 10:00 UTC)),
        ("P1Y1M", datetime!(2025-02-28 10:00 UTC)),
        ("P2W", datetime!(2024-02-14 10:00 UTC)),
        ("PT0S", start),
    ] {
        assert_eq!(IsoDuration::parse(text).unwrap().after(start).unwrap(), expected, "{text}");
    }
}

#[test]
fn what_is_no_duration_is_refused() {
    for text in [
        "",
        "P",
        "PT",
        "20S",
        "PT20",
        "P20S",
        "PT1S1M",
        "-PT1S",
        "PT-1S",
        "PT1.5M",
        "PT1.S",
        "PTS",
        "P1DT",
        "PT1Sx",
        "PT99999999999999999999S",
    ] {
        assert!(IsoDuration::parse(text).is_err(), "{text}");
    }
    assert!(IsoDuration::parse("P200Y").unwrap().after(datetime!(2024-01-01 0:00 UTC)).is_err());
    assert!(IsoDuration::parse("PT9999999999999H").unwrap().after(datetime!(2024-01-01 0:00 UTC)).is_err());
}

#[test]
fn dates_may_have_a_zone_or_none() {
    for text in ["2030-01-31T12:00:00Z", "2030-01-31T13:00:00+01:00", "2030-01-31T12:00:00", "2030-01-31T12:00"] {
        assert_eq!(parse_date(text).unwrap(), datetime!(2030-01-31 12:00 UTC), "{text}");
    }
    assert_eq!(parse_date("2030-01-31").unwrap(), datetime!(2030-01-31 0:00 UTC));
    assert!(parse_date("tomorrow").is_err());
}

#[test]
fn retry_cycles_give_attempts_and_intervals() {
    let cycle = parse_retry_cycle("R3/PT5S").unwrap();
    assert_eq!((cycle.attempts, cycle.intervals), (3, vec![5]));
    assert_eq!(parse_retry_cycle("R0/PT5S").unwrap().attempts, 0);
    let list = parse_retry_cycle("PT5M, PT10M").unwrap();
    assert_eq!((list.attempts, list.intervals), (3, vec![300, 600]));
    for text in ["", "R/PT5S", "R3", "R3/5S", "R-1/PT5S", "R1000/PT5S"] {
        assert!(parse_retry_cycle(text).is_err(), "{text}");
    }
}
