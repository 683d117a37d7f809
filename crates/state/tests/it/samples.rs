//! One rich value of every kind, for round trips and for the golden files. What the golden files of a version were written
//! from is never changed: new fields get samples of their own.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::*;
use dwcp_types::*;

#[path = "drill_samples.rs"]
mod drill_samples;
pub use drill_samples::{drill, drill_news};
#[path = "backup_samples.rs"]
mod backup_samples;
pub use backup_samples::backups;
#[path = "document_samples.rs"]
mod document_samples;
pub use document_samples::documents;
#[path = "restoration_samples.rs"]
mod restoration_samples;
pub use restoration_samples::{adoption, adoption_commands, restoration};
#[path = "move_samples.rs"]
mod move_samples;
#[path = "upgrade_samples.rs"]
mod upgrade_samples;
pub use move_samples::{arrival, migration};
#[path = "site_samples.rs"]
mod site_samples;
pub use site_samples::{endpoint, settings, told_region};

pub fn vm() -> Vm {
    let relation = |target, scope| Relation { target, scope };
    Vm {
        id: VmId(0x1234_5678),
        name: "web-1".into(),
        tenant: "acme".into(),
        project: "shop".into(),
        labels: BTreeMap::from([("app".into(), "web".into())]),
        spec: VmSpec {
            image: "small".into(),
            size: Amount { vcpus: 2, memory_mib: 4_096, disk_gib: 20 },
            network: Network::Tap,
            probe: Probe::Http("/health".into()),
            digest: ImageDigest::default(),
        },
        rules: Rules {
            allowed_regions: BTreeSet::from(["a".into(), "b".into()]),
            denied_regions: BTreeSet::from(["c".into()]),
            zones: BTreeSet::from(["a".into()]),
            hosts: BTreeSet::from(["h1".into()]),
            denied_hosts: BTreeSet::from(["h2".into()]),
            host_labels: BTreeMap::from([("disk".into(), "ssd".into())]),
            compliance: BTreeSet::from(["gdpr".into()]),
            residency: BTreeSet::from(["eu".into()]),
            affinity: vec![relation(Target::Vm(VmId(7)), Scope::Region)],
            anti_affinity: vec![relation(Target::Label(("app".into(), "db".into())), Scope::Zone)],
            max_latency: vec![("a".into(), 80)],
            cost_limit_millis: Some(99_000),
            stay_on_loss: true,
        },
        priority: Priority(75),
        want: Want::Stopped,
        home: "a".into(),
        host: "h1".into(),
        generation: Generation(3),
        observed: Observed {
            generation: Generation(3),
            phase: Phase::Paused,
            health: Health::Unhealthy,
            boot_id: "9f".into(),
            address: "127.77.1.33:8080".into(),
            reason: "the lease ran out".into(),
            at: Wall(1_700_000_000_123),
        },
        created_at: Wall(1),
        placed_at: Wall(2),
        failover: Some(FailoverId(4)),
        revision: Revision(0),
        promised: Generation(0),
        protection: Protection::default(),
        drill: None,
        expires_at: Wall(0),
    }
}

/// What came after the files of version 1: how a VM's disk is protected.
pub fn protection() -> Protection {
    Protection {
        mode: ProtectionMode::Async(30_000),
        on_loss: OnReplicaLoss::GoOn,
        region: Some("c".into()),
        guard: Guard {
            epoch: 3,
            region: Some("c".into()),
            host: "h2".into(),
            endpoint: "127.77.3.1:9000".into(),
            state: GuardState::Degraded,
            since: Wall(7),
            point: Wall(6),
            reason: "its host is lost".into(),
            released: true,
        },
        boot: 2,
    }
}

pub fn replica() -> Replica {
    Replica {
        vm: VmId(11),
        name: "db-1".into(),
        host: "h1".into(),
        from: "b".into(),
        from_host: "h7".into(),
        epoch: 3,
        disk_gib: 20,
        points: true,
        seen: Revision(8),
        since: Wall(5),
    }
}

pub fn operation() -> Operation {
    Operation {
        id: OperationId(55),
        kind: OperationKind::CreateVms(vec![VmId(1), VmId(2)]),
        title: "create web".into(),
        region: "a".into(),
        by: "ann".into(),
        started_at: Wall(10),
        ended_at: Some(Wall(20)),
        state: OperationState::Partial,
        result: "1 of 2".into(),
        revision: Revision(0),
    }
}

