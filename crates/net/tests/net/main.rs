//! The client against real servers on local sockets.

#[cfg(test)]
mod bodies;
#[cfg(test)]
mod content;
#[cfg(test)]
mod egress;
#[cfg(test)]
mod encrypted;
#[cfg(test)]
mod guarding;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod support;
