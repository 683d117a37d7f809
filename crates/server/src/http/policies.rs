//! Policies of the federation.

use std::collections::BTreeMap;

use dwcp_api::Problem;
use dwcp_api::page::Nothing;
use dwcp_api::policy::{Policies, PoliciesRead, PoliciesSet, PoliciesSetRequest};
use dwcp_roles::node::Request;
use dwcp_state::{Policy, Profile, Weights};

use super::call::{Call, bad_value, expect_revision};
use super::names;
use super::routes::Serve;
use crate::handle::View;

const PROFILES: [(Profile, &str); 6] = [
    (Profile::Balanced, "balanced"),
    (Profile::Latency, "latency"),
    (Profile::Cost, "cost"),
    (Profile::Pack, "pack"),
    (Profile::Spread, "spread"),
    (Profile::Custom, "custom"),
];

/// The name of a profile.
pub fn profile_name(profile: Profile) -> String {
    PROFILES.iter().find(|(known, _)| *known == profile).map_or("balanced", |(_, name)| name).to_owned()
}

/// Weights by the names that operators know them by.
pub fn weights_by_name(weights: Weights) -> BTreeMap<String, u32> {
    let named = [
        ("latency", weights.latency),
        ("cost", weights.cost),
        ("capacity", weights.capacity),
        ("health", weights.health),
        ("priority", weights.priority),
    ];
    named.into_iter().map(|(name, weight)| (name.to_owned(), weight)).collect()
}

/// The profile of a name.
pub fn profile(field: &str, name: &str) -> Result<Profile, Problem> {
    let found = PROFILES.iter().find(|(_, known)| *known == name).map(|(profile, _)| *profile);
    found.ok_or_else(|| {
        bad_value(field, format!("'{name}' is not balanced, latency, cost, pack, spread or custom"))
    })
}

/// The policy to change, at least as new as the revision that is expected of it: what is not given is taken from it.
pub async fn before(call: &Call, expected: Option<u64>, dry_run: bool) -> Result<Policy, Problem> {
    let read = |view: &View<'_>| {
        let core = &view.node.facts().core;
        (core.policy.clone(), core.policy_revision)
    };
    let (mut policy, mut revision) = call.look(read).await?;
    if expected.is_some_and(|expected| expected > revision.0) {
        call.barrier().await?;
        (policy, revision) = call.look(read).await?;
    }
    // An older expectation may be that of a request that was carried out before; the federation's group tells.
    if dry_run || expected.is_some_and(|expected| expected > revision.0) {
        expect_revision("the policy", expected, revision, "dwcp-cli federation policy show")?;
    }
    Ok(policy)
}

/// Sets a policy: what is not given stays as it is.
pub async fn set(call: &Call, policy: Policy, before: &Policy, expected: Option<u64>) -> Result<(), Problem> {
    if policy != *before || expected.is_some() {
        call.change(Request::SetPolicy(call.asked_expecting(expected), policy)).await?;
    }
    Ok(())
}

/// The policies as the API shows them.
pub fn show(view: &View<'_>, policy: &Policy) -> Policies {
    Policies {
        auto_failover: policy.auto_failover,
        loss_after_ms: policy.loss_after_ms,
        return_after_ms: policy.return_after_ms,
        failovers_per_hour: policy.failovers_per_hour,
        cpu_overcommit_percent: policy.cpu_overcommit_percent,
        memory_overcommit_percent: policy.memory_overcommit_percent,
        rto_target_ms: Some(policy.rto_target_ms),
        scoring_profile: profile_name(policy.profile),
        revision: view.node.facts().core.policy_revision.0,
        as_of: names::as_of_federation(view),
    }
}

fn within<T: Copy + PartialOrd + std::fmt::Display>(
    field: &str,
    given: Option<T>,
    least: T,
    most: T,
    into: &mut T,
) -> Result<(), Problem> {
    let Some(value) = given else { return Ok(()) };
    if value < least || value > most {
        return Err(bad_value(field, format!("{value} is not from {least} to {most}")));
    }
    *into = value;
    Ok(())
}

fn changed(before: &Policy, request: &PoliciesSetRequest) -> Result<Policy, Problem> {
    let mut policy = before.clone();
    policy.auto_failover = request.auto_failover.unwrap_or(policy.auto_failover);
    within("loss_after_ms", request.loss_after_ms, 200, 600_000, &mut policy.loss_after_ms)?;
    within("return_after_ms", request.return_after_ms, 200, 3_600_000, &mut policy.return_after_ms)?;
    within("failovers_per_hour", request.failovers_per_hour, 0, 1_000, &mut policy.failovers_per_hour)?;
    let (cpu, memory) = (request.cpu_overcommit_percent, request.memory_overcommit_percent);
    within("cpu_overcommit_percent", cpu, 1, 10_000, &mut policy.cpu_overcommit_percent)?;
    within("memory_overcommit_percent", memory, 1, 1_000, &mut policy.memory_overcommit_percent)?;
    within("rto_target_ms", request.rto_target_ms, 1_000, 3_600_000, &mut policy.rto_target_ms)?;
    if let Some(name) = &request.scoring_profile {
        policy.profile = profile("scoring_profile", name)?;
    }
    Ok(policy)
}

impl Serve for PoliciesRead {
    async fn answer(call: &Call, _: Nothing) -> Result<Policies, Problem> {
        call.look(|view| show(view, &view.node.facts().core.policy)).await
    }
}

impl Serve for PoliciesSet {
    async fn answer(call: &Call, request: PoliciesSetRequest) -> Result<Policies, Problem> {
        let expected = request.expected_revision;
        let before = before(call, expected, request.dry_run).await?;
        let policy = changed(&before, &request)?;
        if !request.dry_run {
            set(call, policy.clone(), &before, expected).await?;
        }
        call.look(move |view| show(view, &policy)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_stays() {
        let before = Policy::default();
        assert_eq!(changed(&before, &PoliciesSetRequest::default()).expect("policy"), before);
        let request = PoliciesSetRequest { auto_failover: Some(false), ..Default::default() };
        assert_eq!(changed(&before, &request).expect("policy"), Policy { auto_failover: false, ..before });
    }

    #[test]
    fn values_outside_their_range_name_their_field() {
        let request = PoliciesSetRequest { memory_overcommit_percent: Some(0), ..Default::default() };
        let problem = changed(&Policy::default(), &request).expect_err("refused");
        assert_eq!((problem.status, problem.field.as_deref()), (400, Some("memory_overcommit_percent")));
        let request = PoliciesSetRequest { scoring_profile: Some("best".into()), ..Default::default() };
        assert!(changed(&Policy::default(), &request).is_err());
    }
}
