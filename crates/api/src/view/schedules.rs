//! Schedules.

use arbiter_core::model::Timestamp;
use arbiter_queue::schedules::{CatchUp, Overlap, Schedule, Upcoming, Zone};
use arbiter_wire::http::{
    CatchUpWord, InstantListView, InstantView, OverlapWord, SchedulePausedView, ScheduleView,
};
use arbiter_wire::task::TaskForm;

/// A schedule.
pub fn schedule(schedule: &Schedule) -> ScheduleView {
    let progress = &schedule.progress;
    let zone = Zone::named(&schedule.zone);
    ScheduleView {
        id: schedule.id.to_string(),
        tenant: schedule.tenant.to_string(),
        name: schedule.name.clone(),
        cron: schedule.cron.clone(),
        time_zone: schedule.zone.clone(),
        task: TaskForm::from(&schedule.task),
        catch_up: match schedule.catch_up {
            CatchUp::Skip => CatchUpWord::Skip,
            CatchUp::Last => CatchUpWord::Last,
            CatchUp::All { .. } => CatchUpWord::All,
        },
        catch_up_limit: schedule.catch_up.limit(),
        overlap: match schedule.overlap {
            Overlap::Allow => OverlapWord::Allow,
            Overlap::Skip => OverlapWord::Skip,
        },
        jitter_seconds: schedule.jitter.as_secs(),
        paused: schedule.paused.as_ref().map(|paused| SchedulePausedView {
            reason: paused.reason.clone(),
            note: paused.note.clone(),
            by: paused.by.map(|by| by.to_string()),
            at: paused.at.to_string(),
        }),
        next: progress.next.map(|next| instant(zone.as_ref(), next)),
        last_at: progress.last_at.as_ref().map(Timestamp::to_string),
        last_task: progress.last_task.map(|task| task.to_string()),
        waiting: progress.waiting as u64,
        skipped: progress.skipped,
        failures: progress.failures,
        last_error: progress.last_error.clone(),
        created_by: schedule.created_by.to_string(),
        created_at: schedule.created_at.to_string(),
        acts_as: schedule.acts_as.to_string(),
        revision: schedule.revision,
    }
}

/// What a schedule comes to, in its time zone.
pub fn instants(zone: &str, found: Vec<Upcoming>) -> InstantListView {
    let zone = Zone::named(zone);
    InstantListView {
        instants: found
            .into_iter()
            .map(|upcoming| instant(zone.as_ref(), upcoming))
            .collect(),
    }
}

fn instant(zone: Option<&Zone>, upcoming: Upcoming) -> InstantView {
    let local = zone.and_then(|zone| zone.local(upcoming.at));
    InstantView {
        at: upcoming.at.to_string(),
        local: local.unwrap_or_else(|| upcoming.at.to_string()),
        due: upcoming.due.to_string(),
    }
}
