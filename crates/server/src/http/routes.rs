//! Which function answers which endpoint.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;

use dwcp_api::{Endpoint, Method, Permission, Problem, decode, endpoints};
use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::call::Call;
use super::watch;

/// An endpoint as this node answers it.
pub trait Serve:
    Endpoint<Request: Clone + Send + Sync + 'static, Response: Clone + Send + Sync + 'static> + 'static
{
    /// The answer, or why there is none.
    fn answer(
        call: &Call,
        request: Self::Request,
    ) -> impl Future<Output = Result<Self::Response, Problem>> + Send;

    /// Whether a stream repeats an unchanged answer now and then, so that ages stay true.
    const REPEATS: bool = true;

    /// Whether nothing more will come.
    fn ended(_answer: &Self::Response) -> bool {
        false
    }

    /// What to send of an answer, given the one before it.
    fn news(before: Option<&Self::Response>, now: &Self::Response) -> Option<Self::Response> {
        before.is_none_or(|before| watch::differs(before, now)).then(|| now.clone())
    }

    /// How to ask for what follows.
    fn advance(_request: &mut Self::Request, _sent: &Self::Response) {}
}

/// What a request brought.
pub struct Arrived {
    pub params: BTreeMap<String, String>,
    pub query: String,
    pub body: Vec<u8>,
    /// Wait for facts that are certain to be current.
    pub consistent: bool,
    /// Between two looks of a stream, ms.
    pub interval_ms: u64,
}

/// What goes back.
pub enum Answered {
    Whole(Vec<u8>),
    Stream(mpsc::Receiver<Bytes>),
}

type Answering = Pin<Box<dyn Future<Output = Result<Answered, Problem>> + Send>>;

/// An endpoint and the function that answers it.
pub struct Route {
    pub name: &'static str,
    pub method: Method,
    pub path: &'static str,
    pub needs: Permission,
    pub answer: fn(Call, Arrived) -> Answering,
}

fn route<E: Serve>() -> Route {
    Route {
        name: E::NAME,
        method: E::METHOD,
        path: E::PATH,
        needs: E::NEEDS,
        answer: |call, arrived| Box::pin(answer::<E>(call, arrived)),
    }
}

async fn answer<E: Serve>(call: Call, arrived: Arrived) -> Result<Answered, Problem> {
    let request = decode::<E>(&arrived.params, Some(&arrived.query), &arrived.body)?;
    if arrived.consistent {
        call.barrier().await?;
    }
    if E::WATCH && watch::wanted(&request) {
        return watch::stream::<E>(call, request, arrived.interval_ms).await;
    }
    Ok(Answered::Whole(watch::json(&E::answer(&call, request).await?)?))
}

macro_rules! routes {
    ($($module:ident: $($name:ident)*;)*) => {
        static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
            vec![$($(route::<dwcp_api::$module::$name>()),*),*]
        });
    };
}

routes! {
    server: VersionRead LeaderRead;
    session: Login WhoAmI;
    token: TokenCreate TokenList TokenRevoke;
    sla: SlaStatusRead SlaHistoryRead SlaBreachList SlaBreachRead SlaList SlaCreate SlaRemove;
    operation: OperationList OperationRead OperationCancel;
    vm: VmCreate PlacementPreview VmList VmRead VmStart VmStop VmRestart VmDelete VmConsole VmExplain VmHealthCheck;
    protection: VmProtect ProtectionRead;
    host: HostList HostRead;
    image: ImageList ImageRead ImagePublish ImageRemove;
    federation: FederationRead;
    survivability: SurvivabilityRead;
    capacity: CapacityRead;
    promises: PromisesRead;
    backup: BackupStatusRead BackupConfigure BackupCreate BackupVerify BackupList BackupRestore;
    restoration: RestorationRead RestorationWriteOff RestorationDecide;
    maintenance: MaintenanceSchedule MaintenanceList MaintenanceCancel;
    notification: NotificationSend NotificationTest NotificationRetry NotificationList;
    region: RegionList RegionRead RegionHealthCheck RegionVmCount RegionEnable RegionDisable RegionEnablePlacement
        RegionDisablePlacement RegionTraffic;
    membership: PoolList RegionDeploy MembershipRead RegionReplicate RegionRemove RegionCleanUp;
    preflight: RegionPreflight;
    inspection: RegionInspect ProcessList;
    site: RegionConfigure EndpointList EndpointSet RegionDecommission;
    routing: RoutingRead RoutingConfigure ServiceList ServiceSet ServiceRemove ServiceDrain RouterList RouteSimulate;
    guard: GuardRead GuardConfigure BlockAdd BlockRemove WhitelistChange AttackList AttackValidate TrafficRead;
    upgrade: ReleaseList ReleaseUpload ReleasePublish RegionUpgrade;
    failover: FailoverStart FailoverList FailoverRead;
    configuration: ConfigurationRead;
    settings: SettingsRead;
    planning: ExpansionRead RegionCostRead;
    drill: DrillStart DrillList DrillRead DrillRestore;
    migration: MigrateStart MigrationList MigrationCancel RegionDrain HostDrain RegionFailback Rebalance;
    freeze: FreezeRead FreezeSet;
    event: EventList;
    incident: IncidentCreate IncidentList IncidentRead IncidentUpdate IncidentPostMortem;
    alert: AlertList AlertRead AlertRuleList AlertRulesCheck SilenceCreate SilenceList SilenceExpire;
    on_call: OnCallRead OnCallSchedule OnCallCalendar OnCallOverride OnCallRemove;
    state: LagMatrixRead QueueDepthRead ReplicationRead ReplicationConfigure SyncVerify SyncForce;
    network: LatencyMatrixRead;
    metrics: MetricsQuery MetricsExport;
    log: LogQuery;
    trace: TraceRead;
    controller: ControllerRead ControllerConfigure CacheStatsRead;
    controllers: ControllersRead ControllersScale;
    link: LinkList LinkSet;
    policy: PoliciesRead PoliciesSet;
}

