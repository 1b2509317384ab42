//! The HTTP interface as a service.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arbiter_api::{Api, Server, TlsIdentity};
use arbiter_core::ports::{BoxError, Spawner};
use arbiter_orchestration::Stop;
use arbiter_orchestration::supervisor::Service;
use async_trait::async_trait;

use crate::engine::StartFailure;
use crate::exit::Failure;

/// Listens and answers.
pub(crate) struct Listening {
    api: Api,
    tls: Option<TlsIdentity>,
    spawner: Arc<dyn Spawner>,
    place: Mutex<Place>,
}

struct Place {
    address: SocketAddr,
    /// What listens already and was not run yet.
    bound: Option<Server>,
}

impl Listening {
    pub(crate) fn new(
        address: SocketAddr,
        tls: Option<TlsIdentity>,
        api: Api,
        spawner: Arc<dyn Spawner>,
    ) -> Self {
        Self {
            api,
            tls,
            spawner,
            place: Mutex::new(Place { address, bound: None }),
        }
    }

    /// Where it listens, once it has started.
    pub(crate) fn address(&self) -> SocketAddr {
        self.place().address
    }

    fn place(&self) -> std::sync::MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Service for Listening {
    fn name(&self) -> &'static str {
        "server"
    }

    /// Takes the address; after a crash the same one again.
    async fn start(&self) -> Result<(), BoxError> {
        let address = self.address();
        let bound = Server::bind(
            address,
            self.tls.clone(),
            self.api.clone(),
            Arc::clone(&self.spawner),
        );
        let server = bound.await.map_err(|error| {
            let message = format!("{error}; choose another with --listen");
            StartFailure(Failure::unavailable(message, error))
        })?;
        let mut place = self.place();
        place.address = server.address();
        place.bound = Some(server);
        Ok(())
    }

    async fn run(&self, stop: Stop) {
        let bound = self.place().bound.take();
        if let Some(server) = bound {
            server.run(stop).await;
        }
    }
}
