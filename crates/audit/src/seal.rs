//! Which leaves a rule of the port [`AuditLog`](arbiter_core::ports::AuditLog) takes the details from.

use std::collections::BTreeSet;

use arbiter_core::model::TaskId;
use arbiter_core::ports::{Seal, SealSubject};

use crate::view::LeafView;

/// A [`Seal`] at work: it looks at leaves in the order of the log.
#[derive(Debug, Clone)]
pub struct SealRule<'a> {
    rule: &'a Seal,
    /// The ids of what it is about, as leaves spell them.
    ids: Option<BTreeSet<(&'static str, String)>>,
    /// Tasks that were found on the way.
    submitted: Vec<TaskId>,
}

impl<'a> SealRule<'a> {
    /// Prepares a rule.
    pub fn new(rule: &'a Seal) -> Self {
        let ids = rule.about.as_ref().map(|about| {
            let ids = about.iter().map(|subject| match subject {
                SealSubject::Task(task) => ("task", task.to_string()),
                SealSubject::Principal(principal) => ("principal", principal.to_string()),
            });
            ids.collect()
        });
        Self {
            rule,
            ids,
            submitted: Vec::new(),
        }
    }

    /// Whether the leaf is too young. Leaves stand in the order of time, so those behind it are as well.
    pub fn is_over(&self, leaf: &LeafView<'_>) -> bool {
        self.rule.before.is_some_and(|before| leaf.at >= before)
    }

    /// Whether the leaf loses its detail.
    pub fn takes(&mut self, leaf: &LeafView<'_>) -> bool {
        if !self.rule.scope.covers(leaf.tenant) || self.is_over(leaf) {
            return false;
        }
        self.follow(leaf);
        self.is_about(leaf)
    }

    /// The tasks that were submitted by the principal that the rule names.
    pub fn submitted(self) -> Vec<TaskId> {
        self.submitted
    }

    /// Takes a task that the principal submits into what the rule is about.
    fn follow(&mut self, leaf: &LeafView<'_>) {
        let by = self.rule.submitted_by;
        if by.is_none() || leaf.principal != by || !leaf.actions().any(|action| action == "submitted") {
            return;
        }
        let Some(resource) = leaf.resource.filter(|resource| resource.kind == "task") else {
            return;
        };
        let id = resource.id.text();
        if let (Ok(task), Some(ids)) = (id.parse(), &mut self.ids)
            && ids.insert(("task", id.into_owned()))
        {
            self.submitted.push(task);
        }
    }

    fn is_about(&self, leaf: &LeafView<'_>) -> bool {
        let Some(ids) = &self.ids else { return true };
        let about = leaf.resource.is_some_and(|resource| {
            let kind = match resource.kind {
                "task" => "task",
                "principal" => "principal",
                _ => return false,
            };
            ids.contains(&(kind, resource.id.text().into_owned()))
        });
        about
            || leaf
                .principal
                .is_some_and(|by| ids.contains(&("principal", by.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use arbiter_core::model::{PrincipalId, TenantId, TenantScope, Timestamp};

    use super::*;
    use crate::leaf::{Actions, Leaf, Outcome, Resource};
    use crate::word::Word;

    fn leaf(tenant: u8, at: i64, kind: &'static str, id: String, by: u8) -> Vec<u8> {
        let word = |text: &str| Word::new(text.to_owned()).unwrap();
        Leaf {
            at: Timestamp::from_micros(at),
            tenant: TenantId::from_bytes([tenant; 16]),
            principal: Some(PrincipalId::from_bytes([by; 16])),
            actions: Actions::from(word("submitted")),
            resource: Some(Resource {
                kind: word(kind),
                id,
                version: None,
            }),
            outcome: Outcome::Done,
            reason: None,
            count: None,
            detail: None,
        }
        .encode()
    }

    fn takes(rule: &Seal, line: &[u8]) -> bool {
        SealRule::new(rule).takes(&LeafView::parse(line).unwrap())
    }

    #[test]
    fn tenant_time_task_and_principal_narrow_a_rule() {
        let (task, other) = (TaskId::from_bytes([7; 16]), TaskId::from_bytes([8; 16]));
        let whole = Seal {
            scope: TenantScope::Tenant(TenantId::from_bytes([1; 16])),
            before: None,
            about: None,
            submitted_by: None,
            told: TenantId::from_bytes([1; 16]),
            from: 0,
            limit: 10,
        };
        let of = |tenant, at, id: TaskId, by| leaf(tenant, at, "task", id.to_string(), by);
        assert!(takes(&whole, &of(1, 5, task, 3)));
        assert!(!takes(&whole, &of(2, 5, task, 3)), "of another tenant");
        let old = Seal {
            before: Some(Timestamp::from_micros(5)),
            ..whole.clone()
        };
        assert!(takes(&old, &of(1, 4, task, 3)));
        assert!(!takes(&old, &of(1, 5, task, 3)), "too young");
        let about = Seal {
            about: Some(vec![SealSubject::Task(task)]),
            ..whole.clone()
        };
        assert!(takes(&about, &of(1, 5, task, 3)));
        assert!(!takes(&about, &of(1, 5, other, 3)), "about another task");
        assert!(
            !takes(&about, &leaf(1, 5, "hook", task.to_string(), 3)),
            "about a hook of the same id"
        );
        let person = PrincipalId::from_bytes([3; 16]);
        let about = Seal {
            about: Some(vec![SealSubject::Principal(person)]),
            ..whole
        };
        assert!(takes(&about, &of(1, 5, other, 3)), "by the person");
        assert!(
            takes(&about, &leaf(1, 5, "principal", person.to_string(), 9)),
            "about the person"
        );
        assert!(!takes(&about, &of(1, 5, other, 4)));
    }

    #[test]
    fn tasks_that_the_principal_submitted_are_followed() {
        let person = PrincipalId::from_bytes([3; 16]);
        let rule = Seal {
            scope: TenantScope::Tenant(TenantId::from_bytes([1; 16])),
            before: None,
            about: Some(vec![SealSubject::Principal(person)]),
            submitted_by: Some(person),
            told: TenantId::from_bytes([1; 16]),
            from: 0,
            limit: 10,
        };
        let (own, other) = (TaskId::from_bytes([7; 16]), TaskId::from_bytes([8; 16]));
        let line = |task: TaskId, by| leaf(1, 5, "task", task.to_string(), by);
        let lines = [line(own, 9), line(own, 3), line(own, 9), line(other, 9)];
        let mut at_work = SealRule::new(&rule);
        let taken: Vec<bool> = (lines.iter())
            .map(|line| at_work.takes(&LeafView::parse(line).unwrap()))
            .collect();
        assert_eq!(taken, [false, true, true, false], "from its submission on");
        assert_eq!(at_work.submitted(), [own]);
    }
}
