//! Guide 4.3: a region leaves.

use std::time::{SystemTime, UNIX_EPOCH};

use dwcp_api::region::Lifecycle;
use dwcp_config::units::Moment;

use super::facts::{self, Facts, Known};
use super::step::{Passes, Plan, Step};
use super::{split, walk};
use crate::Exit;
use crate::commands::{Ended, confirmed};
use crate::failure::Failure;
use crate::session::Session;
use crate::show::words;
use crate::typed::DecommissionRegion;

const DAY_MS: u64 = 86_400_000;
/// So long before its end no VM is placed there any more.
const CLOSES_BEFORE_MS: u64 = 7 * DAY_MS;
/// So long before its end its VMs move.
const MOVES_BEFORE_MS: u64 = DAY_MS;

pub fn run(session: &Session, wanted: &DecommissionRegion) -> Ended {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let plan = plan(&facts::read(session, &wanted.region)?, wanted, now)?;
    walk::show(&plan, &wanted.gates);
    if session.global.dry_run {
        return Ok(Exit::Done);
    }
    let removes = plan.steps.iter().position(|step| step.no_return && step.already.is_none());
    if let Some(number) = removes.filter(|number| walk::is_due(&plan.steps[*number], now)) {
        let region = &wanted.region;
        let question =
            format!("{region} leaves the federation for good: there is no way back from step {}", number + 1);
        let date = match wanted.decommission_date {
            Some(Moment::At(ms)) => format!(" --decommission-date {}", words::instant(ms)),
            Some(Moment::In(_)) | None => String::new(),
        };
        let now = if wanted.now { " --now" } else { "" };
        confirmed(
            session,
            &question,
            &format!("dwcp-cli runbook run decommission-region --region {region}{date}{now}"),
        )?;
    }
    walk::run(session, &plan, &wanted.gates)
}

/// When the region is to end, and whether that is announced already.
fn end(known: &Known, wanted: &DecommissionRegion, now: u64) -> Result<(u64, bool), Failure> {
    // "In thirty days" was meant when it was typed first.
    let asked = match wanted.decommission_date {
        Some(Moment::At(ms)) => Some(ms),
        Some(Moment::In(ms)) => known.ends_at_ms.or(Some(now + ms)),
        None => known.ends_at_ms.or_else(|| wanted.now.then_some(now)),
    };
    let Some(at_ms) = asked else {
        return Err(Failure::usage(format!(
            "--decommission-date: no end of {} is announced yet",
            wanted.region
        ))
        .suggest(format!(
            "dwcp-cli runbook run decommission-region --region {} --decommission-date +30d",
            wanted.region
        )));
    };
    Ok((at_ms, known.ends_at_ms == Some(at_ms)))
}

/// The steps, each with what is done of it already and when it is due.
fn plan(facts: &Facts, wanted: &DecommissionRegion, now: u64) -> Result<Plan, Failure> {
    let region = wanted.region.clone();
    let mut steps = match &facts.region {
        Some(known) if known.lifecycle == Lifecycle::Lost => {
            return Err(Failure::new(
                Exit::Refused,
                format!("{region} is lost: its VMs are failed over, not moved"),
            )
            .suggest(format!("dwcp-cli runbook run emergency-failover --region {region}")));
        }
        Some(known) => leaves(known, wanted, end(known, wanted, now)?),
        None if facts.pool.is_empty() => {
            return Err(Failure::new(
                Exit::NotFound,
                format!("no region {region}, and no host of it is connected"),
            )
            .suggest("dwcp-cli federation region list"));
        }
        None => Vec::new(),
    };
    let gone = facts.region.is_none();
    let running = facts.pool.iter().any(|(_, phase)| phase != "nothing");
    let clean = (gone && !running).then(|| "no connected host has anything of its node".to_owned());
    let line = format!("infrastructure cleanup --region {region}");
    let cleanup = Step::types("have its hosts remove its keys and its state", split(&line), Passes::WhenDone);
    let not_before = steps.last().and_then(|step| step.not_before);
    steps.push(cleanup.already(clean).not_before(not_before));
    if wanted.keep {
        steps.iter_mut().for_each(|step| step.way_back.clear());
    }
    let by_hand = vec![
        format!("take the certificates of {region}'s hosts away where they shall not come back"),
        format!("write down that {region} has left, and tell the people who ran it"),
    ];
    let stays = vec![format!(
        "VMs that have moved stay where they are: dwcp-cli federation failback --region {region} brings them home"
    )];
    Ok(Plan { name: "decommission-region", region, steps, by_hand, stays })
}

