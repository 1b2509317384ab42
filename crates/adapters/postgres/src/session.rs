//! A transaction with its time: what every statement goes through.

use arbiter_core::model::{TenantScope, Timestamp};
use deadpool_postgres::Object;
use futures_util::future::try_join;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Row, RowStream};
use uuid::Uuid;

use crate::error::Fault;
use crate::transaction::{Purpose, Transaction};

const SCOPE: &str =
    "SELECT set_config('arbiter.tenant', $1, true), set_config('arbiter.now', $2, true), store_now()";

/// The parameters of a statement.
pub(crate) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A transaction that has begun.
pub(crate) struct Session<'t> {
    transaction: Transaction<'t>,
    /// The store's clock, read once for the transaction.
    pub(crate) now: Timestamp,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl<'t> Session<'t> {
    /// Begins a transaction, tells it whose rows it may see and, if that is given, the time; else asks for the time.
    pub(crate) async fn begin(
        connection: &'t mut Object,
        purpose: Purpose,
        now: Option<Timestamp>,
        scope: TenantScope,
    ) -> Result<Self, Fault> {
        let tenant = match scope {
            TenantScope::Tenant(tenant) => tenant.to_string(),
            TenantScope::All => String::new(),
        };
        let given = now.map(|now| now.as_micros().to_string()).unwrap_or_default();
        let statement = connection.prepare_cached(SCOPE).await?;
        let transaction = Transaction::new(connection);
        let parameters: Params<'_> = &[&tenant, &given];
        let scoped = transaction.query_one(&statement, parameters);
        let ((), row) = try_join(transaction.begin(purpose), scoped).await?;
        let now = Timestamp::from_micros(get(&row, 2)?);
        Ok(Self { transaction, now })
    }

    /// Prepares statements, so that they can be sent without waiting.
    pub(crate) async fn prepare(&self, statements: &[&str]) -> Result<(), Fault> {
        for sql in statements {
            self.transaction.prepare_cached(sql).await?;
        }
        Ok(())
    }

    /// Runs a statement and gives its rows.
    pub(crate) async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Fault> {
        let statement = self.transaction.prepare_cached(sql).await?;
        Ok(self.transaction.query(&statement, params).await?)
    }

    /// Runs a statement that gives one row or none.
    pub(crate) async fn query_opt(&self, sql: &str, params: Params<'_>) -> Result<Option<Row>, Fault> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// Runs a statement and gives the number of rows that it touched.
    pub(crate) async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64, Fault> {
        let statement = self.transaction.prepare_cached(sql).await?;
        Ok(self.transaction.execute(&statement, params).await?)
    }

    /// Runs a statement and gives its rows as they come. Memory holds a few of them.
    pub(crate) async fn stream(&self, sql: &str, params: Params<'_>) -> Result<RowStream, Fault> {
        let statement = self.transaction.prepare_cached(sql).await?;
        let params = params.iter().copied();
        Ok(self.transaction.query_raw(&statement, params).await?)
    }

    /// Gives the transaction up, to be committed.
    pub(crate) fn end(self) -> Transaction<'t> {
        self.transaction
    }
}

/// A column of a row; what does not fit is damage.
pub(crate) fn get<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T, Fault> {
    row.try_get(column).map_err(Fault::Column)
}

/// An id as PostgreSQL takes it.
pub(crate) const fn uuid(bytes: &[u8; 16]) -> Uuid {
    Uuid::from_bytes(*bytes)
}

/// The bytes of an id.
pub(crate) fn id_bytes(row: &Row, column: usize) -> Result<[u8; 16], Fault> {
    Ok(get::<Uuid>(row, column)?.into_bytes())
}
