//! Once settled, every group has one leader that everybody follows, and every host holds a lease.

use dwcp_types::NodeId;

use crate::world::World;

pub(super) fn settled(world: &World) -> Result<(), String> {
    for group in world.groups() {
        let mut known: Option<(NodeId, u64)> = None;
        for (number, slot) in world.present() {
            let status = slot.node.as_ref().and_then(|node| node.group(group));
            let follows = status.and_then(|status| Some((status.leader?, status.term)));
            let Some((leader, term)) = follows else {
                return Err(format!("node {number} knows no leader of group {group}"));
            };
            if *known.get_or_insert((leader, term)) != (leader, term) {
                return Err(format!("the nodes do not follow one leader of group {group}"));
            }
        }
        let leads = |leader: &NodeId| world.nodes[leader].node.as_ref().is_some_and(|node| node.leads(group));
        if let Some((leader, term)) = known.filter(|(leader, _)| !leads(leader)) {
            return Err(format!("node {leader} is said to lead group {group} in term {term} and does not"));
        }
    }
    let leased = |host: &crate::host::Host| host.clock_us(world.now_us) < host.lease_until_us;
    match world.hosts.iter().filter(|host| !host.gone).find(|host| !host.alive || !leased(host)) {
        Some(host) => Err(format!("host {} has no lease", host.name)),
        None => Ok(()),
    }
}
