//! Where users' requests go: services, routers, how they decide.

use dwcp_api::routing::{
    Router, RouterList, RouterListRequest, Routing, RoutingConfigure, RoutingConfigureRequest, RoutingRead,
    RoutingReadRequest, Service, ServiceChanged, ServiceDrain, ServiceDrainRequest, ServiceList,
    ServiceListRequest, ServiceRemove, ServiceRemoveRequest, ServiceSet, ServiceSetRequest,
};

use super::{Ended, ddos, dry, read, routes, site, traffic};
use crate::Exit;
use crate::session::Session;
use crate::show::{Cell, Document, Table, Tone, words};
use crate::typed::{
    AlgorithmCommand, EndpointCommand, EndpointDrainArgs, QosClass, RoutingAlgorithm, RoutingCacheCommand,
    RoutingCommand, RoutingConfigCommand, RoutingConfigureArgs, ServiceCommand, ServiceProtocol,
    ServiceSetArgs,
};

pub fn run(session: &Session, command: &RoutingCommand) -> Ended {
    match command {
        RoutingCommand::Endpoint(EndpointCommand::Add(wanted)) => site::set(session, wanted, false),
        RoutingCommand::Endpoint(EndpointCommand::Remove(wanted)) => site::set(session, wanted, true),
        RoutingCommand::Endpoint(EndpointCommand::List { region }) => site::list(session, region),
        RoutingCommand::Endpoint(EndpointCommand::Drain(wanted)) => drain(session, wanted),
        RoutingCommand::Address { region } => site::address(session, region),
        RoutingCommand::Service(ServiceCommand::Set(wanted)) => set(session, wanted),
        RoutingCommand::Service(ServiceCommand::List) => services(session),
        RoutingCommand::Service(ServiceCommand::Remove { service, reason }) => {
            remove(session, service, reason)
        }
        RoutingCommand::Configure(wanted) => configure(session, &request(wanted)),
        RoutingCommand::Algorithm(AlgorithmCommand::Set { algorithm, reason }) => {
            let (algorithm, reason) = (Some(algorithm_name(*algorithm)), reason.clone());
            configure(
                session,
                &RoutingConfigureRequest { algorithm, reason, ..RoutingConfigureRequest::default() },
            )
        }
        RoutingCommand::Config(RoutingConfigCommand::Show) => config(session),
        RoutingCommand::Cache(RoutingCacheCommand::Stats) => cache(session),
        RoutingCommand::Routers { region } => routers(session, region),
        RoutingCommand::Ddos(command) => ddos::run(session, command),
        RoutingCommand::TrafficAnalysis(wanted) => traffic::run(session, wanted),
        RoutingCommand::Simulate(wanted) => routes::simulate(session, wanted),
        RoutingCommand::Scores { destination, region } => routes::scores(session, destination, region),
    }
}

fn algorithm_name(algorithm: RoutingAlgorithm) -> String {
    match algorithm {
        RoutingAlgorithm::Latency => "latency",
        RoutingAlgorithm::Cost => "cost",
        RoutingAlgorithm::LoadBalanced => "load_balanced",
        RoutingAlgorithm::GeoProximity => "geo_proximity",
        RoutingAlgorithm::Hybrid => "hybrid",
    }
    .to_owned()
}

fn request(wanted: &RoutingConfigureArgs) -> RoutingConfigureRequest {
    let weight = |name: &str| wanted.weights.iter().find(|(of, _)| of == name).map(|(_, percent)| *percent);
    let mark = |class: &str| wanted.dscp.iter().find(|(of, _)| of == class).map(|(_, mark)| *mark);
    let share = |class: &str| wanted.shares.iter().find(|(of, _)| of == class).map(|(_, percent)| *percent);
    RoutingConfigureRequest {
        algorithm: wanted.algorithm.map(algorithm_name),
        latency_weight: weight("latency"),
        cost_weight: weight("cost"),
        load_weight: weight("load"),
        distance_weight: weight("distance"),
        health_weight: weight("health"),
        least_health: wanted.least_health,
        doubt_below_percent: wanted.doubt_below,
        endpoint_capacity: wanted.endpoint_capacity,
        cache_enabled: wanted.routing_table_cache_enabled,
        cache_ttl_ms: wanted.routing_table_cache_ttl,
        dns_ttl_s: wanted.dns_ttl.map(|ms| u32::try_from(ms.div_ceil(1_000)).unwrap_or(u32::MAX)),
        critical_dscp: mark("critical"),
        standard_dscp: mark("standard"),
        bulk_dscp: mark("bulk"),
        critical_share: share("critical"),
        standard_share: share("standard"),
        bulk_share: share("bulk"),
        dpdk_enabled: wanted.enable_dpdk,
        dpdk_cores: wanted.dpdk_cores.clone(),
        reason: wanted.reason.clone(),
        dry_run: false,
    }
}

