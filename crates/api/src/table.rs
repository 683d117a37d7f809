//! The table of all endpoints.

use schemars::{Schema, SchemaGenerator};

use crate::{Endpoint, Method, Permission};

/// One endpoint, as a value.
#[derive(Clone, Copy)]
pub struct EndpointRow {
    pub name: &'static str,
    pub summary: &'static str,
    pub method: Method,
    pub path: &'static str,
    pub needs: Permission,
    pub watch: bool,
    pub(crate) request: fn(&mut SchemaGenerator) -> Schema,
    pub(crate) response: fn(&mut SchemaGenerator) -> Schema,
}

fn row<E: Endpoint>() -> EndpointRow {
    EndpointRow {
        name: E::NAME,
        summary: E::SUMMARY,
        method: E::METHOD,
        path: E::PATH,
        needs: E::NEEDS,
        watch: E::WATCH,
        request: |generator| <E::Request as schemars::JsonSchema>::json_schema(generator),
        response: |generator| generator.subschema_for::<E::Response>(),
    }
}

macro_rules! rows {
    ($($module:ident: $($name:ident)*;)*) => {
        /// Every endpoint, in the order of the documentation.
        pub fn endpoints() -> Vec<EndpointRow> {
            vec![$($(row::<crate::$module::$name>()),*),*]
        }
    };
}

rows! {
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
