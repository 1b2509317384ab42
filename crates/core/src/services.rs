//! What one domain asks of another. A trait here is implemented by one domain crate and used by others; the binary
//! connects them. Interfaces hold the domains' own service types instead.

mod allocator;
mod failure;
mod review;
mod traffic;
mod work;

pub use allocator::{Allocator, AttemptOutcome, Offer};
pub use failure::{AttemptFailure, FailureEvent, FailureHandler};
pub use review::{
    Admission, AdmissionError, AdmissionRule, ContextSource, LogConsumer, ReviewError, ReviewStage,
    ReviewVerdict, ReviewWork,
};
pub use traffic::{FixedTraffic, Traffic, TrafficRules};
pub use work::{Beat, WorkDesk, WorkError, WorkRef};
