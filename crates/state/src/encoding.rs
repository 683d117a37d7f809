//! The byte form of commands and facts: one list of tags a type. A tag is never used again for another meaning.

use dwcp_types::{DecodeError, Wire, codec::Reader, codec::Writer, decode, encode, wire_enum, wire_struct};

use crate::backup::*;
use crate::command::*;
use crate::core_facts::*;
use crate::document::*;
use crate::drill::*;
use crate::failover::*;
use crate::force_sync::*;
use crate::host::*;
use crate::image::*;
use crate::ledger::*;
use crate::maintenance::*;
use crate::migration::*;
use crate::operation::*;
use crate::policy::*;
use crate::protection::*;
use crate::region_facts::*;
use crate::restoration::*;
use crate::site::*;
use crate::token::*;
use crate::upgrade::*;
use crate::vm::*;

/// Version written in front of snapshots. A reader takes this one and the one before.
const VERSION: u64 = 1;

pub(crate) fn encode_core(core: &Core) -> Vec<u8> {
    encode(&(VERSION, Body(encode(core))))
}

pub(crate) fn decode_core(bytes: &[u8]) -> Result<Core, DecodeError> {
    decode(&versioned(bytes)?)
}

pub(crate) fn encode_region(facts: &RegionFacts) -> Vec<u8> {
    encode(&(VERSION, Body(encode(facts))))
}

pub(crate) fn decode_region(bytes: &[u8]) -> Result<RegionFacts, DecodeError> {
    let mut facts: RegionFacts = decode(&versioned(bytes)?)?;
    facts.reindex();
    Ok(facts)
}

fn versioned(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let (version, body): (u64, Body) = decode(bytes)?;
    if version == 0 || version > VERSION {
        return Err(DecodeError::UnknownTag("the snapshot format", version));
    }
    Ok(body.0)
}

struct Body(Vec<u8>);

impl Wire for Body {
    fn put(&self, w: &mut Writer) {
        w.bytes(&self.0);
    }
    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Body(r.bytes()?.to_vec()))
    }
}

wire_enum!(Want { 1 Running, 2 Stopped, 3 Deleted });
wire_enum!(Network { 1 User, 2 Tap });
wire_enum!(Probe { 1 Http(path), 2 Tcp(port), 3 None });
wire_struct!(VmSpec { 1 image, 2 size, 3 network, 4 probe, 130 digest });
wire_enum!(Scope { 1 Host, 2 Zone, 3 Region });
wire_enum!(Target { 1 Vm(vm), 2 Label(label) });
wire_struct!(Relation { 1 target, 2 scope });
wire_struct!(Rules {
    1 allowed_regions, 2 denied_regions, 3 zones, 4 hosts, 5 denied_hosts, 6 host_labels, 7 compliance, 8 residency,
    9 affinity, 10 anti_affinity, 11 max_latency, 12 cost_limit_millis, 13 stay_on_loss
});
wire_enum!(Phase { 1 Pending, 2 Starting, 3 Running, 4 Paused, 5 Stopping, 6 Stopped, 7 Failed });
wire_enum!(Health { 1 Unknown, 2 Healthy, 3 Unhealthy });
wire_struct!(Observed { 1 generation, 2 phase, 3 health, 4 boot_id, 5 address, 6 reason, 7 at });
wire_struct!(Vm {
    1 id, 2 name, 3 tenant, 4 project, 5 labels, 6 spec, 7 rules, 8 priority, 9 want, 10 home, 11 host, 12 generation,
    13 observed, 14 created_at, 15 placed_at, 16 failover, 17 revision, 18 protection, 19 promised, 30 drill,
    190 expires_at
});
wire_enum!(ProtectionMode { 1 None, 2 Async(interval_ms), 3 Sync });
wire_enum!(OnReplicaLoss { 1 Stop, 2 GoOn });
wire_struct!(Protection { 1 mode, 2 on_loss, 3 region, 4 guard, 5 boot });
wire_enum!(GuardState { 1 Syncing, 2 Protected, 3 Degraded });
wire_struct!(Guard {
    1 epoch, 2 region, 3 host, 4 endpoint, 5 state, 6 since, 7 point, 8 reason, 9 released
});
wire_enum!(DiskProof { 1 Unknown, 2 NoDisk, 3 Unprotected, 4 Zero, 5 Point(at) });
wire_struct!(Replica {
    1 vm, 2 name, 3 host, 4 from, 5 from_host, 6 epoch, 7 disk_gib, 8 points, 9 seen, 10 since
});

