//! What tenants do with their schedules.

use super::*;

#[tokio::test]
async fn a_schedule_is_made_read_changed_and_deleted_and_each_call_is_on_record() {
    let bench = Bench::new().await;
    let from = bench.world.mark().await;
    let made = bench.make(every("0  6 * * MON-fri")).await;
    assert_eq!(
        (made.cron.as_str(), made.zone.as_str(), made.revision),
        ("0 6 * * MON-fri", "UTC", 1)
    );
    assert_eq!((made.created_by, made.acts_as), (operator().id, operator().id));
    let next = made.progress.next.expect("comes");
    assert_eq!(next.at.to_string(), "2026-01-01T06:00:00.000000Z");
    assert_eq!(bench.read(made.id).await.task, submission().spec);
    let change = ScheduleChange {
        cron: Some("30 7 * * *".to_owned()),
        zone: Some("europe/berlin".to_owned()),
        ..ScheduleChange::default()
    };
    let schedules = &bench.schedules;
    let updated = schedules
        .update(&operator(), TENANT, made.id, Some(1), change.clone())
        .await
        .expect("updated");
    assert_eq!((updated.revision, updated.zone.as_str()), (2, "Europe/Berlin"));
    assert_eq!(
        updated.progress.next.expect("comes").at.to_string(),
        "2026-01-01T06:30:00.000000Z"
    );
    let stale = schedules
        .update(&operator(), TENANT, made.id, Some(1), change)
        .await;
    assert!(
        matches!(stale, Err(RecordError::Changed { current: 2 })),
        "{stale:?}"
    );
    let stale = schedules.delete(&operator(), TENANT, made.id, Some(1)).await;
    assert_eq!(code(stale), "precondition_failed");
    schedules
        .delete(&operator(), TENANT, made.id, Some(2))
        .await
        .expect("deleted");
    assert_eq!(
        code(schedules.get(&operator(), TENANT, made.id).await),
        "not_found"
    );
    assert_eq!(
        bench.world.told(from).await,
        [
            "schedule.create+document_written done -",
            "schedule.update+document_written done -",
            "schedule.update+rejected refused precondition_failed",
            "schedule.delete+rejected refused precondition_failed",
            "schedule.delete+document_written done -",
        ]
    );
}

