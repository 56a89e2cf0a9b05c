use super::PolicyHistory;
use crate::limits;
use policies::Policy;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn the_policy_before_is_accepted_for_ten_seconds_and_no_other() {
    let first = Arc::new(Policy::shipped());
    let files: Vec<(&str, String)> =
        policies::default_files().iter().map(|(name, text)| (*name, format!("{text}\n# second\n"))).collect();
    let second = Arc::new(Policy::load(&files).unwrap());
    let history = PolicyHistory::new(Arc::clone(&first));
    history.activate(Arc::clone(&second));
    let now = Instant::now();
    assert!(history.accepted_at(second.version(), now).is_some());
    assert!(history.accepted_at(first.version(), now).is_some());
    assert!(history.accepted_at(first.version(), now + limits::PREVIOUS_POLICY + Duration::from_secs(1)).is_none());
    assert!(history.accepted_at("other", now).is_none());
    // Activating what is active changes nothing.
    history.activate(Arc::clone(&second));
    assert!(history.accepted_at(first.version(), Instant::now()).is_some());
}
