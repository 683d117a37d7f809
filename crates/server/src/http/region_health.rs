//! A region probed now from every other one, and what follows.

use dwcp_api::Problem;
use dwcp_api::region::{
    HealthState, ProbeVerdict, RegionHealthCheck, RegionHealthReport, RegionProbe, RegionProbeRequest,
    RegionVerdict,
};
use dwcp_roles::node::{RegionCheck, Reply, Request};
use dwcp_types::{NodeId, RegionId};

use super::call::{Call, bad_value, unexpected};
use super::outlook::Lately;
use super::routes::Serve;
use super::{names, region_summary};
use crate::handle::View;

impl Serve for RegionHealthCheck {
    async fn answer(call: &Call, request: RegionProbeRequest) -> Result<RegionHealthReport, Problem> {
        if request.timeout_ms.is_some_and(|ms| !(1..=60_000).contains(&ms)) {
            return Err(bad_value("timeout_ms", "1 to 60000"));
        }
        let name = request.region.clone();
        let region =
            call.find(move |view| names::region(view, &name).map(|(record, _)| record.id.clone())).await?;
        let check = match call.ask(Request::CheckRegion(region.clone())).await? {
            Reply::Checked(check) => check,
            other => return Err(unexpected(&other)),
        };
        let lately = call.api.outlook.lately();
        call.find(move |view| report(view, &region, &check, &lately)).await
    }
}

fn report(
    view: &View<'_>,
    region: &RegionId,
    check: &RegionCheck,
    lately: &Lately,
) -> Result<RegionHealthReport, Problem> {
    let (record, facts) = names::region(view, region.as_str())?;
    let health = region_summary::health(view, region, lately);
    let mut probes: Vec<RegionProbe> = Vec::new();
    for (node, observer) in view.node.regions().iter().filter(|(node, _)| **node != facts.number) {
        let seen = check.observations.iter().find(|seen| seen.observer == *observer).map(|seen| seen.rtt_us);
        let verdict = match seen {
            Some(Some(_)) if health.state == HealthState::Unhealthy => ProbeVerdict::Unwell,
            Some(Some(_)) => ProbeVerdict::Answers,
            Some(None) => ProbeVerdict::NoAnswer,
            None => ProbeVerdict::Unknown,
        };
        let silent_ms = silence(view, *node, facts.number);
        probes.push(RegionProbe {
            from: observer.as_str().to_owned(),
            verdict,
            rtt_ms: seen.flatten().map(|us| us.div_ceil(1_000)),
            silent_ms,
            detail: detail(verdict, observer, silent_ms),
        });
    }
    let here = &view.node.config().region;
    let verdict = judge(&probes, here.as_str(), here == region, health.state);
    Ok(RegionHealthReport {
        region: record.id.as_str().to_owned(),
        verdict,
        health,
        probes,
        as_of: names::as_of_region(view, region),
    })
}

fn detail(verdict: ProbeVerdict, observer: &RegionId, silent_ms: Option<u64>) -> String {
    match (verdict, silent_ms) {
        (ProbeVerdict::Answers, _) => String::new(),
        (ProbeVerdict::Unwell, _) => "it answers, but its health score is under 60".to_owned(),
        (ProbeVerdict::NoAnswer, Some(ms)) => format!("no answer; silent there for {ms} ms"),
        (ProbeVerdict::NoAnswer, None) => "no answer".to_owned(),
        (ProbeVerdict::Unknown, _) => format!("{observer} could not be asked"),
    }
}

/// How long `subject` has been silent to `observer`, by the observer's newest word, ms.
fn silence(view: &View<'_>, observer: NodeId, subject: NodeId) -> Option<u64> {
    if observer == view.node.config().me {
        return Some(names::silent_ms(view, subject));
    }
    if !names::is_heard(view, observer) {
        return None;
    }
    let beat = view.node.peers().get(&observer)?.beat.as_ref()?;
    beat.silent_ms.get(&subject).copied()
}

/// Tells "down" from "unreachable from here".
fn judge(probes: &[RegionProbe], here: &str, is_here: bool, health: HealthState) -> RegionVerdict {
    let answers = |probe: &RegionProbe| matches!(probe.verdict, ProbeVerdict::Answers | ProbeVerdict::Unwell);
    let silent = probes.iter().filter(|probe| probe.verdict == ProbeVerdict::NoAnswer).count();
    let by_health = match health {
        HealthState::Healthy if silent > 0 => RegionVerdict::Degraded,
        HealthState::Healthy => RegionVerdict::Healthy,
        HealthState::Degraded => RegionVerdict::Degraded,
        HealthState::Unhealthy => RegionVerdict::Unhealthy,
        HealthState::Unknown => RegionVerdict::Unknown,
    };
    let majority = probes.len().div_ceil(2) + 1;
    let heard_here = probes.iter().any(|probe| probe.from == here && answers(probe));
    if probes.iter().any(answers) {
        return if heard_here || is_here { by_health } else { RegionVerdict::UnreachableFromHere };
    }
    if is_here {
        // It answers itself; without another region's word nothing more is known.
        return if probes.is_empty() { by_health } else { RegionVerdict::Unknown };
    }
    if silent >= majority { RegionVerdict::Down } else { RegionVerdict::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(list: &[(&str, ProbeVerdict)]) -> Vec<RegionProbe> {
        list.iter()
            .map(|(from, verdict)| RegionProbe {
                from: from.to_string(),
                verdict: *verdict,
                rtt_ms: None,
                silent_ms: None,
                detail: String::new(),
            })
            .collect()
    }

    #[test]
    fn down_is_told_from_unreachable_from_here() {
        use ProbeVerdict::{Answers, NoAnswer, Unknown};
        let all_silent = probes(&[("a", NoAnswer), ("b", NoAnswer), ("c", NoAnswer), ("d", NoAnswer)]);
        assert_eq!(judge(&all_silent, "a", false, HealthState::Unknown), RegionVerdict::Down);
        let only_here = probes(&[("a", NoAnswer), ("b", Answers), ("c", Answers), ("d", Unknown)]);
        assert_eq!(judge(&only_here, "a", false, HealthState::Unknown), RegionVerdict::UnreachableFromHere);
        let alone = probes(&[("a", NoAnswer), ("b", Unknown), ("c", Unknown), ("d", Unknown)]);
        assert_eq!(judge(&alone, "a", false, HealthState::Unknown), RegionVerdict::Unknown);
        let partly = probes(&[("a", Answers), ("b", NoAnswer), ("c", Answers), ("d", Answers)]);
        assert_eq!(judge(&partly, "a", false, HealthState::Healthy), RegionVerdict::Degraded);
        assert_eq!(judge(&[], "a", true, HealthState::Healthy), RegionVerdict::Healthy);
    }
}
