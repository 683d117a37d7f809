//! Tests of decisions: each rule, score, tie and suggestion, and properties over random federations.

mod it {
    mod arrivals;
    mod cache;
    mod ddos_counting;
    mod ddos_detects;
    mod ddos_lists;
    mod ddos_merge;
    mod ddos_world;
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
    mod routing;
    mod routing_explain;
    mod routing_properties;
    mod routing_table;
    mod routing_world;
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
