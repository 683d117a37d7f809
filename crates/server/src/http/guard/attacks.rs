//! Attacks, and whether they are any.

use dwcp_api::Problem;
use dwcp_api::guard::{
    Attack as ApiAttack, AttackList, AttackListRequest, AttackValidate, AttackValidateRequest, AttackVerdict,
    Attacks,
};
use dwcp_api::routing::Named;
use dwcp_decide::ddos::{
    Attack, AttackKind, Block, Evidence, GuardPolicy, RouterReport, Status, Target, Typical, Verdict, merge,
    validate,
};
use dwcp_state::DocumentKind;
use dwcp_types::RegionId;

use super::super::call::Call;
use super::super::policy_document;
use super::super::routes::Serve;
use super::blocks::unknown_attack;
use super::{Seen, shown};
use crate::monitor::documents::Documents;

/// By which share a suggested threshold lies above what was seen, in percent.
const ROOM_PERCENT: u64 = 25;

fn verdict(of: Verdict) -> &'static str {
    match of {
        Verdict::Real => "real",
        Verdict::Unclear => "unclear",
        Verdict::FalsePositive => "false_positive",
    }
}

fn is_because_of(block: &Block, attack: &Attack) -> bool {
    block.attack.as_ref().is_some_and(|named| *named == attack.key || *named == attack.id)
}

fn told(attack: &Attack, reports: &[(RegionId, RouterReport)], blocks: &[Block]) -> ApiAttack {
    let sees = |report: &RouterReport| {
        report.attacks.iter().any(|one| one.key == attack.key && one.status == Status::Active)
    };
    let active = attack.status == Status::Active;
    let seeing = reports.iter().filter(|(_, report)| active && sees(report));
    ApiAttack {
        attack: attack.id.clone(),
        kind: attack.kind.name().to_owned(),
        target: attack.target.to_string(),
        service: attack.service.clone(),
        peak_rate: attack.peak_rate,
        sources: attack.sources,
        first_ms: attack.first_ms,
        last_ms: attack.last_ms,
        active,
        verdict: verdict(attack.judgement.verdict).to_owned(),
        routers: seeing.map(|(region, report)| format!("{}/{}", region.as_str(), report.router)).collect(),
        blocks: blocks.iter().filter(|block| is_because_of(block, attack)).count() as u64,
    }
}

impl Serve for AttackList {
    async fn answer(call: &Call, request: AttackListRequest) -> Result<Attacks, Problem> {
        let seen = Seen::now(call).await?;
        let ((attacks, complaints), (blocks, _)) = (seen.attacks(), seen.blocks());
        let oldest = request.since_ms.map_or(0, |since| seen.now_ms.saturating_sub(since));
        let wanted = attacks.iter().rev().filter(|one| one.status == Status::Active || one.last_ms >= oldest);
        let attacks = wanted.map(|attack| told(attack, &seen.reports, &blocks)).collect();
        Ok(Attacks { attacks, complaints, as_of: seen.as_of })
    }
}

/// The record of an attack, or what routers see of it now where that is more.
fn largest(recorded: Attack, reports: &[(RegionId, RouterReport)]) -> Attack {
    let seen = merge(reports.iter().map(|(_, report)| report.clone())).attacks();
    let now = seen.into_iter().find(|one| one.key == recorded.key && one.peak_rate > recorded.peak_rate);
    match now {
        Some(now) if recorded.status == Status::Active => {
            Attack { id: recorded.id, first_ms: recorded.first_ms, ..now }
        }
        _ => recorded,
    }
}

fn row(name: &str, value: impl ToString) -> Named {
    Named { name: name.to_owned(), value: value.to_string() }
}

fn evidence(of: &Evidence) -> Vec<Named> {
    let path = if of.top_path.is_empty() { String::new() } else { format!(" ({})", of.top_path) };
    let agent = if of.top_agent.is_empty() { String::new() } else { format!(" ({})", of.top_agent) };
    vec![
        row("rate", of.rate),
        row("threshold", of.threshold),
        row("sources", of.sources),
        row("rate_per_source", of.rate_per_source()),
        row("share_percent", of.share_percent),
        row("error_percent", of.error_percent),
        row("reset_percent", of.reset_percent),
        row("slow_percent", of.slow_percent),
        row("top_path_percent", format!("{}{path}", of.top_path_percent)),
        row("top_agent_percent", format!("{}{agent}", of.top_agent_percent)),
    ]
}

fn typical(of: &Typical) -> Vec<Named> {
    if !of.learned {
        return Vec::new();
    }
    vec![
        row("rate", of.rate),
        row("deviation", of.deviation),
        row("sources", of.sources),
        row("error_percent", of.error_percent),
        row("top_path_percent", of.top_path_percent),
        row("top_agent_percent", of.top_agent_percent),
    ]
}

