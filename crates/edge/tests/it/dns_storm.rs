//! Tables change under the questions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;

use crate::dns_stage::{DUBLIN, Stage, VIRGINIA, addresses, of_network, table};

const STORM: Duration = Duration::from_secs(2);

#[test]
fn no_answer_is_empty_while_a_storm_of_tables_passes() {
    let stage = Stage::with(|config| {
        config.rrl_per_s = 0;
        config.threads = 2;
    });
    let over = AtomicBool::new(false);
    let current = Arc::clone(&stage.current);
    let asked = std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0_usize.. {
                if over.load(Relaxed) {
                    break;
                }
                let mut next = table();
                next.made_at_ms += round as u64;
                // Everything is ill, leaves, drains or has no router in turn; nothing but the endpoints stays.
                for (index, region) in next.regions.iter_mut().enumerate() {
                    region.takes_part = round % 3 != index;
                    region.health = [Some(10), None, Some(100)][(round + index) % 3];
                    if round % 5 == index {
                        region.routers.clear();
                    }
                }
                for row in next.services.iter_mut().flat_map(|service| &mut service.endpoints) {
                    row.serves = round % 2 == 0;
                    row.draining = round % 7 == 0;
                }
                current.replace(next);
            }
        });
        let begun = Instant::now();
        let mut asked = 0;
        while begun.elapsed() < STORM {
            for network in [DUBLIN, VIRGINIA] {
                let answer = stage.ask(&of_network("shop.dwcp.test.", RecordType::A, network));
                assert!(!addresses(&answer).is_empty(), "{answer:?}");
                asked += 1;
            }
        }
        over.store(true, Relaxed);
        asked
    });
    println!("{asked} questions while tables changed");
    assert!(asked > 20);
}
