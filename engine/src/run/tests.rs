use std::time::Duration;

use super::{Parts, is_mapped};

#[tokio::test]
async fn a_part_that_panics_is_noticed_while_the_others_run_on() {
    let mut parts = Parts::default();
    parts.start("endless", std::future::pending());
    parts.start("broken", async { panic!("as a defect would") });
    let ended = tokio::time::timeout(Duration::from_secs(5), parts.first_ended()).await.unwrap();
    assert_eq!(ended, "broken");
    parts.finish(&["endless"]).await;
}

#[tokio::test]
async fn nothing_is_noticed_while_every_part_runs() {
    let mut parts = Parts::default();
    parts.start("endless", std::future::pending());
    assert!(tokio::time::timeout(Duration::from_millis(50), parts.first_ended()).await.is_err());
}

#[test]
fn a_user_has_a_number_where_the_map_of_the_namespace_says_so() {
    let whole = "         0          0 4294967295\n";
    let own_and_root = "         0          0          1\n       995        995          1\n";
    assert!(is_mapped(996, whole) && is_mapped(995, own_and_root) && is_mapped(0, own_and_root));
    assert!(!is_mapped(996, own_and_root) && !is_mapped(1, own_and_root));
    // Where it cannot be read, the number must fit.
    assert!(is_mapped(996, ""));
}