/// Endpoints of the API's table that this node does not answer: none, and a test says so.
pub fn unrouted() -> Vec<&'static str> {
    endpoints()
        .iter()
        .map(|row| row.name)
        .filter(|name| ROUTES.iter().all(|route| route.name != *name))
        .collect()
}

/// What a method and path lead to.
pub enum Found {
    Route(&'static Route, BTreeMap<String, String>),
    /// The path is there under these methods only.
    OtherMethod(Vec<&'static str>),
    Nothing,
}

/// Finds the route of a request; a literal part of a path wins over a parameter.
pub fn find(method: &str, path: &str) -> Found {
    let mut allowed = Vec::new();
    let mut best: Option<(usize, &'static Route, BTreeMap<String, String>)> = None;
    for route in ROUTES.iter() {
        let Some(params) = matches(route.path, path) else { continue };
        if route.method.name() != method {
            allowed.push(route.method.name());
        } else if best.as_ref().is_none_or(|(named, ..)| params.len() < *named) {
            best = Some((params.len(), route, params));
        }
    }
    match best {
        Some((_, route, params)) => Found::Route(route, params),
        None if !allowed.is_empty() => Found::OtherMethod(allowed),
        None => Found::Nothing,
    }
}

fn matches(pattern: &str, path: &str) -> Option<BTreeMap<String, String>> {
    let mut params = BTreeMap::new();
    let mut parts = path.split('/');
    for wanted in pattern.split('/') {
        let part = parts.next()?;
        match wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) if !part.is_empty() => {
                params.insert(name.to_owned(), unescape(part)?);
            }
            Some(_) => return None,
            None if wanted == part => {}
            None => return None,
        }
    }
    parts.next().is_none().then_some(params)
}

/// Percent-decodes a part of a path; none when it is no text.
pub fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut hex = || (bytes.next()? as char).to_digit(16);
            out.push((hex()? * 16 + hex()?) as u8);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_of_the_table_is_routed() {
        assert_eq!(unrouted(), Vec::<&str>::new());
        for row in endpoints() {
            let path = row.path.replace(['{', '}'], "x");
            let Found::Route(route, _) = find(row.method.name(), &path) else {
                panic!("{} not found", row.path)
            };
            assert_eq!(route.name, row.name);
        }
    }

    #[test]
    fn a_path_parameter_is_percent_decoded() {
        let Found::Route(route, params) = find("GET", "/v1/hosts/us%2Dx%2Fh1") else { panic!("not found") };
        assert_eq!((route.name, params["host"].as_str()), ("HostRead", "us-x/h1"));
    }

    #[test]
    fn a_path_under_another_method_is_told_from_no_path() {
        assert!(matches!(find("DELETE", "/v1/regions"), Found::OtherMethod(allowed) if allowed == ["GET"]));
        for path in ["/", "/v1", "/v1/nope", "/v1/regions/", "/v1/vms/a/b/c", "/v1/vms/%ff"] {
            assert!(matches!(find("GET", path), Found::Nothing), "{path}");
        }
    }
}
