//! Summing up floods of refusals: the first of a source is recorded at once, the rest of its window with a count.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use arbiter_core::model::{
    AuditAction, Operation, PrincipalId, Record, RecordOutcome, Resource, TenantId, Timestamp,
};

/// Sources beyond so many share one sum, so that a flood of sources stays bounded.
const MAX_SOURCES: usize = 4_096;
const OTHERS: &str = "others";

/// A refusal that may come in floods.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// Who keeps being refused: a principal and operation, or an address.
    pub(crate) source: String,
    pub(crate) tenant: TenantId,
    pub(crate) principal: Option<PrincipalId>,
    pub(crate) operation: Option<Operation>,
    pub(crate) action: AuditAction,
    pub(crate) reason: &'static str,
}

/// The sums of the present windows.
#[derive(Debug)]
pub(crate) struct Refusals {
    window: Duration,
    sums: Mutex<BTreeMap<(String, &'static str), Sum>>,
}

#[derive(Debug)]
struct Sum {
    since: Timestamp,
    count: u64,
    refused: Refused,
}

impl Refusals {
    pub(crate) fn new(window: Duration) -> Self {
        Self {
            window,
            sums: Mutex::default(),
        }
    }

    /// Counts a refusal. Gives the record that must be written now, if one must.
    pub(crate) fn note(&self, mut refused: Refused, now: Timestamp) -> Option<Record> {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        if sums.len() >= MAX_SOURCES && !sums.contains_key(&(refused.source.clone(), refused.reason)) {
            OTHERS.clone_into(&mut refused.source);
            refused.tenant = TenantId::SYSTEM;
            refused.principal = None;
        }
        let key = (refused.source.clone(), refused.reason);
        match sums.get_mut(&key) {
            Some(sum) if now.since(sum.since) < self.window => {
                sum.count += 1;
                None
            }
            Some(sum) => {
                let record = record(&sum.refused, now, sum.count + 1);
                (sum.since, sum.count) = (now, 0);
                Some(record)
            }
            None => {
                let first = record(&refused, now, 1);
                sums.insert(
                    key,
                    Sum {
                        since: now,
                        count: 0,
                        refused,
                    },
                );
                Some(first)
            }
        }
    }

    /// The records of windows that have ended, or of all.
    pub(crate) fn flush(&self, now: Timestamp, all: bool) -> Vec<Record> {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = Vec::new();
        sums.retain(|_, sum| {
            let ended = all || now.since(sum.since) >= self.window;
            if ended && sum.count > 0 {
                records.push(record(&sum.refused, now, sum.count));
            }
            !ended
        });
        records
    }

    /// Takes back records that could not be written.
    pub(crate) fn give_back(&self, records: Vec<Record>) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            let reason = record.reason.unwrap_or_default();
            let refused = Refused {
                source: format!("unwritten/{:?}/{:?}", record.principal, record.operation),
                tenant: record.tenant,
                principal: record.principal,
                operation: record.operation,
                action: record.actions.first().copied().unwrap_or(AuditAction::Rejected),
                reason,
            };
            let sum = Sum {
                since: record.at,
                count: 0,
                refused: refused.clone(),
            };
            sums.entry((refused.source, reason)).or_insert(sum).count += record.count.unwrap_or(1);
        }
    }
}

fn record(refused: &Refused, now: Timestamp, count: u64) -> Record {
    Record {
        at: now,
        tenant: refused.tenant,
        principal: refused.principal,
        operation: refused.operation,
        actions: vec![refused.action],
        resource: Resource::new("call", ""),
        outcome: RecordOutcome::Refused,
        reason: Some(refused.reason),
        count: (count > 1).then_some(count),
        detail: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(source: &str) -> Refused {
        Refused {
            source: source.to_owned(),
            tenant: TenantId::SYSTEM,
            principal: None,
            operation: None,
            action: AuditAction::RateLimited,
            reason: "rate_limited",
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default().plus(Duration::from_secs(seconds))
    }

    #[test]
    fn the_first_is_recorded_at_once_and_none_is_lost() {
        let refusals = Refusals::new(Duration::from_secs(10));
        assert_eq!(
            refusals.note(refused("a"), at(0)).map(|record| record.count),
            Some(None)
        );
        assert_eq!(refusals.note(refused("a"), at(1)), None);
        assert_eq!(refusals.note(refused("a"), at(9)), None);
        assert_eq!(
            refusals.note(refused("b"), at(9)).map(|record| record.count),
            Some(None)
        );
        assert_eq!(
            refusals.note(refused("a"), at(10)).map(|record| record.count),
            Some(Some(3))
        );
        refusals.note(refused("a"), at(11));
        assert_eq!(refusals.flush(at(12), false), Vec::new());
        let rest = refusals.flush(at(12), true);
        assert_eq!(rest.iter().map(|record| record.count).collect::<Vec<_>>(), [None]);
        refusals.give_back(rest);
        assert_eq!(refusals.flush(at(30), false).len(), 1);
    }

    #[test]
    fn a_flood_of_sources_stays_bounded() {
        let refusals = Refusals::new(Duration::from_secs(10));
        let at_once = (0..10_000)
            .filter_map(|n| refusals.note(refused(&n.to_string()), at(0)))
            .count();
        assert!(at_once <= MAX_SOURCES + 1, "{at_once}");
        assert_eq!(
            refusals
                .flush(at(10), false)
                .iter()
                .filter_map(|record| record.count)
                .sum::<u64>()
                + at_once as u64,
            10_000
        );
    }
}
