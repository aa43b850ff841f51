//! Chance as a component: ids, nonces, jitter. Seeded, so that a run can be replayed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use super::Time;

/// The only source of randomness in the crate.
#[derive(Debug)]
pub struct Ids(Mutex<SmallRng>);

/// What a nonce is made of: letters that no provider's id rules refuse, without look-alikes.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";

impl Ids {
    /// The same seed gives the same ids in the same order.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Ids(Mutex::new(SmallRng::seed_from_u64(seed)))
    }

    /// Seeded by the operating system.
    #[must_use]
    pub fn from_entropy() -> Self {
        Ids(Mutex::new(SmallRng::from_os_rng()))
    }

    /// A UUIDv7: sorts by time.
    pub fn uuid(&self, now: Time) -> Uuid {
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or_default();
        let random: [u8; 10] = self.rng().random();
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// `len` characters of `[a-z0-9]`, five bits of chance each.
    pub fn nonce(&self, len: usize) -> String {
        let mut rng = self.rng();
        (0..len)
            .map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]))
            .collect()
    }

    /// A number in `0..end`; zero where `end` is zero.
    pub fn below(&self, end: u64) -> u64 {
        if end == 0 {
            0
        } else {
            self.rng().random_range(0..end)
        }
    }

    /// `duration` times a factor in `0.75..=1.0`.
    pub fn jitter(&self, duration: Duration) -> Duration {
        duration.mul_f64(self.rng().random_range(0.75..=1.0))
    }

    fn rng(&self) -> MutexGuard<'_, SmallRng> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        let (a, b) = (Ids::seeded(7), Ids::seeded(7));
        assert_eq!(a.nonce(12), b.nonce(12));
        assert_eq!(a.below(1000), b.below(1000));
    }

    #[test]
    fn ids_sort_by_time() {
        let ids = Ids::seeded(1);
        let at = |s| chrono::DateTime::from_timestamp(s, 0).expect("in range");
        assert!(ids.uuid(at(1_000)) < ids.uuid(at(2_000)));
    }
}
