//! Services: what users reach, and under which names.

use dwcp_api::Problem;
use dwcp_api::routing::{
    Service as ApiService, ServiceChanged, ServiceDrain, ServiceDrainRequest, ServiceEndpoint, ServiceList,
    ServiceListRequest, ServiceRemove, ServiceRemoveRequest, ServiceSet, ServiceSetRequest, Services,
};
use dwcp_decide::Measured;
use dwcp_decide::route::{self, Protocol, Qos, Service, Table};
use dwcp_state::{DocumentEvent, DocumentKind};
use dwcp_types::{Code, Refusal};

use super::super::call::{Call, bad_value, reason, told};
use super::super::names;
use super::super::routes::Serve;
use crate::handle::View;
use crate::monitor::documents::{self, Documents};

const KINDS: &[DocumentKind] = &[DocumentKind::Service];
/// Services of a federation.
const MOST: usize = 1_000;

fn protocol(of: Protocol) -> &'static str {
    match of {
        Protocol::Http => "http",
        Protocol::TlsPassthrough => "tls_passthrough",
        Protocol::Tcp => "tcp",
    }
}

fn qos(of: Qos) -> &'static str {
    match of {
        Qos::Critical => "critical",
        Qos::Standard => "standard",
        Qos::Bulk => "bulk",
    }
}

fn one_of<T: Copy>(field: &str, text: Option<&str>, all: &[(&str, T)]) -> Result<T, Problem> {
    let usual = all.first().map(|(name, _)| *name).unwrap_or_default();
    let found = all.iter().find(|(name, _)| *name == text.unwrap_or(usual)).map(|(_, one)| *one);
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    found.ok_or_else(|| bad_value(field, format!("one of {}", names.join(", "))))
}

/// The service that is asked for; what is drained of it stays so.
fn wanted(request: &ServiceSetRequest, before: Option<&Service>) -> Result<Service, Problem> {
    let protocols =
        [("http", Protocol::Http), ("tls_passthrough", Protocol::TlsPassthrough), ("tcp", Protocol::Tcp)];
    let classes = [("standard", Qos::Standard), ("critical", Qos::Critical), ("bulk", Qos::Bulk)];
    let service = Service {
        hosts: request.hosts.iter().map(|host| host.trim_end_matches('.').to_lowercase()).collect(),
        labels: request.labels.clone(),
        protocol: one_of("protocol", request.protocol.as_deref(), &protocols)?,
        port: request.port,
        vm_port: request.vm_port,
        sticky: request.sticky,
        qos: one_of("qos", request.qos.as_deref(), &classes)?,
        check_path: request.check_path.clone(),
        anycast: request.anycast.clone(),
        draining: before.map(|before| before.draining.clone()).unwrap_or_default(),
    };
    service.check().map_err(|why| bad_value("the service", why))?;
    Ok(service)
}

/// The table as a router of this region would make it now, with what can't be read.
fn table(view: &View<'_>) -> (Table, Vec<String>) {
    let here = &view.node.config().region;
    let built = route::build(view.node.facts(), &Measured::default(), here, 0);
    (built.table, built.complaints)
}

fn shown(name: &str, service: &Service, table: &Table) -> ApiService {
    let row = table.services.iter().find(|row| row.name == name);
    let endpoints = row.map(|row| row.endpoints.as_slice()).unwrap_or_default().iter();
    let region = |index: u16| table.regions.get(usize::from(index)).map_or("", |row| row.region.as_str());
    ApiService {
        service: name.to_owned(),
        hosts: service.hosts.iter().cloned().collect(),
        labels: service.labels.clone(),
        protocol: protocol(service.protocol).to_owned(),
        port: service.port,
        vm_port: service.vm_port,
        sticky: service.sticky,
        qos: qos(service.qos).to_owned(),
        check_path: service.check_path.clone(),
        anycast: service.anycast.clone(),
        endpoints: endpoints
            .map(|row| ServiceEndpoint {
                name: row.name.clone(),
                region: region(row.region).to_owned(),
                address: row.address.to_string(),
                serves: row.serves,
                draining: row.draining,
            })
            .collect(),
    }
}

/// No service has that name.
pub fn unknown(name: &str) -> Refusal {
    Refusal::new(Code::UnknownService, format!("no service {name}")).try_this("dwcp-cli routing service list")
}

impl Serve for ServiceList {
    async fn answer(call: &Call, _: ServiceListRequest) -> Result<Services, Problem> {
        call.look(|view| {
            let seen = Documents::of(view, KINDS);
            let (table, complaints) = table(view);
            let known = seen.ids(DocumentKind::Service).filter_map(|id| {
                let service = seen.get::<Service>(DocumentKind::Service, id).ok().flatten()?;
                Some(shown(id, &service, &table))
            });
            Services { services: known.collect(), complaints, as_of: names::as_of_federation(view) }
        })
        .await
    }
}

