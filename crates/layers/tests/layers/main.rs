//! The guard part by part, and the contract suites over the decorators.

#[cfg(test)]
mod artifacts;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod owner;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod support;
