//! Principals and targets as Cedar sees them.

use std::collections::{HashMap, HashSet};

use arbiter_core::model::{Operation, Principal, SecurityLevel, Target};
use arbiter_core::ports::BoxError;
use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
};

/// The names of types and actions, parsed once.
#[derive(Debug)]
pub(crate) struct Names {
    principal: EntityTypeName,
    target: EntityTypeName,
    actions: HashMap<Operation, EntityUid>,
}

impl Names {
    pub(crate) fn new() -> Result<Self, BoxError> {
        let action: EntityTypeName = "Arbiter::Action".parse()?;
        let actions = Operation::ALL
            .iter()
            .map(|operation| {
                let id = EntityId::new(operation.word());
                (*operation, EntityUid::from_type_name_and_id(action.clone(), id))
            })
            .collect();
        Ok(Self {
            principal: "Arbiter::Principal".parse()?,
            target: "Arbiter::Target".parse()?,
            actions,
        })
    }

    /// The request and the entities that it is about.
    pub(crate) fn request(
        &self,
        principal: &Principal,
        operation: Operation,
        target: &Target,
    ) -> Result<(Request, Entities), BoxError> {
        let who =
            EntityUid::from_type_name_and_id(self.principal.clone(), EntityId::new(principal.id.to_string()));
        let what = EntityUid::from_type_name_and_id(self.target.clone(), EntityId::new("target"));
        let action = self
            .actions
            .get(&operation)
            .cloned()
            .ok_or("the operation has no action")?;
        let entities = [
            Entity::new(who.clone(), principal_attributes(principal), HashSet::new())?,
            Entity::new(what.clone(), target_attributes(target), HashSet::new())?,
        ];
        let request = Request::new(who, action, what, Context::empty(), None)?;
        Ok((request, Entities::from_entities(entities, None)?))
    }
}

fn text(value: impl ToString) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_string())
}

fn principal_attributes(principal: &Principal) -> HashMap<String, RestrictedExpression> {
    let roles = principal.roles.iter().map(|role| text(role.word()));
    let mut attributes = HashMap::from([
        ("id".to_owned(), text(principal.id)),
        ("tenant".to_owned(), text(principal.tenant)),
        ("kind".to_owned(), text(principal.kind.word())),
        ("roles".to_owned(), RestrictedExpression::new_set(roles)),
        (
            "shared".to_owned(),
            RestrictedExpression::new_bool(principal.is_shared()),
        ),
        (
            "highest_band".to_owned(),
            RestrictedExpression::new_long(principal.highest_band.get().into()),
        ),
    ]);
    if let Some(agent) = principal.agent {
        attributes.insert("agent".to_owned(), text(agent));
    }
    attributes
}

fn target_attributes(target: &Target) -> HashMap<String, RestrictedExpression> {
    let security = target.security.map(|level| match level {
        SecurityLevel::Internal => "internal",
        SecurityLevel::Confidential => "confidential",
        SecurityLevel::Restricted => "restricted",
    });
    [
        ("tenant", target.tenant.map(text)),
        ("task", target.task.map(text)),
        ("submitter", target.submitter.map(text)),
        ("agent", target.agent.map(text)),
        ("holder", target.holder.map(text)),
        (
            "band",
            target
                .band
                .map(|band| RestrictedExpression::new_long(band.get().into())),
        ),
        ("security", security.map(text)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}
