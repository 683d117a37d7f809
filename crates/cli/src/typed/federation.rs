//! Commands about the federation and its regions.

use clap::{Args, Subcommand, ValueEnum};
use dwcp_api::vm_spec::Priority;
use dwcp_config::units;

use super::{
    AnnounceDecommission, ConfigurationCommand, ControllerCommand, Drain, DrillCommand, EventsCommand,
    Failback, FederationNetworkCommand, MigrateAll, MigrateArgs, Rebalance, RegionConfigureArgs,
    RegionDeployArgs, RegionLogs, RegionUpgradeArgs, RegionVerifyArgs, ReleaseCommand, StateCommand, Words,
    words,
};

#[derive(Debug, Subcommand)]
pub enum FederationCommand {
    /// All regions, totals, latencies.
    ///
    /// State sync is the time from when the leader of a group took a command until it was readable in a region, over all
    /// groups and regions (the home included), of the latest commands. The leader measures it on its own clock, from what
    /// each region says that it has applied, less half the measured round trip.
    Status {
        /// Every region (as without it).
        #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true",
            hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
        global: bool,
    },
    /// One region: status, health, switches.
    #[command(subcommand)]
    Region(RegionCommand),
    /// Move a region's VMs to others; or see how that goes.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Failover(FailoverArgs),
    /// Rehearse the failure of a region, and what was measured of it.
    #[command(subcommand)]
    DrDrill(DrillCommand),
    /// Move VMs while they run; or see how that goes.
    Migrate(MigrateArgs),
    /// Move every VM of a region elsewhere.
    MigrateAll(MigrateAll),
    /// Bring VMs home that were created in a region and live elsewhere, the most important first.
    Failback(Failback),
    /// Move VMs so that the regions, or the hosts of one, are about equally full.
    ///
    /// The fullest gives to the emptiest that the VM's rules allow, while a move lowers its load by 3 % or more, until all lie
    /// within 15 %. A second time moves nothing. VMs with a protected disk stay.
    Rebalance(Rebalance),
    /// What regions have, and for how long it lasts.
    #[command(subcommand)]
    Capacity(CapacityCommand),
    /// Which VMs would have no place elsewhere if a region were lost, or any two at once; exit 7 when the loss of one would
    /// leave any.
    ///
    /// Each loss is planned as its failover would be: by the VMs' rules and priorities, into the room that is free now. VMs
    /// that stay by their own rule do not count.
    Survivability {
        /// Only losses of this region, alone and with each other one.
        #[arg(long)]
        region: Option<String>,
    },
    /// Copies of VMs' disks in other regions.
    #[command(subcommand)]
    Protection(ProtectionCommand),
    /// Whether the promised recovery time could be kept if a region died now, and why not; exit 1 when it could not.
    ///
    /// Each step gets the longest time that it may take: by the policy, the measured round trips, the length of a lease, and
    /// the boots that each host would have to make.
    Promises {
        /// Only the death of this region.
        #[arg(long)]
        region: Option<String>,
    },
    /// VMs of the whole federation.
    #[command(subcommand)]
    Vm(FederationVmCommand),
    /// What happened.
    #[command(subcommand)]
    Events(EventsCommand),
    /// Incidents, who is on call, and what is promised (SLAs).
    #[command(subcommand)]
    Monitoring(super::MonitoringCommand),
    /// Replication of state.
    #[command(subcommand)]
    State(StateCommand),
    /// A control plane that came back from a backup.
    #[command(subcommand)]
    Restoration(super::restoration::RestorationCommand),
    /// Links between regions.
    #[command(subcommand)]
    Network(FederationNetworkCommand),
    /// Controllers.
    #[command(subcommand)]
    Controller(ControllerCommand),
    /// Versions that regions can be upgraded to.
    #[command(subcommand)]
    Release(ReleaseCommand),
    /// The switch that stops DWCP from acting; without a state, where it stands.
    Freeze(FreezeArgs),
    /// Policies: automatic failover, overcommit, scoring.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// The configuration of the whole federation, as a file.
    #[command(subcommand)]
    Config(ConfigurationCommand),
}

/// A region by name.
#[derive(Debug, Args)]
pub struct RegionName {
    /// The region.
    #[arg(long)]
    pub region: String,
}

/// A region, and how many VMs it is to have.
#[derive(Debug, Args)]
pub struct CostAnalysisArgs {
    /// The region.
    #[arg(long)]
    pub region: String,
    /// So many VMs of the federation's mean size.
    #[arg(long, value_name = "N")]
    pub expected_vm_count: u64,
}

