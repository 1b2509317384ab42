//! The port `LeaseStore`.

use std::time::Duration;

use arbiter_core::model::{Fence, NodeId, Timestamp};
use arbiter_core::ports::{LeaseStore, StoreError, Turn};
use async_trait::async_trait;

use crate::number::natural;
use crate::session::{get, uuid};
use crate::store::PostgresStore;

/// Takes a name that is free, given back, over, or the node's own; else touches no row. The fence stays while nobody else
/// has had the name, whether the turn has ended or not.
const TAKE: &str = "INSERT INTO lease AS l (name, node, fence, until) VALUES ($1, $2, 1, $3)
     ON CONFLICT (name) DO UPDATE SET node = excluded.node, until = excluded.until,
       fence = CASE WHEN l.node = excluded.node THEN l.fence ELSE l.fence + 1 END
     WHERE l.node IS NULL OR l.node = excluded.node OR l.until <= $4
     RETURNING fence, until";

#[async_trait]
impl LeaseStore for PostgresStore {
    async fn take(&self, name: &str, node: NodeId, ttl: Duration) -> Result<Option<Turn>, StoreError> {
        let name = name.to_owned();
        self.write("take a lease", move |write| {
            Box::pin(async move {
                let now = write.session.now;
                let until = now.plus(ttl).as_micros();
                let row = write
                    .session
                    .query_opt(TAKE, &[&name, &uuid(node.as_bytes()), &until, &now.as_micros()])
                    .await?;
                row.map(|row| {
                    Ok(Turn {
                        fence: Fence(natural(get(&row, 0)?)),
                        until: Timestamp::from_micros(get(&row, 1)?),
                    })
                })
                .transpose()
            })
        })
        .await
    }

    async fn give_back(&self, name: &str, node: NodeId) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write("give a lease back", move |write| {
            Box::pin(async move {
                write
                    .session
                    .execute(
                        "UPDATE lease SET node = NULL WHERE name = $1 AND node = $2",
                        &[&name, &uuid(node.as_bytes())],
                    )
                    .await?;
                Ok(())
            })
        })
        .await
    }
}
