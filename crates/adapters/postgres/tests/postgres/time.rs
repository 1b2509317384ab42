//! The store's clock.

use std::time::Duration;

use arbiter_core::ports::LeaseStore as _;
use arbiter_testkit::builders::node;

use crate::support::Place;

const HOUR: i64 = 3_600_000_000;

#[tokio::test]
async fn the_clock_is_the_servers_plus_the_offset_of_the_session() {
    let place = Place::new().await;
    drop(place.open().await);
    let client = place.client().await;
    let row = client
        .query_one(
            "SELECT store_now() - (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
            &[],
        )
        .await
        .unwrap();
    assert!(row.get::<_, i64>(0).abs() < HOUR / 2);
    let row = client
        .query_one(
            "SELECT store_now(), set_config('arbiter.clock_offset', $1, false), store_now()",
            &[&HOUR.to_string()],
        )
        .await
        .unwrap();
    let moved = row.get::<_, i64>(2) - row.get::<_, i64>(0);
    assert!((HOUR..HOUR * 3 / 2).contains(&moved), "{moved}");
}

/// A node whose sessions are ahead sees a lease end earlier: what decides is the store's clock.
#[tokio::test]
async fn leases_end_by_the_stores_clock() {
    let place = Place::new().await;
    let store = place.open().await;
    let mut config = place.config.clone();
    let sign = if config.url.contains('?') { '&' } else { '?' };
    config.url = format!("{}{sign}options=-c%20arbiter.clock_offset%3D{HOUR}", config.url);
    let ahead = place.open_with(&config).await;
    let ttl = Duration::from_secs(60);
    let first = store.take("sweep", node(1), ttl).await.unwrap().unwrap();
    assert_eq!(store.take("sweep", node(2), ttl).await.unwrap(), None);
    let second = ahead.take("sweep", node(2), ttl).await.unwrap().unwrap();
    assert!(second.fence > first.fence && second.until > first.until);
}
