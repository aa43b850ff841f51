//! A map whose copies share their values until one of them changes one: a state is handed to every
//! step, and must not be copied whole for each commit.

use std::borrow::Borrow;
use std::collections::{BTreeMap, btree_map};
use std::ops::{Index, RangeBounds};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An ordered map of values that are shared with its copies. On disk it is a map like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedMap<K, V>(BTreeMap<K, Arc<V>>);

impl<K: Ord, V> SharedMap<K, V> {
    /// The value of `key`.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key).map(|value| &**value)
    }

    /// The value of `key`, to be changed: a copy of its own from now on, if it is shared.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        self.0.get_mut(key).map(Arc::make_mut)
    }

    /// Puts a value in; the one that was there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<Arc<V>> {
        self.0.insert(key, Arc::new(value))
    }

    /// The keys, ascending.
    #[must_use]
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.0.keys()
    }

    /// The values by ascending keys.
    #[must_use]
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + Clone {
        self.0.values().map(|value| &**value)
    }

    /// The values that `wanted` is true of, to be changed; the others stay shared.
    pub fn values_mut(&mut self, wanted: impl Fn(&V) -> bool) -> impl Iterator<Item = &mut V>
    where
        V: Clone,
    {
        let values = self.0.values_mut().filter(move |value| wanted(value));
        values.map(Arc::make_mut)
    }

    /// The entries of a range of keys.
    pub fn range(
        &self,
        range: impl RangeBounds<K>,
    ) -> impl DoubleEndedIterator<Item = (&K, &V)> + Clone {
        self.0.range(range).map(|(key, value)| (key, &**value))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All entries by ascending keys.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter(self.0.iter())
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        SharedMap(BTreeMap::new())
    }
}

impl<K: Ord + Borrow<Q>, V, Q: Ord + ?Sized> Index<&Q> for SharedMap<K, V> {
    type Output = V;

    /// # Panics
    /// If there is no such key.
    fn index(&self, key: &Q) -> &V {
        &self.0[key]
    }
}

/// The entries of a [`SharedMap`].
#[derive(Clone, Debug)]
pub struct Iter<'a, K, V>(btree_map::Iter<'a, K, Arc<V>>);

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (key, &**value))
    }
}

impl<'a, K: Ord, V> IntoIterator for &'a SharedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<K: Ord + Serialize, V: Serialize> Serialize for SharedMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de, K: Ord + Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for SharedMap<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = BTreeMap::<K, V>::deserialize(deserializer)?;
        let shared = stored
            .into_iter()
            .map(|(key, value)| (key, Arc::new(value)));
        Ok(SharedMap(shared.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> SharedMap<u64, String> {
        let mut map = SharedMap::default();
        map.insert(1, "one".to_owned());
        map.insert(2, "two".to_owned());
        map
    }

    #[test]
    fn a_copy_shares_all_but_what_is_changed() {
        let (mut map, copy) = (map(), map());
        assert_eq!(map, copy);
        let copy = map.clone();
        map.get_mut(&2).expect("two").push('!');
        assert_eq!((&*map[&2], &*copy[&2]), ("two!", "two"));
        assert!(std::ptr::eq(&raw const map[&1], &raw const copy[&1]));
        map.values_mut(|value| value.starts_with('t'))
            .for_each(|value| value.push('?'));
        assert!(std::ptr::eq(&raw const map[&1], &raw const copy[&1]));
        assert_eq!(map[&2], "two!?");
    }

    #[test]
    fn it_is_stored_as_a_map() {
        let stored = serde_json::to_string(&map()).expect("a map");
        assert_eq!(stored, r#"{"1":"one","2":"two"}"#);
        let read: SharedMap<u64, String> = serde_json::from_str(&stored).expect("a map");
        assert_eq!(read, map());
    }
}
