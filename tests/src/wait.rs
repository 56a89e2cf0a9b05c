//! Waiting that ends.

use std::time::{Duration, Instant};

/// Pause between two looks.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks until there is something.
///
/// # Panics
/// When there is nothing within `limit`; the text names `what` was waited for.
pub async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "waited {} s in vain for {what}", limit.as_secs());
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The same, blocking; for the start of a network, which many tests of many runtimes share.
///
/// # Panics
/// As [`until`].
pub fn until_blocking<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited {} s in vain for {what}", limit.as_secs());
        std::thread::sleep(INTERVAL);
    }
}