pub fn host_facts() -> HostFacts {
    HostFacts {
        transfer: String::new(),
        id: "h1".into(),
        zone: "a".into(),
        capacity: Amount { vcpus: 64, memory_mib: 262_144, disk_gib: 4_000 },
        labels: BTreeMap::from([("disk".into(), "ssd".into())]),
        accelerator: "tcg".into(),
        version: "0.1.0".into(),
        incarnation: u64::MAX,
    }
}

pub fn failover() -> Failover {
    Failover {
        id: FailoverId(4),
        operation: OperationId(56),
        from: "c".into(),
        to: vec!["a".into(), "b".into()],
        trigger: Trigger::Manual,
        witnesses: vec!["a".into()],
        min_priority: Priority(25),
        max_time_ms: Some(30_000),
        partial: true,
        by: "bob".into(),
        first_missed_at: Wall(100),
        phases: vec![PhaseSpan { name: PhaseName::Fence, started_at: Wall(100), ended_at: Wall(200) }],
        vms: vec![failover_vm()],
        state: FailoverState::Partial,
        ended_at: Some(Wall(900)),
        before: None,
    }
}

pub fn failover_vm() -> FailoverVm {
    FailoverVm {
        vm: VmId(1),
        name: "web-1".into(),
        priority: Priority(100),
        from_host: "h3".into(),
        to_region: Some("a".into()),
        to_host: Some("h1".into()),
        generation: Generation(9),
        state: MoveState::Verified,
        reason: "score 812".into(),
        verified_at: Some(Wall(800)),
        disk: DiskProof::Unknown,
    }
}

pub fn token() -> Token {
    Token {
        id: "token-1".into(),
        user: "ann".into(),
        role: Role::Operator,
        secret_hash: "ab".repeat(32),
        created_at: Wall(1),
        expires_at: Some(Wall(2)),
        revoked_at: Some(Wall(3)),
        revision: Revision(0),
    }
}

pub fn region() -> Region {
    Region {
        id: "a".into(),
        number: 1,
        lifecycle: Lifecycle::Disabled,
        placement: true,
        placement_by: "ann".into(),
        placement_since: Wall(5),
        placement_reason: String::new(),
        traffic_percent: 40,
        priority: 70,
        standing: Standing::Returned,
        standing_since: Wall(6),
        epoch: 2,
        prices: Prices { vcpu_micros: 10_000, memory_gib_micros: 5_000, disk_gib_micros: 100 },
        compliance: BTreeSet::from(["gdpr".into()]),
        jurisdiction: "eu".into(),
        api: "https://127.77.1.1:7443".into(),
        mesh: "127.77.1.1:7443".into(),
        revision: Revision(0),
        founder: 0,
        unfounded: false,
        without_replicas: false,
        control_host: "".into(),
        site: Site::default(),
        endpoints: BTreeSet::new(),
        decommission: None,
        controllers: 0,
        routers: 0,
    }
}

pub fn policy() -> Policy {
    Policy {
        auto_failover: false,
        loss_after_ms: 2_000,
        return_after_ms: 9_000,
        failovers_per_hour: 3,
        cpu_overcommit_percent: 150,
        memory_overcommit_percent: 90,
        profile: Profile::Custom,
        weights: Weights { latency: 1, cost: 2, capacity: 3, health: 4, priority: 5, pack: true },
        placement_cache_ttl_ms: 250,
        parallel_scoring: true,
        migrations_per_link: 4,
        migrations_per_host: 2,
        migration_mbit_per_s: 1_000,
        rto_target_ms: 30_000,
        replication_workers: 0,
        plain_frames: false,
        soft_state_every_ms: 0,
    }
}

pub fn refusal() -> Refusal {
    Refusal::new(Code::NothingFits, "web-1 fits nowhere").because("no room").try_this("dwcp-cli vm list")
}

pub fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.note(Event {
        revision: Revision(3),
        at: Wall(4),
        severity: Severity::Critical,
        kind: "region.lost".into(),
        subject: "a".into(),
        text: "region a is lost".into(),
        by: "dwcp".into(),
        request: "r1".into(),
        request_id: String::new(),
        ..Event::default()
    });
    let receipt = Receipt {
        revision: Revision(3),
        operation: Some(OperationId(1)),
        vms: vec![(VmId(1), Generation(2))],
        failover: Some(FailoverId(1)),
        claim: Some((1, 2)),
        window: None,
        drill: None,
        backup: None,
    };
    ledger.remember("r1", 77, &Outcome::Accepted(receipt));
    ledger.remember("r2", 78, &Outcome::Refused(refusal()));
    ledger
}

