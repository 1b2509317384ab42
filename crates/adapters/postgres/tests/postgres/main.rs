//! The store on a real server, which `ARBITER_TEST_POSTGRES_URL` names.

#[cfg(test)]
mod artifacts;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod cut;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod model;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod races;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod sequencing;
#[cfg(test)]
mod server;
#[cfg(test)]
mod support;
#[cfg(test)]
mod time;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod wakeups;
