//! How long a guest stands still while it changes hosts, foreseen from the round trip between them.

/// The last of the memory goes over, its receipt comes back, and the release goes over: half round trips.
const MEMORY_HALVES: u64 = 3;
/// A write that is on its way to the other host when the guest stops is waited for.
const DISK_HALVES: u64 = 2;
/// What emulators, agents and drives take themselves, ms.
const OWN_MS: u64 = 60;
/// What is left of the memory may take so long at least, ms; less, and a guest that does anything would never be let go.
const LEAST_MEMORY_MS: u64 = 20;

fn fixed_ms(rtt_ms: u64, has_disk: bool) -> u64 {
    let halves = MEMORY_HALVES + if has_disk { DISK_HALVES } else { 0 };
    OWN_MS + rtt_ms.saturating_mul(halves).div_ceil(2)
}

/// The shortest that a guest can be expected to stand still when it moves over this round trip, ms.
pub fn least_downtime_ms(rtt_ms: u64, has_disk: bool) -> u64 {
    fixed_ms(rtt_ms, has_disk) + LEAST_MEMORY_MS
}

/// How long sending what is left of the memory may take once the guest stands still, ms, so that all of it together is no
/// longer than `max_downtime_ms`, if that is possible.
pub fn memory_downtime_ms(max_downtime_ms: u64, rtt_ms: u64, has_disk: bool) -> u64 {
    max_downtime_ms.saturating_sub(fixed_ms(rtt_ms, has_disk)).max(LEAST_MEMORY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_for_the_memory_is_what_the_way_does_not_take() {
        for (max, rtt, disk) in [(300, 70, true), (300, 100, false), (60_000, 309, true)] {
            let memory = memory_downtime_ms(max, rtt, disk);
            assert_eq!(memory + fixed_ms(rtt, disk), max, "{rtt} ms, disk: {disk}");
        }
    }

    #[test]
    fn a_way_that_is_too_long_leaves_the_least() {
        assert!(least_downtime_ms(309, true) > 300);
        assert_eq!(memory_downtime_ms(300, 309, true), LEAST_MEMORY_MS);
        assert_eq!(least_downtime_ms(0, false), OWN_MS + LEAST_MEMORY_MS);
    }
}
