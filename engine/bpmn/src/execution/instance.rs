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

use super::event::{Caller, Job, OpenCall, Step, Subscription, UserTask};
use crate::{ElementId, Id, VariableMap};

/// State of one process instance. Changed only by [`Instance::apply`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub(crate) id: Option<Id>,
    pub(crate) process: Option<ElementId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version_tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) business_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) caller: Option<Caller>,
    pub(crate) status: Status,
    pub(crate) next_key: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) scopes: BTreeMap<ScopeId, Scope>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tokens: BTreeMap<TokenId, Token>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) steps: BTreeMap<Id, Step>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) jobs: BTreeMap<Id, Job>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) subscriptions: BTreeMap<Id, Subscription>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) user_tasks: BTreeMap<Id, UserTask>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) calls: BTreeMap<Id, OpenCall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TokenId>,
    /// Its variables.
    #[serde(default, skip_serializing_if = "VariableMap::is_empty")]
    pub variables: VariableMap,
    /// Messages received in it that no end event settled yet, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<String>,
    /// Number of tokens that move in it.
    pub tokens: u32,
    /// Completed activities that can be compensated, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compensations: Vec<Compensation>,
}

/// A completed activity that can be compensated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compensation {
    /// The activity.
    pub activity: ElementId,
    /// The activity that compensates it; a sub-process without one compensates what ran in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<ElementId>,
    /// Variables that were local to the activity when it completed.
    #[serde(default, skip_serializing_if = "VariableMap::is_empty")]
    pub variables: VariableMap,
    /// What completed inside of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nested: Vec<Self>,
}

/// What a scope is the scope of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScopeKind {
    /// The process itself.
    Process,
    /// An embedded sub-process or event sub-process, or one instance of it.
    SubProcess,
    /// The body around the instances of a multi-instance or loop activity.
    MultiInstance,
    /// A single activity, event or gateway that needs its own variables.
    Activity,
    /// An event that throws compensation, or a completed sub-process that is being compensated.
    Compensation,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inner: Option<ScopeId>,
    /// Variables of a concurrent token.
    #[serde(default, skip_serializing_if = "VariableMap::is_empty")]
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
    /// A called process.
    Call,
    /// The other tokens of a parallel or inclusive join.
    Join,
    /// The tokens of its sub-process, multi-instance body or compensation.
    Inner,
}

/// What variables, waits and timers belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// A scope.
    Scope(ScopeId),
    /// A token.
    Token(TokenId),
}

/// Variables as one token sees them: its own first, then outwards through the scopes.
#[derive(Debug, Clone, Copy)]
pub struct Variables<'a> {
    instance: &'a Instance,
    /// Where the view begins; none sees the process scope only.
    from: Option<Owner>,
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

    /// Open calls of other processes.
    pub fn calls(&self) -> impl Iterator<Item = &OpenCall> {
        self.calls.values()
    }

    /// The instance that called this one.
    pub fn caller(&self) -> Option<&Caller> {
        self.caller.as_ref()
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
        Variables { instance: self, from: Some(Owner::Token(token)) }
    }

    /// Variables as a token, or what waits in a scope, sees them.
    pub fn variables_of(&self, owner: Owner) -> Variables<'_> {
        Variables { instance: self, from: Some(owner) }
    }

    /// Variables of the process scope.
    pub fn root_variables(&self) -> Variables<'_> {
        Variables { instance: self, from: None }
    }

    /// `true` when tokens are left but nothing can move them any more: a parallel join waits for a token that never comes.
    pub fn is_stuck(&self) -> bool {
        self.status == Status::Active
            && self.steps.is_empty()
            && self.jobs.is_empty()
            && self.user_tasks.is_empty()
            && self.calls.is_empty()
            && self.subscriptions.is_empty()
    }

    /// Scope of the process; none before the start and after the end.
    pub fn root(&self) -> Option<ScopeId> {
        // It is the first that is opened.
        self.scopes.values().next().filter(|scope| scope.kind == ScopeKind::Process).map(|scope| scope.id)
    }
}

// The tree of variable owners.
impl Instance {
    /// Owner of what a token calls local: the scope of its activity, its scope while it is alone there, else itself.
    pub(crate) fn local_owner(&self, token: TokenId) -> Option<Owner> {
        let token = self.tokens.get(&token)?;
        if let Some(inner) = token.inner {
            return Some(Owner::Scope(inner));
        }
        let scope = self.scopes.get(&token.scope)?;
        let is_alone = scope.kind != ScopeKind::MultiInstance && scope.tokens <= 1;
        Some(if is_alone { Owner::Scope(token.scope) } else { Owner::Token(token.id) })
    }

    /// Owners visible from a token or scope, from the inside out; without one only the process scope.
    pub(crate) fn owners(&self, from: Option<Owner>) -> impl Iterator<Item = Owner> + use<'_> {
        let (first, mut token) = match from {
            None => (self.root().map(Owner::Scope), None),
            Some(Owner::Token(token)) => {
                let token = self.tokens.get(&token);
                (token.and_then(|token| token.inner).map(Owner::Scope), token)
            }
            Some(Owner::Scope(scope)) => (Some(Owner::Scope(scope)), self.token_around(scope)),
        };
        let mut pending = first;
        std::iter::from_fn(move || {
            if let Some(owner) = pending.take() {
                return Some(owner);
            }
            let current = token?;
            pending = Some(Owner::Scope(current.scope));
            token = self.token_around(current.scope);
            Some(Owner::Token(current.id))
        })
    }

    /// The token inside whose activity the scope lies.
    fn token_around(&self, scope: ScopeId) -> Option<&Token> {
        self.scopes.get(&scope).and_then(|scope| scope.parent).and_then(|parent| self.tokens.get(&parent))
    }

    pub(crate) fn map_of(&self, owner: Owner) -> Option<&VariableMap> {
        match owner {
            Owner::Scope(scope) => self.scopes.get(&scope).map(|scope| &scope.variables),
            Owner::Token(token) => self.tokens.get(&token).map(|token| &token.variables),
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
        match self.from {
            Some(Owner::Token(token)) => Some(token),
            _ => None,
        }
    }

    /// Variables of the local scope only.
    pub fn local_map(&self) -> VariableMap {
        self.local_owner().and_then(|owner| self.instance.map_of(owner)).cloned().unwrap_or_default()
    }

    fn local_owner(&self) -> Option<Owner> {
        match self.from {
            Some(Owner::Token(token)) => self.instance.local_owner(token),
            Some(scope) => Some(scope),
            None => self.instance.root().map(Owner::Scope),
        }
    }

    fn owners(&self) -> impl Iterator<Item = Owner> + use<'a> {
        self.instance.owners(self.from)
    }
}
