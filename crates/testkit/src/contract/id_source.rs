//! The contract of `IdSource`.

use std::collections::BTreeSet;
use std::sync::Arc;

use arbiter_core::ports::IdSource;

use crate::contract::suite;

suite!($ id_source_contract, id_source, [
    ids_are_uuids_of_version_7,
    later_ids_are_greater,
    no_two_callers_get_the_same_id,
]);

/// Ids are UUIDs of version 7.
pub async fn ids_are_uuids_of_version_7(ids: &Arc<dyn IdSource>) {
    for _ in 0..100 {
        let id = ids.next();
        assert_eq!((id[6] >> 4, id[8] >> 6), (7, 0b10), "{id:?}");
    }
}

/// Later ids are greater.
pub async fn later_ids_are_greater(ids: &Arc<dyn IdSource>) {
    let taken: Vec<[u8; 16]> = (0..10_000).map(|_| ids.next()).collect();
    assert!(taken.is_sorted_by(|a, b| a < b));
}

/// No two callers get the same id.
pub async fn no_two_callers_get_the_same_id(ids: &Arc<dyn IdSource>) {
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let ids = Arc::clone(ids);
            std::thread::spawn(move || (0..1_000).map(|_| ids.next()).collect::<Vec<_>>())
        })
        .collect();
    let taken = threads
        .into_iter()
        .flat_map(|thread| thread.join().expect("it ends"));
    assert_eq!(taken.collect::<BTreeSet<_>>().len(), 4_000);
}
