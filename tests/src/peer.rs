//! A control plane that another one knows as its peer.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::Place;
use crate::http::Caller;

/// The system's own tenant, to which peers belong.
pub const SYSTEM: &str = "00000000-0000-0000-0000-000000000000";

/// A new peer of the server that an admin calls: its id and its key.
///
/// # Panics
/// When it cannot be made.
pub fn new(admin: &Caller) -> (String, String) {
    let form = json!({"name": "a peer", "roles": ["peer"]});
    let made = admin.post(&format!("/v1/principals?tenant={SYSTEM}"), &form);
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    let key = admin.post(&format!("/v1/principals/{id}/keys?tenant={SYSTEM}"), &json!({}));
    assert_eq!(key.status, 201, "{key:?}");
    let key = key.json()["secret"].as_str().expect("a key").to_owned();
    (id, key)
}

/// The configuration of an arbiter in this place whose agents are in the registry at an address.
///
/// # Panics
/// When the key cannot be written.
pub fn configure(place: &Place, url: &str, key: &str) -> String {
    let file = place.write("peer.key", key);
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    format!("[registry]\nurl = \"{url}\"\nkey_file = \"peer.key\"\n")
}
