//! Progress for people: a bar on a terminal, nothing elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The progress of a batch.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar over `total` tasks, shown on a terminal unless `quiet`.
    pub(crate) fn new(total: u64, quiet: bool) -> Self {
        let target = if quiet || !crate::output::is_watched() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let style =
            ProgressStyle::with_template("{bar:40.cyan/blue} {pos}/{len} tasks  {elapsed}  eta {eta}  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar }
    }

    /// Shows how many tasks have ended, and where they stand.
    pub(crate) fn show(&self, closed: u64, states: &BTreeMap<&'static str, u64>) {
        self.bar.set_position(closed);
        let parts: Vec<String> = states
            .iter()
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        self.bar.set_message(parts.join(", "));
    }

    /// Says what is being waited for.
    pub(crate) fn say(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
    }

    /// Tells something that stays to be read, also when nobody watches the bar.
    pub(crate) fn tell(&self, text: &str) {
        self.bar.suspend(|| crate::output::error_line(text));
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
