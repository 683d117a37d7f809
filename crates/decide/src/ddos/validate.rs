//! An attack, or a crowd?

use super::{AttackKind, Evidence, Judgement, Typical, Verdict};

/// Fewer sources than this are few.
const FEW_SOURCES: u64 = 20;
/// More than this are many.
const MANY_SOURCES: u64 = 100;
/// What one person's browser asks for in a second while a page is loaded, with room.
const PERSON_RATE: u64 = 20;

/// Judges evidence against what is usual. Many sources that each do little, and what people do, are a crowd; few that do much,
/// or all the same, or what fails, are an attack.
pub fn validate(kind: AttackKind, evidence: &Evidence, typical: &Typical) -> Judgement {
    let (attack, strong) = attack_signs(kind, evidence, typical);
    let crowd = crowd_signs(evidence, typical);
    let of_people = matches!(kind, AttackKind::HttpFlood | AttackKind::Surge | AttackKind::Bandwidth);
    let is_crowd = of_people && attack.is_empty() && crowd.iter().all(Result::is_ok);
    let verdict = match (attack.len(), strong) {
        (_, true) | (2.., _) => Verdict::Real,
        _ if is_crowd => Verdict::FalsePositive,
        _ => Verdict::Unclear,
    };
    let mut reasons = attack;
    reasons.extend(crowd.into_iter().filter_map(|sign| match verdict {
        Verdict::Real => None,
        Verdict::FalsePositive => sign.ok(),
        Verdict::Unclear => Some(sign.unwrap_or_else(|against| against)),
    }));
    Judgement { verdict, reasons }
}

/// What speaks for an attack, and whether one of it is enough.
fn attack_signs(kind: AttackKind, evidence: &Evidence, typical: &Typical) -> (Vec<String>, bool) {
    let mut signs = Vec::new();
    let mut strong = false;
    let mut sign = |is: bool, enough: bool, text: String| {
        if is {
            signs.push(text);
            strong |= enough;
        }
    };
    let Evidence { rate, threshold, sources, .. } = *evidence;
    let each = evidence.rate_per_source();
    let much = each >= threshold || (sources < FEW_SOURCES && rate >= threshold);
    let times = each / threshold.max(1);
    sign(much, times >= 10, format!("{sources} sources make {rate} a second, {each} each"));
    let errors = evidence.error_percent;
    let failing = errors >= 50 && errors >= typical.error_percent + 30;
    sign(failing, false, format!("{errors} % fail; {} % usually do", typical.error_percent));
    let resets = evidence.reset_percent;
    sign(resets >= 20, resets >= 100, format!("{resets} resets for each 100 requests"));
    let slow = evidence.slow_percent;
    sign(slow >= 20, slow >= 50, format!("{slow} of 100 connections had to be cut off for slowness"));
    for (percent, usual, what) in [
        (evidence.top_path_percent, typical.top_path_percent, "one path"),
        (evidence.top_agent_percent, typical.top_agent_percent, "one user agent"),
    ] {
        let alike = percent >= 90 && percent >= usual + 30;
        sign(alike, false, format!("{percent} % have {what}; {usual} % usually do"));
    }
    let hostile = matches!(
        kind,
        AttackKind::SynFlood | AttackKind::SlowClients | AttackKind::RapidReset | AttackKind::Scan
    );
    sign(hostile, rate >= threshold.saturating_mul(2), format!("{} is nothing that users do", kind.name()));
    (signs, strong)
}

/// What a crowd has: each sign, or what is against it.
fn crowd_signs(evidence: &Evidence, typical: &Typical) -> Vec<Result<String, String>> {
    let told = |is: bool, text: String| if is { Ok(text) } else { Err(text) };
    let Evidence { sources, error_percent: errors, reset_percent: resets, slow_percent: slow, .. } =
        *evidence;
    let each = evidence.rate_per_source();
    let (path, agent) = (evidence.top_path_percent, evidence.top_agent_percent);
    let more = |percent: u32, usual: u32, least: u32| percent <= least.max(usual + 25);
    vec![
        told(sources >= MANY_SOURCES.max(typical.sources / 2), format!("{sources} different sources")),
        told(each <= PERSON_RATE, format!("{each} a second of each source")),
        told(
            errors <= (typical.error_percent * 2 + 5).max(10),
            format!("{errors} % fail; {} % usually do", typical.error_percent),
        ),
        told(resets <= 5 && slow <= 5, format!("{resets} % reset, {slow} % are slow")),
        told(
            more(path, typical.top_path_percent, 60),
            format!("{path} % have the most frequent path; {} % usually do", typical.top_path_percent),
        ),
        told(
            more(agent, typical.top_agent_percent, 60),
            format!(
                "{agent} % have the most frequent user agent; {} % usually do",
                typical.top_agent_percent
            ),
        ),
    ]
}