wire_enum!(HostStanding { 1 Up, 2 Lost });
wire_struct!(HostFacts {
    1 id, 2 zone, 3 capacity, 4 labels, 5 accelerator, 6 version, 7 incarnation, 8 transfer
});
wire_struct!(Host { 1 facts, 2 standing, 3 standing_since, 4 placement, 5 used, 6 revision });
wire_struct!(Departure { 1 vm, 2 to, 3 host, 4 failover, 5 at });

wire_enum!(Severity { 1 Info, 2 Warning, 3 Critical });
#[cfg(not(feature = "next"))]
wire_struct!(Event {
    1 revision, 2 at, 3 severity, 4 kind, 5 subject, 6 text, 7 by, 8 request, 9 request_id, 10 before, 11 after,
    12 reason
});
#[cfg(feature = "next")]
wire_struct!(Event {
    1 revision, 2 at, 3 severity, 4 kind, 5 subject, 6 text, 7 by, 8 request, 9 request_id, 10 before, 11 after,
    12 reason; 180 proposer
});
wire_struct!(Ledger { 1 events, 2 outcomes, 3 order });
wire_enum!(OperationKind { 1 CreateVms(vms), 2 ChangeVms(vms), 3 Failover(id), 4 Nothing, 10 MigrateVms(vms), 11 Drain(drain), 12 ForceSync(sync), 150 Backup(run), 180 Upgrade(upgrade) });
wire_enum!(RebuildState { 1 Waiting, 2 Running, 3 Equal, 4 Failed });
wire_struct!(RebuildStep { 1 target, 2 group, 3 state, 4 bytes, 5 entries, 6 note });
wire_struct!(ForceSync { 1 source, 2 targets, 3 steps });
wire_struct!(Drain { 1 host, 2 to, 3 timeout_ms, 4 mode, 5 max_downtime_ms, 6 placement_before });
wire_enum!(OperationState { 1 Running, 2 Done, 3 Partial, 4 Failed, 5 Cancelled });
wire_struct!(Operation {
    1 id, 2 kind, 3 title, 4 region, 5 by, 6 started_at, 7 ended_at, 8 state, 9 result, 10 revision
});

wire_struct!(RegionFacts {
    1 revision, 2 name, 3 number, 4 hosts, 5 vms, 6 departures, 7 tombstones, 8 declined, 9 claims, 10 claim_order,
    11 evacuation, 12 evacuated, 13 overcommit, 14 operations, 15 ledger, 16 born, 17 horizons, 18 unbarred_born,
    20 migrations, 21 migrated, 22 arrivals,
    40 replicas, 41 replicas_declined, 160 closed; 200 adoption
});

wire_enum!(Mode { 1 Live, 2 Cold });
wire_enum!(MigrationState { 1 Queued, 2 Running, 3 Done, 4 Failed, 5 Cancelled, 6 TakenOver, 7 Lost });
wire_struct!(Stopping { 1 state, 2 reason });
wire_struct!(NewMigration { 1 id, 2 vm, 3 to, 4 host, 5 mode, 6 max_downtime_ms, 7 reason });
wire_struct!(Aim { 1 host, 2 endpoint, 3 rate_bytes_per_s });
wire_struct!(Took { 1 bytes, 2 copy_ms, 3 downtime_ms });
wire_struct!(Migration {
    1 id, 2 vm, 3 name, 4 priority, 5 from_host, 6 to, 7 host, 8 mode, 9 max_downtime_ms, 10 generation, 11 aim,
    12 operation, 13 state, 14 stopping, 15 asked_at, 16 started_at, 17 ended_at, 18 reason, 19 took
});
wire_struct!(Arrival { 1 vm, 2 migration, 3 from, 4 from_host, 5 at, 6 withdrawn, 7 mode, 8 whole, 9 settling });

