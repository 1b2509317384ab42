//! Help texts of the metrics in `docs/telemetry.md`.

/// The help text of a metric; a generic one for a name that is not listed.
pub(crate) fn describe(name: &str) -> &'static str {
    match name {
        "agent_registry.available_agents" => "Agents that may take work, by kind of task",
        "agent_registry.refused_agents" => "Agents that this node runs and the registry does not take",
        "agent_registry.removed_total" => "Agents that were removed because they were silent for too long",
        "attempt.duration_seconds" => "How long attempts ran on agents that this node hosts",
        "attempt.refused_total" => "Hand-ins of attempts that were refused",
        "dispatcher.assigned_total" => "Tasks and reviews that were assigned",
        "dispatcher.full_total" => "Choices that the store refused because an agent or a tenant was full",
        "failure_manager.agent_restrictions_total" => "Changes of what agents may do, by what it was",
        "failure_manager.dropped_total" => {
            "Failures that were dropped because too many components failed, by kind"
        }
        "failure_manager.escalation_seconds" => {
            "From the opening of an incident to the first notice that a target took"
        }
        "failure_manager.escalations_total" => "Notices of escalations, by severity and target",
        "failure_manager.failures_total" => "Failures of components and agents, by kind",
        "failure_manager.notices_total" => "Tries to bring notices to targets, by target and outcome",
        "failure_manager.recoveries_total" => "Recoveries that ended, by kind and outcome",
        "failure_manager.recovery_seconds" => "How long recoveries took, by outcome",
        "guard.breaker_state" => "Circuit breakers: 0 closed, 1 half-open, 2 open",
        "guard.calls_total" => "Calls through a guard, by operation and outcome",
        "guard.duration_seconds" => "How long calls through a guard took, retries included",
        "guard.retries_total" => "Attempts after the first, by operation",
        "hooks.deferred_total" => "Hook messages put back because too many of their hook wait",
        "hooks.deliveries_total" => "Tries to deliver hook messages, by outcome",
        "hooks.disabled_total" => "Hooks that were switched off, by reason",
        "hooks.duration_seconds" => "How long tries to deliver hook messages took",
        "http.server.request_seconds" => "How long calls took, by operation",
        "http.server.requests_total" => "Calls, by operation and status",
        "queue.authentication_failures_total" => "Credentials that were not accepted, by reason",
        "queue.authorization_failures_total" => "Calls that policy refused, by operation",
        "queue.backlog_full_total" => "Submissions refused because the tenant has too many open tasks",
        "queue.due_handled_total" => "Tasks that changed because time passed",
        "queue.failed_attempts_total" => "Failed attempts, by class",
        "queue.heartbeats_total" => "Leases that agents asked to extend",
        "queue.rate_limited_total" => "Calls over a rate limit, by operation",
        "queue.rejected_total" => "Submissions that were refused",
        "queue.reports_total" => "Reports of agents, by the state that followed",
        "queue.submitted_total" => "Tasks that passed admission, by kind",
        "retention.details_sealed_total" => "Details of the audit log that were removed for their age",
        "retention.tasks_purged_total" => "Closed tasks that were deleted for their age",
        "routing.explored_total" => "Choices that explored, by strategy and kind",
        "routing.reward" => "Rewards of finished attempts, by strategy and kind",
        "schedules.delay_seconds" => {
            "How long after its instant the task of a schedule was submitted, jitter included"
        }
        "schedules.paused_total" => "Schedules that the server paused, by reason",
        "schedules.runs_total" => "Instants of schedules that were served, by outcome",
        "schedules.skipped_total" => "Instants of schedules that were passed over, by reason",
        "supervisor.restarts_total" => "Services that ended by themselves and were started again",
        "telemetry.samples_total" => "Samples for the history of measurements, by what became of them",
        "work.given_again_total" => "Assignments given again to an agent that did not know of them",
        _ => "See docs/telemetry.md",
    }
}
