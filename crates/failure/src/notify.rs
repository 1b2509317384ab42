//! Notices on their way to targets outside.

mod courier;
mod parcel;
mod standing;

pub use courier::{Courier, CourierPorts, CourierSettings};
pub(crate) use parcel::Parcel;
pub use parcel::TOPIC;
pub use standing::{TargetStanding, Targets};
