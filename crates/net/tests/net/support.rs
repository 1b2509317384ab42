//! Clients for tests.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use arbiter_adapter_system::SystemClock;
use arbiter_core::ports::Clock;
use arbiter_net::{Egress, HttpClient, HttpClientConfig, HttpPorts, HttpUrl, Resolve, SystemResolver};
use arbiter_testkit::{
    HttpStub, ManualClock, RecordingMetrics, SeededEntropy, SeenRequest, StubAnswer, TestSpawner,
};
use async_trait::async_trait;

/// Settings that permit local servers without TLS.
pub(crate) fn local() -> HttpClientConfig {
    HttpClientConfig {
        egress: Egress::public()
            .plain_http()
            .allow_network("127.0.0.0/8".parse().unwrap()),
        ..HttpClientConfig::new("test")
    }
}

pub(crate) fn ports(clock: Arc<dyn Clock>, resolver: Arc<dyn Resolve>) -> HttpPorts {
    HttpPorts {
        clock,
        entropy: Arc::new(SeededEntropy::new(1)),
        metrics: Arc::new(RecordingMetrics::new()),
        spawner: Arc::new(TestSpawner),
        resolver,
    }
}

pub(crate) fn client(config: &HttpClientConfig) -> HttpClient {
    client_with(config, Arc::new(SystemResolver))
}

pub(crate) fn client_with(config: &HttpClientConfig, resolver: Arc<dyn Resolve>) -> HttpClient {
    HttpClient::new(config, ports(Arc::new(SystemClock::new()), resolver)).unwrap()
}

/// A client whose time stands still until the test moves it.
pub(crate) fn timed(config: &HttpClientConfig) -> (HttpClient, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let ports = ports(Arc::clone(&clock) as _, Arc::new(SystemResolver));
    (HttpClient::new(config, ports).unwrap(), clock)
}

pub(crate) fn url(text: &str) -> HttpUrl {
    text.parse().unwrap()
}

pub(crate) async fn stub(script: impl Fn(&SeenRequest) -> StubAnswer + Send + Sync + 'static) -> HttpStub {
    HttpStub::start(script).await.unwrap()
}

/// Names with lists of addresses; each look-up takes the next list, the last one stays.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<BTreeMap<String, Vec<Vec<IpAddr>>>>);

impl Names {
    pub(crate) fn new(names: &[(&str, &[&[&str]])]) -> Arc<Self> {
        let parse = |list: &&[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        let names = names
            .iter()
            .map(|(name, lists)| ((*name).to_owned(), lists.iter().map(parse).collect()));
        Arc::new(Self(Mutex::new(names.collect())))
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut names = self.0.lock().unwrap();
        let lists = names
            .get_mut(host)
            .ok_or_else(|| io::Error::other("no such host"))?;
        Ok(if lists.len() > 1 {
            lists.remove(0)
        } else {
            lists[0].clone()
        })
    }
}

/// The texts of an error and all its sources, as a log shows them.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error:?} | {error}");
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
