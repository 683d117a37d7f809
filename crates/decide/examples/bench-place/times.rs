//! Quantiles of measured times: by the clock, and by what the thread really ran.

use std::time::Instant;

/// Times of many runs of the same work.
#[derive(Default)]
pub struct Times {
    wall_ns: Vec<u64>,
    cpu_ns: Vec<u64>,
}

impl Times {
    pub fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (start, cpu) = (Instant::now(), cpu_ns());
        let result = work();
        self.cpu_ns.push(cpu_ns() - cpu);
        self.wall_ns.push(start.elapsed().as_nanos() as u64);
        result
    }

    pub fn mean_us(&self) -> f64 {
        self.wall_ns.iter().sum::<u64>() as f64 / self.wall_ns.len().max(1) as f64 / 1_000.0
    }

    /// By the clock.
    pub fn per_second(&self) -> f64 {
        self.wall_ns.len() as f64 * 1e9 / self.wall_ns.iter().sum::<u64>().max(1) as f64
    }

    pub fn per_cpu_second(&self) -> f64 {
        self.cpu_ns.len() as f64 * 1e9 / self.cpu_ns.iter().sum::<u64>().max(1) as f64
    }

    /// Microseconds below which `percent` of the times lie, by the clock.
    pub fn quantile_us(&mut self, percent: usize) -> f64 {
        quantile_us(&mut self.wall_ns, percent)
    }

    /// P50, P99 and the longest in microseconds, by the clock and by this thread's own processor time: on a busy machine
    /// the first holds what others took as well.
    pub fn both(&mut self) -> String {
        let line = |name: &str, ns: &mut Vec<u64>| {
            let [half, most, all] = [50, 99, 100].map(|percent| quantile_us(ns, percent));
            format!("{name} P50 {half:.1} us, P99 {most:.1} us, longest {all:.0} us")
        };
        format!("{}; {}", line("wall", &mut self.wall_ns), line("thread CPU", &mut self.cpu_ns))
    }
}

fn quantile_us(ns: &mut [u64], percent: usize) -> f64 {
    ns.sort_unstable();
    let at = (ns.len() * percent / 100).min(ns.len().saturating_sub(1));
    ns.get(at).copied().unwrap_or(0) as f64 / 1_000.0
}

/// Time that this thread has really run, in nanoseconds: other work on a shared machine does not count.
pub fn cpu_ns() -> u64 {
    const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
    }
    let mut time = [0; 2];
    // SAFETY: on 64-bit Linux a `timespec` is two 64-bit numbers, and the call writes nothing else.
    let failed = unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "the thread's clock can be read");
    time[0] as u64 * 1_000_000_000 + time[1] as u64
}
