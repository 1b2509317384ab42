//! A task as the stores keep it, and its attempts.

use std::sync::Arc;

use super::{
    AgentId, Band, Budget, CommandId, Fence, LaneId, LaneKey, NodeId, OpenAttempt, OrderKey, PrincipalId,
    Priority, Progress, Release, Stage, TaskId, TaskSpec, TenantId, Timestamp, Version, Work,
};
use crate::ports::Scope;

/// Who holds a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// An agent that attempts the task.
    Agent(AgentId),
    /// A node that reviews it.
    Node(NodeId),
}

/// The right to work on a task for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it.
    pub holder: Holder,
    /// The fencing token.
    pub fence: Fence,
    /// When it ends unless extended, by the store's clock.
    pub until: Timestamp,
    /// What it takes up while it is open.
    pub loads: Vec<Scope>,
}

/// What a queued task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Nothing: it can be claimed.
    Ready,
    /// A moment: `not_before`, or the back-off of a retry.
    Until(Timestamp),
    /// So many prerequisites that have not succeeded yet.
    Prerequisites(u32),
}

/// The state of a task. The legal moves are in [`lifecycle`](crate::lifecycle).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Waits for an agent.
    Queued {
        /// What it waits for.
        wait: Wait,
    },
    /// Given to an agent that has not acknowledged yet.
    Assigned(Lease),
    /// An agent works on it.
    Running(Lease),
    /// The reported output is reviewed.
    Reviewing {
        /// The stage to pass next.
        stage: Stage,
        /// The node that reviews, if one does.
        lease: Option<Lease>,
        /// The earliest moment of the next try, after an error of the stage.
        not_before: Option<Timestamp>,
    },
    /// A person decides.
    Held {
        /// Why.
        reason: HoldReason,
        /// Where it goes on after release.
        resume: Resume,
    },
    /// Done, terminal.
    Succeeded,
    /// Another attempt would not help.
    Failed {
        /// Why.
        reason: FailReason,
    },
    /// Withdrawn, terminal.
    Cancelled,
    /// Given up; an operator may requeue it.
    DeadLettered {
        /// Why.
        reason: DeadReason,
    },
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable word used in stored and wire forms.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The value that has this word.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(crate) use words;

words! {
    /// The name of a state, without its data.
    StateName {
        /// See [`State::Queued`].
        Queued = "queued",
        /// See [`State::Assigned`].
        Assigned = "assigned",
        /// See [`State::Running`].
        Running = "running",
        /// See [`State::Reviewing`].
        Reviewing = "reviewing",
        /// See [`State::Held`].
        Held = "held",
        /// See [`State::Succeeded`].
        Succeeded = "succeeded",
        /// See [`State::Failed`].
        Failed = "failed",
        /// See [`State::Cancelled`].
        Cancelled = "cancelled",
        /// See [`State::DeadLettered`].
        DeadLettered = "dead_lettered",
    }
}

words! {
    /// Why a task is held.
    HoldReason {
        /// The review's confidence is below the task's minimum.
        LowConfidence = "low_confidence",
        /// Evidence contradicts evidence.
        Contradictory = "contradictory",
        /// The judge abstained.
        Unscored = "unscored",
        /// A rule says so.
        Rule = "rule",
        /// A stage's backend kept failing.
        StageUnavailable = "stage_unavailable",
        /// A prerequisite did not succeed and the task asked to be held then.
        PrerequisiteFailed = "prerequisite_failed",
        /// The retry plan asks for a person.
        RetryPlan = "retry_plan",
    }
}

words! {
    /// Why a task failed for good.
    FailReason {
        /// It used more than its budget.
        OverBudget = "over_budget",
        /// Its deadline passed.
        Deadline = "deadline",
        /// A prerequisite did not succeed.
        PrerequisiteFailed = "prerequisite_failed",
        /// Policy or a person said so.
        Policy = "policy",
    }
}

words! {
    /// Why a task was dead-lettered.
    DeadReason {
        /// Every attempt failed.
        AttemptsExhausted = "attempts_exhausted",
        /// Every attempt took its agent down or lost its lease.
        Poison = "poison",
        /// An operator moved it.
        ByOperator = "by_operator",
    }
}

/// Where a held task goes on after release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Back to the queue.
    Queue,
    /// Back to this stage of review.
    Stage(Stage),
}

impl State {
    /// The state's name.
    pub const fn name(&self) -> StateName {
        match self {
            Self::Queued { .. } => StateName::Queued,
            Self::Assigned(_) => StateName::Assigned,
            Self::Running(_) => StateName::Running,
            Self::Reviewing { .. } => StateName::Reviewing,
            Self::Held { .. } => StateName::Held,
            Self::Succeeded => StateName::Succeeded,
            Self::Failed { .. } => StateName::Failed,
            Self::Cancelled => StateName::Cancelled,
            Self::DeadLettered { .. } => StateName::DeadLettered,
        }
    }

    /// The word of the reason that the state carries, if it carries one.
    pub const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Held { reason, .. } => Some(reason.word()),
            Self::Failed { reason } => Some(reason.word()),
            Self::DeadLettered { reason } => Some(reason.word()),
            _ => None,
        }
    }

    /// Whether the task has ended (an operator may still requeue failed and dead-lettered ones).
    pub const fn is_closed(&self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed { .. } | Self::Cancelled | Self::DeadLettered { .. }
        )
    }

    /// The open lease, if there is one.
    pub const fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Assigned(lease) | Self::Running(lease) => Some(lease),
            Self::Reviewing { lease, .. } => lease.as_ref(),
            _ => None,
        }
    }
}

