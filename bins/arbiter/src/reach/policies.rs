//! Policies, here or there.

use std::collections::BTreeMap;

use arbiter_api::view;
use arbiter_wire::http::{
    ActivePoliciesView, PolicyCheckView, PolicyDiffView, PolicyFilesForm, PolicyProblemView,
    PolicyRollbackForm, PolicySetView,
};

use super::Reach;
use crate::exit::Failure;

impl Reach {
    /// What is wrong with files, or which policies are in them.
    pub(crate) async fn check_policies(
        &self,
        files: BTreeMap<String, String>,
    ) -> Result<PolicyCheckView, Failure> {
        match self {
            Self::Store(app) => {
                let checked = app.policies.check(&app.operator, files).await?;
                Ok(PolicyCheckView {
                    valid: checked.problems.is_empty(),
                    problems: checked
                        .problems
                        .into_iter()
                        .map(|problem| PolicyProblemView {
                            file: problem.file,
                            line: problem.line,
                            message: problem.message,
                        })
                        .collect(),
                    policies: checked.policies.into_iter().map(|policy| policy.id).collect(),
                })
            }
            Self::Server(client) => Ok(client.policy_check(&PolicyFilesForm { files }).await?),
        }
    }

    /// What files would change.
    pub(crate) async fn diff_policies(
        &self,
        files: BTreeMap<String, String>,
    ) -> Result<PolicyDiffView, Failure> {
        match self {
            Self::Store(app) => {
                let diff = app.policies.diff(&app.operator, files).await?;
                Ok(PolicyDiffView {
                    added: diff.added,
                    removed: diff.removed,
                    changed: diff.changed,
                })
            }
            Self::Server(client) => Ok(client.policy_diff(&PolicyFilesForm { files }).await?),
        }
    }

    /// What is in force.
    pub(crate) async fn active_policies(&self) -> Result<ActivePoliciesView, Failure> {
        match self {
            Self::Store(app) => Ok(view::policies(&app.policies.active(&app.operator).await?)),
            Self::Server(client) => Ok(client.policy_get().await?),
        }
    }

    /// A page of sets, without their files, after the cursor of an earlier one; and where to go on.
    pub(crate) async fn policy_sets(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<PolicySetView>, Option<String>), Failure> {
        match self {
            Self::Store(app) => {
                let after = after.map(|text| text.parse()).transpose();
                let after = after.map_err(|_| Failure::usage("--after takes the number of a set"))?;
                let found = app.policies.list(&app.operator, after, limit).await?;
                let next = found.last().filter(|_| found.len() >= limit);
                let next = next.map(|last| last.number.to_string());
                Ok((
                    found.iter().map(|set| view::policy_set(set, false)).collect(),
                    next,
                ))
            }
            Self::Server(client) => {
                let page = client.policy_list(after, Some(limit)).await?;
                Ok((page.sets, page.next))
            }
        }
    }

    /// Stores files as a set and puts it into force.
    pub(crate) async fn activate_policies(
        &self,
        if_revision: Option<u64>,
        files: BTreeMap<String, String>,
    ) -> Result<ActivePoliciesView, Failure> {
        match self {
            Self::Store(app) => {
                let active = app.policies.activate(&app.operator, if_revision, files).await?;
                Ok(view::policies(&active))
            }
            Self::Server(client) => {
                let files = PolicyFilesForm { files };
                Ok(client.policy_activate(if_revision, &files).await?)
            }
        }
    }

    /// Puts an earlier set into force again.
    pub(crate) async fn roll_back_policies(
        &self,
        if_revision: Option<u64>,
        number: u64,
    ) -> Result<ActivePoliciesView, Failure> {
        match self {
            Self::Store(app) => {
                let active = app.policies.roll_back(&app.operator, if_revision, number).await?;
                Ok(view::policies(&active))
            }
            Self::Server(client) => {
                let to = PolicyRollbackForm { number };
                Ok(client.policy_roll_back(if_revision, &to).await?)
            }
        }
    }
}
