//! The typed client has every operation of the interface, and calls it where it is.

use arbiter_client::Client;

#[test]
fn the_client_has_every_operation_and_no_other() {
    let mut own: Vec<_> = Client::OPERATIONS
        .iter()
        .map(|(id, method, path)| format!("{id}: {method} {path}"))
        .collect();
    let mut served: Vec<_> = arbiter_api::operations()
        .iter()
        .map(|(id, method, path)| format!("{id}: {method} {path}"))
        .collect();
    own.sort_unstable();
    served.sort_unstable();
    let missing: Vec<_> = served
        .iter()
        .filter(|operation| !own.contains(operation))
        .collect();
    let stray: Vec<_> = own
        .iter()
        .filter(|operation| !served.contains(operation))
        .collect();
    assert!(
        missing.is_empty() && stray.is_empty(),
        "the client lacks {missing:#?} and has, though nobody serves it, {stray:#?}"
    );
}
