//! Progress of a move for people: on a terminal, nothing elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How many rows were moved so far. Nobody knows how many there are before the end.
#[derive(Debug, Clone)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Shown on a terminal unless `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        if quiet || !crate::output::is_watched() {
            return Self::hidden();
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{spinner} {human_pos} rows  {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// Shown to nobody.
    pub(crate) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Counts rows.
    #[cfg(feature = "postgres")]
    pub(super) fn add(&self, rows: usize) {
        self.0.inc(rows as u64);
    }

    /// Takes it away.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
