//! What is too much, and what routers do by themselves then.

use std::collections::BTreeSet;

use dwcp_api::Problem;
use dwcp_api::guard::{GuardConfigure, GuardConfigureRequest, GuardConfigured};
use dwcp_decide::ddos::{Action, GuardPolicy};
use dwcp_state::DocumentKind;

use super::super::call::{Call, bad_value};
use super::super::policy_document::{self, Policy};
use super::super::routes::Serve;

impl Policy for GuardPolicy {
    const KIND: DocumentKind = DocumentKind::Guard;
    const SUBJECT: &'static str = "ddos";
    const SAID: &'static str = "attackers are kept out anew";

    fn named(&self) -> Vec<(&'static str, String)> {
        let actions: Vec<&str> = self.actions.iter().map(|action| action.name()).collect();
        vec![
            ("automatic", if self.automatic { "on" } else { "off" }.to_owned()),
            ("actions", actions.join(", ")),
            ("threshold_requests", self.threshold_requests.to_string()),
            ("threshold_connections", self.threshold_connections.to_string()),
            ("threshold_bytes", self.threshold_bytes.to_string()),
            ("prefix_factor", self.prefix_factor.to_string()),
            ("asn_factor", self.asn_factor.to_string()),
            ("country_factor", self.country_factor.to_string()),
            ("path_factor", self.path_factor.to_string()),
            ("service_factor", self.service_factor.to_string()),
            ("error_percent", self.error_percent.to_string()),
            ("slow_clients", self.slow_clients.to_string()),
            ("resets", self.resets.to_string()),
            ("block_ms", self.block_ms.to_string()),
            ("challenge_bits", self.challenge_bits.to_string()),
            ("clearance_ms", self.clearance_ms.to_string()),
        ]
    }
}

/// An action by its name.
///
/// # Errors
/// None has it.
pub fn action(text: &str) -> Result<Action, Problem> {
    let known = Action::ALL.into_iter().find(|action| action.name() == text);
    known.ok_or_else(|| {
        let names: Vec<&str> = Action::ALL.iter().map(|action| action.name()).collect();
        bad_value("action", format!("one of {}", names.join(", ")))
    })
}

/// What is asked for, on top of what is there.
fn changed(policy: &GuardPolicy, asked: &GuardConfigureRequest) -> Result<GuardPolicy, Problem> {
    let mut next = policy.clone();
    for (to, given) in [
        (&mut next.threshold_requests, asked.threshold_requests),
        (&mut next.threshold_connections, asked.threshold_connections),
        (&mut next.threshold_bytes, asked.threshold_bytes),
        (&mut next.prefix_factor, asked.prefix_factor),
        (&mut next.asn_factor, asked.asn_factor),
        (&mut next.country_factor, asked.country_factor),
        (&mut next.path_factor, asked.path_factor),
        (&mut next.service_factor, asked.service_factor),
        (&mut next.error_percent, asked.error_percent),
        (&mut next.slow_clients, asked.slow_clients),
        (&mut next.resets, asked.resets),
    ] {
        *to = given.unwrap_or(*to);
    }
    next.automatic = asked.automatic.unwrap_or(next.automatic);
    next.block_ms = asked.block_ms.unwrap_or(next.block_ms);
    next.challenge_bits = asked.challenge_bits.unwrap_or(next.challenge_bits);
    next.clearance_ms = asked.clearance_ms.unwrap_or(next.clearance_ms);
    let read =
        |texts: &[String]| texts.iter().map(|text| action(text)).collect::<Result<BTreeSet<Action>, _>>();
    next.actions.extend(read(&asked.actions_added)?);
    let removed = read(&asked.actions_removed)?;
    next.actions.retain(|action| !removed.contains(action));
    let wrong = next.check();
    if wrong.is_empty() { Ok(next) } else { Err(bad_value("the policy", wrong.join("; "))) }
}

impl Serve for GuardConfigure {
    async fn answer(call: &Call, request: GuardConfigureRequest) -> Result<GuardConfigured, Problem> {
        let how = (request.reason.as_deref(), request.dry_run);
        let done = policy_document::configure(call, how, |policy| changed(policy, &request)).await?;
        let notes = notes(&done.policy);
        Ok(GuardConfigured { changed: done.changed, settings: done.settings, notes })
    }
}

fn notes(policy: &GuardPolicy) -> Vec<String> {
    let mut notes = Vec::new();
    if !policy.automatic {
        notes.push("routers detect and tell, and keep nobody out by themselves".to_owned());
    } else if policy.actions.is_empty() {
        notes.push("routers may do nothing by themselves: they detect and tell".to_owned());
    }
    if policy.automatic && policy.actions.contains(&Action::ChallengeResponse) {
        notes.push(
            "who floods is asked a puzzle first: browsers solve it by themselves, programs get 429"
                .to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_stays_and_what_is_wrong_is_refused() {
        let before = GuardPolicy::default();
        let asked = GuardConfigureRequest {
            threshold_requests: Some(2_000),
            actions_added: vec!["challenge_response".to_owned()],
            actions_removed: vec!["blacklist".to_owned()],
            ..GuardConfigureRequest::default()
        };
        let next = changed(&before, &asked).expect("a policy");
        assert_eq!(next.threshold_requests, 2_000);
        assert_eq!(next.threshold_connections, before.threshold_connections);
        assert_eq!(next.actions, BTreeSet::from([Action::RateLimit, Action::ChallengeResponse]));
        let wrong = [
            GuardConfigureRequest { threshold_requests: Some(0), ..GuardConfigureRequest::default() },
            GuardConfigureRequest { error_percent: Some(101), ..GuardConfigureRequest::default() },
            GuardConfigureRequest { challenge_bits: Some(40), ..GuardConfigureRequest::default() },
            GuardConfigureRequest {
                actions_added: vec!["shoot".to_owned()],
                ..GuardConfigureRequest::default()
            },
        ];
        wrong.iter().for_each(|wrong| assert!(changed(&before, wrong).is_err(), "{wrong:?}"));
    }
}
