//! Tests of decisions: each rule, score, tie and suggestion, and properties over random federations.

mod it {
    mod arrivals;
    mod cache;
    mod expansion;
    mod failover;
    mod health;
    mod host_loss;
    mod loss;
    mod packing;
    mod parallel;
    mod promises;
    mod properties;
    mod rebalance;
    mod replicas;
    mod rules;
    mod scores;
    mod shaky;
    mod sla;
    mod sla_account;
    mod sla_properties;
    mod suggestions;
    mod survivability;
    mod world;
}
