//! The second decision: on what is stored, by the crate that the gateway used, in the transaction that acts on it.
//!
//! Two questions are asked about every interaction, single or in a Bundle. Does the policy permit it
//! ([`Session::authorize`])? Do the rules of the resource permit it (`check_*`, `fhir-api` 6.3 to 6.6)? Both must say yes.

use fhir::{Resource, ResourceType};
use policies::read_access::ReadAccess;
use policies::{
    AllowList, CanonicalRequest, Charge, Decision, DsfOperation, Identity, read_access, resource_rules, task,
};
use store::unique;
use time::OffsetDateTime;

use super::Session;
use crate::admit::Caller;
use crate::refusal::Refusal;
use crate::websocket::Criteria;

mod answers;

/// Asks whether an identity has the role for a request and whether the policy of the permit permits it; gives what it uses
/// up when it is accepted.
pub(crate) fn policy_permits(
    caller: &Caller,
    identity: &Identity,
    allow_list: &AllowList,
    request: &CanonicalRequest,
    body: Option<&Resource>,
    now: OffsetDateTime,
) -> Result<Vec<Charge>, Refusal> {
    let operation = request.interaction().group();
    if let Some(needed) = request.interaction().dsf_operation()
        && !identity.has_dsf_role(needed, request.resource_type())
    {
        return Err(Refusal::forbidden(operation, "identity has no such role for the type"));
    }
    // The policy governs who comes through the gateway; the engine's own resources are governed by the rules alone.
    if caller.is_internal {
        return Ok(Vec::new());
    }
    let context = policies::Context { now, origin: caller.origin, body_bytes: None };
    match policies::decide(&caller.policy, allow_list, identity, request, body, &context) {
        Decision::Permit(permit) => Ok(permit.charges().to_vec()),
        Decision::Deny(denial) => {
            Err(Refusal::forbidden(operation, format!("{}: {}", denial.code.as_str(), denial.text)))
        }
    }
}

impl Session<'_, '_> {
    /// Asks the policy of the permit about a request or an entry.
    pub(crate) fn authorize(&mut self, request: &CanonicalRequest, body: Option<&Resource>) -> Result<(), Refusal> {
        self.charges = policy_permits(self.caller, &self.identity, self.allow_list(), request, body, self.tx.now())?;
        Ok(())
    }

    /// What can be said about a new resource before it is there: whether the caller may send one of the type at all.
    pub(crate) fn check_may_send(&mut self, resource_type: ResourceType, is_update: bool) -> Result<(), Refusal> {
        let (operation, name) = match is_update {
            true => (DsfOperation::Update, "update"),
            false => (DsfOperation::Create, "create"),
        };
        self.need(operation, resource_type, name)?;
        self.need_local(name)
    }

    /// Counts what the restrictions of the policy count, in the transaction that accepts the resource: a count is neither
    /// lost by a crash nor kept by a refusal.
    pub(super) fn count(&mut self) -> Result<(), Refusal> {
        for charge in std::mem::take(&mut self.charges) {
            let policies::ChargeLimit::Count { most, per, start } = charge.limit else { continue };
            let name = format!("rule {} {}", charge.rule, charge.caller);
            if let store::processes::Counted::Exceeded(_) = self.tx.count_within(&name, start, most)? {
                return Err(Refusal::limit_reached(&charge.rule, most, per));
            }
        }
        Ok(())
    }

    /// Rules for a new resource.
    pub(crate) fn check_create(&mut self, resource: &Resource, resource_type: ResourceType) -> Result<(), Refusal> {
        self.need(DsfOperation::Create, resource_type, "create")?;
        match resource_type {
            ResourceType::Task => {
                let allow_list = self.fresh_allow_list()?;
                task::check_create(resource.tree(), &self.identity, &allow_list)
                    .map(drop)
                    .map_err(|error| Refusal::forbidden("create", error.to_string()))
            }
            ResourceType::QuestionnaireResponse => {
                answers::check_create(resource, &self.identity).map_err(|reason| Refusal::forbidden("create", reason))
            }
            _ => {
                self.need_local("create")?;
                self.check_criteria(resource, "create")?;
                resource_rules::check(resource_type, resource.tree())
                    .map_err(|error| Refusal::forbidden("create", error.to_string()))?;
                self.check_readers(resource, resource_type, "create")
            }
        }
    }

    /// Refuses what would be a duplicate before it is validated, as the reference does for single requests.
    pub(crate) fn check_unused_keys(
        &mut self,
        resource: &Resource,
        resource_type: ResourceType,
    ) -> Result<(), Refusal> {
        for key in unique::unique_keys(resource_type, resource, Some(&self.shared.base_url)) {
            if self.tx.holder(key.kind, &key.key)?.is_some() {
                return Err(Refusal::duplicate(resource_type.as_str()).because(format!("key {} is taken", key.kind)));
            }
        }
        Ok(())
    }

