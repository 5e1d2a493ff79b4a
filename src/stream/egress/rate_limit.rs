//! A bound on the rate of one consumer, in kbit/s: a bucket that fills with time and is emptied by sending.

/// Size of the bucket, as time: a key frame may go out at once, and the time after it makes up for that.
const BURST_US: u64 = 1_000_000;

/// A consumer whose bucket is empty is served again after this long, not for every byte that becomes available.
const REST_US: u64 = 20_000;

/// The bucket of one consumer.
#[derive(Clone, Debug)]
pub(in crate::stream) struct RateLimit {
    kbps: u32,
    /// The bucket's content, in byte-microseconds per kbit/s: 8,000 of them are a byte of one kbit/s.
    saved_us: u64,
    at_us: u64,
    /// When an empty bucket is checked again.
    rests_until_us: Option<u64>,
}

impl RateLimit {
    pub(in crate::stream) fn new(kbps: u32, now_us: u64) -> Self {
        Self { kbps: kbps.max(1), saved_us: BURST_US, at_us: now_us, rests_until_us: None }
    }

    pub(in crate::stream) fn kbps(&self) -> u32 {
        self.kbps
    }

    /// Bytes that may be sent now.
    pub(in crate::stream) fn room(&mut self, now_us: u64) -> usize {
        if self.rests_until_us.is_some_and(|until| now_us < until) {
            return 0;
        }
        let passed = now_us.saturating_sub(self.at_us);
        (self.saved_us, self.at_us) = (self.saved_us.saturating_add(passed).min(BURST_US), now_us);
        let room = usize::try_from(self.saved_us * u64::from(self.kbps) / 8_000).unwrap_or(usize::MAX);
        // At a low rate the pause is the time of one byte or more.
        let rest_us = REST_US.max(8_000 / u64::from(self.kbps) + 1);
        self.rests_until_us = (room == 0).then_some(now_us + rest_us);
        room
    }

    /// Takes the bytes that were sent out of the bucket.
    pub(in crate::stream) fn spend(&mut self, bytes: usize) {
        let us = (bytes as u64).saturating_mul(8_000).div_ceil(u64::from(self.kbps));
        self.saved_us = self.saved_us.saturating_sub(us);
    }

    /// When to check again, if there was no room at the last check.
    pub(in crate::stream) fn rests_until_us(&self) -> Option<u64> {
        self.rests_until_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_time_no_more_goes_than_the_rate_allows() {
        for kbps in [8, 800, 100_000] {
            let mut limit = RateLimit::new(kbps, 5_000_000);
            let (mut now_us, mut sent) = (5_000_000, 0_u64);
            while now_us < 15_000_000 {
                let room = limit.room(now_us).min(300_000);
                limit.spend(room);
                sent += room as u64;
                now_us = limit.rests_until_us().unwrap_or(now_us);
            }
            let (most, least) = (u64::from(kbps) * 125 * 11, u64::from(kbps) * 125 * 9);
            assert!((least..=most).contains(&sent), "{kbps} kbit/s: {sent} bytes in ten seconds and a burst");
        }
    }
}
