//! Schedules of tenants: a cron expression in a time zone, and the task that it makes again and again.

mod calendar;
mod cron;
mod plan;
mod record;
mod runner;
mod service;
mod state;
mod terms;
mod turn;

pub use calendar::{Calendar, Instants, Zone};
pub use cron::{Cron, InvalidCron};
pub use plan::Upcoming;
pub use record::{CatchUp, NewSchedule, Overlap, Paused, Schedule, ScheduleChange, ScheduleProgress};
pub use runner::{Round, RunnerSettings, ScheduleRunner};
pub use service::{MadeSchedule, ScheduleSettings, Schedules};

pub(crate) use record::KIND;
pub(crate) use state::KIND as STATE_KIND;
