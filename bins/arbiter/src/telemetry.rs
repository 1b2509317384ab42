//! The log: structured events on standard error.

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cli::LogFormat;
use crate::config::LogConfig;
use crate::exit::Failure;

/// Starts the log. The result of a command goes to standard output, the log never does.
pub(crate) fn start(log: LogConfig) -> Result<(), Failure> {
    let filter = LevelFilter::from_level(log.level);
    let ansi = crate::output::is_watched();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match log.format {
        LogFormat::Text => layer.with_ansi(ansi).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init()
        .map_err(|error| Failure::internal("the log could not be started", error))
}