fn configure(session: &Session, request: &RoutingConfigureRequest) -> Ended {
    let request = RoutingConfigureRequest { dry_run: session.global.dry_run, ..request.clone() };
    let answer = session.call::<RoutingConfigure>(&request)?;
    let line = match (session.global.dry_run, answer.changed) {
        (true, true) => format!("routers would decide so{}", dry(session)),
        (false, true) => "routers decide so".to_owned(),
        (_, false) => format!("routers decide so already{}", dry(session)),
    };
    let table = site::before_and_after(&answer.settings);
    session.show(&Document::of(&answer).table(table).text_block(line))?;
    answer.notes.iter().for_each(|note| session.note(note));
    Ok(Exit::Done)
}

fn config(session: &Session) -> Ended {
    read(session, || {
        let routing: Routing = session.call::<RoutingRead>(&RoutingReadRequest {})?;
        let mut table = Table::new(&["SETTING", "VALUE"]);
        for setting in &routing.settings {
            table.row(vec![Cell::from(&setting.name), words::text_or_dash(&setting.value)]);
        }
        let last = match routing.by.is_empty() {
            true => "nobody has changed them".to_owned(),
            false => format!("last changed by {} at {}", routing.by, words::instant(routing.at_ms)),
        };
        session.warn(&routing.complaints);
        let document = Document::of(&routing).table(table).text_block(last);
        Ok((document.text_block(words::as_of(&routing.as_of)), Exit::Done))
    })
}

fn set(session: &Session, wanted: &ServiceSetArgs) -> Ended {
    let protocol = match wanted.protocol {
        ServiceProtocol::Http => "http",
        ServiceProtocol::TlsPassthrough => "tls_passthrough",
        ServiceProtocol::Tcp => "tcp",
    };
    let qos = match wanted.qos {
        QosClass::Critical => "critical",
        QosClass::Standard => "standard",
        QosClass::Bulk => "bulk",
    };
    let request = ServiceSetRequest {
        service: wanted.service.clone(),
        hosts: wanted.hosts.clone(),
        labels: wanted.labels.iter().cloned().collect(),
        protocol: Some(protocol.to_owned()),
        port: wanted.port,
        vm_port: wanted.vm_port,
        sticky: wanted.sticky,
        qos: Some(qos.to_owned()),
        check_path: wanted.check_path.clone(),
        anycast: wanted.anycast.clone(),
        reason: wanted.reason.clone(),
        dry_run: session.global.dry_run,
    };
    changed(session, &session.call::<ServiceSet>(&request)?)
}

fn remove(session: &Session, service: &str, reason: &Option<String>) -> Ended {
    let request = ServiceRemoveRequest {
        service: service.to_owned(),
        reason: reason.clone(),
        dry_run: session.global.dry_run,
    };
    changed(session, &session.call::<ServiceRemove>(&request)?)
}

fn drain(session: &Session, wanted: &EndpointDrainArgs) -> Ended {
    let request = ServiceDrainRequest {
        service: wanted.service.clone(),
        endpoint: wanted.vm.clone(),
        undo: wanted.undo,
        reason: wanted.reason.clone(),
        dry_run: session.global.dry_run,
    };
    changed(session, &session.call::<ServiceDrain>(&request)?)
}

fn changed(session: &Session, answer: &ServiceChanged) -> Ended {
    let name = &answer.service;
    let would = if session.global.dry_run { "would be" } else { "is" };
    let already = if answer.changed { "" } else { ", as before" };
    let Some(service) = &answer.now else {
        let line = format!("service {name} {would} gone{already}{}", dry(session));
        session.show(&Document::bare(answer, line))?;
        return Ok(Exit::Done);
    };
    let hosts = service.hosts.join(", ");
    let line = format!("service {name} {would} reached as {hosts}{already}{}", dry(session));
    let table = endpoints(std::slice::from_ref(service));
    session.show(&Document::of(answer).table(table).text_block(line))?;
    if service.endpoints.is_empty() {
        session.warn(&[format!("{name} has no VM yet: who asks for it is told that it is unavailable")]);
    }
    Ok(Exit::Done)
}