wire_enum!(Role { 1 Viewer, 2 Operator, 3 Admin });
wire_struct!(Token { 1 id, 2 user, 3 role, 4 secret_hash, 5 created_at, 6 expires_at, 7 revoked_at, 8 revision });
wire_enum!(Freeze { 1 Active, 2 NoMoves, 3 Frozen });
wire_enum!(Profile { 1 Balanced, 2 Latency, 3 Cost, 4 Pack, 5 Spread, 6 Custom });
wire_struct!(Weights { 1 latency, 2 cost, 3 capacity, 4 health, 5 priority, 6 pack });
wire_struct!(Policy {
    1 auto_failover, 2 loss_after_ms, 3 return_after_ms, 4 failovers_per_hour, 5 cpu_overcommit_percent,
    6 memory_overcommit_percent, 7 profile, 8 weights, 9 placement_cache_ttl_ms, 10 parallel_scoring,
    40 rto_target_ms, 70 migrations_per_link, 71 migrations_per_host, 72 migration_mbit_per_s;
    210 replication_workers, 211 plain_frames, 212 soft_state_every_ms
});
wire_enum!(Lifecycle { 1 Active, 2 Disabled, 3 Joining, 4 Leaving });
wire_enum!(Standing { 1 Present, 2 Lost, 3 Returned });
wire_struct!(Prices { 1 vcpu_micros, 2 memory_gib_micros, 3 disk_gib_micros });
wire_struct!(Region {
    1 id, 2 number, 3 lifecycle, 4 placement, 5 placement_by, 6 placement_since, 7 traffic_percent, 8 priority,
    9 standing, 10 standing_since, 11 epoch, 12 prices, 13 compliance, 14 jurisdiction, 15 api, 16 mesh,
    17 placement_reason, 18 revision, 160 founder, 161 without_replicas, 162 unfounded,
    163 control_host, 190 site, 191 endpoints, 192 decommission; 210 controllers, 250 routers
});
wire_struct!(Coordinates { 1 north, 2 east });
wire_struct!(Site { 1 display_name, 2 zones, 3 coordinates, 4 vms_most });
wire_struct!(RegionSettings {
    1 region, 2 display_name, 3 zones, 4 coordinates, 5 vms_most, 6 priority, 7 compliance, 8 jurisdiction, 9 prices
});
wire_struct!(PublicEndpoint { 1 ip, 2 port });
wire_enum!(Reminder { 1 Announced, 2 Month, 3 Week, 4 Day, 5 Due });
wire_struct!(Decommission { 1 at, 2 by, 3 asked_at, 4 reason, 5 said });
wire_struct!(Core {
    1 revision, 2 name, 3 regions, 4 policy, 5 freeze, 6 tokens, 7 failovers, 8 operations, 9 ledger,
    10 policy_revision, 11 freeze_revision, 40 windows, 41 windows_numbered, 80 drills, 130 images,
    150 backups, 160 regions_numbered, 161 keepers, 162 cleaned;
    180 level, 181 releases, 200 restoration, 230 documents
});

wire_enum!(DocumentKind {
    1 Incident, 2 Silence, 3 Alerts, 5 Delivery, 6 OnCall, 7 Sla, 8 Availability, 9 Breach, 10 Routing, 11 Service,
    12 Guard, 13 Block, 14 Attack
});
wire_struct!(DocumentKey { 1 kind, 2 id });
wire_struct!(Document { 1 text, 2 by, 3 at, 4 revision });
wire_struct!(DocumentChange { 1 key, 2 expected, 3 text });
wire_struct!(DocumentEvent { 1 severity, 2 kind, 3 subject, 4 text });
wire_struct!(DocumentChanges { 1 changes, 2 events });

wire_enum!(Notice { 1 Planned, 2 Week, 3 Day, 4 Started, 5 Ended });
wire_struct!(Window {
    1 id, 2 region, 3 host, 4 starts_at, 5 ends_at, 6 reason, 7 by, 8 asked_at, 9 no_placement, 10 said, 11 closed,
    12 cancelled_at, 13 revision
});

wire_enum!(DrillMode { 1 Isolated, 2 Live });
wire_enum!(DrillState { 1 Running, 2 Done, 3 Restored, 4 Failed });
wire_enum!(DrillMoment { 1 Cut, 2 Detected, 3 Agreed, 4 Fenced, 5 Planned, 6 Restarted, 7 Verified });
wire_enum!(DrillVmState { 1 Waiting, 2 Ready, 3 Lost, 4 Moving, 5 Verified, 6 Left, 7 Failed });
wire_struct!(DrillTime { 1 moment, 2 at, 3 note });
wire_struct!(DrillVm {
    1 of, 2 vm, 3 name, 4 priority, 5 from_host, 6 to_region, 7 to_host, 8 generation, 9 state, 10 reason, 11 lost,
    12 answered_at, 13 disk, 14 written, 15 kept
});
wire_struct!(Drill {
    1 id, 2 region, 3 mode, 4 by, 5 started_at, 6 vms, 7 left_out, 8 times, 9 state, 10 measured_at,
    11 restoring_since, 12 ended_at, 13 result, 14 failover, 15 limit_ms
});
wire_struct!(DrillNews { 1 drill, 2 vms, 3 times, 4 failover });
wire_struct!(DrillMark { 1 drill, 2 lost });

