//! Every operation of the secure queue, over the store in memory.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail the test when the world is not as they need it"
)]

mod admission;
mod backlog;
mod bulk;
mod denied;
mod depth;
mod erasures;
mod faults;
mod fencing;
mod heartbeats;
mod hooks;
mod identities;
mod key_desk;
mod keys;
mod late_messages;
mod limits;
mod operate;
mod policies;
mod policy;
mod principals;
mod read;
mod redaction;
mod repeats;
mod schedules;
mod store_down;
mod submit;
mod tenants;
mod traffic;
mod upkeep;
mod work;
mod world;
