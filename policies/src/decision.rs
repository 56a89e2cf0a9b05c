//! The decision: pure, total, and always with the rule that made it.
//!
//! [`decide`] goes through four steps, each of which can only narrow: the identity is known; its DSF roles grant the
//! interaction (a ceiling that no rule lifts); no rule of the policy denies, one allows, and every restriction is met; what the body asks for is
//! allowed too, entry by entry for Bundles. Gateway and engine call the same function; the engine adds what only the
//! store knows (read access of stored resources, the old version of an update).

mod code;

use std::net::IpAddr;
use std::time::Duration;

use fhir::{Object, Resource, ResourceType};
use time::OffsetDateTime;

use crate::allow_list::AllowList;
use crate::bundle::{self, BundleError, BundleKind};
use crate::clock::Period;
use crate::identifier::RuleId;
use crate::identity::Identity;
use crate::interaction::{BodyKind, DsfOperation, Interaction};
use crate::policy::Policy;
use crate::policy::rules::{Body, Question, Rule};
use crate::request::{self, CanonicalRequest};
use crate::task;

pub use code::DenyCode;

/// What a decision depends on beyond policy, allow-list, identity and request. It stands in the audit record, so that a
/// decision can be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The time of the request.
    pub now: OffsetDateTime,
    /// Where the request comes from.
    pub origin: Origin,
    /// Bytes of the body; none if it has none, or if only the gateway knows.
    pub body_bytes: Option<u64>,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This address.
    Address(IpAddr),
    /// The engine itself; also whoever asks what holds whatever the address is.
    Engine,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// It may go on.
    Permit(Permit),
    /// It is refused.
    Deny(Denial),
}

/// A request may go on. Only [`decide`] makes permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    rule: RuleId,
    entry_rules: Vec<RuleId>,
    charges: Vec<Charge>,
    entry_charges: Vec<Charge>,
}

/// What a permitted request uses up: the request may go on only if whoever keeps the count agrees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The restriction that asks for it.
    pub rule: RuleId,
    /// Whose use it is.
    pub caller: String,
    /// How much there is.
    pub limit: ChargeLimit,
}

/// How much there is to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChargeLimit {
    /// Kept by the gateway.
    Rate {
        /// How many.
        most: u32,
        /// In which span of time.
        span: Duration,
    },
    /// Kept by the engine, in the transaction that accepts the request.
    Count {
        /// How many.
        most: u64,
        /// In which period.
        per: Period,
        /// When the period began.
        start: OffsetDateTime,
    },
}

/// A request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The rule that refuses; none if nothing allows, or if no rule could.
    pub rule: Option<RuleId>,
    /// Stable code.
    pub code: DenyCode,
    /// What was refused, for logs and OperationOutcome; names no resource content.
    pub text: String,
}

/// Decides on a request with its body.
///
/// `body` is the parsed body of create, update, conditional update, Bundle and `$snapshot`; only raw content of a Binary
/// has none.
pub fn decide(
    policy: &Policy,
    allow_list: &AllowList,
    identity: &Identity,
    request: &CanonicalRequest,
    body: Option<&Resource>,
    context: &Context,
) -> Decision {
    let judge = Judge { policy, allow_list, identity, context };
    match judge.judge(request, body.map(Resource::tree)) {
        Ok(permit) => Decision::Permit(permit),
        Err(denial) => Decision::Deny(denial),
    }
}

/// Decides on the head of a request alone, so that what no body could make permissible is refused before the body is
/// read. `None`: read the body and [`decide`].
#[must_use]
pub fn deny_by_head(
    policy: &Policy,
    allow_list: &AllowList,
    identity: &Identity,
    request: &CanonicalRequest,
    context: &Context,
) -> Option<Denial> {
    let judge = Judge { policy, allow_list, identity, context };
    judge.judge_head(request, Body::NotYet).err()
}

/// Whether the identity may use the interaction on resources of the type at all.
#[must_use]
pub fn is_permitted_on_type(
    policy: &Policy,
    allow_list: &AllowList,
    identity: &Identity,
    interaction: Interaction,
    resource_type: ResourceType,
    context: &Context,
) -> bool {
    let judge = Judge { policy, allow_list, identity, context };
    judge.judge_rules(interaction, Some(resource_type), Body::NotYet).is_ok()
}

/// The types of which resources may stand in an answer to the identity, whatever led to them: a search, an include, a
/// history, an event. They are those that its rules let it read; `None` if that is every type.
#[must_use]
pub fn shown_types(
    policy: &Policy,
    allow_list: &AllowList,
    identity: &Identity,
    context: &Context,
) -> Option<Vec<ResourceType>> {
    let judge = Judge { policy, allow_list, identity, context };
    let may_read = |resource_type: &ResourceType| judge.judge_shown(*resource_type).is_ok();
    // Asked for each search; most policies narrow nobody's reading.
    if policy.rules().lets_read_everything(identity, allow_list) && !matches!(identity, Identity::Person(_)) {
        return None;
    }
    Some(ResourceType::ALL.iter().copied().filter(may_read).collect())
}