    /// Rules for a new version, given the stored one.
    pub(crate) fn check_update(
        &mut self,
        old: &Resource,
        new: &Resource,
        resource_type: ResourceType,
    ) -> Result<(), Refusal> {
        self.need(DsfOperation::Update, resource_type, "update")?;
        match resource_type {
            ResourceType::Task => {
                let allow_list = self.fresh_allow_list()?;
                task::check_update(old.tree(), new.tree(), &self.identity, &allow_list)
                    .map_err(|error| Refusal::forbidden("update", error.to_string()))
            }
            ResourceType::QuestionnaireResponse => {
                answers::check_update(old, new, &self.identity).map_err(|reason| Refusal::forbidden("update", reason))
            }
            _ => {
                self.need_local("update")?;
                self.check_criteria(new, "update")?;
                resource_rules::check_update(resource_type, old.tree(), new.tree())
                    .map_err(|error| Refusal::forbidden("update", error.to_string()))?;
                self.check_readers(new, resource_type, "update")
            }
        }
    }

    /// Rules for deleting a stored resource.
    pub(crate) fn check_delete(&mut self, old: &Resource, resource_type: ResourceType) -> Result<(), Refusal> {
        self.check_delete_unknown(resource_type)?;
        match resource_type {
            ResourceType::Task => task::check_delete(old.tree(), &self.identity)
                .map_err(|error| Refusal::forbidden("delete", error.to_string())),
            ResourceType::QuestionnaireResponse if !self.identity.is_local_organization_or_admin() => {
                Err(Refusal::forbidden("delete", "only the local organization or an administrator may do this"))
            }
            _ => Ok(()),
        }
    }

    /// Rules for deleting whatever it is: nobody learns of an id whom the rules would refuse in any case.
    pub(crate) fn check_delete_unknown(&mut self, resource_type: ResourceType) -> Result<(), Refusal> {
        self.need(DsfOperation::Delete, resource_type, "delete")?;
        self.need_local("delete")
    }

    /// Rules for removing a deleted resource for good.
    pub(crate) fn check_permanent_delete(
        &mut self,
        last: &Resource,
        resource_type: ResourceType,
    ) -> Result<(), Refusal> {
        self.need(DsfOperation::PermanentDelete, resource_type, "permanent-delete")?;
        self.check_delete(last, resource_type)
    }

    fn need(&self, operation: DsfOperation, resource_type: ResourceType, name: &'static str) -> Result<(), Refusal> {
        if self.identity.has_dsf_role(operation, Some(resource_type)) {
            Ok(())
        } else {
            Err(Refusal::forbidden(name, "identity has no such role for the type"))
        }
    }

    fn need_local(&self, name: &'static str) -> Result<(), Refusal> {
        match *self.identity {
            Identity::Local(_) | Identity::Person(_) => Ok(()),
            Identity::Remote(_) | Identity::Unknown => Err(Refusal::forbidden(name, "identity is not local")),
        }
    }

    /// A Subscription whose criteria cannot be judged would never be told anything.
    fn check_criteria(&self, resource: &Resource, name: &'static str) -> Result<(), Refusal> {
        if resource.resource_type() != Some(ResourceType::Subscription) {
            return Ok(());
        }
        Criteria::parse(resource.str("criteria").unwrap_or_default(), self.tx.context())
            .map(drop)
            .map_err(|error| Refusal::forbidden(name, error.to_string()))
    }

    /// Who may read the resource must be said in exactly one way: by tags, or for a Binary by its context.
    fn check_readers(
        &mut self,
        resource: &Resource,
        resource_type: ResourceType,
        name: &'static str,
    ) -> Result<(), Refusal> {
        let has_context = resource_type == ResourceType::Binary && resource.get("securityContext").is_some();
        if has_context {
            return match read_access::tags(resource.tree()) {
                Err(read_access::TagError::Missing) => self.check_context(resource, name),
                _ => Err(Refusal::forbidden(name, "read-access tag and securityContext together")),
            };
        }
        let tags = read_access::tags(resource.tree()).map_err(|error| Refusal::forbidden(name, error.to_string()))?;
        let names_nobody = tags.iter().all(|tag| matches!(tag, ReadAccess::All | ReadAccess::Local));
        if names_nobody {
            return Ok(());
        }
        let allow_list = self.fresh_allow_list()?;
        let role_exists = |role: &policies::Role| self.profiles.has_code(role.system(), role.code());
        read_access::check(resource.tree(), &allow_list, role_exists)
            .map(drop)
            .map_err(|error| Refusal::forbidden(name, error.to_string()))
    }

    /// Any type but Binary and Task can be the context of a Binary; that it exists is checked with the references.
    fn check_context(&self, binary: &Resource, name: &'static str) -> Result<(), Refusal> {
        let context = binary.get("securityContext").and_then(fhir::Value::as_object);
        let type_name = context.and_then(|context| match fhir::reference::Reference::parse(context) {
            fhir::reference::Reference::Literal(literal) => Some(literal.type_name),
            fhir::reference::Reference::Logical(logical) => Some(logical.type_name),
            _ => None,
        });
        let resource_type: Option<ResourceType> = type_name.and_then(|name| name.parse().ok());
        match resource_type {
            Some(ResourceType::Binary | ResourceType::Task) | None => {
                Err(Refusal::forbidden(name, "securityContext is not a resource that can be one"))
            }
            Some(_) => Ok(()),
        }
    }
}
