use super::*;

#[test]
fn long_values_stay_apart_and_keep_their_beginning() {
    let long = "ä".repeat(limits::INDEXED_BYTES);
    let other = format!("{long}x");
    assert_eq!(bounded("short"), "short");
    assert_ne!(bounded(&long), bounded(&other));
    assert_eq!(bounded(&long), bounded(&long.clone()));
    assert!(bounded(&long).len() <= limits::INDEXED_BYTES + 65);
    assert!(bounded(&long).starts_with("ää"));
}
