use super::is_mapped;

#[test]
fn a_user_has_a_number_where_the_map_of_the_namespace_says_so() {
    let whole = "         0          0 4294967295\n";
    let own_and_root = "         0          0          1\n       995        995          1\n";
    assert!(is_mapped(996, whole) && is_mapped(995, own_and_root) && is_mapped(0, own_and_root));
    assert!(!is_mapped(996, own_and_root) && !is_mapped(1, own_and_root));
    // Where it cannot be read, the number must fit.
    assert!(is_mapped(996, ""));
}
