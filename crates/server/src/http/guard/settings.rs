//! What is too much, and what routers do by themselves then.

use std::collections::BTreeSet;

use dwcp_api::Problem;
use dwcp_api::guard::{GuardConfigure, GuardConfigureRequest, GuardConfigured};
use dwcp_api::site::Setting;
use dwcp_decide::ddos::{Action, GuardPolicy};
use dwcp_state::{DocumentEvent, DocumentKind, Severity};

use super::super::call::{Call, bad_value, reason, told};
use super::super::routes::Serve;
use crate::monitor::documents::{self, Documents};

const KINDS: &[DocumentKind] = &[DocumentKind::Guard];
/// The one document of its kind.
pub const ID: &str = "policy";

/// A policy as names and values, for people.
pub fn named(policy: &GuardPolicy) -> Vec<(&'static str, String)> {
    let actions: Vec<&str> = policy.actions.iter().map(|action| action.name()).collect();
    vec![
        ("automatic", if policy.automatic { "on" } else { "off" }.to_owned()),
        ("actions", actions.join(", ")),
        ("threshold_requests", policy.threshold_requests.to_string()),
        ("threshold_connections", policy.threshold_connections.to_string()),
        ("threshold_bytes", policy.threshold_bytes.to_string()),
        ("prefix_factor", policy.prefix_factor.to_string()),
        ("asn_factor", policy.asn_factor.to_string()),
        ("country_factor", policy.country_factor.to_string()),
        ("path_factor", policy.path_factor.to_string()),
        ("service_factor", policy.service_factor.to_string()),
        ("error_percent", policy.error_percent.to_string()),
        ("slow_clients", policy.slow_clients.to_string()),
        ("resets", policy.resets.to_string()),
        ("block_ms", policy.block_ms.to_string()),
        ("challenge_bits", policy.challenge_bits.to_string()),
        ("clearance_ms", policy.clearance_ms.to_string()),
    ]
}

/// The policy in force; one that a later version wrote is told, and the usual one counts.
pub fn policy(seen: &Documents) -> (GuardPolicy, Vec<String>) {
    match seen.get::<GuardPolicy>(DocumentKind::Guard, ID) {
        Ok(policy) => (policy.unwrap_or_default(), Vec::new()),
        Err(refusal) => (GuardPolicy::default(), vec![refusal.to_string()]),
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
        let because = reason(request.reason.as_deref())?;
        let seen = call.look(|view| Documents::of(view, KINDS)).await?;
        let before: Option<GuardPolicy> =
            seen.get(DocumentKind::Guard, ID).map_err(|refusal| Problem::from(&refusal))?;
        let before = before.unwrap_or_default();
        let next = changed(&before, &request)?;
        if !request.dry_run && next != before {
            let asked = call.asked_because(because.clone(), None);
            let done = documents::change(&call.api.node, &asked, KINDS, |seen, draft| {
                let now: GuardPolicy = seen.get(DocumentKind::Guard, ID)?.unwrap_or_default();
                // What was refused for what was there is refused for what is there now.
                let next = changed(&now, &request).unwrap_or_else(|_| next.clone());
                draft.put(DocumentKind::Guard, ID, &next)?;
                let differ = named(&now).into_iter().zip(named(&next)).filter(|(a, b)| a != b);
                let said: Vec<String> = differ.map(|(_, (name, value))| format!("{name} {value}")).collect();
                draft.event(DocumentEvent {
                    severity: Severity::Info,
                    kind: "ddos.configured".to_owned(),
                    subject: "ddos".to_owned(),
                    text: format!("attackers are kept out anew: {}{}", said.join(", "), told(&because)),
                });
                Ok(())
            });
            done.await.map_err(|refusal| Problem::from(&refusal))?;
        }
        let both = named(&before).into_iter().zip(named(&next));
        let settings = both
            .map(|((name, before), (_, after))| Setting { name: name.to_owned(), before, after })
            .collect();
        Ok(GuardConfigured { changed: next != before, settings, notes: notes(&next) })
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