pub fn core() -> Core {
    Core {
        revision: Revision(41),
        name: "test".into(),
        regions: BTreeMap::from([("a".into(), region())]),
        policy: policy(),
        freeze: Freeze::NoMoves,
        tokens: BTreeMap::from([("token-1".into(), token())]),
        failovers: BTreeMap::from([(FailoverId(4), failover())]),
        operations: BTreeMap::from([(OperationId(55), operation())]),
        ledger: ledger(),
        policy_revision: Revision(0),
        freeze_revision: Revision(0),
        windows: BTreeMap::new(),
        windows_numbered: 0,
        drills: BTreeMap::new(),
        images: BTreeMap::new(),
        level: 0,
        releases: BTreeMap::new(),
        backups: Backups::default(),
        regions_numbered: 0,
        keepers: Vec::new(),
        cleaned: BTreeMap::new(),
        restoration: None,
        documents: BTreeMap::new(),
    }
}

pub fn region_facts() -> RegionFacts {
    let host = Host {
        facts: host_facts(),
        standing: HostStanding::Lost,
        standing_since: Wall(3),
        placement: true,
        used: Amount { vcpus: 4, memory_mib: 8_192, disk_gib: 40 },
        revision: Revision(0),
    };
    let leaving = Vm { id: VmId(9), name: "gone".into(), ..vm() };
    let departure =
        Departure { vm: leaving, to: "b".into(), host: Some("h9".into()), failover: None, at: Wall(9) };
    RegionFacts {
        revision: Revision(99),
        name: "a".into(),
        number: 1,
        hosts: BTreeMap::from([("h1".into(), host)]),
        vms: BTreeMap::from([(vm().id, vm())]),
        departures: BTreeMap::from([(VmId(9), departure)]),
        tombstones: BTreeMap::from([(VmId(9), Generation(2))]),
        declined: BTreeMap::from([(VmId(10), (Generation(5), "no room".into()))]),
        claims: BTreeMap::from([("key".into(), (5, (1, 2)))]),
        claim_order: ["key".to_string()].into(),
        evacuation: Some(2),
        evacuated: 1,
        overcommit: (300, 100),
        operations: BTreeMap::from([(OperationId(55), operation())]),
        ledger: ledger(),
        born: BTreeMap::new(),
        horizons: BTreeMap::new(),
        unbarred_born: Wall(0),
        migrations: BTreeMap::new(),
        migrated: Default::default(),
        arrivals: BTreeMap::new(),
        replicas: BTreeMap::new(),
        replicas_declined: BTreeMap::new(),
        closed: false,
        adoption: None,
        index: Index::default(),
    }
}

/// Every command, each with its parts filled.
pub fn commands() -> Vec<Command> {
    let observation = Observation { vm: VmId(1), observed: vm().observed, gone: true };
    let change = RegionChange {
        region: "a".into(),
        enabled: Some(true),
        placement: Some(false),
        traffic_percent: Some(30),
        reason: String::new(),
    };
    let departing =
        Departing { vm: VmId(1), generation: Generation(2), to: "b".into(), host: Some("h1".into()) };
    let admission =
        Admission { vm: vm(), host: "h1".into(), from: "a".into(), failover: Some(FailoverId(1)) };
    vec![
        Command::Nothing,
        Command::Found(Box::new(core())),
        Command::ChangeRegion(change),
        Command::SetPolicy(policy()),
        Command::SetFreeze(Freeze::Frozen),
        Command::DeclareLost((Box::new(failover()), 3)),
        Command::EndPhase((FailoverId(4), PhaseName::Restart)),
        Command::PlanFailover((FailoverId(4), vec![failover_vm()])),
        Command::EndFailover((FailoverId(4), (FailoverState::Done, vec![failover_vm()]))),
        Command::ReturnRegion(("a".into(), 3)),
        Command::PutToken(token()),
        Command::RevokeToken("token-1".into()),
        Command::RegisterHost(host_facts()),
        Command::LoseHost(("h1".into(), 5)),
        Command::SetHostPlacement(("h1".into(), false)),
        Command::CreateVms((vec![NewVm { vm: vm() }], operation())),
        Command::SetWant((VmId(1), (Want::Deleted, operation()))),
        Command::RestartVm((VmId(1), operation())),
        Command::Observe(("h1".into(), vec![observation])),
        Command::MoveVms(vec![HostMove { vm: VmId(1), generation: Generation(2), to: "h2".into() }]),
        Command::BeginEvacuation(2),
        Command::EndEvacuation(2),
        Command::Depart((Some(FailoverId(1)), vec![departing])),
        Command::Admit(Box::new(admission)),
        Command::Decline((VmId(1), (Generation(2), "no room".into()))),
        Command::Forget((VmId(1), Generation(2))),
        Command::Recall((VmId(1), Generation(2))),
        Command::EndOperation((OperationId(1), (OperationState::Failed, "no".into()))),
        Command::SetOvercommit((300, 100)),
        Command::Claim(ClaimRequest { key: "key".into(), after_attempt: 1, group: 2 }),
    ]
}

