//! VMs with relations.

use dwcp_state::{Relation, Scope, Target, Vm};

/// Those of a group must be on hosts of their own.
pub fn keep_apart(vm: &mut Vm, group: u64) {
    vm.labels.insert("group".into(), group.to_string());
    let target = Target::Label(("group".into(), group.to_string()));
    vm.rules.anti_affinity = vec![Relation { target, scope: Scope::Host }];
}