/// Changes a service; `next` says what it is to be from what it is; none: gone.
async fn change(
    call: &Call,
    name: &str,
    (because, dry_run): (String, bool),
    next: impl Fn(&Documents, Option<Service>) -> Result<Option<Service>, Problem> + Send + Sync,
) -> Result<ServiceChanged, Problem> {
    let seen = call.look(|view| Documents::of(view, KINDS)).await?;
    let read = |seen: &Documents| {
        seen.get::<Service>(DocumentKind::Service, name).map_err(|refusal| Problem::from(&refusal))
    };
    let before = read(&seen)?;
    let after = next(&seen, before.clone())?;
    let changed = before != after;
    if changed && !dry_run {
        let asked = call.asked_because(because.clone(), None);
        let done = documents::change(&call.api.node, &asked, KINDS, |seen, draft| {
            let before = seen.get::<Service>(DocumentKind::Service, name)?;
            let after = next(seen, before).map_err(|problem| {
                Refusal::new(Code::WrongState, problem.title.clone()).because("somebody else was quicker")
            })?;
            match &after {
                Some(service) => {
                    draft.put(DocumentKind::Service, name, service)?;
                    let hosts: Vec<&str> = service.hosts.iter().map(String::as_str).collect();
                    let text = format!("service {name} is reached as {}{}", hosts.join(", "), told(&because));
                    draft.event(DocumentEvent::info("routing.service_set", name, text));
                }
                None => {
                    draft.remove(DocumentKind::Service, name);
                    let text = format!("service {name} is gone{}", told(&because));
                    draft.event(DocumentEvent::info("routing.service_removed", name, text));
                }
            }
            Ok(())
        });
        done.await.map_err(|refusal| Problem::from(&refusal))?;
    }
    let service = name.to_owned();
    let now = match after {
        None => None,
        Some(after) => {
            let name = service.clone();
            Some(call.look(move |view| shown(&name, &after, &table(view).0)).await?)
        }
    };
    Ok(ServiceChanged { service, changed, now })
}

impl Serve for ServiceSet {
    async fn answer(call: &Call, request: ServiceSetRequest) -> Result<ServiceChanged, Problem> {
        let because = reason(request.reason.as_deref())?;
        let name = request.service.clone();
        if !dwcp_types::is_plain_name(&name) || name.len() > 63 {
            return Err(bad_value("service", "up to 63 letters, digits, `.`, `_` and `-`"));
        }
        let dry_run = request.dry_run;
        change(call, &name, (because, dry_run), |seen, before| {
            let service = wanted(&request, before.as_ref())?;
            let others = seen.all::<Service>(DocumentKind::Service).map_err(|r| Problem::from(&r))?;
            if before.is_none() && others.len() >= MOST {
                return Err(bad_value("service", format!("a federation has up to {MOST} services")));
            }
            for (id, other) in others.iter().filter(|(id, _)| *id != request.service) {
                if let Some(host) = service.hosts.intersection(&other.hosts).next() {
                    return Err(bad_value("hosts", format!("{host} is a name of {id} already")));
                }
                if service.port.is_some() && service.port == other.port {
                    return Err(bad_value("port", format!("{id} has it already")));
                }
            }
            Ok(Some(service))
        })
        .await
    }
}

impl Serve for ServiceRemove {
    async fn answer(call: &Call, request: ServiceRemoveRequest) -> Result<ServiceChanged, Problem> {
        let because = reason(request.reason.as_deref())?;
        let name = request.service.clone();
        change(call, &name, (because, request.dry_run), |_, before| match before {
            Some(_) => Ok(None),
            None => Err(Problem::from(&unknown(&request.service))),
        })
        .await
    }
}

impl Serve for ServiceDrain {
    async fn answer(call: &Call, request: ServiceDrainRequest) -> Result<ServiceChanged, Problem> {
        let because = reason(request.reason.as_deref())?;
        let (name, endpoint) = (request.service.clone(), request.endpoint.clone());
        let known = call
            .find(move |view| {
                let (table, _) = table(view);
                let row = table.services.iter().find(|row| row.name == name);
                let row = row.ok_or_else(|| Problem::from(&unknown(&name)))?;
                let mut rows = row.endpoints.iter();
                let found = rows.find(|row| {
                    row.name == endpoint || row.id == endpoint || row.address.to_string() == endpoint
                });
                Ok(found.map(|row| row.id.clone()))
            })
            .await?;
        let name = request.service.clone();
        let Some(id) = known else {
            return Err(bad_value("endpoint", format!("{name} has no endpoint {}", request.endpoint)));
        };
        change(call, &name, (because, request.dry_run), |_, before| {
            let mut service = before.ok_or_else(|| Problem::from(&unknown(&request.service)))?;
            match request.undo {
                true => service.draining.remove(&id),
                false => service.draining.insert(id.clone()),
            };
            Ok(Some(service))
        })
        .await
    }
}
