//! How many different questions a site answers to one requester.
//!
//! Each answer that leaves tells a little about the persons behind it; noise bounds how much, and this how often. A question
//! that was asked before has the same answer and costs nothing. The ledger is written in the transaction that takes the
//! count in, so a crash neither forgets a question nor charges it twice, and a count for which nothing is left never gets
//! into the process.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use crate::step::{StepContext, StepError};

/// A question is forgotten after this time: thirty days.
const PERIOD: i64 = 30 * 24 * 60 * 60;
/// Characters by which the ledger knows a question: 64 bits, so that no two of some thousand are taken for one.
const NAME: usize = 16;

/// Charges the requester for a question, unless it was asked before.
pub(super) fn charge(
    context: &mut StepContext<'_, '_>,
    requester: &str,
    question: &str,
    most: u32,
) -> Result<(), StepError> {
    let digest: String = Sha256::digest(requester.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let key = format!("feasibility-questions/{digest}");
    let now = context.now();
    let stored = context.transaction().setting(&key)?;
    let mut asked: BTreeMap<String, i64> = match stored {
        Some(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| StepError::Failed(format!("the ledger of questions cannot be read: {error}")))?,
        None => BTreeMap::new(),
    };
    let name: String = question.chars().take(NAME).collect();
    if !enter(&mut asked, name, now, most) {
        return Err(StepError::Failed(format!(
            "the requester has asked {most} different questions in thirty days, as many as this site answers"
        )));
    }
    let bytes = serde_json::to_vec(&asked).map_err(|error| StepError::Failed(error.to_string()))?;
    Ok(context.transaction().set_setting(&key, &bytes)?)
}

/// Enters a question; whether there was room for it.
fn enter(asked: &mut BTreeMap<String, i64>, question: String, now: OffsetDateTime, most: u32) -> bool {
    let now = now.unix_timestamp();
    asked.retain(|_, then| now.saturating_sub(*then) < PERIOD);
    if asked.contains_key(&question) {
        return true;
    }
    let has_room = asked.len() < most as usize;
    if has_room {
        asked.insert(question, now);
    }
    has_room
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use time::{Duration, OffsetDateTime};

    use super::enter;

    #[test]
    fn a_question_is_charged_once_and_forgotten_after_its_time() {
        let start = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let mut asked = BTreeMap::new();
        let mut ask =
            |question: &str, days: i64| enter(&mut asked, question.to_owned(), start + Duration::days(days), 2);
        assert!(ask("a", 0) && ask("b", 1) && ask("a", 2));
        assert!(!ask("c", 3), "the third");
        assert!(ask("b", 3), "known");
        assert!(!ask("c", 29));
        assert!(ask("c", 30), "the first is forgotten");
        assert!(!ask("a", 30), "and new again");
        assert!(ask("a", 31));
    }
}
