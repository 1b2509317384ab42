//! Identities of a provider on a local socket, and of certificates.

#[cfg(test)]
mod algorithms;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod forms;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod port;
#[cfg(test)]
mod provider;
#[cfg(test)]
mod signer;
#[cfg(test)]
mod support;
