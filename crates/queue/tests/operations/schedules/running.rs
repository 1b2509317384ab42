//! When the tasks of schedules are made.

use super::keeping::Crashing;
use super::*;

#[tokio::test]
async fn a_task_is_made_when_its_time_has_come_and_not_before() {
    let bench = Bench::new().await;
    let made = bench.make(every("0 6 * * *")).await;
    assert_eq!(bench.at("05:59:59").await, 0);
    let from = bench.world.mark().await;
    assert_eq!(bench.at("06:00:00").await, 1);
    assert_eq!(bench.at("06:00:30").await, 0, "once");
    let tasks = bench.tasks().await;
    let labels = &tasks[0].spec.labels;
    assert_eq!(labels["schedule"], made.id.to_string());
    assert_eq!(labels["scheduled_for"], "2026-01-01T06:00:00.000000Z");
    assert_eq!(tasks[0].task.submitter, operator().id);
    let read = bench.read(made.id).await;
    assert_eq!(read.revision, 1, "runs are no changes");
    assert_eq!(read.progress.last_task, Some(tasks[0].task.id));
    assert_eq!(
        read.progress.last_at.map(|at| at.to_string()).as_deref(),
        Some("2026-01-01T06:00:00.000000Z")
    );
    assert_eq!(
        read.progress.next.map(|next| next.at.to_string()).as_deref(),
        Some("2026-01-02T06:00:00.000000Z")
    );
    assert_eq!(
        bench.world.told(from).await,
        [
            "document_written done -",
            "task.submit+submitted done -",
            "document_written done -"
        ]
    );
}

#[tokio::test]
async fn what_was_missed_while_nothing_ran_is_made_up_for_as_the_policy_says() {
    for (catch_up, expected, skipped) in [
        (CatchUp::Skip, vec!["05:00"], 4),
        (CatchUp::Last, vec!["05:00"], 4),
        (
            CatchUp::All { limit: 100 },
            vec!["01:00", "02:00", "03:00", "04:00", "05:00"],
            0,
        ),
        (CatchUp::All { limit: 2 }, vec!["04:00", "05:00"], 3),
    ] {
        let bench = Bench::new().await;
        let new = NewSchedule {
            catch_up,
            ..every("0 * * * *")
        };
        let id = bench.make(new).await.id;
        bench.at("05:00:20").await;
        assert_eq!(bench.times().await, expected, "{catch_up:?}");
        assert_eq!(bench.read(id).await.progress.skipped, skipped, "{catch_up:?}");
        // Half an hour late, nothing but what is made up for.
        bench.at("08:30:00").await;
        let late = bench.times().await.split_off(expected.len());
        let made_up: &[&str] = match catch_up {
            CatchUp::Skip => &[],
            CatchUp::Last => &["08:00"],
            CatchUp::All { limit: 2 } => &["07:00", "08:00"],
            CatchUp::All { .. } => &["06:00", "07:00", "08:00"],
        };
        assert_eq!(late, made_up, "{catch_up:?}");
        bench.at("09:00:00").await;
        assert_eq!(
            bench.times().await.last().map(String::as_str),
            Some("09:00"),
            "{catch_up:?}"
        );
    }
}

#[tokio::test]
async fn while_the_task_before_is_open_instants_are_passed_over_if_the_schedule_says_so() {
    let bench = Bench::new().await;
    let id = bench
        .make(NewSchedule {
            overlap: Overlap::Skip,
            ..every("0 * * * *")
        })
        .await
        .id;
    bench.at("01:00:00").await;
    bench.at("02:00:00").await;
    bench.at("03:00:00").await;
    assert_eq!(bench.times().await, ["01:00"]);
    assert_eq!(bench.read(id).await.progress.skipped, 2);
    bench.cancel(&bench.tasks().await[0]).await;
    bench.at("04:00:00").await;
    assert_eq!(bench.times().await, ["01:00", "04:00"]);
    // Of what is caught up, the first one is the task that the others would overlap with.
    bench.cancel(&bench.tasks().await[1]).await;
    let change = ScheduleChange {
        catch_up: Some(CatchUp::All { limit: 10 }),
        ..ScheduleChange::default()
    };
    bench.change(id, change).await;
    bench.at("08:00:00").await;
    assert_eq!(bench.times().await, ["01:00", "04:00", "05:00"]);
    let allowed = bench.make(every("0 9 * * *")).await.id;
    bench
        .change(
            allowed,
            ScheduleChange {
                cron: Some("0 9,10 * * *".to_owned()),
                ..ScheduleChange::default()
            },
        )
        .await;
    bench.at("09:00:00").await;
    bench.at("10:00:00").await;
    assert_eq!(bench.times().await, ["01:00", "04:00", "05:00", "09:00", "10:00"]);
}