/// What transitions need to know of the specification, kept beside the state so that no transition reads the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// See [`Constraints::deadline`](super::Constraints::deadline).
    pub deadline: Option<Timestamp>,
    /// See [`Constraints::attempt_timeout`](super::Constraints::attempt_timeout).
    pub attempt_timeout: std::time::Duration,
    /// See [`Constraints::max_attempts`](super::Constraints::max_attempts).
    pub max_attempts: u16,
    /// What an attempt may use.
    pub budget: Budget,
    /// The review stages, in order.
    pub stages: Vec<Stage>,
    /// Whether a failed prerequisite holds the task instead of failing it.
    pub hold_on_prerequisite_failure: bool,
    /// The moment before which no attempt may start.
    pub not_before: Option<Timestamp>,
    /// How urgent the task is.
    pub priority: Priority,
}

impl Terms {
    /// Takes the terms out of a specification.
    pub fn of(spec: &TaskSpec) -> Self {
        Self {
            deadline: spec.constraints.deadline,
            attempt_timeout: spec.constraints.attempt_timeout,
            max_attempts: spec.constraints.max_attempts,
            budget: spec.constraints.budget,
            stages: spec.review.stages(),
            hold_on_prerequisite_failure: spec.on_prerequisite_failure == super::OnPrerequisiteFailure::Hold,
            not_before: spec.not_before,
            priority: spec.priority,
        }
    }
}

/// The changing part of a task: what a store locks, passes to [`lifecycle::apply`](crate::lifecycle::apply) and
/// writes back.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Who submitted it.
    pub submitter: PrincipalId,
    /// The lane in which agents find it; see [`Task::lane_now`].
    pub lane: LaneId,
    /// Its place in the lane, once it has been claimable.
    pub order_key: Option<OrderKey>,
    /// When it was stored.
    pub submitted_at: Timestamp,
    /// When it last changed its state.
    pub changed_at: Timestamp,
    /// What transitions need of its specification.
    pub terms: Terms,
    /// Where it stands.
    pub state: State,
    /// How many transitions it has made.
    pub version: Version,
    /// The last fencing token that was given out.
    pub fence: Fence,
    /// Attempts that count, the open one included.
    pub attempts: u16,
    /// Attempts that were given back (declined, not acknowledged, drained).
    pub returns: u16,
    /// Attempts that ended with a lost lease or a crash.
    pub losses: u16,
    /// Those of them that ended with a lost lease.
    pub lost_leases: u16,
    /// Tries of the present review stage that ended with an error of its backend.
    pub stage_errors: u16,
    /// The attempt under way or under review.
    pub attempt: Option<OpenAttempt>,
    /// The attempt whose report is the task's result.
    pub result: Option<Fence>,
    /// Agents to avoid while others can do it, latest last, at most [`Task::MAX_AVOIDED`].
    pub avoid: Vec<AgentId>,
    /// Slots that a cancelled or overtaken attempt still holds, until its agent is heard of or its lease ends.
    pub releases: Vec<Release>,
    /// Whether other tasks wait for this one's end.
    pub has_dependants: bool,
    /// The latest progress that the agent told.
    pub progress: Option<Progress>,
    /// The command that made the last transition.
    pub last_command: Option<CommandId>,
}

impl Task {
    /// How many agents [`Task::avoid`] remembers.
    pub const MAX_AVOIDED: usize = 16;

    /// How urgent the task is.
    pub const fn band(&self) -> Band {
        self.terms.priority.band()
    }

    /// The lane in which the task can be claimed now: the agents' one, or that of the review stage.
    pub fn lane_now(&self) -> LaneId {
        match self.state {
            State::Reviewing { stage, .. } => self.review_lane(stage).id(),
            _ => self.lane,
        }
    }

    /// The lane of a review stage of this task.
    pub fn review_lane(&self, stage: Stage) -> LaneKey {
        LaneKey {
            tenant: self.tenant,
            band: self.band(),
            work: Work::Review(stage),
        }
    }

    /// Whether the task can be claimed at once.
    pub const fn is_claimable(&self) -> bool {
        matches!(
            self.state,
            State::Queued { wait: Wait::Ready }
                | State::Reviewing {
                    lease: None,
                    not_before: None,
                    ..
                }
        )
    }

    /// The next moment at which something must happen to the task without anybody calling: becoming ready, end of a
    /// lease or attempt, next try of a stage, deadline, a slot to give back, dependants to tell.
    pub fn due_at(&self) -> Option<Timestamp> {
        let timer = match &self.state {
            State::Queued {
                wait: Wait::Until(at),
            } => Some(*at),
            State::Queued { .. } | State::Held { .. } => None,
            State::Assigned(lease) => Some(lease.until),
            State::Running(lease) => {
                let end = self
                    .attempt
                    .as_ref()
                    .map(|open| open.started_at.plus(self.terms.attempt_timeout));
                Some(end.map_or(lease.until, |end| end.min(lease.until)))
            }
            State::Reviewing {
                lease, not_before, ..
            } => lease.as_ref().map(|lease| lease.until).or(*not_before),
            State::Succeeded | State::Failed { .. } | State::Cancelled | State::DeadLettered { .. } => {
                self.has_dependants.then_some(self.changed_at)
            }
        };
        let deadline = self.terms.deadline.filter(|_| !self.state.is_closed());
        let release = self.releases.iter().map(|release| release.until).min();
        [timer, deadline, release].into_iter().flatten().min()
    }
}

/// A task together with its specification.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredTask {
    /// The changing part.
    pub task: Task,
    /// What was asked.
    pub spec: Arc<TaskSpec>,
}
