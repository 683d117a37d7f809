//! Work on many independent pieces, on all processors.

use std::thread;

/// Does `work` on every item with something of its thread's own; which thread does which makes no difference.
pub fn each<T: Send, S>(items: &mut [T], own: impl Fn() -> S + Sync, work: impl Fn(&mut S, &mut T) + Sync) {
    let run = |part: &mut [T]| {
        let mut own = own();
        part.iter_mut().for_each(|item| work(&mut own, item));
    };
    let threads = thread::available_parallelism().map_or(1, |n| n.get()).min(8);
    if threads < 2 || items.len() < 2 {
        return run(items);
    }
    let share = items.len().div_ceil(threads);
    let run = &run;
    thread::scope(|scope| {
        for part in items.chunks_mut(share) {
            scope.spawn(move || run(part));
        }
    });
}
