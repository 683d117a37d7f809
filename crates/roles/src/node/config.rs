//! What a node is started with.

use std::collections::BTreeMap;

use dwcp_state::Core;
use dwcp_types::{NodeId, RegionId, Rng};

use super::Program;

/// What does not change while a node runs.
#[derive(Clone, Debug, Default)]
pub struct NodeConfig {
    /// This node: the number of its region.
    pub me: NodeId,
    /// Its region.
    pub region: RegionId,
    /// The regions that the federation was founded with, or those that there were when this one came in, with their
    /// numbers. Which there are now is a fact: [`Node::regions`].
    pub regions: BTreeMap<NodeId, RegionId>,
    /// Founding voters of every group, at most five; the other regions learn.
    pub voters: Vec<NodeId>,
    /// Version of this program.
    pub version: String,
    /// Differs each time the process starts; also where its randomness comes from.
    pub seed: u64,
    /// Length of a lease, ms.
    pub lease_ms: u64,
    /// Between two beats, ms.
    pub beat_ms: u64,
    /// How long a request may wait for its commit, ms.
    pub commit_timeout_ms: u64,
    /// A host that was not heard for so long is lost, ms.
    pub host_loss_ms: u64,
    /// The facts the federation is founded with.
    pub genesis: Core,
    /// Settings of the consensus.
    pub consensus: dwcp_consensus::Config,
    /// This node once held state that is gone: groups without records join as damaged replicas, and are not founded.
    pub lost: bool,
    /// The region came in after the federation was founded: it founds nothing, and waits for the others to take it in.
    pub joins: bool,
    /// This process can issue certificates ([`super::Effect::Issue`]).
    pub issues: bool,
    /// What this process runs.
    pub program: Program,
    /// Deliberate faults.
    #[cfg(feature = "mutations")]
    pub mutation: Option<Mutation>,
}

/// Deliberate faults that break a promise, for testing that the checkers find them.
#[cfg(feature = "mutations")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Takes VMs over without waiting for the old lease to run out.
    SkipLeaseWait,
    /// Admits VMs of generations that were here before.
    AdmitTwice,
}

impl NodeConfig {
    /// The product's times. `seed` is the process's own; what all nodes must draw alike, the order of succession of
    /// each group, follows from the federation's name in `genesis`.
    pub fn new(me: NodeId, regions: BTreeMap<NodeId, RegionId>, genesis: Core, seed: u64) -> NodeConfig {
        let consensus = dwcp_consensus::Config::new(me, shared_seed(&genesis.name));
        NodeConfig {
            me,
            region: regions[&me].clone(),
            voters: regions.keys().copied().take(5).collect(),
            regions,
            version: dwcp_types::VERSION.to_string(),
            seed,
            lease_ms: 3_000,
            beat_ms: 250,
            commit_timeout_ms: 5_000,
            host_loss_ms: 2_500,
            genesis,
            consensus,
            lost: false,
            joins: false,
            issues: false,
            program: Program::this(),
            #[cfg(feature = "mutations")]
            mutation: None,
        }
    }
}

impl NodeConfig {
    /// Where this process begins to number what it asks others: an answer to what the process before it asked must not be
    /// taken for an answer to this one. Below 2^60, with room for a million numbers before the next possible beginning.
    pub(super) fn first_number(&self) -> u64 {
        1 + ((Rng::new(self.seed).next_u64() >> 24) << 20)
    }
}

/// The same number on every node of a federation (FNV-1a of its name).
fn shared_seed(federation: &str) -> u64 {
    federation
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_does_not_number_its_questions_as_the_one_before_it_did() {
        let of = |seed| {
            let regions = BTreeMap::from([(1, RegionId::from("a"))]);
            NodeConfig::new(1, regions, Core::default(), seed).first_number()
        };
        let mut firsts: Vec<u64> = (0..1_000).map(of).collect();
        assert!(firsts.iter().all(|first| *first < 1 << 60), "marks of tickets stay free");
        firsts.sort_unstable();
        assert!(firsts.windows(2).all(|pair| pair[1] - pair[0] >= 1 << 20), "no two ranges overlap soon");
    }
}