/// A region and why.
#[derive(Debug, Args)]
pub struct RegionSwitch {
    /// The region.
    #[arg(long)]
    pub region: String,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum RegionCommand {
    /// List the regions.
    List,
    /// Status of a region.
    Status {
        /// The region.
        #[arg(long)]
        region: String,
        /// One line.
        #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
            hide_default_value = true, hide_possible_values = true, value_name = "BOOL", conflicts_with = "verbose")]
        compact: bool,
        /// Everything: components, hosts, deductions, links, events.
        #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
            hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
        verbose: bool,
    },
    /// Probe a region now from every other region; exit 1 unless it is well.
    HealthCheck(RegionName),
    /// Print how many VMs live in a region; the last known number with exit 7 when the region can't be reached.
    VmCount(RegionName),
    /// Take a region into service.
    Enable {
        /// The region.
        #[arg(long)]
        region: String,
        /// Share of its traffic that it takes.
        #[arg(long, value_name = "PERCENT", value_parser = units::whole_percent)]
        traffic_percentage: Option<u8>,
        /// Why; it stands in the events and in the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Stop placement and traffic of a region.
    Disable {
        /// The region.
        #[arg(long)]
        region: String,
        /// Fence it too: its hosts' leases are not renewed any more.
        #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
            hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
        fence: bool,
        /// Why; it stands in the events and in the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let new VMs be placed in a region.
    EnablePlacement(RegionSwitch),
    /// Stop new placements in a region.
    DisablePlacement(RegionSwitch),
    /// Empty a region: move every VM by its rules while it runs, until --timeout is over; exit 7 when something is left.
    ///
    /// The region is closed for new VMs first. Calling it off (`dwcp-cli operation cancel`) opens it again and leaves every
    /// VM where it is by then.
    Drain(Drain),
    /// Make a region of a host pool: its control plane runs, and it gets replicas of the state.
    Deploy(RegionDeployArgs),
    /// Whether every other region reaches this one, and how fast; exit 1 unless all do.
    ConnectivityTest {
        /// The region.
        #[arg(long)]
        region: String,
        /// From every region (as without it).
        #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true",
            hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
        test_all_regions: bool,
    },
    /// The same as connectivity-test.
    VerifyConnectivity(RegionName),
    /// Everything that a region logged, the oldest first; of a region that is gone what its copies have, with exit 7.
    Logs(RegionLogs),
    /// Set a region's share of traffic.
    SetTraffic(SetTraffic),
    /// Replace a region's control plane by another version while its VMs run; what does not work is rolled back by itself.
    ///
    /// The region fetches the program, its node goes over to it once every other voter of every group is there, and has a
    /// minute to become well. One region at a time.
    ///
    /// Example: dwcp-cli federation region upgrade --region us-east-1 --version v3.2.0
    Upgrade(RegionUpgradeArgs),
    /// Measure the hosts that a region is to be deployed of; exit 1 when one of them will not do, 3 when none waits for it.
    ///
    /// Each host measures itself now: clock, disk, memory, certificate, the ways to every region. The region that answers tries to
    /// reach it where its node is to listen.
    PreflightCheck(RegionName),
    /// Set what a region is like, from a file: name, zones, coordinates, compliance, priority, prices, how many VMs.
    Configure(RegionConfigureArgs),
    /// Rank regions that could be added: latency to where traffic is answered, cost, compliance, distance from shared risk.
    ///
    /// Every factor is shown with where it comes from; what is not known is said, and counts as nothing.
    Evaluate {
        /// The regions, by the names that the catalogue has for them.
        #[arg(long, value_name = "A,B", value_parser = words)]
        candidates: Words,
    },
    /// What VMs would cost in a region a month, beside today's regions; whether that saves more than 20%.
    CostAnalysis(CostAnalysisArgs),
    /// Look at a region end to end; exit 1 when something is wrong, 7 when something could not be looked at.
    ///
    /// Its node is heard, its hosts have leases, every region reaches it, and its replicas and store hold what the majority's do.
    Verify(RegionVerifyArgs),
    /// Announce that a region is to end: events remind of it 30 days, 7 days and 24 hours before, and when it is due.
    ///
    /// VMs that may be in no other region are not placed there any more, unless they are over by then. Nothing is moved or switched
    /// off by itself.
    AnnounceDecommission(AnnounceDecommission),
    /// Let a region go that is disabled and empty. Nothing brings it back: a region deployed anew has another number.
    Remove(RegionSwitch),
}

/// A region's share of traffic.
#[derive(Debug, Args)]
pub struct SetTraffic {
    /// The region.
    #[arg(long)]
    pub region: String,
    /// Of what it could take.
    #[arg(long, value_name = "PERCENT", value_parser = units::whole_percent)]
    pub percentage: u8,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct FailoverArgs {
    #[command(subcommand)]
    pub command: Option<FailoverCommand>,
    #[command(flatten)]
    pub start: FailoverStart,
}

#[derive(Debug, Args)]
pub struct FailoverStart {
    /// The region to leave.
    #[arg(long, required = true)]
    pub from_region: Option<String>,
    /// Regions to go to, best first, or all.
    #[arg(long, value_name = "A,B", default_value = "all", value_parser = words)]
    pub to_regions: Words,
    /// How urgent against other work: critical, high, normal, low or 0-100. All VMs move, the most important first.
    #[arg(long, default_value = "normal")]
    pub priority: Priority,
    /// Refuse when the plan predicts more.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub max_time: Option<u64>,
    /// Rules to set aside: capacity, residency, affinity, max_time.
    #[arg(long, value_name = "RULE,…", value_parser = words)]
    pub relax: Option<Words>,
    /// Move what fits: as --relax capacity.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub partial: bool,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum FailoverCommand {
    /// How a failover goes; the newest without an id.
    Status {
        /// failover-001, …; the newest without it.
        #[arg(long, value_name = "ID", default_value = "latest", hide_default_value = true)]
        failover_id: String,
    },
    /// List failovers, newest first.
    List {
        /// The region.
        #[arg(long)]
        region: Option<String>,
        /// At most so many.
        #[arg(long, value_parser = units::count)]
        limit: Option<u32>,
    },
}

#[derive(Debug, Subcommand)]
pub enum ProtectionCommand {
    /// Every protected VM: its copy, how far it is, what would be lost; exit 7 when one is behind.
    Status {
        /// Only VMs that live in this region.
        #[arg(long)]
        region: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum FederationVmCommand {
    /// Ask each VM's own probe; exit 1 unless all are well.
    HealthCheck(HealthCheck),
}

/// Which VMs to ask.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct HealthCheck {
    /// Every VM.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true,
        value_name = "BOOL")]
    pub all: Option<bool>,
    /// The VMs of a region.
    #[arg(long)]
    pub region: Option<String>,
    /// These VMs.
    #[arg(long, value_name = "VM,…", value_parser = words)]
    pub vm: Option<Words>,
}

/// Positions of the freeze switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FreezeName {
    /// Everything acts.
    Active,
    /// VMs start and stop, but none moves.
    NoMoves,
    /// Nothing changes.
    Frozen,
}