#[tokio::test]
async fn jitter_delays_a_task_by_the_same_time_wherever_it_is_made() {
    let bench = Bench::new().await;
    let new = NewSchedule {
        jitter: Duration::from_hours(1),
        catch_up: CatchUp::Skip,
        ..every("0 6 * * *")
    };
    let made = bench.make(new).await;
    let next = made.progress.next.expect("comes");
    let delay = next.due.since(next.at);
    assert!(
        delay > Duration::ZERO && delay < Duration::from_hours(1),
        "{delay:?}"
    );
    bench.until("2026-01-01T06:00:00Z");
    let before = delay.saturating_sub(Duration::from_micros(1));
    bench.world.clock.advance(before);
    assert_eq!(bench.rounds().await, 0);
    bench.world.clock.advance(Duration::from_micros(1));
    assert_eq!(bench.rounds().await, 1);
    assert_eq!(bench.times().await, ["06:00"], "it is the task of its instant");
    // Without the jitter what comes next is due at its instant.
    let changed = bench.change(
        made.id,
        ScheduleChange {
            jitter: Some(Duration::ZERO),
            ..ScheduleChange::default()
        },
    );
    let next = changed.await.progress.next.expect("comes");
    assert_eq!(
        (next.due, next.at.to_string().as_str()),
        (next.at, "2026-01-02T06:00:00.000000Z")
    );
}

#[tokio::test]
async fn what_comes_during_a_pause_is_passed_over() {
    let bench = Bench::new().await;
    let id = bench
        .make(NewSchedule {
            catch_up: CatchUp::All { limit: 100 },
            ..every("0 * * * *")
        })
        .await
        .id;
    let pause = ScheduleChange {
        paused: Some(true),
        reason: Some("maintenance".to_owned()),
        ..ScheduleChange::default()
    };
    let paused = bench.change(id, pause).await;
    let why = paused.paused.expect("paused");
    assert_eq!(
        (why.reason.as_str(), why.note.as_deref(), why.by),
        ("requested", Some("maintenance"), Some(operator().id))
    );
    assert_eq!(paused.progress.next, None);
    bench.at("03:30:00").await;
    // A change does not wake it.
    bench
        .change(
            id,
            ScheduleChange {
                cron: Some("30 * * * *".to_owned()),
                ..ScheduleChange::default()
            },
        )
        .await;
    bench.at("03:30:10").await;
    assert_eq!(bench.tasks().await.len(), 0);
    let resumed = bench
        .change(
            id,
            ScheduleChange {
                paused: Some(false),
                ..ScheduleChange::default()
            },
        )
        .await;
    assert_eq!(resumed.paused, None);
    bench.at("03:59:00").await;
    bench.at("04:30:00").await;
    assert_eq!(bench.times().await, ["04:30"]);
    bench
        .schedules
        .delete(&operator(), TENANT, id, None)
        .await
        .expect("deleted");
    assert_eq!(bench.at("09:30:00").await, 0, "what is deleted runs no more");
}

#[tokio::test]
async fn wherever_the_process_dies_each_instant_has_one_task() {
    // Before the decision is written, and after the submit that followed it.
    for (writes, tasks_by_then) in [(0, 0), (1, 1)] {
        let bench = Bench::new().await;
        let id = bench
            .make(NewSchedule {
                overlap: Overlap::Skip,
                ..every("0 * * * *")
            })
            .await
            .id;
        bench.until("2026-01-01T01:00:00Z");
        let dying: Arc<dyn Documents> = Arc::new(Crashing::after(&bench.documents, writes));
        let schedules = super::schedules(&bench.world, &dying);
        let first = super::runner(&bench.world, &schedules, &dying, 7);
        let round = first
            .round()
            .await
            .expect("a schedule that fails is no error of the round");
        assert_eq!((round.served, bench.tasks().await.len()), (1, tasks_by_then));
        assert!(!round.wait.is_zero(), "no busy loop");
        // Another node takes over when the lease of the dead one has ended, and after the next instant.
        bench.until("2026-01-01T02:00:10Z");
        bench.rounds().await;
        let expected: &[&str] = if tasks_by_then == 0 {
            &["02:00"]
        } else {
            &["01:00"]
        };
        assert_eq!(bench.times().await, expected, "dies at write {writes}");
        let read = bench.read(id).await.progress;
        assert_eq!(read.last_task, Some(bench.tasks().await[0].task.id));
        assert_eq!((read.waiting, read.failures), (0, 0));
        // The task that the dead process made counts as the one before: nothing overlapped with it.
        bench.at("03:00:00").await;
        assert_eq!(bench.tasks().await.len(), 1);
    }
}

