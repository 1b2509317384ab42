//! What would change.

use std::collections::BTreeMap;

use arbiter_core::ports::NamedPolicy;

/// The ids of policies that differ between two sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyDiff {
    /// Only in the new one.
    pub added: Vec<String>,
    /// Only in the old one.
    pub removed: Vec<String>,
    /// In both, with another text.
    pub changed: Vec<String>,
}

impl PolicyDiff {
    /// Whether both sets say the same.
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    pub(super) fn between(old: Vec<NamedPolicy>, new: Vec<NamedPolicy>) -> Self {
        let mut old: BTreeMap<String, String> =
            old.into_iter().map(|policy| (policy.id, policy.text)).collect();
        let mut diff = Self::default();
        for NamedPolicy { id, text } in new {
            match old.remove(&id) {
                None => diff.added.push(id),
                Some(before) if before != text => diff.changed.push(id),
                Some(_) => {}
            }
        }
        diff.removed = old.into_keys().collect();
        diff.added.sort();
        diff.changed.sort();
        diff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(all: &[(&str, &str)]) -> Vec<NamedPolicy> {
        let named = all.iter().map(|(id, text)| NamedPolicy {
            id: (*id).to_owned(),
            text: (*text).to_owned(),
        });
        named.collect()
    }

    #[test]
    fn policies_are_compared_by_id() {
        let old = policies(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let new = policies(&[("d", "1"), ("c", "2"), ("b", "1")]);
        let diff = PolicyDiff::between(old.clone(), new);
        assert_eq!(
            (diff.added, diff.removed, diff.changed),
            (vec!["d".to_owned()], vec!["a".to_owned()], vec!["c".to_owned()])
        );
        assert!(PolicyDiff::between(old.clone(), old).is_empty());
    }
}