fn endpoints(services: &[Service]) -> Table {
    let mut table = Table::new(&["SERVICE", "VM", "REGION", "ADDRESS", "STATE"]).or("no VM");
    for service in services {
        for endpoint in &service.endpoints {
            let state = match (endpoint.serves, endpoint.draining) {
                (false, _) => Cell::toned("does not serve", Tone::Bad),
                (true, true) => Cell::toned("draining", Tone::Warn),
                (true, false) => Cell::toned("serves", Tone::Good),
            };
            table.row(vec![
                Cell::from(&service.service),
                Cell::from(&endpoint.name),
                Cell::from(&endpoint.region),
                Cell::from(&endpoint.address),
                state,
            ]);
        }
    }
    table
}

fn services(session: &Session) -> Ended {
    read(session, || {
        let found = session.call::<ServiceList>(&ServiceListRequest {})?;
        let mut table = Table::new(&["SERVICE", "NAMES", "PROTOCOL", "CLASS", "STICKY", ">VMS", ">SERVE"])
            .or("no services");
        for service in &found.services {
            let serving = service.endpoints.iter().filter(|endpoint| endpoint.serves).count();
            let protocol = match service.port {
                Some(port) => format!("{} {port}", service.protocol),
                None => service.protocol.clone(),
            };
            table.row(vec![
                Cell::from(&service.service),
                Cell::from(service.hosts.join(", ")),
                Cell::from(protocol),
                Cell::from(&service.qos),
                Cell::from(if service.sticky { "yes" } else { "no" }),
                Cell::from(service.endpoints.len().to_string()),
                Cell::from(serving.to_string()),
            ]);
        }
        session.warn(&found.complaints);
        let document = Document::of(&found).table(table);
        let document = match found.services.is_empty() {
            true => document,
            false => document.section("VMs", endpoints(&found.services)),
        };
        Ok((document.text_block(words::as_of(&found.as_of)), Exit::Done))
    })
}

fn routers(session: &Session, region: &Option<String>) -> Ended {
    read(session, || {
        let found = session.call::<RouterList>(&RouterListRequest { region: region.clone() })?;
        let mut table = Table::new(&[
            "REGION",
            "HOST",
            "HTTP",
            "HTTPS",
            "DNS",
            ">TABLE",
            ">UP",
            ">REQUESTS",
            ">FAILED",
            ">ANSWERS",
            "TROUBLE",
        ])
        .or("no router is heard of");
        for router in &found.routers {
            table.row(vec![
                Cell::from(&router.region),
                Cell::from(format!("{}/{}", router.host, router.number)),
                words::text_or_dash(&router.http),
                words::text_or_dash(&router.https),
                words::text_or_dash(&router.dns),
                words::age(Some(router.table_age_ms)),
                Cell::from(format!("{}/{}", router.endpoints_up, router.endpoints)),
                Cell::from(router.requests.to_string()),
                Cell::from(router.failures.to_string()),
                Cell::from(router.dns_answers.to_string()),
                words::text_or_dash(&router.trouble),
            ]);
        }
        for of in found.regions.iter().filter(|of| of.up < of.wanted) {
            session.note(&format!("{}: {} of {} routers are heard", of.region, of.up, of.wanted));
        }
        for of in &found.regions {
            of.troubles.iter().for_each(|trouble| session.note(&format!("{}: {trouble}", of.region)));
        }
        Ok((Document::of(&found).table(table).text_block(words::as_of(&found.as_of)), Exit::Done))
    })
}

/// How often a remembered decision was used.
fn cache(session: &Session) -> Ended {
    read(session, || {
        let found = session.call::<RouterList>(&RouterListRequest { region: None })?;
        let mut table =
            Table::new(&["REGION", "HOST", ">REMEMBERED", ">DECIDED", ">HITS %"]).or("no router is heard of");
        for router in &found.routers {
            table.row(vec![
                Cell::from(&router.region),
                Cell::from(format!("{}/{}", router.host, router.number)),
                Cell::from(router.remembered.to_string()),
                Cell::from(router.decided.to_string()),
                words::decimal(hits(router), ""),
            ]);
        }
        Ok((Document::of(&found).table(table).text_block(words::as_of(&found.as_of)), Exit::Done))
    })
}

/// Remembered decisions of all, percent; none: there was none.
fn hits(router: &Router) -> Option<f64> {
    let all = router.remembered + router.decided;
    (all > 0).then(|| router.remembered as f64 * 100.0 / all as f64)
}