#[tokio::test]
async fn only_who_may_manages_schedules_and_never_in_another_tenant() {
    let bench = Bench::new().await;
    let id = bench.make(every("0 6 * * *")).await.id;
    let schedules = &bench.schedules;
    let change = ScheduleChange::default;
    for who in [submitter(), in_tenant(2, operator())] {
        let from = bench.world.mark().await;
        assert_eq!(
            code(schedules.create(&who, TENANT, every("0 6 * * *"), None).await),
            "forbidden"
        );
        assert_eq!(code(schedules.list(&who, TENANT, None, 10).await), "forbidden");
        assert_eq!(code(schedules.get(&who, TENANT, id).await), "forbidden");
        assert_eq!(code(schedules.next(&who, TENANT, id, 1).await), "forbidden");
        assert_eq!(
            code(schedules.preview(&who, TENANT, "0 6 * * *", "UTC", 1).await),
            "forbidden"
        );
        assert_eq!(
            code(schedules.update(&who, TENANT, id, None, change()).await),
            "forbidden"
        );
        assert_eq!(code(schedules.delete(&who, TENANT, id, None).await), "forbidden");
        assert_eq!(bench.world.mark().await - from, 7, "each is on record");
    }
    // Their own tenant has no such schedule.
    let elsewhere = in_tenant(2, operator());
    let theirs = elsewhere.tenant;
    assert_eq!(code(schedules.get(&elsewhere, theirs, id).await), "not_found");
    assert_eq!(
        code(schedules.update(&elsewhere, theirs, id, None, change()).await),
        "not_found"
    );
    assert_eq!(
        code(schedules.delete(&elsewhere, theirs, id, None).await),
        "not_found"
    );
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_by_name() {
    let bench = Bench::new().await;
    let task = |change: fn(&mut arbiter_core::model::TaskSpec)| NewSchedule {
        task: submission_with(change),
        ..every("0 6 * * *")
    };
    let prerequisite = NewSchedule {
        task: arbiter_queue::Submission {
            after: vec![arbiter_queue::Prerequisite::Sibling(0)],
            ..submission()
        },
        ..every("0 6 * * *")
    };
    let all = |limit| CatchUp::All { limit };
    for (new, told, part) in [
        (every("0 6 * *"), "invalid_value", "`cron`"),
        (every("0 0 30 2 *"), "invalid_value", "never comes"),
        (
            NewSchedule {
                zone: "Mars/Olympus".to_owned(),
                ..every("0 6 * * *")
            },
            "invalid_value",
            "`time_zone`",
        ),
        (
            NewSchedule {
                name: " ".to_owned(),
                ..every("0 6 * * *")
            },
            "invalid_value",
            "`name`",
        ),
        (
            NewSchedule {
                name: "a\nb".to_owned(),
                ..every("0 6 * * *")
            },
            "invalid_value",
            "`name`",
        ),
        (
            NewSchedule {
                name: "x".repeat(101),
                ..every("0 6 * * *")
            },
            "invalid_value",
            "`name`",
        ),
        (
            NewSchedule {
                jitter: Duration::from_secs(3_601),
                ..every("0 6 * * *")
            },
            "invalid_value",
            "jitter",
        ),
        (
            NewSchedule {
                catch_up: all(0),
                ..every("0 6 * * *")
            },
            "invalid_value",
            "catch_up",
        ),
        (
            NewSchedule {
                catch_up: all(101),
                ..every("0 6 * * *")
            },
            "invalid_value",
            "catch_up",
        ),
        (
            NewSchedule {
                task: keyed("k", submission()),
                ..every("0 6 * * *")
            },
            "invalid_value",
            "idempotency",
        ),
        (prerequisite, "invalid_value", "`task.after`"),
        (
            task(|spec| spec.not_before = Some(Timestamp::default())),
            "invalid_value",
            "moment",
        ),
        (
            task(|spec| spec.constraints.deadline = Some(Timestamp::default())),
            "invalid_value",
            "moment",
        ),
        (
            task(|spec| drop(spec.labels.insert("schedule".to_owned(), "mine".to_owned()))),
            "invalid_value",
            "labels",
        ),
        (task(|spec| spec.title.clear()), "invalid_task", "`title`"),
        (
            task(|spec| spec.kind = TaskKind::new("acme/unknown").expect("kind")),
            "kind_not_allowed",
            "acme",
        ),
        (
            task(|spec| spec.review.rubric = Some("clarity".to_owned())),
            "invalid_task",
            "review",
        ),
    ] {
        let from = bench.world.mark().await;
        let refused = bench.schedules.create(&operator(), TENANT, new, None).await;
        let error = refused.expect_err(part);
        assert_eq!(error.code(), told, "{part}");
        assert!(error.to_string().contains(part), "{part}: {error}");
        let leaves = bench.world.told(from).await;
        assert_eq!(leaves, [format!("schedule.create+rejected refused {told}")]);
    }
    let reason = ScheduleChange {
        reason: Some("why".to_owned()),
        ..ScheduleChange::default()
    };
    let id = bench.make(every("0 6 * * *")).await.id;
    let refused = bench
        .schedules
        .update(&operator(), TENANT, id, None, reason)
        .await;
    assert_eq!(code(refused), "invalid_value", "a reason without a pause");
}

#[tokio::test]
async fn a_repeated_call_with_the_same_key_finds_the_schedule_of_the_first() {
    let bench = Bench::new().await;
    let schedules = &bench.schedules;
    let create = |who: Principal, cron: &'static str, key: &'static str| async move {
        schedules.create(&who, TENANT, every(cron), Some(key)).await
    };
    let first = create(operator(), "0 6 * * *", "k").await.expect("made");
    assert!(!first.repeated);
    let renamed = ScheduleChange {
        name: Some("another".to_owned()),
        ..ScheduleChange::default()
    };
    bench.change(first.schedule.id, renamed).await;
    let second = create(operator(), "0 6 * * *", "k").await.expect("found");
    assert!(second.repeated);
    assert_eq!(
        (second.schedule.id, second.schedule.name.as_str()),
        (first.schedule.id, "another"),
        "as it is now"
    );
    assert_eq!(
        code(create(operator(), "0 7 * * *", "k").await),
        "idempotency_conflict"
    );
    assert_ne!(
        create(deputy(), "0 6 * * *", "k")
            .await
            .expect("made")
            .schedule
            .id,
        first.schedule.id,
        "keys are those of a principal"
    );
    let (one, two) = join(
        create(operator(), "0 8 * * *", "both"),
        create(operator(), "0 8 * * *", "both"),
    )
    .await;
    assert_eq!(one.expect("made").schedule.id, two.expect("made").schedule.id);
    for bad in ["", " ", "a\nb"] {
        assert_eq!(code(create(operator(), "0 6 * * *", bad).await), "invalid_value");
    }
}

#[tokio::test]
async fn there_is_a_limit_for_each_tenant_and_pages_are_in_order() {
    let bench = Bench::new().await;
    let mut made = Vec::new();
    for _ in 0..40 {
        made.push(bench.make(every("0 6 * * *")).await.id);
    }
    let refused = bench
        .schedules
        .create(&operator(), TENANT, every("0 6 * * *"), None)
        .await;
    assert_eq!(code(refused), "too_large");
    let list = |after, limit| {
        bench
            .schedules
            .list(OPERATOR.get_or_init(operator), TENANT, after, limit)
    };
    let first = list(None, 25).await.expect("list");
    let second = list(first.last().map(|last| last.id), 25).await.expect("list");
    let ids: Vec<ScheduleId> = first.iter().chain(&second).map(|one| one.id).collect();
    made.sort_unstable();
    assert_eq!((first.len(), second.len(), ids), (25, 15, made));
    assert!(first.iter().all(|one| one.progress.next.is_some()));
}

static OPERATOR: std::sync::OnceLock<Principal> = std::sync::OnceLock::new();

#[tokio::test]
async fn previews_show_what_comes_with_the_jitter_of_the_schedule() {
    let bench = Bench::new().await;
    let new = NewSchedule {
        jitter: Duration::from_mins(10),
        zone: "America/New_York".to_owned(),
        ..every("30 2 * * *")
    };
    let made = bench.make(new).await;
    bench.until("2026-03-06T12:00:00Z");
    let shown = bench
        .schedules
        .next(&operator(), TENANT, made.id, 3)
        .await
        .expect("shown");
    let times: Vec<String> = shown
        .iter()
        .map(|next| next.at.to_string()[..16].to_owned())
        .collect();
    assert_eq!(
        times,
        ["2026-03-07T07:30", "2026-03-08T07:00", "2026-03-09T06:30"]
    );
    assert!(
        shown
            .iter()
            .all(|next| next.due.since(next.at) < Duration::from_mins(10))
    );
    let preview = |cron| {
        bench
            .schedules
            .preview(OPERATOR.get_or_init(operator), TENANT, cron, "Asia/Tokyo", 1_000)
    };
    let shown = preview("0 0 L * *").await.expect("shown");
    assert_eq!(
        (shown.len(), shown[0].to_string().as_str()),
        (100, "2026-03-30T15:00:00.000000Z")
    );
    assert_eq!(code(preview("0 0 32 * *").await), "invalid_value");
}

#[tokio::test]
async fn secrets_in_names_and_tasks_are_never_stored() {
    let bench = Bench::new().await;
    let canary = "sk-canary0123456789abcdefghijklmnopqrstuvwxyz";
    let new = NewSchedule {
        name: format!("report {canary}"),
        task: submission_with(|spec| spec.instructions = format!("use {canary} for it")),
        ..every("0 6 * * *")
    };
    let made = bench.make(new).await;
    let pause = ScheduleChange {
        paused: Some(true),
        reason: Some(format!("{canary} was found")),
        ..ScheduleChange::default()
    };
    bench.change(made.id, pause).await;
    let query = DocumentQuery {
        kind: "schedule",
        index: None,
        after: None,
        limit: 10,
    };
    let stored = bench.documents.list(TenantScope::All, query).await.expect("list");
    assert_eq!(stored.len(), 1);
    assert!(
        !stored[0].body.as_str().contains("canary"),
        "{}",
        stored[0].body.as_str()
    );
    let read = bench.read(made.id).await;
    assert!(read.task.instructions.starts_with("use ") && read.name.starts_with("report "));
}

#[tokio::test]
async fn who_changes_what_a_schedule_does_answers_for_it() {
    let bench = Bench::new().await;
    let critical = NewSchedule {
        task: submission_with(|spec| spec.priority = arbiter_core::model::Priority::CRITICAL),
        ..every("0 1 * * *")
    };
    let id = bench.make(critical.clone()).await.id;
    let by_deputy = |change| {
        bench
            .schedules
            .update(DEPUTY.get_or_init(deputy), TENANT, id, None, change)
    };
    // A name and a pause change nothing of it.
    let harmless = ScheduleChange {
        name: Some("another".to_owned()),
        paused: Some(true),
        ..ScheduleChange::default()
    };
    let changed = by_deputy(harmless).await.expect("changed");
    assert_eq!(changed.acts_as, operator().id);
    let resumed = by_deputy(ScheduleChange {
        paused: Some(false),
        ..ScheduleChange::default()
    })
    .await;
    assert_eq!(resumed.expect("resumed").acts_as, operator().id);
    // The deputy cannot use the operator's rights to put in a task of its own.
    let task = ScheduleChange {
        task: Some(critical.task),
        ..ScheduleChange::default()
    };
    assert_eq!(code(by_deputy(task).await), "forbidden");
    // Nor take over a task that it could not submit.
    let cron = ScheduleChange {
        cron: Some("0 2 * * *".to_owned()),
        ..ScheduleChange::default()
    };
    assert_eq!(code(by_deputy(cron.clone()).await), "forbidden");
    assert_eq!(bench.read(id).await.acts_as, operator().id);
    let own = ScheduleChange {
        task: Some(submission()),
        ..cron
    };
    let changed = by_deputy(own).await.expect("changed");
    assert_eq!(
        (changed.created_by, changed.acts_as),
        (operator().id, deputy().id)
    );
    bench.at("02:00:00").await;
    let tasks = bench.tasks().await;
    assert_eq!(tasks.len(), 1);
    assert_eq!(tasks[0].task.submitter, deputy().id);
}

static DEPUTY: std::sync::OnceLock<Principal> = std::sync::OnceLock::new();

#[tokio::test]
async fn a_store_that_is_down_is_told_and_nothing_is_half_kept() {
    let bench = Bench::new().await;
    let broken: Arc<dyn Documents> = Arc::new(Crashing::after(&bench.documents, 0));
    let schedules = super::schedules(&bench.world, &broken);
    let refused = schedules
        .create(&operator(), TENANT, every("0 6 * * *"), None)
        .await;
    assert_eq!(code(refused), "unavailable");
    assert_eq!(
        bench
            .schedules
            .list(&operator(), TENANT, None, 10)
            .await
            .expect("list")
            .len(),
        0
    );
}

/// Documents that take so many writes, and no more: the process dies there.
pub(super) struct Crashing {
    inner: Arc<dyn Documents>,
    left: AtomicUsize,
}

impl Crashing {
    pub(super) fn after(documents: &Arc<dyn Documents>, writes: usize) -> Self {
        Self {
            inner: Arc::clone(documents),
            left: AtomicUsize::new(writes),
        }
    }
}

#[async_trait]
impl Documents for Crashing {
    async fn get(
        &self,
        scope: TenantScope,
        keys: &[DocumentKey],
    ) -> Result<Vec<Option<Document>>, StoreError> {
        self.inner.get(scope, keys).await
    }

    async fn write(&self, writes: Vec<DocumentWrite>, effects: Effects) -> Result<Vec<u64>, DocumentError> {
        let taken = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if taken.is_err() {
            return Err(DocumentError::Store(StoreError::Backend {
                operation: "a test",
                applied: Applied::No,
                retry: Retry::Transient,
                source: "the process died here".into(),
            }));
        }
        self.inner.write(writes, effects).await
    }

    async fn clear(&self, clearance: arbiter_core::ports::Clearance) -> Result<usize, StoreError> {
        self.inner.clear(clearance).await
    }

    async fn list(&self, scope: TenantScope, query: DocumentQuery) -> Result<Vec<Document>, StoreError> {
        self.inner.list(scope, query).await
    }
}