/// What stands in no answer to the identity, with the reason of each type: what [`shown_types`] leaves out.
#[must_use]
pub fn hidden_types(
    policy: &Policy,
    allow_list: &AllowList,
    identity: &Identity,
    context: &Context,
) -> Vec<(ResourceType, Denial)> {
    let judge = Judge { policy, allow_list, identity, context };
    let hidden = |resource_type: &ResourceType| Some((*resource_type, judge.judge_shown(*resource_type).err()?));
    ResourceType::ALL.iter().filter_map(hidden).collect()
}

/// Whether the policy allows criteria that come beside the target of a request: `If-None-Exist` and its kind in Bundles and
/// references. They ask what a search asks, so they may ask no more.
pub fn judge_criteria(policy: &Policy, criteria: &str) -> Result<(), Denial> {
    let parameters = request::read_criteria(criteria)
        .map_err(|error| Denial::new(DenyCode::Search, format!("the criteria are not readable: {error}")))?;
    judge_parameters(policy, &parameters)
}

fn judge_parameters(policy: &Policy, parameters: &[(String, String)]) -> Result<(), Denial> {
    let search = policy.search();
    let limits = &policy.limits().query;
    let refuse = |text: &str| Err(Denial::new(DenyCode::Search, text));
    if parameters.len() > limits.search_params as usize {
        return refuse("too many search parameters");
    }
    let mut includes: u32 = 0;
    for (name, value) in parameters {
        let name = name.as_str();
        let allowed = match name.split_once(':').map_or(name, |(name, _)| name) {
            "_include" => Some(&search.include_allow),
            "_revinclude" => Some(&search.revinclude_allow),
            _ => None,
        };
        if let Some(allowed) = allowed {
            includes += 1;
            if !allowed.iter().any(|entry| entry == "*" || entry == value) {
                return refuse("the policy does not allow this include");
            }
        } else if name == "_has" || name.starts_with("_has:") {
            if !search.has {
                return refuse("the policy does not allow _has");
            }
        } else if name.contains('.') && !search.chained {
            return refuse("the policy does not allow chained parameters");
        }
    }
    if includes > limits.include_params { refuse("too many includes") } else { Ok(()) }
}

/// The rule that allows, and what the restrictions charge for it.
struct Grant<'a> {
    rule: &'a Rule,
    charges: Vec<Charge>,
}

/// The part of the decision that rules take, from facts: what [`crate::replay`] asks.
pub(crate) fn decide_by_rules(
    policy: &Policy,
    allow_list: &AllowList,
    identity: &Identity,
    interaction: Interaction,
    resource_type: Option<ResourceType>,
    task: Option<&Object>,
    context: &Context,
) -> Result<(RuleId, Vec<Charge>), Denial> {
    let judge = Judge { policy, allow_list, identity, context };
    let body = task.map_or(Body::None, Body::Resource);
    let Grant { rule, charges } = judge.judge_rules(interaction, resource_type, body)?;
    Ok((rule.id.clone(), charges))
}

struct Judge<'a> {
    policy: &'a Policy,
    allow_list: &'a AllowList,
    identity: &'a Identity,
    context: &'a Context,
}

impl<'a> Judge<'a> {
    fn judge(&self, request: &CanonicalRequest, body: Option<&Object>) -> Result<Permit, Denial> {
        let known = body.map_or(Body::None, Body::Resource);
        let Grant { rule, charges } = self.judge_head(request, known)?;
        let (entry_rules, entry_charges) = match request.body() {
            BodyKind::Absent => Default::default(),
            BodyKind::Bundle => self.judge_bundle(body)?,
            BodyKind::Resource => {
                self.judge_resource(request, body, true)?;
                Default::default()
            }
            BodyKind::Parameters => {
                if body.is_some_and(|body| body.str("resourceType") != Some("Parameters")) {
                    return Err(Denial::new(DenyCode::BodyType, "body is no Parameters resource"));
                }
                Default::default()
            }
        };
        Ok(Permit { rule: rule.id.clone(), entry_rules, charges, entry_charges })
    }