#[tokio::test]
async fn a_submit_with_an_unknown_outcome_is_repeated_and_makes_one_task() {
    let bench = Bench::new().await;
    let id = bench.make(every("0 * * * *")).await.id;
    bench.until("2026-01-01T01:00:00Z");
    bench.world.faults.tasks(Fault::UnknownAfter);
    assert_eq!(bench.rounds().await, 0);
    let read = bench.read(id).await.progress;
    assert_eq!(
        (read.waiting, read.failures, read.last_error.as_deref()),
        (1, 1, Some("unavailable"))
    );
    bench.world.faults.mend();
    assert_eq!(bench.rounds().await, 0, "it waits before it tries again");
    // Whatever the task says by now: it was made.
    let task = submission_with(|spec| spec.title = "another".to_owned());
    bench
        .change(
            id,
            ScheduleChange {
                task: Some(task),
                ..ScheduleChange::default()
            },
        )
        .await;
    assert_eq!(bench.at("01:00:05").await, 1);
    assert_eq!(bench.times().await, ["01:00"]);
    let read = bench.read(id).await.progress;
    assert_eq!((read.waiting, read.failures, read.last_error), (0, 0, None));
    assert_eq!(read.last_task, Some(bench.tasks().await[0].task.id));
    bench.at("02:00:00").await;
    assert_eq!(bench.times().await, ["01:00", "02:00"]);
}

#[tokio::test]
async fn a_schedule_without_its_principal_is_paused_on_record_until_somebody_takes_it_over() {
    let bench = Bench::new().await;
    let id = bench.make(every("0 * * * *")).await.id;
    bench.forget(operator().id).await;
    let from = bench.world.mark().await;
    assert_eq!(bench.at("01:00:00").await, 0);
    let read = bench.read(id).await;
    let why = read.paused.expect("paused");
    assert_eq!((why.reason.as_str(), why.by), ("principal_gone", None));
    assert_eq!((read.revision, read.progress.next), (2, None));
    let leaves = bench.world.leaves().await;
    let leaf = &leaves[from + 1];
    assert_eq!(leaf.told(), "schedule.update+document_written done -");
    assert_eq!(
        (
            leaf.principal.as_deref(),
            leaf.resource.as_ref().map(|one| one.id.clone())
        ),
        (None, Some(id.to_string()))
    );
    assert_eq!(
        leaf.body.as_ref().map(|body| body["reason"].clone()),
        Some("principal_gone".into())
    );
    assert_eq!(bench.at("02:00:00").await, 0);
    let resume = ScheduleChange {
        paused: Some(false),
        ..ScheduleChange::default()
    };
    let resumed = bench
        .schedules
        .update(&deputy(), TENANT, id, None, resume)
        .await
        .expect("resumed");
    assert_eq!(
        (resumed.acts_as, resumed.created_by),
        (deputy().id, operator().id)
    );
    bench.at("03:00:00").await;
    assert_eq!(bench.times().await, ["03:00"]);
    assert_eq!(bench.tasks().await[0].task.submitter, deputy().id);
}

#[tokio::test]
async fn a_disabled_principal_makes_no_tasks() {
    let bench = Bench::new().await;
    let id = bench.make(every("0 * * * *")).await.id;
    let principals = Principals::new(Arc::clone(&bench.documents));
    let directory = Directory::new(Arc::clone(&bench.world.queue), principals);
    let admin = user(9, [Role::Admin]);
    let disable = PrincipalChange {
        disabled: Some(true),
        ..PrincipalChange::default()
    };
    let disabled = directory.update(&admin, TENANT, operator().id, None, disable);
    disabled.await.expect("disabled");
    assert_eq!(bench.at("01:00:00").await, 0);
    let paused = bench.read(id).await.paused;
    assert_eq!(
        paused.map(|paused| paused.reason).as_deref(),
        Some("principal_disabled")
    );
    assert!(bench.tasks().await.is_empty());
}

