//! Signed heads of the audit log: once a second while it grows, and at the end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use arbiter_audit::checkpoint::Checkpoint;
use arbiter_audit::key::VerifierKey;
use arbiter_audit::note::Note;
use arbiter_audit::proof::ConsistencyProof;
use arbiter_audit::tile::{Tile, TileMap};
use arbiter_core::ports::{AuditTree, Clock, Signer, TreeHead};
use arbiter_orchestration::Stop;
use futures_util::{FutureExt as _, select_biased};

use crate::log_key::LogKey;

/// How often the head is signed while the log grows.
const EVERY: Duration = Duration::from_secs(1);

/// Signs heads.
#[derive(Clone)]
pub(crate) struct Checkpointer {
    pub(crate) tree: Arc<dyn AuditTree>,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The name of the log.
    pub(crate) origin: String,
    /// Which key signs, where several nodes share the log.
    pub(crate) log_key: Option<Arc<LogKey>>,
}

impl Checkpointer {
    /// Signs until told to stop, and once more then.
    pub(crate) async fn run(&self, stop: Stop) {
        while !stop.is_stopped() {
            let until = self.clock.monotonic() + EVERY;
            select_biased! {
                () = stop.wait().fuse() => {}
                () = self.clock.sleep_until(until).fuse() => {}
            }
            if let Err(error) = self.sign().await {
                tracing::error!(event = "checkpoint_failed", error = %format!("{error:#}"), "the audit log's head was not signed");
            }
        }
    }

    /// Signs the head, if the log has grown since the last one. Gives the newest signed head, if there is any.
    pub(crate) async fn sign(&self) -> anyhow::Result<Option<(TreeHead, String)>> {
        let published = self.tree.published().await?;
        if let Some(log_key) = &self.log_key
            && !log_key.is_ours().await.map_err(|failure| anyhow!("{failure}"))?
        {
            return Ok(published);
        }
        // where commits place their entries themselves, this is the head and nothing more
        let head = self.tree.sequence(usize::MAX).await?;
        if let Some((_, note)) = &published {
            self.ensure_extends(note, head).await?;
        }
        if head.size == 0 || published.as_ref().is_some_and(|(last, _)| last.size == head.size) {
            return Ok(published);
        }
        let text = self.sign_head(head).await?;
        self.tree.publish(head, &text).await?;
        Ok(Some((head, text)))
    }

    /// Signs the head of a copy of the log: an earlier state of what is signed.
    pub(crate) async fn sign_at(&self, head: TreeHead) -> anyhow::Result<String> {
        let newest = self.sign().await?.context("the audit log has no entry yet")?.0;
        let mut tiles = TileMap::new();
        for id in ConsistencyProof::tiles(head.size, newest.size) {
            let hashes = self.tree.tile(id.level(), id.index(), id.width()).await?;
            tiles.insert(Tile {
                id,
                hashes: hashes.unwrap_or_default(),
            });
        }
        ConsistencyProof::build(head.size, newest.size, &tiles)
            .context("following the audit log from its copy")?
            .verify(&head.root, &newest.root)
            .context("the copy of the audit log is no earlier state of it")?;
        self.sign_head(head).await
    }

    /// Nothing is signed that is no later state of what was signed: whoever changed the store would get a signature for
    /// it.
    async fn ensure_extends(&self, note: &str, head: TreeHead) -> anyhow::Result<()> {
        let note = Note::parse(note).context("reading the last signed head")?;
        let last = Checkpoint::parse(note.text()).context("reading the last signed head")?;
        let (signed, size) = (last.size(), head.size);
        ensure!(
            size >= signed,
            "the audit log has {size} entries, but {signed} were signed"
        );
        let mut tiles = TileMap::new();
        for id in ConsistencyProof::tiles(signed, size) {
            let hashes = self.tree.tile(id.level(), id.index(), id.width()).await?;
            tiles.insert(Tile {
                id,
                hashes: hashes.unwrap_or_default(),
            });
        }
        ConsistencyProof::build(signed, size, &tiles)
            .context("following the audit log from the last signed head")?
            .verify(last.root(), &head.root)
            .with_context(|| {
                format!("the first {signed} entries of the audit log are not those that were signed")
            })
    }

    /// Signs a head (C2SP tlog-checkpoint in a C2SP signed note).
    async fn sign_head(&self, head: TreeHead) -> anyhow::Result<String> {
        let body = Checkpoint::new(self.origin.clone(), head.size, head.root)?;
        let mut note = Note::new(body.to_string())?;
        let key = VerifierKey::new(self.signer.key_name(), &self.signer.public_key())?;
        let signature = self.signer.sign(note.text().as_bytes()).await?;
        note.add_signature(&key, &signature)?;
        Ok(note.to_string())
    }
}