    /// Everything that does not depend on the content of the body, but for conditions of rules on it.
    fn judge_head(&self, request: &CanonicalRequest, body: Body<'_>) -> Result<Grant<'a>, Denial> {
        let rule = self.judge_rules(request.interaction(), request.resource_type(), body)?;
        if matches!(
            request.interaction(),
            Interaction::Search | Interaction::ConditionalUpdate | Interaction::ConditionalDelete
        ) {
            judge_parameters(self.policy, request.query())?;
        }
        Ok(rule)
    }

    /// The rules about the interaction; about one that shows a single stored resource also those about reading, so that no
    /// way to it is left open by a rule that names another.
    fn judge_rules(
        &self,
        interaction: Interaction,
        resource_type: Option<ResourceType>,
        body: Body<'_>,
    ) -> Result<Grant<'a>, Denial> {
        self.judge_identity()?;
        let mut grant = self.judge_interaction(interaction, resource_type, body)?;
        if interaction.shows_stored() {
            let reading = self.judge_interaction(Interaction::Read, resource_type, Body::None)?;
            let new = |charge: &Charge| !grant.charges.iter().any(|known| known.rule == charge.rule);
            let charges: Vec<Charge> = reading.charges.into_iter().filter(new).collect();
            grant.charges.extend(charges);
        }
        Ok(grant)
    }

    fn judge_interaction(
        &self,
        interaction: Interaction,
        resource_type: Option<ResourceType>,
        body: Body<'_>,
    ) -> Result<Grant<'a>, Denial> {
        let what = || match resource_type {
            Some(resource_type) => format!("{interaction} {resource_type}"),
            None => interaction.to_string(),
        };
        let granted = match interaction {
            // Deleting for good takes the right to delete as well (DSF `AbstractAuthorizationRule`).
            Interaction::PermanentDelete => [DsfOperation::PermanentDelete, DsfOperation::Delete]
                .iter()
                .all(|operation| self.identity.has_dsf_role(*operation, resource_type)),
            _ => {
                interaction.dsf_operation().is_none_or(|operation| self.identity.has_dsf_role(operation, resource_type))
            }
        };
        if !granted {
            return Err(Denial::new(DenyCode::BeyondRole, format!("{} is beyond the roles of the caller", what())));
        }
        let (context, zone) = (self.context, self.policy.zone());
        let question = Question { identity: self.identity, interaction, resource_type, body, context, zone };
        let rules = self.policy.rules();
        if let Some(rule) = rules.denying(&question, self.allow_list) {
            let text = format!("{} is denied by rule {}", what(), rule.id);
            return Err(Denial { rule: Some(rule.id.clone()), code: DenyCode::DeniedByRule, text });
        }
        let rule = rules
            .allowing(&question, self.allow_list)
            .ok_or_else(|| Denial::new(DenyCode::NotAllowed, format!("no rule allows {}", what())))?;
        let mut charges = Vec::new();
        for restriction in rules.restricting(&question, self.allow_list) {
            if let Some(unmet) = restriction.only.unmet(context, zone) {
                let text = format!("{} is restricted by rule {}: {unmet}", what(), restriction.id);
                return Err(Denial { rule: Some(restriction.id.clone()), code: DenyCode::Restricted, text });
            }
            charges.extend(restriction.only.charges(&restriction.id, self.identity, context, zone));
        }
        Ok(Grant { rule, charges })
    }

    /// Whether resources of the type may stand in an answer.
    fn judge_shown(&self, resource_type: ResourceType) -> Result<Grant<'a>, Denial> {
        self.judge_rules(Interaction::Read, Some(resource_type), Body::None)
    }

    fn judge_identity(&self) -> Result<(), Denial> {
        // The identity may be older than the allow-list: what it says is checked again.
        let known = self.identity.organization().is_some_and(|organization| {
            self.allow_list.is_active(organization)
                && (organization == self.allow_list.local()) == self.identity.is_local()
        });
        if !known {
            return Err(Denial::new(DenyCode::UnknownIdentity, "caller is unknown"));
        }
        let Identity::Person(person) = self.identity else { return Ok(()) };
        if person.dsf_roles.is_empty() {
            return Err(Denial::new(DenyCode::BeyondRole, "the person has no roles"));
        }
        let Origin::Address(address) = self.context.origin else { return Ok(()) };
        let mut tables = self.policy.identity().people.iter().filter(|table| person.granted_by.contains(&table.id));
        if tables.all(|table| table.admits_address(address)) {
            Ok(())
        } else {
            Err(Denial::new(DenyCode::Network, "the person may not come from this network"))
        }
    }

    /// `with_authorization` is off for entries of Bundles that change what authorisation depends on: only the engine can
    /// judge those, in the transaction.
    fn judge_resource(
        &self,
        request: &CanonicalRequest,
        body: Option<&Object>,
        with_authorization: bool,
    ) -> Result<(), Denial> {
        let resource_type = request.resource_type();
        let Some(body) = body else {
            return match resource_type {
                Some(ResourceType::Binary) => Ok(()),
                _ => Err(Denial::new(DenyCode::BodyMissing, "the request has no resource")),
            };
        };
        if body.str("resourceType") != resource_type.map(ResourceType::as_str) {
            return Err(Denial::new(DenyCode::BodyType, "the resource is of another type than the path"));
        }
        if request.interaction() == Interaction::Create
            && resource_type == Some(ResourceType::Task)
            && with_authorization
        {
            task::check_create(body, self.identity, self.allow_list)
                .map_err(|error| Denial::new(DenyCode::Task, error.to_string()))?;
        }
        Ok(())
    }

    fn judge_bundle(&self, body: Option<&Object>) -> Result<(Vec<RuleId>, Vec<Charge>), Denial> {
        let Some(bundle) = body else { return Err(Denial::new(DenyCode::BodyMissing, "the request has no bundle")) };
        let section = self.policy.bundle();
        let kind = bundle::kind(bundle).map_err(|error| Denial::new(DenyCode::BundleKind, error.to_string()))?;
        let allowed = match kind {
            BundleKind::Batch => section.batch,
            BundleKind::Transaction => section.transaction,
        };
        if !allowed {
            return Err(Denial::new(DenyCode::BundleKind, "the policy does not allow this type of bundle"));
        }
        let most = self.policy.limits().query.bundle_entries as usize;
        let entries = bundle::entries(bundle, most).map_err(|error| {
            let code = match error {
                BundleError::TooManyEntries { .. } => DenyCode::BundleSize,
                BundleError::Kind => DenyCode::BundleKind,
                BundleError::NoRequest { .. }
                | BundleError::Request { .. }
                | BundleError::Resource { .. }
                | BundleError::ResourceType { .. } => DenyCode::BundleEntry,
            };
            Denial::new(code, error.to_string())
        })?;
        let changes_allow_list = entries.iter().any(|entry| {
            entry.request.interaction().is_write()
                && matches!(
                    entry.request.resource_type(),
                    Some(
                        ResourceType::ActivityDefinition
                            | ResourceType::Endpoint
                            | ResourceType::Organization
                            | ResourceType::OrganizationAffiliation
                    )
                )
        });
        let mut rules: Vec<RuleId> = Vec::new();
        let mut charges: Vec<Charge> = Vec::new();
        for entry in &entries {
            let within = |denial: Denial| Denial { text: format!("entry {}: {}", entry.index, denial.text), ..denial };
            if !section.entry_methods.contains(&entry.request.method()) {
                return Err(within(Denial::new(
                    DenyCode::BundleEntry,
                    "the policy does not allow this method in bundles",
                )));
            }
            let known = entry.resource.map_or(Body::None, Body::Resource);
            let grant = self.judge_head(&entry.request, known).map_err(within)?;
            let rule = grant.rule;
            charges.extend(grant.charges);
            if entry.request.body() == BodyKind::Resource {
                self.judge_resource(&entry.request, entry.resource, !changes_allow_list).map_err(within)?;
            }
            if !rules.contains(&rule.id) {
                rules.push(rule.id.clone());
            }
        }
        Ok((rules, charges))
    }
}

