//! The service manager's watchdog: it restarts a service that has stopped saying that it works.

use std::future::Future;
use std::time::Duration;

use crate::notify;

/// How often a word is due: half of what the service manager allows; none when it does not ask this process.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_other = number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id()));
    let allowed = number("WATCHDOG_USEC").filter(|allowed| *allowed > 0 && !is_other)?;
    Some(Duration::from_micros(allowed / 2))
}

/// Says that the service works each time that `works` has shown it, for as long as the service manager asks. A pass that
/// fails or hangs is not reported, and the service manager acts.
pub async fn keep_watchdog<F>(works: impl Fn() -> F)
where
    F: Future<Output = bool>,
{
    let Some(interval) = watchdog_interval() else { return std::future::pending().await };
    loop {
        if !works().await {
            tracing::warn!("the service does not work as it should; the service manager is not told that it does");
        } else if let Err(error) = notify("WATCHDOG=1") {
            tracing::warn!(%error, "service manager cannot be told");
        }
        tokio::time::sleep(interval).await;
    }
}
