//! An ordered table whose changes can be taken back.

use std::borrow::Borrow;
use std::collections::{BTreeMap, btree_map};
use std::ops::RangeBounds;

/// Rows by key, in the order of the keys. Changes stand at once and become final with [`Table::commit`].
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    rows: BTreeMap<K, V>,
    /// What stood under each changed key, in the order of the changes.
    undo: Vec<(K, Option<V>)>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            undo: Vec::new(),
        }
    }
}

impl<K: Ord + Clone, V> Table<K, V> {
    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.rows.get(key)
    }

    pub(crate) fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.rows.contains_key(key)
    }

    pub(crate) fn range(&self, keys: impl RangeBounds<K>) -> btree_map::Range<'_, K, V> {
        self.rows.range(keys)
    }

    pub(crate) fn iter(&self) -> btree_map::Iter<'_, K, V> {
        self.rows.iter()
    }

    pub(crate) fn put(&mut self, key: K, value: V) {
        let old = self.rows.insert(key.clone(), value);
        self.undo.push((key, old));
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some((key, old)) = self.rows.remove_entry(key) {
            self.undo.push((key, Some(old)));
        }
    }

    pub(crate) fn commit(&mut self) {
        self.undo.clear();
    }

    pub(crate) fn roll_back(&mut self) {
        while let Some((key, old)) = self.undo.pop() {
            match old {
                Some(value) => drop(self.rows.insert(key, value)),
                None => drop(self.rows.remove(&key)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rolling_back_gives_what_was_committed(
            kept in prop::collection::vec((0_u8..10, prop::option::of(0_u8..10)), 0..20),
            undone in prop::collection::vec((0_u8..10, prop::option::of(0_u8..10)), 0..40),
        ) {
            let mut table = Table::default();
            let apply = |table: &mut Table<u8, u8>, steps: &[(u8, Option<u8>)]| {
                for (key, value) in steps {
                    match value {
                        Some(value) => table.put(*key, *value),
                        None => table.remove(key),
                    }
                }
            };
            apply(&mut table, &kept);
            table.commit();
            let before = table.rows.clone();
            apply(&mut table, &undone);
            table.roll_back();
            prop_assert_eq!(table.rows, before);
        }
    }
}
