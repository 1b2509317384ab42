//! The migrations that bring a database to the present schema, and what readers may read of it.

use deadpool_postgres::{Object, Transaction};
use tokio_postgres::error::SqlState;

use crate::config::PostgresConfig;
use crate::error::OpenError;

/// The migrations in order; the schema's version is their number. They only ever go forward.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_init.sql"),
    include_str!("../migrations/0002_tasks.sql"),
    include_str!("../migrations/0003_artifacts.sql"),
    include_str!("../migrations/0004_telemetry.sql"),
    include_str!("../migrations/0005_agent_heard.sql"),
    include_str!("../migrations/0006_outcome_at.sql"),
    include_str!("../migrations/0007_compression.sql"),
];

/// What the reader's role may read. Each of these tables is under row-level security.
const READABLE: &[&str] = &[
    "document",
    "document_index",
    "agent",
    "task",
    "task_spec",
    "attempt",
    "stage_report",
    "tally",
    "artifact",
    "artifact_chunk",
    "artifact_usage",
];

/// Names our advisory locks ("Arbi").
const LOCKS: i32 = 0x4172_6269;

/// Brings the schema to the present version, each migration in a transaction of its own. Of programs that start at the
/// same time one migrates, and the others wait for it.
pub(crate) async fn migrate(connection: &mut Object, config: &PostgresConfig) -> Result<(), OpenError> {
    bring_up(connection, config, MIGRATIONS).await
}

async fn bring_up(
    connection: &mut Object,
    config: &PostgresConfig,
    migrations: &[&str],
) -> Result<(), OpenError> {
    let failed = OpenError::database("migrating");
    let known = migrations.len() as i64;
    loop {
        let transaction = connection.transaction().await.map_err(&failed)?;
        let found = locked_version(&transaction, &config.schema)
            .await
            .map_err(&failed)?;
        if found > known {
            return Err(OpenError::NewerSchema { found, known });
        }
        let next = usize::try_from(found).ok().and_then(|at| migrations.get(at));
        let Some(migration) = next else {
            grant(&transaction, config).await?;
            return transaction.commit().await.map_err(&failed);
        };
        transaction.batch_execute(migration).await.map_err(&failed)?;
        transaction
            .execute(
                "INSERT INTO schema_version (version, at) VALUES ($1, now())",
                &[&(found + 1)],
            )
            .await
            .map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
    }
}

/// Takes the lock of migrations and gives the version, 0 for a new schema, which is made.
async fn locked_version(transaction: &Transaction<'_>, schema: &str) -> Result<i64, tokio_postgres::Error> {
    // who starts while another migrates waits as long as that takes
    transaction
        .batch_execute("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")
        .await?;
    transaction
        .execute(
            "SELECT pg_advisory_xact_lock($1, hashtext($2))",
            &[&LOCKS, &schema],
        )
        .await?;
    // a schema that somebody made for us needs no right to make schemas
    let row = transaction
        .query_one("SELECT to_regnamespace($1) IS NULL", &[&schema])
        .await?;
    // INVARIANT: the name was checked to need no quotes
    if row.try_get(0)? {
        transaction
            .batch_execute(&format!("CREATE SCHEMA {schema}"))
            .await?;
    }
    transaction
        .batch_execute(&format!(
            "CREATE TABLE IF NOT EXISTS {schema}.schema_version (version bigint PRIMARY KEY, at timestamptz NOT NULL)"
        ))
        .await?;
    let row = transaction
        .query_one("SELECT coalesce(max(version), 0) FROM schema_version", &[])
        .await?;
    row.try_get(0)
}

/// Lets the reader's role read what it may, if it may not yet.
async fn grant(transaction: &Transaction<'_>, config: &PostgresConfig) -> Result<(), OpenError> {
    let PostgresConfig {
        reader_role: role,
        schema,
        ..
    } = config;
    let failed = OpenError::database("granting the reader's rights");
    let asked = transaction
        .query_one(
            "SELECT has_schema_privilege($1, $2, 'USAGE')
               AND bool_and(has_table_privilege($1, $2 || '.' || t, 'SELECT')) FROM unnest($3::text[]) AS t",
            &[role, schema, &READABLE],
        )
        .await;
    let row = match asked {
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_OBJECT) => {
            return Err(OpenError::Reader {
                role: role.clone(),
                problem: format!(
                    "it does not exist; make it with `CREATE ROLE {role} NOLOGIN` and let the engine act as it with \
                     `GRANT {role} TO` the engine's role"
                ),
            });
        }
        asked => asked.map_err(&failed)?,
    };
    if row.try_get(0).map_err(&failed)? {
        return Ok(());
    }
    let tables: Vec<String> = READABLE.iter().map(|table| format!("{schema}.{table}")).collect();
    let grants = format!(
        "GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON {} TO {role}",
        tables.join(", ")
    );
    transaction.batch_execute(&grants).await.map_err(&failed)
}

/// Refuses readers that row-level security would not hold back.
pub(crate) async fn check_reader(reader: &Object, config: &PostgresConfig) -> Result<(), OpenError> {
    let row = reader
        .query_one(
            "SELECT current_user::text, rolsuper OR rolbypassrls,
               EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                       WHERE n.nspname = $1 AND c.relname = 'document' AND pg_has_role(c.relowner, 'USAGE'))
             FROM pg_roles r WHERE rolname = current_user",
            &[&config.schema],
        )
        .await
        .map_err(OpenError::database("looking at the reader's role"))?;
    let failed = OpenError::database("looking at the reader's role");
    let refused = |problem: &str| OpenError::Reader {
        role: config.reader_role.clone(),
        problem: problem.to_owned(),
    };
    let name: String = row.try_get(0).map_err(&failed)?;
    if name != config.reader_role {
        return Err(refused("the login of readers does not act as it"));
    }
    if row.try_get(1).map_err(&failed)? {
        return Err(refused("it is a superuser, or may pass row-level security by"));
    }
    if row.try_get(2).map_err(&failed)? {
        return Err(refused("it owns the tables, or has the rights of their owner"));
    }
    Ok(())
}