/// Until the federation has forgotten it.
fn leaves(known: &Known, wanted: &DecommissionRegion, (at_ms, announced): (u64, bool)) -> Vec<Step> {
    let region = &wanted.region;
    let due = |before_ms: u64| (!wanted.now).then(|| at_ms.saturating_sub(before_ms));
    let out = known.leaving.then(|| "it is on its way out".to_owned());
    let types = |title: &str, line: String, passes| Step::types(title, split(&line), passes);
    let or_out = |fact: Option<String>| out.clone().or(fact);
    let announce = format!("federation region announce-decommission --region {region}");
    let on = |ms: u64| format!("{announce} --decommission-date {}", words::instant(ms));
    let back = known.ends_at_ms.map_or_else(|| format!("{announce} --cancel"), on);
    let told = announced.then(|| format!("announced for {}", words::instant(at_ms)));
    let closed = (!known.placement).then(|| "it is closed for new VMs".to_owned());
    let empty = (known.vms == Some(0)).then(|| "no VM lives there".to_owned());
    let disabled = (known.lifecycle == Lifecycle::Disabled).then(|| "it is disabled".to_owned());
    let to = wanted.targets.as_ref().map_or_else(String::new, |to| format!(" --targets {}", to.0.join(",")));
    let migrate = format!("federation migrate-all --source {region}{to} --reason decommission");
    // What was not in service does not come into it by a way back.
    let mut enable = Vec::new();
    if known.serves() {
        let share = known.share().unwrap_or(100);
        enable.push(format!("federation region enable --region {region} --traffic-percentage {share}"));
    }
    if known.serves() && !known.placement {
        enable.push(format!("federation region disable-placement --region {region}"));
    }
    let reopen = format!("federation region enable-placement --region {region}");
    let switch = |what: &str| format!("federation region {what} --region {region}");
    let remove = format!("federation region remove --region {region} --confirm");
    vec![
        types("announce its end", on(at_ms), Passes::WhenDone).already(or_out(told)).back(&[back]),
        types("close it for new VMs", switch("disable-placement"), Passes::WhenDone)
            .already(or_out(closed))
            .not_before(due(CLOSES_BEFORE_MS))
            .back(&[reopen]),
        types("move its VMs", migrate, Passes::WhenDone)
            .already(or_out(empty))
            .not_before(due(MOVES_BEFORE_MS)),
        types("see that no VM is left there", switch("vm-count"), Passes::WhenEmpty)
            .already(or_out(None))
            .not_before(due(MOVES_BEFORE_MS)),
        types("disable it", switch("disable"), Passes::WhenDone)
            .already(or_out(disabled))
            .not_before(due(0))
            .back(&enable),
        Step { no_return: true, ..types("let it go", remove, Passes::OnceAllowed).not_before(due(0)) },
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::step::{Does, typed, way_back};
    use super::*;
    use crate::typed::{Command, RunbookCommand, RunbookRun, Typed};

    const NOW: u64 = 1_795_424_400_000;

    fn wanted(flags: &str) -> DecommissionRegion {
        let line = format!("dwcp-cli runbook run decommission-region --region r {flags}");
        match Typed::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Runbook(RunbookCommand::Run(RunbookRun::DecommissionRegion(wanted))) => wanted,
            other => panic!("{other:?}"),
        }
    }

    fn known() -> Known {
        Known::in_service(40)
    }

    fn of(known: Known) -> Facts {
        Facts { region: Some(known), pool: Vec::new() }
    }

    /// Steps that a run would carry out now.
    fn due(facts: &Facts, flags: &str) -> Vec<String> {
        let plan = plan(facts, &wanted(flags), NOW).unwrap();
        let open = plan.steps.into_iter().filter(|step| step.already.is_none());
        open.take_while(|step| walk::is_due(step, NOW))
            .map(|step| match step.does {
                Does::Types(words, _) => typed(&words).trim_start_matches("dwcp-cli ").to_owned(),
                Does::Watches(_) => panic!("it watches nothing"),
            })
            .collect()
    }

    #[test]
    fn the_guides_runbook_is_what_is_typed() {
        assert_eq!(
            due(&of(known()), "--decommission-date 2025-12-01 --targets a,b"),
            [
                "federation region announce-decommission --region r --decommission-date 2025-12-01T00:00:00Z",
                "federation region disable-placement --region r",
                "federation migrate-all --source r --targets a,b --reason decommission",
                "federation region vm-count --region r",
                "federation region disable --region r",
                "federation region remove --region r --confirm",
                "infrastructure cleanup --region r",
            ]
        );
    }

    #[test]
    fn what_is_not_due_yet_is_left_for_a_later_run() {
        let facts = of(known());
        assert_eq!(due(&facts, "--decommission-date +30d").len(), 1);
        assert_eq!(due(&facts, "--decommission-date +30d --now").len(), 7);
        assert_eq!(due(&facts, "--now").len(), 7, "and without a date");
        let announced = |in_days: u64| of(Known { ends_at_ms: Some(NOW + in_days * DAY_MS), ..known() });
        assert!(due(&announced(8), "").is_empty());
        assert_eq!(due(&announced(7), ""), ["federation region disable-placement --region r"]);
        assert_eq!(due(&announced(1), "").len(), 3);
        assert_eq!(due(&announced(0), "").len(), 6);
        assert_eq!(due(&announced(7), "--decommission-date +30d").len(), 1, "what was announced stands");
        let error = plan(&facts, &wanted(""), NOW).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
    }

    #[test]
    fn what_the_facts_say_is_done_is_not_done_again() {
        let empty = Known {
            lifecycle: Lifecycle::Disabled,
            placement: false,
            vms: Some(0),
            ends_at_ms: Some(NOW),
            ..known()
        };
        assert_eq!(due(&of(empty.clone()), "").len(), 3, "looked at, let go, cleaned up");
        assert_eq!(due(&of(Known { leaving: true, ..empty }), "").len(), 2);
        let pool = |phase: &str| Facts { region: None, pool: vec![("h".into(), phase.to_owned())] };
        assert_eq!(due(&pool("running"), ""), ["infrastructure cleanup --region r"]);
        assert!(due(&pool("nothing"), "").is_empty());
        assert_eq!(plan(&Facts::default(), &wanted(""), NOW).unwrap_err().exit, Exit::NotFound);
        let lost = of(Known { lifecycle: Lifecycle::Lost, ..known() });
        assert_eq!(plan(&lost, &wanted("--now"), NOW).unwrap_err().exit, Exit::Refused);
    }

    #[test]
    fn the_way_back_leads_to_where_it_was() {
        let back = |facts: &Facts, flags: &str| -> Vec<String> {
            let plan = plan(facts, &wanted(flags), NOW).unwrap();
            let done =
                plan.steps.iter().filter(|step| step.already.is_none()).take_while(|step| !step.no_return);
            let done: Vec<&Step> = done.collect();
            way_back(&done).iter().map(typed).collect()
        };
        assert_eq!(
            back(&of(known()), "--now"),
            [
                "dwcp-cli federation region enable --region r --traffic-percentage 40",
                "dwcp-cli federation region enable-placement --region r",
                "dwcp-cli federation region announce-decommission --region r --cancel",
            ]
        );
        let earlier = Known { placement: false, ends_at_ms: Some(NOW), ..known() };
        assert_eq!(
            back(&of(earlier), ""),
            [
                "dwcp-cli federation region enable --region r --traffic-percentage 40",
                "dwcp-cli federation region disable-placement --region r",
            ],
            "what an earlier run or a person has done stands"
        );
        assert!(back(&of(known()), "--now --keep").is_empty());
    }
}
