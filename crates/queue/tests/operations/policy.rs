//! The table of `docs/authorization.md` as a small authorizer, so that these tests need no policy engine.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use arbiter_core::model::{Operation, Principal, Role, SecurityLevel, Target};
use arbiter_core::ports::{
    AuthorizationError, Authorizer, NamedPolicy, PolicyEngine, PolicyFile, PolicyProblem, PolicyProblems,
    Verdict,
};

/// Decides by the published table; a test can make it fail, or forbid an operation to all.
#[derive(Debug, Default)]
pub(crate) struct TablePolicy {
    forbidden: Mutex<BTreeSet<Operation>>,
    failing: Mutex<bool>,
    careless: Mutex<bool>,
    no_restricted: Mutex<bool>,
    /// What was put into force, and how often.
    replaced: Mutex<(u64, BTreeSet<Operation>)>,
}

impl TablePolicy {
    /// Nobody may do this any more.
    pub(crate) fn forbid(&self, operation: Operation) {
        let mut forbidden = self.forbidden.lock().unwrap_or_else(PoisonError::into_inner);
        forbidden.insert(operation);
    }

    /// Everybody may do everything from now on, everywhere.
    pub(crate) fn allow_everything(&self) {
        *self.careless.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// No decision can be made any more.
    pub(crate) fn fail(&self) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Nobody may submit restricted tasks any more.
    pub(crate) fn forbid_restricted(&self) {
        *self.no_restricted.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    fn is_forbidden(&self, operation: Operation) -> bool {
        let forbidden = self.forbidden.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        forbidden.contains(&operation) || replaced.1.contains(&operation)
    }
}

impl Authorizer for TablePolicy {
    fn authorize(
        &self,
        principal: &Principal,
        operation: Operation,
        target: &Target,
    ) -> Result<Verdict, AuthorizationError> {
        if *self.failing.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(AuthorizationError("the policies are broken on purpose".into()));
        }
        if *self.careless.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Verdict::Allowed);
        }
        let too_high = operation == Operation::TaskSubmit
            && target.band.is_some_and(|band| band > principal.highest_band);
        let refused_level = target.security == Some(SecurityLevel::Restricted)
            && *self.no_restricted.lock().unwrap_or_else(PoisonError::into_inner);
        let permitted = principal
            .roles
            .iter()
            .any(|role| permits(*role, principal, operation, target));
        Ok(
            if permitted && !too_high && !refused_level && !self.is_forbidden(operation) {
                Verdict::Allowed
            } else {
                Verdict::Denied
            },
        )
    }
}

/// A language of one word a line: the operations that nobody may do.
fn forbidden_by(files: &[PolicyFile]) -> Result<Vec<(NamedPolicy, Operation)>, PolicyProblems> {
    let mut read = Vec::new();
    let mut problems = Vec::new();
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            let (id, word) = line.split_once(' ').unwrap_or(("", line));
            match Operation::from_word(word) {
                Some(operation) => read.push((
                    NamedPolicy {
                        id: format!("{}#{id}", file.name),
                        text: word.to_owned(),
                    },
                    operation,
                )),
                None => problems.push(PolicyProblem {
                    file: file.name.clone(),
                    line: Some(number + 1),
                    message: format!("`{word}` is no operation"),
                }),
            }
        }
    }
    if problems.is_empty() {
        Ok(read)
    } else {
        Err(PolicyProblems(problems))
    }
}

impl PolicyEngine for TablePolicy {
    fn check(&self, files: &[PolicyFile]) -> Result<Vec<NamedPolicy>, PolicyProblems> {
        Ok(forbidden_by(files)?
            .into_iter()
            .map(|(policy, _)| policy)
            .collect())
    }

    fn trial(
        &self,
        files: &[PolicyFile],
        principal: &Principal,
        operation: Operation,
        target: &Target,
    ) -> Result<Verdict, PolicyProblems> {
        let is_forbidden = forbidden_by(files)?.iter().any(|(_, word)| *word == operation);
        let permits = principal
            .roles
            .iter()
            .any(|role| permits(*role, principal, operation, target));
        Ok(if permits && !is_forbidden {
            Verdict::Allowed
        } else {
            Verdict::Denied
        })
    }

    fn replace(&self, files: &[PolicyFile]) -> Result<u64, PolicyProblems> {
        let words = forbidden_by(files)?;
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        *replaced = (
            replaced.0 + 1,
            words.into_iter().map(|(_, operation)| operation).collect(),
        );
        Ok(replaced.0 + 1)
    }

    fn version(&self) -> u64 {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner).0 + 1
    }
}

/// Whether a role, by itself, permits it.
pub(crate) fn permits(role: Role, principal: &Principal, operation: Operation, target: &Target) -> bool {
    use Operation as Op;

    let tenant = target.tenant == Some(principal.tenant);
    let work = operation.word().starts_with("work.");
    match role {
        Role::Submitter => {
            tenant
                && target.submitter == Some(principal.id)
                && matches!(
                    operation,
                    Op::TaskSubmit | Op::TaskGet | Op::TaskList | Op::TaskCancel
                )
        }
        Role::Agent => {
            work && tenant
                && principal.agent.is_some()
                && target.agent == principal.agent
                && target.holder.is_none_or(|holder| Some(holder) == principal.agent)
        }
        Role::Peer => principal.is_shared() && operation.word().starts_with("agent."),
        Role::Reviewer => tenant && matches!(operation, Op::TaskGet | Op::TaskList | Op::TaskRelease),
        Role::Operator => {
            let of_all = matches!(
                operation,
                Op::TenantCreate
                    | Op::TenantUpdate
                    | Op::TenantDelete
                    | Op::PolicyActivate
                    | Op::SystemBackup
            );
            tenant && !work && !of_all
        }
        Role::Auditor => {
            tenant
                && matches!(
                    operation,
                    Op::TaskGet
                        | Op::TaskList
                        | Op::AuditQuery
                        | Op::KeyList
                        | Op::AgentList
                        | Op::TenantList
                        | Op::QueueStatus
                        | Op::PrincipalList
                        | Op::PolicyRead
                )
        }
        Role::Admin => !work,
    }
}
