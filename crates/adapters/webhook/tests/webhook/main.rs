//! Deliveries to real servers on local sockets.

#[cfg(test)]
mod deliveries;
#[cfg(test)]
mod log;
#[cfg(test)]
mod notifier;
#[cfg(test)]
mod port;
#[cfg(test)]
mod python;
#[cfg(test)]
mod support;