#[derive(Debug, Args)]
pub struct FreezeArgs {
    /// Where to set it.
    #[arg(value_enum)]
    pub state: Option<FreezeName>,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
    /// Only the region that answers; works without a majority.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub local: bool,
}

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Show the policies.
    Show,
    /// Change policies; what is not given stays.
    Set(PolicySet),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct PolicySet {
    /// Fail regions over without asking.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true,
        value_name = "BOOL")]
    pub auto_failover: Option<bool>,
    /// How long a majority must not have heard of a region before it counts as lost.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub loss_after: Option<u64>,
    /// How long a region that came back must be heard before it counts as returned.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub return_after: Option<u64>,
    /// Most automatic failovers in an hour.
    #[arg(long, value_name = "N")]
    pub failovers_per_hour: Option<u32>,
    /// vCPUs that may be placed for each hundred real ones.
    #[arg(long, value_name = "PERCENT")]
    pub cpu_overcommit: Option<u32>,
    /// Memory that may be placed, of what is there.
    #[arg(long, value_name = "PERCENT")]
    pub memory_overcommit: Option<u32>,
    /// Promised from the death of a region until the last of its VMs answers elsewhere: `federation promises` judges it.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub rto_target: Option<u64>,
    /// balanced, latency, cost, pack, spread or custom.
    #[arg(long)]
    pub scoring_profile: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum NetworkCommand {
    /// Per ordered pair of regions: round trip, loss, throughput.
    LatencyMatrix,
}

#[derive(Debug, Subcommand)]
pub enum CapacityCommand {
    /// Each region's resources: what is there, given away, left and used, against the thresholds, and in how many days the use is critical.
    Summary {
        /// Only this region.
        #[arg(long)]
        region: Option<String>,
    },
}
