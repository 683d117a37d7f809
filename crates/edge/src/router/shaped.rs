//! The interfaces that `router.yaml` names are shaped, by the shares of the policy in force.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use crate::kernel::Shaper;
use crate::repeated::Repeated;

/// What an operator is told about under this name.
const SHAPING: &str = "shaping";
/// How often the policy is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Shapes for as long as what it gives is there. None: no interface is named.
pub fn start(shared: &Arc<Shared>) -> Option<Repeated> {
    let config = &shared.settings.config;
    if config.shape.is_empty() {
        return None;
    }
    let shares = |shared: &Shared| shared.current.routes().table.policy.shares;
    let first = shares(shared);
    let (mut shapers, mut lacks) = (Vec::new(), Vec::new());
    for shape in &config.shape {
        match Shaper::start(&shape.interface, shape.rate_mbit, first, vec!["tc".to_owned()]) {
            Ok(shaper) => shapers.push(shaper),
            Err(why) => lacks.push(why),
        }
    }
    let shared = shared.clone();
    let work = move || {
        let shares = shares(&shared);
        let wrong = shapers.iter_mut().filter_map(|shaper| shaper.share(shares).err());
        let wrong: Vec<String> = lacks.iter().cloned().chain(wrong).collect();
        shared.trouble(SHAPING, wrong.join("; "));
    };
    Repeated::start("routerd-shape", LOOK_EVERY, work).ok()
}
