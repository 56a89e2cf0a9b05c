//! The state of one process instance: scopes, tokens and what they wait for. Self-contained and serialisable.
//!
//! Camunda's tree of executions is kept as two kinds of node. A [`Scope`] owns variables and belongs to the process, a
//! sub-process, a multi-instance body or a single activity. A [`Token`] moves through the flow nodes of one scope. As long
//! as a token is alone in its scope, "local" variables are those of the scope; concurrent tokens have their own. When the
//! second-last token of a scope ends, the variables of the last one move to the scope, as Camunda does when it compacts
//! its tree. Tokens in a multi-instance body always have their own variables (`loopCounter`, the element variable).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::{Job, Step, Subscription, UserTask};
use crate::{ElementId, Id, VariableMap};

/// State of one process instance. Changed only by [`Instance::apply`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub(crate) id: Option<Id>,
    pub(crate) process: Option<ElementId>,
    pub(crate) version_tag: Option<String>,
    pub(crate) business_key: Option<String>,
    pub(crate) status: Status,
    pub(crate) next_key: u32,
    pub(crate) scopes: BTreeMap<ScopeId, Scope>,
    pub(crate) tokens: BTreeMap<TokenId, Token>,
    pub(crate) steps: BTreeMap<Id, Step>,
    pub(crate) jobs: BTreeMap<Id, Job>,
    pub(crate) subscriptions: BTreeMap<Id, Subscription>,
    pub(crate) user_tasks: BTreeMap<Id, UserTask>,
    pub(crate) start_message: Option<String>,
}

/// Whether an instance lives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Status {
    /// Empty; takes only a start.
    #[default]
    New,
    /// Started and not ended.
    Active,
    /// Every token ended.
    Completed,
    /// Given up.
    Failed {
        /// Evidence.
        reason: String,
    },
    /// Ended by an operator.
    Cancelled {
        /// Evidence.
        reason: String,
    },
}

/// Number of a scope within its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScopeId(pub u32);

/// Number of a token within its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(pub u32);

/// A scope of variables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scope {
    /// Its number.
    pub id: ScopeId,
    /// What it is the scope of.
    pub kind: ScopeKind,
    /// Process, sub-process or activity.
    pub element: ElementId,
    /// Token inside whose activity the scope lies; none for the process.
    pub parent: Option<TokenId>,
    /// Its variables.
    pub variables: VariableMap,
    /// Messages received in it that no end event settled yet, oldest first.
    pub messages: Vec<String>,
    /// Number of tokens that move in it.
    pub tokens: u32,
}

/// What a scope is the scope of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScopeKind {
    /// The process itself.
    Process,
    /// An embedded sub-process, or one instance of it.
    SubProcess,
    /// The body around the instances of a multi-instance activity.
    MultiInstance,
    /// A single activity, event or gateway that needs its own variables.
    Activity,
}

/// A token: one thread of control in a scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// Its number.
    pub id: TokenId,
    /// Scope in which it moves.
    pub scope: ScopeId,
    /// Element at which it is.
    pub element: ElementId,
    /// What it waits for.
    pub state: TokenState,
    /// Scope of the activity that it is inside of, if that has one.
    pub inner: Option<ScopeId>,
    /// Variables of a concurrent token.
    pub variables: VariableMap,
}

/// What a token waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenState {
    /// Moves; never seen between two commands.
    Running,
    /// A job.
    Job,
    /// A step of the host.
    Step,
    /// A message, signal, timer or condition.
    Event,
    /// A user task.
    UserTask,
    /// The other tokens of a parallel join.
    Join,
    /// The tokens of its sub-process or multi-instance body.
    Inner,
    /// The other instances of its multi-instance body; its own instance ended.
    Done,
}

/// Where a variable lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VariableOwner {
    /// In a scope.
    Scope(ScopeId),
    /// At a concurrent token.
    Token(TokenId),
}

/// Variables as one token sees them: its own first, then outwards through the scopes.
#[derive(Debug, Clone, Copy)]
pub struct Variables<'a> {
    instance: &'a Instance,
    token: Option<TokenId>,
}

// === impl Instance ===

impl Instance {
    /// Id of the instance; none before the start.
    pub fn id(&self) -> Option<&Id> {
        self.id.as_ref()
    }

    /// `id` of the process.
    pub fn process(&self) -> Option<&ElementId> {
        self.process.as_ref()
    }

    /// Version tag of the process.
    pub fn version_tag(&self) -> Option<&str> {
        self.version_tag.as_deref()
    }

    /// Business key.
    pub fn business_key(&self) -> Option<&str> {
        self.business_key.as_deref()
    }

    /// Whether it lives.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// `true` once completed, failed or cancelled.
    pub fn is_ended(&self) -> bool {
        matches!(self.status, Status::Completed | Status::Failed { .. } | Status::Cancelled { .. })
    }

