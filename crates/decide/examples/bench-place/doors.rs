//! The same decisions on one thread and on several, in turn: explained ones, and those that find nothing.

use dwcp_decide::{Measured, PlaceIndex, PlaceRequest, Reservations, Serial, Workers, place};
use dwcp_state::Federation;
use dwcp_types::Rng;

use crate::fleet::{self, region_name};
use crate::hands::Hands;
use crate::share::Share;
use crate::times::{Times, cpu_ns};

pub fn run(view: &mut Federation, measured: &Measured, rng: &mut Rng, regions: usize) {
    view.core.policy.parallel_scoring = true;
    let hands = Hands::start().expect("threads");
    let mut index = PlaceIndex::default();
    let mut compare = |name: &str, asks: Vec<PlaceRequest>, explain: bool, fits: bool| {
        let (mut one, mut many) = (Times::default(), Times::default());
        let (share, mut whole_ns) = (Share::default(), 0);
        let mut decide = |ask: &PlaceRequest, workers: &dyn Workers| {
            place(view, &mut index, measured, &Reservations::default(), ask, explain, workers)
        };
        for ask in &asks {
            let serial = one.time(|| decide(ask, &Serial));
            let parallel = many.time(|| decide(ask, &hands));
            let before = cpu_ns();
            let shared = decide(ask, &share);
            whole_ns += cpu_ns() - before;
            assert_eq!(serial, parallel);
            assert_eq!(serial, shared);
            assert_eq!(serial.0.is_ok(), fits);
        }
        println!("  {name}, one thread: {}", one.both());
        let (percent, at_best) = share.of(whole_ns);
        println!(
            "  {name}, {} threads: wall P50 {:.1} us, P99 {:.1} us: {:.2} x as fast at P50; {percent:.0} % of the work \
             is in pieces: at best {at_best:.2} x by two",
            hands.width(),
            many.quantile_us(50),
            many.quantile_us(99),
            one.quantile_us(50) / many.quantile_us(50)
        );
    };
    let mut asks = |count: u64, change: fn(&mut PlaceRequest)| -> Vec<PlaceRequest> {
        let mut ask = |number: u64| {
            let users = region_name(rng.below(regions as u64) as usize);
            let vm = fleet::vm(number, rng);
            let mut ask = PlaceRequest { vm, users_in: Some(users), ..PlaceRequest::default() };
            change(&mut ask);
            ask
        };
        (0..count).map(&mut ask).collect()
    };
    compare("explained", asks(30, |_| {}), true, true);
    compare("refused, too large", asks(50, |ask| ask.vm.spec.size.vcpus = 4_000), false, false);
    compare(
        "refused by rules",
        asks(20, |ask| {
            // 64 changes are tried: other regions, none of which has the label.
            ask.vm.rules.host_labels.insert("gpu".into(), "yes".into());
            ask.vm.rules.zones.insert("a".into());
            ask.vm.rules.max_latency = ask.users_in.iter().map(|users| (users.clone(), 60)).collect();
        }),
        false,
        false,
    );
    view.core.policy.parallel_scoring = false;
}
