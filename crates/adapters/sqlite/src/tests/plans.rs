//! The plans of the statements that must not depend on the backlog.

use rusqlite::Connection;

use super::support::Fixture;
use crate::{agent_registry, claim, due, outbox, purge, telemetry};

fn plan(connection: &Connection, sql: &str) -> String {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let lines = statement.query_map([], |row| row.get::<_, String>(3));
    // statements are explained with unbound parameters
    let lines: Vec<String> = lines
        .map(|rows| rows.map(Result::unwrap).collect())
        .unwrap_or_default();
    lines.join("; ")
}

#[tokio::test]
async fn hot_statements_search_an_index_and_sort_nothing() {
    let fixture = Fixture::new();
    let connection = Connection::open(fixture.config.database()).unwrap();
    for (sql, index) in [
        (claim::HEADS, "SEARCH task USING INDEX task_claimable (lane=?)"),
        (claim::FIRST, "SEARCH task USING INDEX task_claimable (lane=?)"),
        (
            claim::NEXT_LANE,
            "SEARCH task USING INDEX task_claimable (lane>?)",
        ),
        (
            claim::FIRST_LANE,
            "SEARCH task USING INDEX task_claimable (lane>?)",
        ),
        (
            due::OVERDUE,
            "SEARCH task USING INDEX task_due (due_at>? AND due_at<?)",
        ),
        (
            due::NEXT_DUE,
            "SEARCH task USING COVERING INDEX task_due (due_at>?)",
        ),
        (
            purge::CLOSED,
            "SEARCH task USING INDEX task_closed (closed_at>? AND closed_at<?)",
        ),
        (
            purge::OF_TENANT,
            "SEARCH task USING INDEX task_closed_of (tenant=?)",
        ),
        (
            outbox::DUE,
            "SEARCH outbox USING INDEX outbox_due (topic=? AND due_at>? AND due_at<?)",
        ),
        (
            agent_registry::HEARD,
            "SEARCH agent USING INDEX agent_seen (seen_at>?)",
        ),
        (
            agent_registry::OLD_OUTCOMES,
            "SEARCH agent_outcome USING COVERING INDEX agent_outcome_at (at<?)",
        ),
        (
            telemetry::read::POINTS,
            "SEARCH metric_point USING PRIMARY KEY (series=? AND at>? AND at<?)",
        ),
        (
            telemetry::age::OLDEST_SAMPLES,
            "SEARCH metric_point USING INDEX metric_point_sample (at<?)",
        ),
        (
            telemetry::age::OLDEST,
            "SEARCH metric_point USING COVERING INDEX metric_point_age (at<?)",
        ),
    ] {
        let sql = sql.replace("?1", "1").replace("?2", "2").replace("?3", "3");
        assert_eq!(plan(&connection, &sql), index, "{sql}");
    }
}