wire_struct!(Image { 1 name, 2 digest, 3 parts, 4 region, 5 host, 6 by, 7 at, 8 revision });
wire_struct!(ImageFault { 1 name, 2 digest, 3 host, 4 from_region, 5 from_host, 6 reason });
wire_struct!(BackupPlan {
    1 destination, 2 interval_ms, 3 keep_last, 4 keep_within_ms, 5 key_file, 6 key, 7 by, 8 at, 9 revision
});
wire_enum!(BackupTask { 1 Full, 2 Incremental, 3 Verify(backup), 4 VerifyAll });
wire_struct!(BackupRun {
    1 id, 2 task, 3 destination, 4 at, 5 by, 6 asked_at, 7 ended_at, 8 operation, 9 state, 10 backup, 11 result
});
wire_struct!(BackupMark { 1 number, 2 at });
wire_struct!(BackupEnd { 1 run, 2 state, 3 result, 4 backup, 5 verified, 6 damaged, 7 head, 8 head_number });
wire_struct!(BackupPlace { 1 head, 2 head_number, 3 newest, 4 verified, 5 verified_at, 6 used_at });
wire_struct!(Backups { 1 plan, 2 runs, 3 numbered, 4 places, 5 late });

wire_struct!(Release {
    1 version, 2 level, 3 sha256, 4 bytes, 5 platform, 6 key, 7 signature, 8 by, 9 at, 10 revision
});
wire_enum!(UpgradeStep { 1 Fetching, 2 Switching });
wire_struct!(Upgrade { 1 region, 2 version, 3 sha256, 4 before, 5 step, 6 since });
wire_struct!(Restoration { 1 id, 2 backup, 3 digest, 4 taken_at });
wire_struct!(Arriving { 1 from, 2 host, 3 whole });
wire_struct!(Held { 1 vm, 2 want, 3 runs, 4 arriving, 5 left });
wire_enum!(AdoptedAs { 1 Unchanged, 2 Changed(how), 3 Unknown, 4 WithLostHost, 5 Restarted, 6 Forgotten });
wire_struct!(AdoptedVm { 1 vm, 2 how });
wire_enum!(Adopting { 1 Place(vm), 2 Give(vm), 3 Miss(vm) });
wire_struct!(MissingChoice { 1 vm, 2 start });
wire_struct!(Adoption {
    1 restoration, 2 found, 3 late, 4 written_off, 5 closed, 6 done_at, 7 given, 8 missing, 9 adopted
});

wire_enum!(Trigger { 1 Automatic, 2 Manual });
wire_enum!(FailoverState { 1 Running, 2 Done, 3 Partial, 4 Cancelled });
wire_enum!(PhaseName { 1 Detect, 2 Agree, 3 Fence, 4 Plan, 5 Restart, 6 Verify });
wire_struct!(PhaseSpan { 1 name, 2 started_at, 3 ended_at });
wire_enum!(MoveState { 1 Waiting, 2 Verified, 3 Left, 4 Failed });
wire_struct!(FailoverVm {
    1 vm, 2 name, 3 priority, 4 from_host, 5 to_region, 6 to_host, 7 generation, 8 state, 9 reason, 10 verified_at,
    20 disk
});
wire_struct!(Failover {
    1 id, 2 operation, 3 from, 4 to, 5 trigger, 6 witnesses, 7 min_priority, 8 max_time_ms, 9 partial, 10 by,
    11 first_missed_at, 12 phases, 13 vms, 14 state, 15 ended_at, 16 before
});