/// The setting that would have to be another one for this to be no attack.
fn suggested(attack: &Attack, policy: &GuardPolicy) -> Option<Named> {
    let setting = match attack.kind {
        AttackKind::HttpFlood | AttackKind::DnsFlood => "threshold_requests",
        AttackKind::ConnectionFlood | AttackKind::SynFlood => "threshold_connections",
        AttackKind::Bandwidth => "threshold_bytes",
        _ => return None,
    };
    let factor = match &attack.target {
        Target::Ip(_) => 1,
        Target::Cidr(_) => policy.prefix_factor,
        Target::Asn(_) => policy.asn_factor,
        Target::Country(_) => policy.country_factor,
        Target::Path { .. } => policy.path_factor,
        Target::Service(_) => policy.service_factor,
    };
    let room = attack.peak_rate.saturating_add(attack.peak_rate.saturating_mul(ROOM_PERCENT).div_ceil(100));
    let value = room.div_ceil(u64::from(factor.max(1)));
    // Two digits are as exact as such a number is.
    let step = 10_u64.pow(value.max(1).ilog10().saturating_sub(1));
    Some(row(setting, value.div_ceil(step) * step))
}

impl Serve for AttackValidate {
    async fn answer(call: &Call, request: AttackValidateRequest) -> Result<AttackVerdict, Problem> {
        let unknown = |id: &str| Problem::from(&unknown_attack(id));
        let (id, key) = (request.attack, DocumentKind::Attack);
        let named = id.clone();
        call.find(move |view| {
            let known = Documents::of(view, &[key]).raw(key, &named).is_some();
            if known { Ok(()) } else { Err(unknown(&named)) }
        })
        .await?;
        let seen = Seen::now(call).await?;
        let ((attacks, _), (blocks, _)) = (seen.attacks(), seen.blocks());
        let known = attacks.iter().find(|one| one.id == id).cloned().ok_or_else(|| unknown(&id))?;
        let mut attack = largest(known, &seen.reports);
        attack.judgement = validate(attack.kind, &attack.evidence, &attack.typical);
        let because = blocks.iter().filter(|block| is_because_of(block, &attack));
        let (policy, _) = policy_document::in_force::<GuardPolicy>(&seen.documents);
        let is_crowd = attack.judgement.verdict == Verdict::FalsePositive;
        Ok(AttackVerdict {
            attack: told(&attack, &seen.reports, &blocks),
            reasons: attack.judgement.reasons.clone(),
            evidence: evidence(&attack.evidence),
            typical: typical(&attack.typical),
            blocks: because.map(|block| shown(block, &attacks)).collect(),
            suggested: if is_crowd { suggested(&attack, &policy) } else { None },
            as_of: seen.as_of,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attack(target: &str, rate: u64) -> Attack {
        let text = serde_json::json!({
            "id": "attack-001", "key": "k", "kind": "http_flood", "target": {"service": "shop"}, "service": "shop",
            "peak_rate": rate, "first_ms": 1, "last_ms": 2, "sources": 3, "status": "active", "evidence": {},
            "typical": {}, "judgement": {"verdict": "real", "reasons": []},
        });
        let attack: Attack = serde_json::from_value(text).expect("an attack");
        Attack { target: target.parse().expect("a target"), ..attack }
    }

    #[test]
    fn a_crowd_names_the_threshold_with_which_it_would_not_have_been_seen() {
        let policy = GuardPolicy::default();
        let of = |target: &str, rate| suggested(&attack(target, rate), &policy).map(|named| named.value);
        assert_eq!(of("203.0.113.7", 1_600), Some("2000".to_owned()));
        assert_eq!(of("203.0.113.0/24", 6_400), Some("2000".to_owned()));
        assert_eq!(of("service:shop", 123_456), Some("1600".to_owned()));
        assert_eq!(of("203.0.113.7", 3), Some("4".to_owned()));
    }

    #[test]
    fn what_routers_see_now_counts_where_it_is_more() {
        let report = |attack: Attack| RouterReport { attacks: vec![attack], ..RouterReport::default() };
        let told = |rate| {
            vec![(
                RegionId::from("us-east-1"),
                report(Attack { id: String::new(), ..attack("10.0.0.1", rate) }),
            )]
        };
        assert_eq!(largest(attack("10.0.0.1", 500), &told(900)).peak_rate, 900);
        assert_eq!(largest(attack("10.0.0.1", 500), &told(900)).id, "attack-001");
        assert_eq!(largest(attack("10.0.0.1", 500), &told(100)).peak_rate, 500);
        let over = Attack { status: Status::Over, ..attack("10.0.0.1", 500) };
        assert_eq!(largest(over, &told(900)).peak_rate, 500);
    }
}
