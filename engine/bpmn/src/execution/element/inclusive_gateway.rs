//! Inclusive gateway: out along every flow whose condition is true, in when no other token of the scope can still come.
//!
//! As in Camunda 7 a token counts as on its way if sequence flows (and links) lead from its element to the gateway;
//! boundary events do not count. Camunda looks only when a token arrives; here a join that is waiting is also released as
//! soon as the last token that could have reached it went another way.

use std::collections::BTreeSet;

use crate::execution::engine::{Engine, Operation, Result};
use crate::execution::error::StepError;
use crate::execution::event::Event;
use crate::execution::instance::{ScopeId, TokenId, TokenState};
use crate::execution::lifecycle::Next;
use crate::model::{Node, NodeKind, Process};

/// Joins, or waits for tokens that are on their way.
pub(super) fn execute(engine: &mut Engine<'_>, token: TokenId, node: &Node) -> Result<Next> {
    if node.incoming.len() <= 1 {
        return Ok(Next::Complete);
    }
    let scope = engine.token(token)?.scope;
    let waiting = waiting_at(engine, scope, node);
    let all_came = waiting.len().saturating_add(1) >= node.incoming.len();
    if !all_came && is_awaited(engine, scope, node, Some(token)) {
        return Ok(Next::Wait(TokenState::Join));
    }
    for joined in waiting {
        engine.append(Event::TokenEnded { token: joined })?;
    }
    Ok(Next::Complete)
}

fn waiting_at(engine: &Engine<'_>, scope: ScopeId, node: &Node) -> Vec<TokenId> {
    let tokens = engine.instance.tokens.values();
    let waiting =
        tokens.filter(|other| other.scope == scope && other.state == TokenState::Join && other.element == node.id);
    waiting.map(|other| other.id).collect()
}

/// Whether another token of the scope can still reach the gateway.
fn is_awaited(engine: &Engine<'_>, scope: ScopeId, node: &Node, arrived: Option<TokenId>) -> bool {
    let elsewhere: BTreeSet<&str> = engine
        .instance
        .tokens
        .values()
        .filter(|other| other.scope == scope && Some(other.id) != arrived)
        .filter(|other| other.state != TokenState::Join || other.element != node.id)
        .map(|other| &*other.element)
        .collect();
    elsewhere.into_iter().any(|element| reaches(engine.process, element, &node.id))
}

fn reaches(process: &Process, from: &str, gateway: &str) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut ahead = vec![from];
    while let Some(element) = ahead.pop() {
        if element == gateway {
            return true;
        }
        let Some(node) = process.node(element) else { continue };
        let flows = node.outgoing.iter().filter_map(|flow| process.flow(flow)).map(|flow| &*flow.target);
        let link = match &node.kind {
            NodeKind::LinkThrowEvent { target, .. } => target.as_deref(),
            _ => None,
        };
        ahead.extend(flows.chain(link).filter(|target| seen.insert(target)));
    }
    false
}

impl Engine<'_> {
    /// Lets every inclusive join go on that no token can reach any more. `true` if one did.
    pub(in crate::execution) fn release_inclusive_joins(&mut self) -> Result<bool, StepError> {
        if !self.process.has_inclusive_joins {
            return Ok(false);
        }
        let mut joins = BTreeSet::new();
        for token in self.instance.tokens.values().filter(|token| token.state == TokenState::Join) {
            joins.insert((token.scope, token.element.clone()));
        }
        for (scope, element) in joins {
            let node = self.node(&element)?;
            if !matches!(node.kind, NodeKind::InclusiveGateway) || is_awaited(self, scope, node, None) {
                continue;
            }
            let waiting = waiting_at(self, scope, node);
            let Some((first, others)) = waiting.split_first() else { continue };
            for joined in others {
                self.append(Event::TokenEnded { token: *joined })?;
            }
            self.set_state(*first, TokenState::Running)?;
            self.schedule(Operation::Complete(*first));
            return Ok(true);
        }
        Ok(false)
    }
}
