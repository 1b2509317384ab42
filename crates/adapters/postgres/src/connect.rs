//! Connections: how they are set up, and the two pools of them.

use std::str::FromStr as _;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::Config;
use tokio_postgres::config::ChannelBinding;

use crate::config::PostgresConfig;
use crate::error::OpenError;
use crate::tls::Tls;

/// How long a session may keep a transaction open without a statement. Calls do nothing else inside of theirs, so one
/// that does belongs to a process that has stopped.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(30);

/// Who a connection acts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The owner of the tables.
    Engine,
    /// Under row-level security.
    Reader,
}

/// How connections of a part are made.
pub(crate) fn settings(config: &PostgresConfig, part: Part) -> Result<Config, OpenError> {
    check_name("schema", &config.schema)?;
    check_name("reader_role", &config.reader_role)?;
    let (setting, url) = match (part, &config.reader_url) {
        (Part::Reader, Some(url)) => ("reader_url", url),
        _ => ("url", &config.url),
    };
    let refused = |problem: &str| OpenError::Setting {
        setting,
        problem: problem.to_owned(),
    };
    let mut connect = parse(url).map_err(|_| {
        refused(
            "it is not of the form postgres://user:password@host:port/database?sslmode=verify-full, or has a parameter \
             that is not known; `sslmode` may be `disable`, `prefer`, `require` or `verify-full`",
        )
    })?;
    if connect.get_channel_binding() == ChannelBinding::Require {
        return Err(refused(
            "there is no channel binding here; leave `channel_binding` out and use `sslmode=verify-full`",
        ));
    }
    let mut options = connect.get_options().unwrap_or_default().to_owned();
    for (name, value) in parameters(config, part) {
        options.extend([" -c ", name, "=", &value]);
    }
    connect
        .options(options)
        .application_name(&config.application_name)
        .connect_timeout(config.connect_timeout);
    Ok(connect)
}

/// Reads a URL. The driver has no name for the verification that every encrypted connection has here.
fn parse(url: &str) -> Result<Config, tokio_postgres::Error> {
    let Some((server, parameters)) = url.rsplit_once('?') else {
        return Config::from_str(url);
    };
    let known = |parameter| match parameter {
        "sslmode=verify-full" => "sslmode=require",
        other => other,
    };
    let parameters: Vec<&str> = parameters.split('&').map(known).collect();
    Config::from_str(&format!("{server}?{}", parameters.join("&")))
}

/// The parameters of a session. They are sent with its start, so that `RESET` goes back to them.
fn parameters(config: &PostgresConfig, part: Part) -> Vec<(&'static str, String)> {
    let millis = |time: Duration| time.as_millis().to_string();
    let mut parameters = vec![
        ("search_path", config.schema.clone()),
        ("statement_timeout", millis(config.statement_timeout)),
        ("lock_timeout", millis(config.lock_timeout)),
        ("idle_in_transaction_session_timeout", millis(IDLE_IN_TRANSACTION)),
        // plans of short statements that are the same for every parameter and at every size of a table
        ("max_parallel_workers_per_gather", "0".to_owned()),
        ("jit", "off".to_owned()),
        ("plan_cache_mode", "force_generic_plan".to_owned()),
        ("enable_seqscan", "off".to_owned()),
    ];
    if part == Part::Reader {
        parameters.push(("role", config.reader_role.clone()));
    }
    parameters
}

/// A pool of connections. It makes none yet.
pub(crate) fn pool(config: &PostgresConfig, part: Part, tls: &Tls) -> Result<Pool, OpenError> {
    let connect = settings(config, part)?;
    // a connection that died is noticed when it is used; a query before each use would cost more than a retry
    let recycling_method = RecyclingMethod::Fast;
    let manager = Manager::from_config(connect, tls.clone(), ManagerConfig { recycling_method });
    let size = match part {
        Part::Engine => config.engine_connections,
        Part::Reader => config.reader_connections,
    };
    Pool::builder(manager)
        .max_size(size.max(1))
        .wait_timeout(Some(config.wait_timeout))
        .create_timeout(Some(config.connect_timeout))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(OpenError::database("making the pool"))
}

/// Names stand in statements and parameters, where nothing quotes them.
fn check_name(setting: &'static str, name: &str) -> Result<(), OpenError> {
    let mut letters = name.bytes();
    let starts = letters
        .next()
        .is_some_and(|first| first.is_ascii_lowercase() || first == b'_');
    let goes_on =
        letters.all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'_');
    if starts && goes_on && name.len() <= 63 {
        return Ok(());
    }
    Err(OpenError::Setting {
        setting,
        problem: "a name is 1 to 63 small letters, digits and underscores, and begins with no digit"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::SslMode;

    use super::*;

    #[test]
    fn names_that_need_quotes_are_refused() {
        for name in ["arbiter", "_a1"] {
            check_name("schema", name).unwrap();
        }
        for name in [
            "",
            "1a",
            "A",
            "a b",
            "a;drop table task",
            "a\"",
            "ä",
            &"a".repeat(64),
        ] {
            check_name("schema", name).unwrap_err();
        }
    }

    #[test]
    fn the_ways_to_ask_for_encryption() {
        for (parameters, expected) in [
            ("", SslMode::Prefer),
            ("?sslmode=disable", SslMode::Disable),
            ("?sslmode=prefer&connect_timeout=3", SslMode::Prefer),
            ("?sslmode=require", SslMode::Require),
            ("?sslmode=verify-full", SslMode::Require),
            ("?connect_timeout=3&sslmode=verify-full", SslMode::Require),
        ] {
            let config = PostgresConfig::new(format!("postgres://a:b@host/c{parameters}"));
            let settings = settings(&config, Part::Engine).unwrap();
            assert_eq!(settings.get_ssl_mode(), expected, "{parameters}");
        }
        for parameters in [
            "sslmode=verify-ca",
            "sslmode=allow",
            "sslmode=",
            "channel_binding=require",
        ] {
            let config = PostgresConfig::new(format!("postgres://a:sesame@host/c?{parameters}"));
            let refused = settings(&config, Part::Engine).unwrap_err();
            assert!(
                matches!(refused, OpenError::Setting { setting: "url", .. }),
                "{refused:?}"
            );
            assert!(
                !format!("{refused:?} {refused}").contains("sesame"),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn an_error_of_a_url_does_not_show_it() {
        let config = PostgresConfig::new("postgres://a:sesame@host:port/b");
        let error = settings(&config, Part::Engine).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("sesame"), "{error:?}");
    }
}
