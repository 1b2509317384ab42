//! Settings of the notifier.

use std::time::Duration;

use arbiter_adapter_webhook::{NoticeFormat, NotifierConfig};
use arbiter_core::mechanism::SecretText;

use super::support::{BOTH, World, config};
use crate::support::{SECRET, secret};

fn receiver(url: &str, secrets: usize) -> NoticeFormat {
    NoticeFormat::Arbiter {
        url: SecretText::new(url),
        secrets: vec![secret(SECRET); secrets],
    }
}

fn alertmanager(url: &str, with: Option<&str>, firing: Duration) -> NoticeFormat {
    NoticeFormat::Alertmanager {
        url: url.to_owned(),
        token: with.map(SecretText::new),
        firing_for: firing,
        clock_skew: Duration::ZERO,
    }
}

fn told(format: NoticeFormat) -> String {
    let config = NotifierConfig::new(format);
    assert!(!format!("{config:?}").contains("canary"));
    config
        .check()
        .map_or_else(|error| format!("{error:?} {error}"), |()| "good".to_owned())
}

#[test]
fn settings_that_cannot_work_are_named_and_show_no_secret() {
    let day = Duration::from_hours(24);
    for (format, part) in [
        (receiver("https://a.example/hook?x", 1), "good"),
        (receiver("http://127.0.0.1/hook", 1), "good"),
        (receiver("http://canary.example/canary", 1), "ClearText"),
        (receiver("canary", 1), "Url"),
        (receiver("https://a.example/", 0), "Secrets"),
        (NoticeFormat::alertmanager("http://alertmanager:9093/"), "good"),
        (alertmanager("https://a.example", Some("canary"), day), "good"),
        (alertmanager("http://[::1]:9093", Some("canary"), day), "good"),
        (alertmanager("http://a.example", Some("canary"), day), "ClearText"),
        (alertmanager("https://a.example", Some(""), day), "Token"),
        (
            alertmanager("https://a.example", Some("canary token"), day),
            "Token",
        ),
        (alertmanager("https://a.example?x", None, day), "Query"),
        (alertmanager("a.example", None, day), "Url"),
        (
            alertmanager("https://a.example", None, Duration::ZERO),
            "FiringFor",
        ),
    ] {
        let told = told(format);
        assert!(told.contains(part) && !told.contains("canary"), "{part}: {told}");
    }
}

#[tokio::test]
async fn nothing_shows_a_secret() {
    for sort in BOTH {
        let world = World::taking(sort).await;
        assert!(!world.notifier.owns_retries());
        let text = format!("{:?} {:?}", world.notifier, config(sort, "https://a.example"));
        assert!(!text.contains("canary"), "{text}");
    }
}
