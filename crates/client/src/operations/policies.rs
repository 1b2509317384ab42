//! Policies that operators add to the built-in ones.

use arbiter_net::Method;
use arbiter_wire::http::{
    ActivePoliciesView, PolicyCheckView, PolicyDiffView, PolicyFilesForm, PolicyRollbackForm,
    PolicySetPageView, PolicySetView,
};

use super::Operation;
use crate::client::Client;
use crate::error::ClientError;

pub(super) const GET: Operation = ("policy.get", Method::GET, "/v1/policies");
pub(super) const LIST: Operation = ("policy.list", Method::GET, "/v1/policies/sets");
pub(super) const GET_SET: Operation = ("policy.get_set", Method::GET, "/v1/policies/sets/{number}");
pub(super) const CHECK: Operation = ("policy.check", Method::POST, "/v1/policies/check");
pub(super) const DIFF: Operation = ("policy.diff", Method::POST, "/v1/policies/diff");
pub(super) const ACTIVATE: Operation = ("policy.activate", Method::POST, "/v1/policies/activate");
pub(super) const ROLL_BACK: Operation = ("policy.roll_back", Method::POST, "/v1/policies/roll-back");

impl Client {
    /// Reads the policies that were put into force.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn policy_get(&self) -> Result<ActivePoliciesView, ClientError> {
        self.call(&GET, &[]).read().await
    }

    /// A page of stored sets, by number, without their files.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn policy_list(
        &self,
        cursor: Option<String>,
        limit: Option<usize>,
    ) -> Result<PolicySetPageView, ClientError> {
        let query = [
            ("cursor", cursor),
            ("limit", limit.map(|limit| limit.to_string())),
        ];
        self.call_with(&LIST, &[], &query).read().await
    }

    /// Reads a stored set with its files.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn policy_get_set(&self, number: u64) -> Result<PolicySetView, ClientError> {
        self.call(&GET_SET, &[&number]).read().await
    }

    /// Checks files of policies.
    ///
    /// # Errors
    /// [`ClientError`]. What is wrong with the files is told in the answer.
    pub async fn policy_check(&self, files: &PolicyFilesForm) -> Result<PolicyCheckView, ClientError> {
        self.call(&CHECK, &[]).json(files).repeatable().read().await
    }

    /// Compares files of policies with those in force.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn policy_diff(&self, files: &PolicyFilesForm) -> Result<PolicyDiffView, ClientError> {
        self.call(&DIFF, &[]).json(files).repeatable().read().await
    }

    /// Stores a set and puts it into force; with a revision, only if what is in force still has that.
    ///
    /// # Errors
    /// [`ClientError`]. The call is not repeated.
    pub async fn policy_activate(
        &self,
        revision: Option<u64>,
        files: &PolicyFilesForm,
    ) -> Result<ActivePoliciesView, ClientError> {
        let call = self.call(&ACTIVATE, &[]).json(files);
        call.if_match(revision).read().await
    }

    /// Puts an earlier set into force again.
    ///
    /// # Errors
    /// As [`Self::policy_activate`].
    pub async fn policy_roll_back(
        &self,
        revision: Option<u64>,
        to: &PolicyRollbackForm,
    ) -> Result<ActivePoliciesView, ClientError> {
        let call = self.call(&ROLL_BACK, &[]).json(to);
        call.if_match(revision).read().await
    }
}
