//! Schedules: tasks at given times.

use arbiter_core::model::ScheduleId;
use arbiter_net::Method;
use arbiter_wire::http::{InstantListView, ScheduleChangeForm, ScheduleForm, SchedulePageView, ScheduleView};

use super::Operation;
use crate::client::Client;
use crate::error::ClientError;

pub(super) const CREATE: Operation = ("schedule.create", Method::POST, "/v1/schedules");
pub(super) const LIST: Operation = ("schedule.list", Method::GET, "/v1/schedules");
pub(super) const PREVIEW: Operation = ("schedule.preview", Method::GET, "/v1/schedules/preview");
pub(super) const GET: Operation = ("schedule.get", Method::GET, "/v1/schedules/{id}");
pub(super) const NEXT: Operation = ("schedule.next", Method::GET, "/v1/schedules/{id}/next");
pub(super) const UPDATE: Operation = ("schedule.update", Method::PATCH, "/v1/schedules/{id}");
pub(super) const DELETE: Operation = ("schedule.delete", Method::DELETE, "/v1/schedules/{id}");

impl Client {
    /// Makes a schedule; one without an idempotency key gets one, so that a lost answer does not make it twice. Gives it,
    /// and whether a call with the same key had made it before.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn schedule_create(
        &self,
        schedule: &ScheduleForm,
        idempotency_key: Option<&str>,
    ) -> Result<(ScheduleView, bool), ClientError> {
        let call = self.call(&CREATE, &[]).json(schedule);
        call.make(idempotency_key).await
    }

    /// A page of schedules, by id.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn schedule_list(
        &self,
        cursor: Option<String>,
        limit: Option<usize>,
    ) -> Result<SchedulePageView, ClientError> {
        let query = [
            ("cursor", cursor),
            ("limit", limit.map(|limit| limit.to_string())),
        ];
        self.call_with(&LIST, &[], &query).read().await
    }

    /// Shows what an expression comes to, before a schedule is made of it; in UTC unless a time zone is named.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn schedule_preview(
        &self,
        cron: &str,
        time_zone: Option<String>,
        count: Option<usize>,
    ) -> Result<InstantListView, ClientError> {
        let query = [
            ("cron", Some(cron.to_owned())),
            ("time_zone", time_zone),
            ("count", count.map(|count| count.to_string())),
        ];
        self.call_with(&PREVIEW, &[], &query).read().await
    }

    /// Reads a schedule.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn schedule_get(&self, schedule: ScheduleId) -> Result<ScheduleView, ClientError> {
        self.call(&GET, &[&schedule]).read().await
    }

    /// Shows what a schedule comes to next.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn schedule_next(
        &self,
        schedule: ScheduleId,
        count: Option<usize>,
    ) -> Result<InstantListView, ClientError> {
        let query = [("count", count.map(|count| count.to_string()))];
        self.call_with(&NEXT, &[&schedule], &query).read().await
    }

    /// Changes, pauses or resumes a schedule; with a revision, only if it still has that.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn schedule_update(
        &self,
        schedule: ScheduleId,
        revision: Option<u64>,
        change: &ScheduleChangeForm,
    ) -> Result<ScheduleView, ClientError> {
        let call = self.call(&UPDATE, &[&schedule]).json(change);
        call.if_match(revision).read().await
    }

    /// Deletes a schedule; with a revision, only if it still has that. Tasks that it made stay.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn schedule_delete(
        &self,
        schedule: ScheduleId,
        revision: Option<u64>,
    ) -> Result<(), ClientError> {
        let call = self.call(&DELETE, &[&schedule]).if_match(revision);
        call.once().done().await
    }
}