/// Commands that came after the files of version 1 were written.
pub fn later_commands() -> Vec<Command> {
    let groups = [earlier_commands(), backup_samples::commands(), member_commands()];
    [groups.concat(), upgrade_samples::commands()].concat()
}

fn earlier_commands() -> Vec<Command> {
    let first = vec![
        Command::Unbar(vec![(VmId(1), Generation(2))]),
        Command::RecordVms((FailoverId(4), vec![failover_vm()])),
        Command::CancelFailover(FailoverId(4)),
    ];
    let then = vec![
        Command::SetProtection(ProtectionChange {
            vm: VmId(1),
            mode: ProtectionMode::Async(5_000),
            on_loss: OnReplicaLoss::GoOn,
            region: Some("b".into()),
            again: true,
        }),
        Command::ChooseReplica(ReplicaChoice {
            vm: VmId(1),
            epoch: 4,
            region: "b".into(),
            host: "h1".into(),
            reason: "near".into(),
        }),
        Command::Guarded((
            "h1".into(),
            vec![GuardNews {
                vm: VmId(1),
                generation: Generation(2),
                epoch: 5,
                state: GuardState::Degraded,
                point: Wall(9),
                reason: "cut".into(),
            }],
        )),
        Command::LocateReplica(ReplicaLocation {
            vm: VmId(1),
            epoch: 5,
            host: "h1".into(),
            endpoint: "127.77.2.1:9".into(),
        }),
        Command::TakeReplica(Box::new(replica())),
        Command::DeclineReplica((VmId(1), (5, "no room".into()))),
        Command::DropReplica((VmId(1), 5)),
        Command::ScheduleWindow(Box::new(window())),
        Command::CancelWindow(WindowId(3)),
        Command::NoteWindow((WindowId(3), (Notice::Started, true))),
        Command::SettleWindow(WindowId(3)),
        Command::BeginDrill(Box::new(drill())),
        Command::NoteDrill(drill_news()),
        Command::EndDrill((DrillId(2), (DrillState::Done, "1 of 1".into()))),
        Command::RestoreDrill(DrillId(2)),
        Command::LoseCopies(vec![VmId(1)]),
        Command::DropCopies(vec![VmId(1)]),
    ];
    let [moves, arrivals] = move_samples::commands();
    let images = vec![
        Command::PublishImage(Box::new(image())),
        Command::RemoveImage("web".into()),
        Command::NoteImageFault(image_fault()),
    ];
    let syncs = vec![
        Command::TakeDigest(7),
        Command::BeginSync(Box::new(sync())),
        Command::NoteSync((OperationId(55), step())),
        Command::EndSync((OperationId(55), (OperationState::Done, "equal".into()))),
    ];
    [first, moves, then, arrivals, images, syncs].concat()
}

fn member_commands() -> Vec<Command> {
    vec![
        Command::AddRegion(Box::new(Region {
            founder: 2,
            unfounded: true,
            without_replicas: true,
            ..region()
        })),
        Command::FoundedRegion("a".into()),
        Command::ReplicateRegion("a".into()),
        Command::RemoveRegion("a".into()),
        Command::ForgetRegion("a".into()),
        Command::CloseRegion,
        Command::CleanRegion("a".into()),
        Command::ConfigureRegion(Box::new(settings())),
        Command::SetEndpoint(("a".into(), (endpoint(), true))),
        Command::AnnounceDecommission(("a".into(), Wall(9))),
        Command::CancelDecommission("a".into()),
        Command::NoteDecommission(("a".into(), Reminder::Week)),
        Command::SetControllers(("a".into(), 3)),
        Command::SetRouters(("a".into(), 3)),
        Command::ChangeDocuments(Box::new(documents())),
    ]
}

/// A maintenance window with every part filled.
pub fn window() -> Window {
    Window {
        id: WindowId(3),
        region: "a".into(),
        host: Some("h1".into()),
        starts_at: Wall(10),
        ends_at: Wall(20),
        reason: "disks".into(),
        by: "ops".into(),
        asked_at: Wall(1),
        no_placement: true,
        said: Notice::Started,
        closed: true,
        cancelled_at: Some(Wall(15)),
        revision: Revision(8),
    }
}

