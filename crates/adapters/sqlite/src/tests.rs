//! Tests that need the inside of the store.

mod backup;
mod erasure;
mod faults;
mod life;
mod outcomes;
mod plans;
mod support;
mod torn;
mod transfer;
