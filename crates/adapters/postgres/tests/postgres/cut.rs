//! A line to the server that breaks when a commit was done and before its answer arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{Either, select};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// Gives a URL that leads to the same server. Of the connections over it, the first that sends a statement with this
/// text loses the answer of its next commit, and ends; the others are as good as straight ones.
pub(crate) async fn cut_after_commit_of(url: &str, statement: &'static str) -> String {
    let config: Config = url.parse().unwrap();
    let Some(Host::Tcp(host)) = config.get_hosts().first() else {
        panic!("the server is not reached over TCP")
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap().to_string();
    let there = format!("{host}:{port}");
    let new = url.replace(&there, &here);
    assert_ne!(new, url);
    let is_cut = Arc::new(AtomicBool::new(false));
    let lines = async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(&there).await.unwrap();
            let line = carry(client, server, statement, Arc::clone(&is_cut));
            #[expect(clippy::disallowed_methods, reason = "it ends with its connection")]
            tokio::spawn(line);
        }
    };
    #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
    tokio::spawn(lines);
    new
}

async fn carry(client: TcpStream, server: TcpStream, statement: &'static str, is_cut: Arc<AtomicBool>) {
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let is_silent = Arc::new(AtomicBool::new(false));
    let out = Box::pin(ask(
        from_client,
        to_server,
        statement,
        is_cut,
        Arc::clone(&is_silent),
    ));
    let back = Box::pin(answer(from_server, to_client, is_silent));
    match select(out, back).await {
        // what the server has answered is still told
        Either::Left(((), back)) => back.await,
        Either::Right(((), _)) => {}
    }
}

async fn ask(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    statement: &str,
    is_cut: Arc<AtomicBool>,
    is_silent: Arc<AtomicBool>,
) {
    let (mut bytes, mut is_the_one) = (vec![0; 64 * 1024], false);
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let sent = &bytes[..length];
        let holds = |text: &str| sent.windows(text.len()).any(|part| part == text.as_bytes());
        is_the_one |= holds(statement);
        if is_the_one && holds("COMMIT") && !is_cut.swap(true, Ordering::SeqCst) {
            is_silent.store(true, Ordering::SeqCst);
        }
        if to.write_all(sent).await.is_err() {
            break;
        }
    }
}

async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_silent: Arc<AtomicBool>) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        if is_silent.load(Ordering::SeqCst) || to.write_all(&bytes[..length]).await.is_err() {
            break;
        }
    }
}
