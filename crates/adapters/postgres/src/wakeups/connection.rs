//! The connection that listens and notifies.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::ports::{BoxError, Clock};
use futures_util::future::{Either, select};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio_postgres::{AsyncMessage, Client, Config};

use super::Shared;
use super::payload::{decode, encode};
use crate::config::PostgresConfig;
use crate::connect::{Part, settings};
use crate::error::OpenError;
use crate::tls::Tls;

/// How long to wait after a try to make a lost connection anew has failed.
const PAUSE: Duration = Duration::from_secs(1);

type Messages = BoxStream<'static, Result<AsyncMessage, tokio_postgres::Error>>;

/// A connection that listens.
pub(super) struct Line {
    settings: Config,
    tls: Tls,
    channel: String,
    shared: Arc<Shared>,
    open: Open,
}

struct Open {
    client: Client,
    messages: Messages,
    /// Notifications of this server process are our own.
    pid: i32,
}

impl Line {
    /// Connects and listens.
    pub(super) async fn connect(config: &PostgresConfig, shared: Arc<Shared>) -> Result<Self, OpenError> {
        let mut settings = settings(config, Part::Engine)?;
        let tls = Tls::new(config)?;
        // a hint that a crash loses does no harm
        let options = settings.get_options().unwrap_or_default();
        let options = format!("{options} -c synchronous_commit=off");
        settings.options(options);
        // INVARIANT: the name of the schema was checked to need no quotes
        let channel = format!("arbiter_{}", config.schema);
        let open = Open::new(&settings, &tls, &channel)
            .await
            .map_err(OpenError::database("connecting for wake-ups"))?;
        Ok(Self {
            settings,
            tls,
            channel,
            shared,
            open,
        })
    }

    /// Carries hints in both directions until the mailbox is closed.
    pub(super) async fn keep(self, clock: Arc<dyn Clock>) {
        let Self {
            settings,
            tls,
            channel,
            shared,
            mut open,
        } = self;
        while let Err(error) = open.carry(&channel, &shared).await {
            tracing::warn!(
                error = &*error as &dyn std::error::Error,
                "the connection for wake-ups is lost; it is made anew"
            );
            let again = connect_again(&settings, &tls, &channel, &shared, &*clock);
            let Some(fresh) = again.await else { return };
            open = fresh;
            shared.subscribers.overflow();
            shared.outward.overflow();
        }
    }
}

/// Tries until it works; none when the mailbox was closed meanwhile.
async fn connect_again(
    settings: &Config,
    tls: &Tls,
    channel: &str,
    shared: &Shared,
    clock: &dyn Clock,
) -> Option<Open> {
    while !shared.outward.is_closed() {
        if let Ok(open) = Open::new(settings, tls, channel).await {
            return Some(open);
        }
        clock.sleep_until(clock.monotonic().saturating_add(PAUSE)).await;
    }
    None
}

impl Open {
    async fn new(settings: &Config, tls: &Tls, channel: &str) -> Result<Self, tokio_postgres::Error> {
        let (client, mut connection) = settings.connect(tls.clone()).await?;
        let mut messages = stream::poll_fn(move |context| connection.poll_message(context)).boxed();
        let pid = {
            let listening = pin!(async {
                client.batch_execute(&format!("LISTEN {channel}")).await?;
                let row = client.query_one("SELECT pg_backend_pid()", &[]).await?;
                row.try_get(0)
            });
            // nobody listens yet to whom a notification would have to be given
            let driving = pin!(async {
                while let Some(Ok(_)) = messages.next().await {}
                // how the connection ended is the answer of what waits for it
                std::future::pending().await
            });
            match select(listening, driving).await {
                Either::Left((pid, _)) | Either::Right((pid, _)) => pid?,
            }
        };
        Ok(Self {
            client,
            messages,
            pid,
        })
    }
}

impl Open {
    /// Carries hints until the mailbox is closed or the connection is lost.
    async fn carry(&mut self, channel: &str, shared: &Shared) -> Result<(), BoxError> {
        let Self {
            client,
            messages,
            pid,
        } = self;
        let inward = pin!(receive(messages, *pid, shared));
        let outward = pin!(send(client, channel, shared));
        // the connection is driven by reading from it, so both must be polled
        match select(inward, outward).await {
            Either::Left((ended, _)) | Either::Right((ended, _)) => ended,
        }
    }
}

/// Gives what other processes tell to the subscribers. Ends when the connection does.
async fn receive(messages: &mut Messages, own: i32, shared: &Shared) -> Result<(), BoxError> {
    while let Some(message) = messages.try_next().await? {
        let AsyncMessage::Notification(told) = message else {
            continue;
        };
        if told.process_id() == own {
            continue;
        }
        match decode(told.payload()).as_slice() {
            [] => shared.subscribers.overflow(),
            hints => shared.subscribers.put(hints),
        }
    }
    Err("the server has closed the connection".into())
}

/// Tells other processes, one statement after the other.
async fn send(client: &Client, channel: &str, shared: &Shared) -> Result<(), BoxError> {
    while let Some(hints) = shared.outward.next().await {
        client
            .execute(
                "SELECT pg_notify($1, text) FROM unnest($2::text[]) AS text",
                &[&channel, &encode(&hints)],
            )
            .await?;
    }
    Ok(())
}
