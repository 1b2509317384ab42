//! The offered agents that can serve a class of tasks, with what stays the same during a claim.

use std::collections::HashMap;

use arbiter_core::model::{Health, Shape, TenantId, Timestamp};
use arbiter_core::services::Offer;

use crate::index::Snapshot;
use crate::settings::Settings;
use crate::strategy::Candidate;

/// An offered agent that can serve a class.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    /// Its place among the offers.
    pub(crate) offer: usize,
    pub(crate) health: Health,
    /// The agent with its slots as they were when the class was first asked for.
    pub(crate) candidate: Candidate<'a>,
}

/// The classes that a claim has met.
#[derive(Debug, Default)]
pub(crate) struct Classes<'a>(HashMap<(TenantId, &'a Shape), Vec<Member<'a>>>);

impl<'a> Classes<'a> {
    /// The members of a class, in the order of the offers, which is that of their ids.
    pub(crate) fn members(
        &mut self,
        (tenant, shape): (TenantId, &'a Shape),
        snapshot: &'a Snapshot,
        settings: &Settings,
        offers: &[Offer],
        now: Timestamp,
    ) -> &[Member<'a>] {
        self.0.entry((tenant, shape)).or_insert_with(|| {
            let capable = snapshot.capable(tenant, shape, offers.iter().map(|offer| offer.agent));
            let mut places = offers.iter().enumerate();
            let members = capable.into_iter().filter_map(|agent| {
                // Both stand in the same order.
                let (offer, offered) = places.find(|(_, offer)| offer.agent == agent.profile.id)?;
                (!offered.without.contains(&shape.kind)).then(|| Member {
                    offer,
                    health: agent.health(now, settings.heartbeat),
                    candidate: Candidate::new(agent, offered.free, shape),
                })
            });
            members.collect()
        })
    }
}

/// Offers in the order of their agents' ids; of two offers of one agent the later one counts.
pub(crate) fn in_order(mut offers: Vec<Offer>) -> Vec<Offer> {
    offers.sort_by_key(|offer| offer.agent);
    offers.dedup_by(|later, earlier| {
        let same = later.agent == earlier.agent;
        if same {
            std::mem::swap(later, earlier);
        }
        same
    });
    offers
}
