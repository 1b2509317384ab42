//! Tests that need the inside of the store.

mod backup;
mod faults;
mod life;
mod plans;
mod support;
mod torn;