/// An image of the catalogue with every part filled.
pub fn image() -> Image {
    let part =
        |file: &str, bytes, digit: &str| ImagePart { file: file.into(), bytes, sha256: digit.repeat(64) };
    Image {
        name: "web".into(),
        digest: ImageDigest::from("d".repeat(64).as_str()),
        parts: vec![part("image.yaml", 40, "a"), part("vmlinuz", 8 << 20, "b")],
        region: "a".into(),
        host: "h1".into(),
        by: "ann".into(),
        at: Wall(9),
        revision: Revision(7),
    }
}

pub fn image_fault() -> ImageFault {
    ImageFault {
        name: "web".into(),
        digest: image().digest,
        host: "h2".into(),
        from_region: "b".into(),
        from_host: "h1".into(),
        reason: "vmlinuz is not what it should be".into(),
    }
}

fn step() -> RebuildStep {
    RebuildStep {
        target: "b".into(),
        group: Some(1),
        state: RebuildState::Equal,
        bytes: 9,
        entries: 3,
        note: "digest".into(),
    }
}

/// A rebuild of the replicas of `b` from those of `a`.
pub fn sync() -> Operation {
    let mut sync = ForceSync::new("a".into(), vec!["b".into()], &[0, 1]);
    sync.steps[2] = step();
    let title = "rebuild b from a".into();
    Operation { kind: OperationKind::ForceSync(Box::new(sync)), title, ..operation() }
}

/// Where a command stands in a list of all; a command that is not in the list does not compile.
macro_rules! place_of {
    ($command:expr; $($name:ident $(($any:tt))?),* $(,)?) => {{
        let name = match $command { $(Command::$name $(($any))? => stringify!($name),)* };
        [$(stringify!($name)),*].iter().position(|other| *other == name).expect("it is in the list")
    }};
}

/// Position of a command in `commands`, then `later_commands`. A new command does not compile until it has a sample.
pub fn position(command: &Command) -> usize {
    place_of!(command;
        Nothing, Found(_), ChangeRegion(_), SetPolicy(_), SetFreeze(_), DeclareLost(_),
        EndPhase(_), PlanFailover(_), EndFailover(_), ReturnRegion(_), PutToken(_), RevokeToken(_),
        RegisterHost(_), LoseHost(_), SetHostPlacement(_), CreateVms(_), SetWant(_), RestartVm(_),
        Observe(_), MoveVms(_), BeginEvacuation(_), EndEvacuation(_), Depart(_), Admit(_), Decline(_), Forget(_),
        Recall(_), EndOperation(_), SetOvercommit(_), Claim(_), Unbar(_), RecordVms(_), CancelFailover(_),
        BeginMigrations(_), StartMigrations(_), AimMigration(_), StopMigrations(_), EndMigration(_), Switch(_),
        Expect(_), Withdraw(_), DropArrival(_),
        SetProtection(_), ChooseReplica(_), Guarded(_), LocateReplica(_), TakeReplica(_), DeclineReplica(_),
        DropReplica(_), ScheduleWindow(_), CancelWindow(_), NoteWindow(_), SettleWindow(_), BeginDrill(_),
        NoteDrill(_), EndDrill(_), RestoreDrill(_), LoseCopies(_), DropCopies(_), NoteWhole(_), SettleArrival(_),
        LoseMigration(_), PublishImage(_), RemoveImage(_), NoteImageFault(_), TakeDigest(_), BeginSync(_), NoteSync(_), EndSync(_),
        ConfigureBackups(_), BeginBackup(_), EndBackup(_), NoteBackupsLate(_), AddRegion(_), FoundedRegion(_),
        ReplicateRegion(_), RemoveRegion(_), ForgetRegion(_), CloseRegion, CleanRegion(_), ConfigureRegion(_),
        SetEndpoint(_), AnnounceDecommission(_), CancelDecommission(_), NoteDecommission(_), SetControllers(_), SetRouters(_),
        ChangeDocuments(_), RaiseLevel(_), PublishRelease(_), BeginUpgrade(_), SwitchUpgrade(_), EndUpgrade(_), NoteHeld(_),
        WriteOffHost(_), CloseInventory, Adopt(_), FinishAdoption, SettleLate(_), TidyAdoption, DecideMissing(_),
    )
}

pub fn envelope(command: Command) -> Envelope {
    let (by, at) = ("ann".into(), Wall(1_700_000_000_000));
    Envelope { request: "r1".into(), digest: 77, by, at, command, ..Envelope::default() }
}
