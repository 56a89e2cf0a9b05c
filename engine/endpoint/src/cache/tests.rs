use super::{Cache, Change};
use std::sync::Arc;

#[test]
fn a_value_is_kept_until_a_source_changes() {
    let cache = Arc::new(Cache::new());
    let generation = cache.generation();
    assert!(cache.get(generation).is_none());
    cache.fill(generation, &Arc::new("first"));
    assert_eq!(cache.get(cache.generation()).as_deref(), Some(&"first"));
    drop(Change::begin(&cache));
    assert!(cache.get(cache.generation()).is_none());
}

#[test]
fn nothing_is_taken_or_put_in_while_a_change_is_under_way() {
    let cache = Arc::new(Cache::new());
    cache.fill(cache.generation(), &Arc::new("old"));
    let change = Change::begin(&cache);
    assert!(cache.get(cache.generation()).is_none());
    cache.fill(cache.generation(), &Arc::new("read during the change"));
    drop(change);
    assert!(cache.get(cache.generation()).is_none());
}

#[test]
fn a_snapshot_that_began_before_a_change_does_not_fill_the_time_after_it() {
    let cache = Arc::new(Cache::new());
    let before = cache.generation();
    drop(Change::begin(&cache));
    cache.fill(before, &Arc::new("old"));
    assert!(cache.get(cache.generation()).is_none());
    let after = cache.generation();
    cache.fill(after, &Arc::new("new"));
    cache.fill(before, &Arc::new("old"));
    assert_eq!(cache.get(cache.generation()).as_deref(), Some(&"new"));
}
