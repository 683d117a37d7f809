//! Guide 10.1: a host pool becomes a region.

use dwcp_api::region::Lifecycle;
use dwcp_config::units::show_duration;

use super::facts::{self, Facts, Known};
use super::step::{Passes, Plan, Step};
use super::{split, walk};
use crate::Exit;
use crate::commands::{Ended, site};
use crate::failure::Failure;
use crate::session::Session;
use crate::typed::AddRegion;

pub fn run(session: &Session, wanted: &AddRegion) -> Ended {
    if let Some(file) = &wanted.config {
        site::settings(file, &wanted.region)?;
    }
    let plan = plan(&facts::read(session, &wanted.region)?, wanted)?;
    walk::show(&plan, &wanted.gates);
    if session.global.dry_run {
        return Ok(Exit::Done);
    }
    walk::run(session, &plan, &wanted.gates)
}

/// What is in the way before anything is done.
fn refused(facts: &Facts, region: &str) -> Option<Failure> {
    let Some(known) = &facts.region else {
        return facts.pool.is_empty().then(|| {
            Failure::new(Exit::NotFound, format!("no host waits for a region {region}"))
                .and_then("start dwcp-agentd on its hosts with their certificates")
                .suggest("dwcp-cli infrastructure pools")
        });
    };
    let why = match known.lifecycle {
        _ if known.leaving => "is on its way out",
        Lifecycle::Lost => "is lost",
        Lifecycle::Retired => "has left",
        Lifecycle::Draining => "is being emptied",
        Lifecycle::Joining | Lifecycle::Standby | Lifecycle::Active | Lifecycle::Disabled => {
            return known.ends_at_ms.map(|_| {
                Failure::new(Exit::Refused, format!("{region} is announced to be decommissioned")).suggest(
                    format!("dwcp-cli federation region announce-decommission --region {region} --cancel"),
                )
            });
        }
    };
    Some(
        Failure::new(Exit::Refused, format!("{region} {why}"))
            .suggest(format!("dwcp-cli federation region status --region {region}")),
    )
}

/// The steps, each with what is done of it already.
fn plan(facts: &Facts, wanted: &AddRegion) -> Result<Plan, Failure> {
    if let Some(failure) = refused(facts, &wanted.region) {
        return Err(failure);
    }
    let region = wanted.region.clone();
    let known = facts.region.as_ref();
    let mut steps = comes_in(known, wanted);
    steps.push(endpoint(known, wanted));
    steps.extend(rollout(known, wanted));
    let full = format!("federation region verify --region {region} --full");
    let verified = Step::types("verify full operation", split(&full), Passes::InTheEnd);
    steps.push(Step { in_service: true, ..verified });
    let by_hand = vec![format!("write down that {region} was added, and tell the people who run it")];
    let stays = vec![
        format!("where {region} is still a region, VMs that were placed there run on:"),
        format!("dwcp-cli federation migrate-all --source {region}"),
    ];
    Ok(Plan { name: "add-region", region, steps, by_hand, stays })
}

/// Until it holds the state of every region.
fn comes_in(known: Option<&Known>, wanted: &AddRegion) -> Vec<Step> {
    let region = &wanted.region;
    let types = |title: &str, line: String, passes| Step::types(title, split(&line), passes);
    let heard = known.filter(|known| known.node).map(|_| "its node is heard".to_owned());
    let there = known.map(|_| format!("{region} is a region already"));
    let holds = known.filter(|known| known.replicas).map(|_| "its node has every group".to_owned());
    let components = wanted.components.0.join(",");
    let mut deploy = types(
        "run its control plane on one of its hosts",
        format!("infrastructure deploy --region {region} --components {components}"),
        Passes::WhenDone,
    )
    .already(heard);
    if known.is_none() && !wanted.keep {
        deploy = deploy.back(&[
            format!("federation region remove --region {region} --confirm"),
            format!("infrastructure cleanup --region {region}"),
        ]);
    }
    let preflight = format!("federation region preflight-check --region {region}");
    let mut steps = vec![types("measure its hosts", preflight, Passes::WhenDone).already(there), deploy];
    if let Some(file) = &wanted.config {
        let mut words = split(&format!("federation region configure --region {region} --config"));
        words.push(file.display().to_string());
        steps.push(Step::types("say what it is like", words, Passes::WhenDone));
    }
    let connectivity = format!("federation region connectivity-test --region {region} --test-all-regions");
    let replicate = format!("federation state enable-region --region {region}");
    let verify = format!("federation state verify-sync --region {region}");
    steps.push(types("test that every region reaches it", connectivity, Passes::InTheEnd));
    steps.push(types("give it replicas of the state", replicate, Passes::WhenDone).already(holds));
    steps.push(types("compare its replicas with the majority's", verify, Passes::InTheEnd));
    steps
}