#[tokio::test]
async fn tasks_act_with_the_rights_and_limits_that_their_principal_has_by_then() {
    let bench = Bench::with(|plan| {
        plan.settings.submit_per_principal = RateLimit {
            per_second: 1,
            burst: 2,
        };
    })
    .await;
    let id = bench
        .make(NewSchedule {
            catch_up: CatchUp::All { limit: 100 },
            ..every("0 * * * *")
        })
        .await
        .id;
    bench.at("05:30:00").await;
    assert_eq!(
        bench.times().await,
        ["01:00", "02:00"],
        "as many as the limit takes"
    );
    let read = bench.read(id).await.progress;
    assert_eq!(
        (read.waiting, read.last_error.as_deref()),
        (3, Some("rate_limited"))
    );
    for _ in 0..10 {
        bench.world.clock.advance(Duration::from_secs(5));
        bench.rounds().await;
    }
    assert_eq!(
        bench.times().await,
        ["01:00", "02:00", "03:00", "04:00", "05:00"],
        "in order, none twice"
    );
    // What it may do no more is refused, and comes again only at the next instant.
    bench
        .world
        .policy
        .forbid(arbiter_core::model::Operation::TaskSubmit);
    assert_eq!(bench.at("06:00:00").await, 0);
    let read = bench.read(id).await.progress;
    assert_eq!(
        (read.waiting, read.failures, read.last_error.as_deref()),
        (0, 1, Some("forbidden"))
    );
    let from = bench.world.mark().await;
    assert_eq!(bench.at("06:30:00").await, 0);
    assert_eq!(bench.world.mark().await, from, "nothing is tried in between");
}

#[tokio::test]
async fn of_many_nodes_one_is_the_runner_and_another_follows_it() {
    let bench = Bench::new().await;
    bench.make(every("0 * * * *")).await;
    let other = bench.other_runner(2);
    assert_eq!(bench.at("01:00:00").await, 1);
    bench.until("2026-01-01T02:00:00Z");
    assert_eq!(bench.rounds().await, 1);
    assert_eq!(rounds(&other).await, 0, "the first one holds the lease");
    // The first one is gone for longer than its lease.
    bench.until("2026-01-01T03:00:00Z");
    assert_eq!(rounds(&other).await, 1);
    assert_eq!(bench.rounds().await, 0);
    let stop = Stop::new();
    stop.stop();
    other.run(&stop).await;
    bench.until("2026-01-01T03:00:01Z");
    let round = bench.runner.round().await.expect("round");
    assert!(round.wait > Duration::ZERO);
    bench.make(every("1 3 * * *")).await;
    assert_eq!(bench.at("03:01:00").await, 1, "what stops gives its lease back");
}

#[tokio::test]
async fn a_round_is_bounded_and_says_that_there_is_more() {
    let bench = Bench::new().await;
    for _ in 0..40 {
        bench.make(every("0 1 * * *")).await;
    }
    let settings = RunnerSettings {
        round: 16,
        ..RunnerSettings::default()
    };
    let leases: Arc<dyn LeaseStore> = Arc::clone(&bench.world.store) as _;
    let principals = Principals::new(Arc::clone(&bench.documents));
    let runner = ScheduleRunner::new(
        Arc::clone(&bench.schedules),
        principals,
        leases,
        node(3),
        settings,
    );
    bench.until("2026-01-01T01:00:00Z");
    let mut served = Vec::new();
    loop {
        let round = runner.round().await.expect("round");
        served.push(round.served);
        if !round.wait.is_zero() {
            break;
        }
    }
    assert_eq!(served, [16, 16, 8]);
    assert_eq!(bench.tasks().await.len(), 40);
}

#[tokio::test]
async fn the_loop_wakes_for_what_is_due_and_for_what_was_changed() {
    let bench = Bench::new().await;
    let id = bench.make(every("0 6 * * *")).await.id;
    bench.until("2026-01-01T05:59:58Z");
    let stop = Stop::new();
    let clock = &bench.world.clock;
    let test = async {
        while clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            clock.advance_to_next_sleeper(),
            Some(Duration::from_secs(2)),
            "exactly until then"
        );
        while bench.tasks().await.is_empty() {
            tokio::task::yield_now().await;
        }
        // Idle: it looks every 15 s and nothing else happens.
        while clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(clock.advance_to_next_sleeper(), Some(Duration::from_secs(15)));
        // A change is seen without waiting.
        bench
            .change(
                id,
                ScheduleChange {
                    cron: Some("1 6 * * *".to_owned()),
                    ..ScheduleChange::default()
                },
            )
            .await;
        clock.advance(Duration::from_secs(10));
        while bench.tasks().await.len() < 2 {
            tokio::task::yield_now().await;
            clock.advance_to_next_sleeper();
        }
        assert_eq!(bench.times().await, ["06:00", "06:01"]);
        stop.stop();
    };
    // A spawner wants a future that can move between threads.
    let run: futures_util::future::BoxFuture<'_, ()> = Box::pin(bench.runner.run(&stop));
    join(run, test).await;
}