    /// Tokens by number.
    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.tokens.values()
    }

    /// Scopes by number.
    pub fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.scopes.values()
    }

    /// Steps that the host owes an answer to.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.values()
    }

    /// The pending step of this id.
    pub fn pending_step(&self, step: &str) -> Option<&Step> {
        self.steps.get(step)
    }

    /// Pending jobs.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    /// Open subscriptions.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.values()
    }

    /// Open user tasks.
    pub fn user_tasks(&self) -> impl Iterator<Item = &UserTask> {
        self.user_tasks.values()
    }

    /// The host's name for the message that started the instance, until an end event settled it.
    pub fn start_message(&self) -> Option<&str> {
        self.start_message.as_deref()
    }

    /// "Current" messages of a scope: those received in it, oldest first.
    pub fn messages(&self, scope: ScopeId) -> &[String] {
        self.scopes.get(&scope).map_or(&[], |scope| scope.messages.as_slice())
    }

    /// Variables as this token sees them.
    pub fn variables(&self, token: TokenId) -> Variables<'_> {
        Variables { instance: self, token: Some(token) }
    }

    /// Variables of the process scope.
    pub fn root_variables(&self) -> Variables<'_> {
        Variables { instance: self, token: None }
    }

    /// `true` when tokens are left but nothing can move them any more: a parallel join waits for a token that never comes.
    pub fn is_stuck(&self) -> bool {
        self.status == Status::Active
            && self.steps.is_empty()
            && self.jobs.is_empty()
            && self.user_tasks.is_empty()
            && self.subscriptions.is_empty()
    }

    /// Scope of the process; none before the start and after the end.
    pub fn root(&self) -> Option<ScopeId> {
        self.scopes.values().find(|scope| scope.kind == ScopeKind::Process).map(|scope| scope.id)
    }
}

// The tree of variable owners.
impl Instance {
    /// Owner of what a token calls local: the scope of its activity, its scope while it is alone there, else itself.
    pub(crate) fn local_owner(&self, token: TokenId) -> Option<VariableOwner> {
        let token = self.tokens.get(&token)?;
        if let Some(inner) = token.inner {
            return Some(VariableOwner::Scope(inner));
        }
        let scope = self.scopes.get(&token.scope)?;
        let is_alone = scope.kind != ScopeKind::MultiInstance && scope.tokens <= 1;
        Some(if is_alone { VariableOwner::Scope(token.scope) } else { VariableOwner::Token(token.id) })
    }

    /// Owners visible from a token, from the inside out; without a token only the process scope.
    pub(crate) fn owners(&self, token: Option<TokenId>) -> impl Iterator<Item = VariableOwner> + use<'_> {
        let mut token = token.and_then(|id| self.tokens.get(&id));
        let mut pending = std::collections::VecDeque::new();
        match token {
            Some(token) => pending.extend(token.inner.map(VariableOwner::Scope)),
            None => pending.extend(self.root().map(VariableOwner::Scope)),
        }
        std::iter::from_fn(move || {
            if let Some(owner) = pending.pop_front() {
                return Some(owner);
            }
            let current = token?;
            pending.push_back(VariableOwner::Scope(current.scope));
            token = self
                .scopes
                .get(&current.scope)
                .and_then(|scope| scope.parent)
                .and_then(|parent| self.tokens.get(&parent));
            Some(VariableOwner::Token(current.id))
        })
    }

    pub(crate) fn map_of(&self, owner: VariableOwner) -> Option<&VariableMap> {
        match owner {
            VariableOwner::Scope(scope) => self.scopes.get(&scope).map(|scope| &scope.variables),
            VariableOwner::Token(token) => self.tokens.get(&token).map(|token| &token.variables),
        }
    }
}

// === impl Variables ===

impl<'a> Variables<'a> {
    /// Value of the variable, searched outwards.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.owners().find_map(|owner| self.instance.map_of(owner)?.get(name)).map(Arc::as_ref)
    }

    /// Value of the variable in the local scope only.
    pub fn get_local(&self, name: &str) -> Option<&'a Value> {
        self.instance.map_of(self.local_owner()?)?.get(name).map(Arc::as_ref)
    }

    /// All visible variables; inner ones hide outer ones.
    pub fn to_map(&self) -> VariableMap {
        let mut visible = VariableMap::new();
        for owner in self.owners() {
            for (name, value) in self.instance.map_of(owner).into_iter().flatten() {
                visible.entry(name.clone()).or_insert_with(|| Arc::clone(value));
            }
        }
        visible
    }

    /// Business key of the instance.
    pub fn business_key(&self) -> Option<&'a str> {
        self.instance.business_key.as_deref()
    }

    /// Id of the instance.
    pub fn instance_id(&self) -> Option<&'a str> {
        self.instance.id.as_deref()
    }

    /// The instance itself, e.g. for its current messages.
    pub fn instance(&self) -> &'a Instance {
        self.instance
    }

    /// The token, if not the view of the whole instance.
    pub fn token(&self) -> Option<TokenId> {
        self.token
    }

    fn local_owner(&self) -> Option<VariableOwner> {
        match self.token {
            Some(token) => self.instance.local_owner(token),
            None => self.instance.root().map(VariableOwner::Scope),
        }
    }

    fn owners(&self) -> impl Iterator<Item = VariableOwner> + use<'a> {
        self.instance.owners(self.token)
    }
}
