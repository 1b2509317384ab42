//! Principals: who may call, and what operators do about them.

mod directory;
mod record;
mod rights;
mod store;

pub use directory::Directory;
pub use record::{KnownPrincipal, NewPrincipal, PrincipalChange, PrincipalRecord};
pub use store::Principals;

pub use rights::roles_count_in;

pub(crate) use rights::covers;
pub(crate) use store::PER_TENANT;
