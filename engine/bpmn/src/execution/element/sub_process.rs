//! Embedded sub-process: a token of its own runs from its start event; the sub-process ends with its last token.

use crate::ElementId;
use crate::execution::engine::{Engine, Result};
use crate::execution::error::StepError;
use crate::execution::instance::{TokenId, TokenState};
use crate::execution::lifecycle::Next;

/// Starts the inner token and the waits of event sub-processes.
pub(super) fn execute(engine: &mut Engine<'_>, token: TokenId, start: &ElementId) -> Result<Next> {
    let scope =
        engine.token(token)?.inner.ok_or_else(|| StepError::Inconsistent("sub-process has no scope".to_owned()))?;
    engine.set_state(token, TokenState::Inner)?;
    engine.begin_inside(scope, start)?;
    Ok(Next::Scheduled)
}
