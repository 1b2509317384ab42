//! The notifier against a server on a local socket that keeps PagerDuty's contract, and callbacks.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod callbacks;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod events;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod support;
