use std::time::Duration;

use super::Parts;

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