#[cfg(not(feature = "next"))]
wire_struct!(Envelope { 1 request, 2 digest, 3 by, 4 at, 5 command, 6 request_id, 7 expected, 8 looked_at, 9 reason });
#[cfg(feature = "next")]
wire_struct!(Envelope {
    1 request, 2 digest, 3 by, 4 at, 5 command, 6 request_id, 7 expected, 8 looked_at, 9 reason; 180 proposer
});
wire_struct!(RegionChange { 1 region, 2 enabled, 3 placement, 4 traffic_percent, 5 reason });
wire_struct!(NewVm { 1 vm });
wire_struct!(Observation { 1 vm, 2 observed, 3 gone });
wire_struct!(HostMove { 1 vm, 2 generation, 3 to });
wire_struct!(Departing { 1 vm, 2 generation, 3 to, 4 host });
wire_struct!(Admission { 1 vm, 2 host, 3 from, 4 failover });
wire_struct!(Switch { 1 vm, 2 migration, 3 released, 4 failover, 5 took });
wire_struct!(ProtectionChange { 1 vm, 2 mode, 3 on_loss, 4 region, 5 again });
wire_struct!(ReplicaChoice { 1 vm, 2 epoch, 3 region, 4 host, 5 reason });
wire_struct!(ReplicaLocation { 1 vm, 2 epoch, 3 host, 4 endpoint });
wire_struct!(GuardNews { 1 vm, 2 generation, 3 epoch, 4 state, 5 point, 6 reason });
wire_struct!(ClaimRequest { 1 key, 2 after_attempt, 3 group });
wire_enum!(Command {
    1 Nothing, 2 Found(core), 3 ChangeRegion(change), 4 SetPolicy(policy), 5 SetFreeze(freeze), 6 DeclareLost(lost),
    7 EndPhase(phase), 8 PlanFailover(plan), 9 EndFailover(end), 10 ReturnRegion(region), 11 PutToken(token),
    12 RevokeToken(id), 13 RecordVms(part), 14 CancelFailover(id),
    20 RegisterHost(facts), 21 LoseHost(host), 22 SetHostPlacement(host), 23 CreateVms(vms), 24 SetWant(want),
    25 RestartVm(vm), 26 Observe(seen), 27 MoveVms(moves), 28 BeginEvacuation(epoch), 29 EndEvacuation(epoch),
    30 Depart(vms), 31 Admit(admission), 32 Decline(vm), 33 Forget(vm), 34 Recall(vm), 35 EndOperation(end),
    36 SetOvercommit(limits), 37 Claim(claim), 38 Unbar(vms),
    40 BeginMigrations(begin), 41 StartMigrations(vms), 42 AimMigration(aim), 43 StopMigrations(stop),
    44 EndMigration(vm), 45 Switch(switch), 46 Expect(arrival), 47 Withdraw(vm), 48 DropArrival(vm),
    49 NoteWhole(vm), 50 SettleArrival(vm), 51 LoseMigration(vm),
    60 SetProtection(change), 61 ChooseReplica(choice), 62 Guarded(seen), 63 LocateReplica(location),
    64 TakeReplica(replica), 65 DeclineReplica(vm), 66 DropReplica(vm),
    80 ScheduleWindow(window), 81 CancelWindow(id), 82 NoteWindow(note), 83 SettleWindow(id),
    100 BeginDrill(drill), 101 NoteDrill(news), 102 EndDrill(end), 103 RestoreDrill(id), 104 LoseCopies(vms),
    105 DropCopies(vms),
    130 PublishImage(image), 131 RemoveImage(name), 132 NoteImageFault(fault),
    140 TakeDigest(number), 141 BeginSync(operation), 142 NoteSync(news), 143 EndSync(end),
    150 ConfigureBackups(plan), 151 BeginBackup(run), 152 EndBackup(end), 153 NoteBackupsLate(late),
    160 AddRegion(region), 161 ReplicateRegion(region), 162 RemoveRegion(region),
    163 ForgetRegion(region), 164 CloseRegion, 165 FoundedRegion(region),
    166 CleanRegion(region), 180 RaiseLevel(level), 181 PublishRelease(release), 182 BeginUpgrade(operation),
    183 SwitchUpgrade(operation), 184 EndUpgrade(end),
    190 ConfigureRegion(settings), 191 SetEndpoint(endpoint), 192 AnnounceDecommission(end),
    193 CancelDecommission(region), 194 NoteDecommission(note),
    210 SetControllers(count), 230 ChangeDocuments(changes), 250 SetRouters(count),
    200 NoteHeld(held), 201 WriteOffHost(host), 202 CloseInventory, 203 Adopt(decided), 204 FinishAdoption,
    205 SettleLate(hosts), 206 TidyAdoption, 207 DecideMissing(choice)
});
wire_struct!(Receipt { 1 revision, 2 operation, 3 vms, 4 failover, 5 claim, 40 window, 80 drill, 150 backup });
wire_enum!(Outcome { 1 Accepted(receipt), 2 Refused(refusal) });
