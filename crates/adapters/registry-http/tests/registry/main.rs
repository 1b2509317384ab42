//! The registry against a server that answers as told.

#[cfg(test)]
mod away;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod pact;
#[cfg(test)]
mod support;