fn endpoint(known: Option<&Known>, wanted: &AddRegion) -> Step {
    let (region, port) = (&wanted.region, wanted.port);
    let ip = wanted.ip.map(|ip| ip.to_string());
    let endpoints = known.map_or(&[][..], |known| &known.endpoints);
    let same =
        |at: &&dwcp_api::site::PublicEndpoint| at.port == port && ip.as_ref().is_none_or(|ip| at.ip == *ip);
    let there = endpoints.iter().find(same).map(|at| format!("it is reached at {} port {port}", at.ip));
    let words = |verb: &str| {
        let mut words = split(&format!("routing endpoint {verb} --region {region} --ip"));
        words.push(ip.clone().unwrap_or_else(|| walk::address_of(region)));
        words.extend(split(&format!("--port {port}")));
        words
    };
    let step = Step::types("say where its users reach it", words("add"), Passes::WhenDone).already(there);
    Step { way_back: vec![words("remove")], ..step }
}

/// From no traffic to its last share.
fn rollout(known: Option<&Known>, wanted: &AddRegion) -> Vec<Step> {
    let region = &wanted.region;
    let share = known.and_then(Known::share);
    let set = |percent: u8| format!("federation region set-traffic --region {region} --percentage {percent}");
    // A region that was in service before stays in it.
    let back = match known.filter(|known| known.serves()) {
        None => vec![set(0), format!("federation region disable --region {region}")],
        Some(known) => known.traffic_percent.map(set).into_iter().collect(),
    };
    let mut steps = Vec::new();
    let shares = &wanted.traffic.0;
    for (number, percent) in shares.iter().enumerate() {
        let (title, line) = match number {
            0 => (
                format!("take it into service with {percent} % of its traffic"),
                format!("federation region enable --region {region} --traffic-percentage {percent}"),
            ),
            _ => (format!("give it {percent} % of its traffic"), set(*percent)),
        };
        let has = share.filter(|share| share >= percent).map(|share| format!("it has {share} %"));
        let step = Step::types(title, split(&line), Passes::WhenDone).already(has).back(&back);
        steps.push(Step { in_service: true, ..step });
        if number + 1 < shares.len() {
            let ms = if number == 0 { wanted.first_soak } else { wanted.soak };
            let more = share.filter(|share| share > percent).map(|share| format!("it has {share} %"));
            let title = format!("watch it at {percent} % for {}", show_duration(ms));
            steps.push(Step { in_service: true, ..Step::watches(title, ms).already(more) });
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::step::{Does, typed, way_back};
    use super::*;
    use crate::typed::{Command, RunbookCommand, RunbookRun, Typed};

    fn wanted(flags: &str) -> AddRegion {
        let line = format!("dwcp-cli runbook run add-region --region r {flags}");
        match Typed::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Runbook(RunbookCommand::Run(RunbookRun::AddRegion(wanted))) => wanted,
            other => panic!("{other:?}"),
        }
    }

    fn known() -> Known {
        Known::in_service(25)
    }

    fn pool() -> Facts {
        Facts { region: None, pool: vec![("r-1".into(), "nothing".into())] }
    }

    fn open(facts: &Facts, flags: &str) -> Vec<String> {
        let plan = plan(facts, &wanted(flags)).unwrap();
        let open = plan.steps.into_iter().filter(|step| step.already.is_none());
        open.map(|step| match step.does {
            Does::Types(words, _) => typed(&words).trim_start_matches("dwcp-cli ").to_owned(),
            Does::Watches(ms) => format!("watch {ms}"),
        })
        .collect()
    }

    #[test]
    fn the_guides_runbook_is_what_is_typed() {
        assert_eq!(
            open(&pool(), "--config r.yaml --traffic 10,100 --first-soak 1m"),
            [
                "federation region preflight-check --region r",
                "infrastructure deploy --region r --components controller,state-manager,monitor",
                "federation region configure --region r --config r.yaml",
                "federation region connectivity-test --region r --test-all-regions",
                "federation state enable-region --region r",
                "federation state verify-sync --region r",
                "routing endpoint add --region r --ip $(get-region-ip r) --port 443",
                "federation region enable --region r --traffic-percentage 10",
                "watch 60000",
                "federation region set-traffic --region r --percentage 100",
                "federation region verify --region r --full",
            ]
        );
    }

    #[test]
    fn every_step_and_its_way_back_is_a_command_that_can_be_typed() {
        let plan = plan(&pool(), &wanted("--config r.yaml --ip 192.0.2.1")).unwrap();
        let all: Vec<&Step> = plan.steps.iter().collect();
        let steps = plan.steps.iter().filter_map(|step| match &step.does {
            Does::Types(words, _) => Some(words.clone()),
            Does::Watches(_) => None,
        });
        for words in steps.chain(way_back(&all)) {
            let line = std::iter::once("dwcp-cli".to_owned()).chain(words);
            let line: Vec<String> = line.collect();
            assert!(Typed::try_parse_from(&line).is_ok(), "{line:?}");
        }
    }

    #[test]
    fn what_the_facts_say_is_done_is_not_done_again() {
        let endpoint = dwcp_api::site::PublicEndpoint { ip: "192.0.2.1".into(), port: 443 };
        let at_25 = Facts { region: Some(Known { endpoints: vec![endpoint], ..known() }), pool: Vec::new() };
        assert_eq!(
            open(&at_25, "--traffic 10,25,100 --soak 1m"),
            [
                "federation region connectivity-test --region r --test-all-regions",
                "federation state verify-sync --region r",
                "watch 60000",
                "federation region set-traffic --region r --percentage 100",
                "federation region verify --region r --full",
            ]
        );
        assert_eq!(open(&at_25, "--traffic 10,25 --ip 192.0.2.9").len(), 4, "another endpoint is added");
        let disabled = Known { lifecycle: Lifecycle::Disabled, ..known() };
        let disabled = Facts { region: Some(disabled), pool: Vec::new() };
        assert!(open(&disabled, "").iter().any(|line| line.contains("--traffic-percentage 10")));
    }

    #[test]
    fn only_who_deployed_a_region_removes_it_again() {
        let back = |facts: &Facts, flags: &str| -> Vec<String> {
            let plan = plan(facts, &wanted(flags)).unwrap();
            let done: Vec<&Step> = plan.steps.iter().filter(|step| step.already.is_none()).collect();
            way_back(&done).iter().map(typed).collect()
        };
        let all = back(&pool(), "");
        assert_eq!(
            all,
            [
                "dwcp-cli federation region set-traffic --region r --percentage 0",
                "dwcp-cli federation region disable --region r",
                "dwcp-cli routing endpoint remove --region r --ip $(get-region-ip r) --port 443",
                "dwcp-cli federation region remove --region r --confirm",
                "dwcp-cli infrastructure cleanup --region r",
            ]
        );
        assert_eq!(back(&pool(), "--keep"), all[..3]);
        let there = Facts { region: Some(Known { lifecycle: Lifecycle::Joining, ..known() }), ..pool() };
        assert_eq!(back(&there, ""), all[..3]);
        let full = Facts { region: Some(Known { traffic_percent: Some(100), ..known() }), ..pool() };
        assert_eq!(back(&full, "--ip 192.0.2.1").len(), 1, "a region in service is not taken out of it");
        let serving = Facts { region: Some(known()), ..pool() };
        assert_eq!(
            back(&serving, "--traffic 25,50,100")[0],
            "dwcp-cli federation region set-traffic --region r --percentage 25"
        );
        assert!(!back(&serving, "--traffic 25,50,100").iter().any(|line| line.contains("disable")));
    }

    #[test]
    fn what_is_no_region_to_add_is_refused_before_anything_changes() {
        let exit = |facts: &Facts| plan(facts, &wanted("")).map(|_| ()).map_err(|failure| failure.exit);
        assert_eq!(exit(&Facts::default()), Err(Exit::NotFound));
        for of in [
            Known { lifecycle: Lifecycle::Lost, ..known() },
            Known { leaving: true, ..known() },
            Known { ends_at_ms: Some(1), ..known() },
        ] {
            assert_eq!(exit(&Facts { region: Some(of), pool: Vec::new() }), Err(Exit::Refused));
        }
    }
}
