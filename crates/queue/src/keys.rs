//! API keys: 256-bit random secrets, stored hashed, shown once.

mod desk;
pub(crate) mod known;
mod record;
mod store;
mod used;

pub use desk::{KeyDesk, Rotation};
pub use record::{KeyError, KeyInfo, MadeKey, NewKey};
pub use store::ApiKeys;

const KIND: &str = "api_key";
/// How many keys of one principal may be live, so that a rotation has an overlap.
const LIVE_KEYS: usize = 2;