// === impl Permit ===

impl Permit {
    #[cfg(test)]
    pub(crate) fn for_tests(rule: &str) -> Self {
        let rule = rule.parse().expect("a rule id");
        Self { rule, entry_rules: Vec::new(), charges: Vec::new(), entry_charges: Vec::new() }
    }

    /// The rule that allows the request.
    #[must_use]
    pub const fn rule(&self) -> &RuleId {
        &self.rule
    }

    /// The rules that allow the entries of a Bundle, each once.
    #[must_use]
    pub fn entry_rules(&self) -> &[RuleId] {
        &self.entry_rules
    }

    /// What the request itself uses up.
    #[must_use]
    pub fn charges(&self) -> &[Charge] {
        &self.charges
    }

    /// What the entries of a Bundle use up, one for each entry.
    #[must_use]
    pub fn entry_charges(&self) -> &[Charge] {
        &self.entry_charges
    }
}

// === impl Denial ===

impl Denial {
    fn new(code: DenyCode, text: impl Into<String>) -> Self {
        Self { rule: None, code, text: text.into() }
    }
}

// === impl Decision ===

impl Decision {
    /// Whether the request may go on.
    #[must_use]
    pub const fn is_permit(&self) -> bool {
        matches!(self, Self::Permit(_))
    }

    /// The denial, if it is one.
    #[must_use]
    pub const fn denial(&self) -> Option<&Denial> {
        match self {
            Self::Permit(_) => None,
            Self::Deny(denial) => Some(denial),
        }
    }
}

#[cfg(test)]
mod tests;
