//! The account of what VMs were up, by known histories.

use std::collections::BTreeMap;

use dwcp_decide::sla::{
    Account, Day, Pause, Period, Planned, Sight, Sights, Sla, Stand, Subject, Tally, Verdict, assess_counted,
    sights,
};
use dwcp_state::{
    Departure, DrillMark, Failover, FailoverVm, Federation, Health, Host, HostStanding, Migration,
    MigrationState, Observed, Phase, Probe, Region, Standing, Vm, VmSpec, Want, Window,
};
use dwcp_types::{FailoverId, Generation, HostId, MigrationId, RegionId, VmId, Wall, WindowId};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;
/// 2026-11-10 12:00 UTC.
const NOON: u64 = 1_794_312_000_000;

/// So many seconds after noon.
fn s(seconds: u64) -> Wall {
    Wall(NOON + seconds * SECOND)
}

fn sight(vm: u64, stand: Stand) -> Sight {
    Sight {
        vm: VmId(vm),
        name: format!("web-{vm}"),
        tenant: "shop".into(),
        region: "us-east-1".into(),
        host: "h1".into(),
        created_at: Wall(NOON - DAY),
        boot_id: "b1".into(),
        stand,
    }
}

fn up(since: u64) -> Stand {
    Stand::Up { since: s(since) }
}

fn down(since: u64) -> Stand {
    Stand::Down { since: s(since), cause: "failed".into(), failover: None }
}

fn one(stand: Stand) -> Sights {
    Sights { vms: vec![sight(1, stand)], ..Sights::default() }
}

fn tally(account: &Account) -> Tally {
    account.days.values().flat_map(|day| day.tallies.values()).copied().sum()
}

/// Up, down and unknown, s.
fn seconds(account: &Account) -> [u64; 3] {
    let Tally { up_ms, down_ms, unknown_ms, .. } = tally(account);
    [up_ms, down_ms, unknown_ms].map(|ms| ms / SECOND)
}

/// Looks every 15 s from `from` to `until`, at what `stand` says of the one VM.
fn looks(account: &mut Account, from: u64, until: u64, stand: impl Fn(u64) -> Stand) {
    for at in (from..=until).step_by(15) {
        account.look(&one(stand(at)), s(at));
    }
}

#[test]
fn an_outage_begins_when_it_began_and_ends_when_it_ended() {
    let mut account = Account::default();
    looks(&mut account, 0, 60, |_| up(0));
    // It failed 5 s before the look that found it so, and served again 3 s before the one that found that.
    looks(&mut account, 75, 120, |_| down(70));
    looks(&mut account, 135, 180, |_| up(132));
    assert_eq!(seconds(&account), [118, 62, 0]);
    let outages = &account.days[&Period::day(s(0)).from].outages;
    assert_eq!(outages.len(), 1);
    assert_eq!((outages[0].from, outages[0].until), (s(70), Some(s(132))));
}

#[test]
fn what_was_taken_for_up_is_down_after_all_when_that_is_found_out() {
    let mut account = Account::default();
    looks(&mut account, 0, 60, |_| up(0));
    // A region is declared lost at 75 s, and was last heard at 40 s: twenty seconds of up time are none.
    let lost = |since| Stand::Down {
        since: s(since),
        cause: "region us-east-1 was lost".into(),
        failover: Some(FailoverId(1)),
    };
    looks(&mut account, 75, 75, |_| lost(40));
    assert_eq!(seconds(&account), [40, 35, 0]);
    // Nothing is corrected twice, and never to before it was counted.
    looks(&mut account, 90, 90, |_| lost(0));
    assert_eq!(seconds(&account), [40, 50, 0]);
}

#[test]
fn a_vm_counts_from_the_first_time_that_it_served_since_it_was_to_run() {
    let mut account = Account::default();
    account.look(&Sights::default(), s(0));
    let mut made = sight(1, down(20));
    made.created_at = s(20);
    for at in [30, 45, 60] {
        account.look(&Sights { vms: vec![made.clone()], ..Sights::default() }, s(at));
    }
    assert_eq!(seconds(&account), [0, 0, 0]);
    assert!(account.booting.contains(&VmId(1)));
    made.stand = up(70);
    account.look(&Sights { vms: vec![made.clone()], ..Sights::default() }, s(75));
    assert_eq!(seconds(&account), [5, 0, 0]);
    // Stopped on purpose, started again: the boot is nobody's outage.
    account.look(&Sights::default(), s(90));
    made.stand = down(100);
    account.look(&Sights { vms: vec![made.clone()], ..Sights::default() }, s(105));
    assert_eq!(seconds(&account), [5, 0, 0]);
    made.stand = up(110);
    account.look(&Sights { vms: vec![made], ..Sights::default() }, s(120));
    assert_eq!(seconds(&account), [15, 0, 0]);
    assert!(account.days.values().all(|day| day.outages.is_empty()));
}

#[test]
fn an_outage_of_a_vm_that_is_no_more_to_run_ends() {
    let mut account = Account::default();
    looks(&mut account, 0, 30, |_| up(0));
    looks(&mut account, 45, 60, |_| down(40));
    account.look(&Sights::default(), s(75));
    let outages = &account.days[&Period::day(s(0)).from].outages;
    assert_eq!(outages[0].until, Some(s(60)));
    assert_eq!(seconds(&account), [40, 20, 0]);
}

#[test]
fn nobody_knows_what_nobody_looked_at() {
    let mut account = Account::default();
    looks(&mut account, 0, 30, |_| up(0));
    account.look(&one(up(0)), s(330));
    assert_eq!(seconds(&account), [30, 0, 300]);
    // Unless the facts tell since when it was down.
    account.look(&one(down(400)), s(630));
    assert_eq!(seconds(&account), [30, 230, 370]);
    // Asked by nobody yet: unknown, and nothing else.
    let mut account = Account::default();
    looks(&mut account, 0, 30, |_| up(0));
    looks(&mut account, 45, 60, |_| Stand::Untold);
    assert_eq!(seconds(&account), [30, 0, 30]);
    // The clock goes back: nothing is counted twice.
    assert!(!account.look(&one(up(0)), s(20)));
    assert_eq!(seconds(&account), [30, 0, 30]);
}

#[test]
fn a_restart_between_two_looks_is_unknown_until_it_served_again() {
    let mut account = Account::default();
    looks(&mut account, 0, 30, |_| up(0));
    let mut again = sight(1, up(40));
    again.boot_id = "b2".into();
    account.look(&Sights { vms: vec![again], ..Sights::default() }, s(45));
    assert_eq!(seconds(&account), [35, 0, 10]);
}

#[test]
fn a_move_counts_for_the_time_that_its_guest_stood_still() {
    let mut account = Account::default();
    looks(&mut account, 0, 30, |_| up(0));
    let moved = |ms| Sights { pauses: vec![Pause { vm: VmId(1), at: s(40), ms }], ..one(up(40)) };
    account.look(&moved(300), s(45));
    let found = tally(&account);
    assert_eq!((found.up_ms, found.down_ms, found.unknown_ms), (44_700, 300, 0));
    assert!(account.days.values().all(|day| day.outages.is_empty()));
    // A long one is an outage that is told.
    account.look(&Sights { pauses: vec![Pause { vm: VmId(1), at: s(50), ms: 4_000 }], ..one(up(40)) }, s(60));
    let outages: Vec<_> = account.days.values().flat_map(|day| &day.outages).collect();
    assert_eq!((outages[0].from, outages[0].until), (s(46), Some(s(50))));
}

fn window(from: u64, until: u64, host: Option<&str>) -> Window {
    Window {
        id: WindowId(1),
        region: "us-east-1".into(),
        host: host.map(HostId::from),
        starts_at: s(from),
        ends_at: s(until),
        ..Window::default()
    }
}

#[test]
fn maintenance_is_told_apart() {
    for (host, expected) in [(None, 30), (Some("h1"), 30), (Some("h2"), 0)] {
        let planned = Planned::new(&[window(30, 60, host)]);
        let mut account = Account::default();
        let seen = |stand| Sights { planned: planned.clone(), ..one(stand) };
        for (at, stand) in
            [(0, up(0)), (15, up(0)), (30, up(0)), (45, down(30)), (60, down(30)), (75, up(70))]
        {
            account.look(&seen(stand), s(at));
        }
        let found = tally(&account);
        assert_eq!([found.up_ms, found.down_ms, found.planned_down_ms], [35_000, 40_000, expected * SECOND]);
        let without = found.availability(true);
        assert_eq!((without.down_ms, without.excluded_ms), (40_000 - expected * SECOND, expected * SECOND));
        let outage = &account.days[&Period::day(s(0)).from].outages[0];
        assert_eq!(outage.planned, expected > 0);
    }
    // One that was called off is none from then on.
    let cancelled = Window { cancelled_at: Some(s(40)), ..window(30, 60, None) };
    let times = Planned::new(&[cancelled]).of(&"us-east-1".into(), &"h1".into());
    assert_eq!(times.total_ms(), 10 * SECOND);
}

#[test]
fn a_failover_of_the_monitor_loses_what_was_not_written_and_no_outage() {
    let mut first = Account::default();
    looks(&mut first, 0, 60, |_| up(0));
    looks(&mut first, 75, 120, |_| down(70));
    // It wrote at 120 s, looked twice more and died; the next one begins at 180 s.
    let mut next = Account::resume(s(120), first.days.clone(), first.booting.clone());
    next.look(&one(down(70)), s(180));
    assert_eq!(seconds(&next), [70, 110, 0]);
    next.look(&one(up(190)), s(195));
    assert_eq!(seconds(&next), [75, 120, 0]);
    let outages = &next.days[&Period::day(s(0)).from].outages;
    assert_eq!((outages.len(), outages[0].from, outages[0].until), (1, s(70), Some(s(190))));
    // Of one that was up, the gap is unknown when it is long, and the outage within begins where the facts say.
    let mut next = Account::resume(s(60), BTreeMap::new(), [].into());
    next.look(&one(up(0)), s(180));
    assert_eq!(seconds(&next), [0, 0, 120]);
    // A VM that had not served when the last one wrote has still not.
    let mut next = Account::resume(s(60), BTreeMap::new(), [VmId(1)].into());
    next.look(&one(down(50)), s(75));
    assert_eq!(seconds(&next), [0, 0, 0]);
}

#[test]
fn a_region_of_three_thousand_vms_is_lost_and_each_outage_is_told() {
    let mut account = Account::default();
    let all = |stand: &Stand| Sights {
        vms: (1..=3_000).map(|vm| sight(vm, stand.clone())).collect(),
        ..Sights::default()
    };
    account.look(&all(&up(0)), s(0));
    account.look(&all(&up(0)), s(15));
    let lost = Stand::Down {
        since: s(16),
        cause: "region us-east-1 was lost".into(),
        failover: Some(FailoverId(1)),
    };
    account.look(&all(&lost), s(30));
    account.look(&all(&up(40)), s(45));
    assert_eq!(seconds(&account), [21 * 3_000, 24 * 3_000, 0]);
    let outages = &account.days[&Period::day(s(0)).from].outages;
    assert_eq!(outages.len(), 3_000);
    assert!(outages.iter().all(|one| one.until == Some(s(40)) && one.failover == Some(FailoverId(1))));
    // What is more than a day tells is counted all the same.
    let many = |stand: &Stand| Sights {
        vms: (1..=20_000).map(|vm| sight(vm, stand.clone())).collect(),
        ..Sights::default()
    };
    let mut account = Account::default();
    account.look(&many(&up(0)), s(0));
    account.look(&many(&down(5)), s(10));
    account.look(&many(&up(15)), s(20));
    assert_eq!(seconds(&account), [10 * 20_000, 10 * 20_000, 0]);
    assert_eq!(account.days[&Period::day(s(0)).from].outages.len(), Day::OUTAGES_MOST);
}

#[test]
fn days_are_those_of_utc_and_an_outage_belongs_to_the_one_that_it_began_in() {
    let mut account = Account::default();
    account.named.insert(VmId(1));
    let midnight = Period::day(Wall(NOON)).until;
    let before = (midnight.0 - NOON) / SECOND - 30;
    for at in [before, before + 15] {
        account.look(&one(up(0)), s(at));
    }
    for at in [before + 30, before + 45, before + 60] {
        account.look(&one(down(before + 20)), s(at));
    }
    account.look(&one(up(before + 70)), s(before + 75));
    let [first, second] = [midnight.0 - DAY, midnight.0].map(|from| account.days[&Wall(from)].clone());
    for subject in [Subject::Tenant("shop".into()), Subject::Vm(VmId(1))] {
        let of =
            |day: &Day| [day.tallies[&subject].up_ms, day.tallies[&subject].down_ms].map(|ms| ms / SECOND);
        assert_eq!((of(&first), of(&second)), ([20, 10], [5, 40]));
    }
    assert_eq!((first.outages.len(), second.outages.len()), (1, 0));
    assert_eq!(first.outages[0].until, Some(s(before + 70)));
}

#[test]
fn three_and_a_half_nines_of_what_was_counted() {
    let sla = Sla::defaults()[0].clone();
    let period = Period { from: Wall(0), until: Wall(30 * DAY) };
    for (down_min, unknown_min, days, verdict) in [
        (0, 0, 30, Verdict::Met),
        (16, 0, 30, Verdict::Met),
        (17, 0, 30, Verdict::AtRisk),
        (21, 0, 30, Verdict::AtRisk),
        (22, 0, 30, Verdict::Breached),
        (21, 1, 30, Verdict::Unknown),
        // A month that has only begun: what is to come counts for what is allowed.
        (21, 0, 1, Verdict::AtRisk),
        (22, 0, 1, Verdict::Breached),
    ] {
        let mut found = Tally::default();
        let all = days * DAY;
        found.add(dwcp_decide::sla::Found::Down, down_min * MINUTE, 0);
        found.add(dwcp_decide::sla::Found::Unknown, unknown_min * MINUTE, 0);
        found.add(dwcp_decide::sla::Found::Up, all - (down_min + unknown_min) * MINUTE, 0);
        let to_come_ms = 30 * DAY - all;
        let assessed =
            assess_counted(&sla, found.availability(false), to_come_ms, period).expect("availability");
        assert_eq!(assessed.budget.allowed_ms, 21 * MINUTE + 36 * SECOND);
        assert_eq!(assessed.verdict, verdict, "{down_min} {unknown_min} {days}");
    }
    let nothing =
        assess_counted(&sla, Tally::default().availability(false), 0, period).expect("availability");
    assert_eq!(nothing.verdict, Verdict::Unknown);
    assert_eq!(assess_counted(&Sla::defaults()[1], Tally::default().availability(false), 0, period), None);
}

/// A federation of two regions with one VM, which serves.
fn federation() -> (Federation, Vm) {
    let mut facts = Federation::default();
    for (number, name) in [(1, "eu-west-1"), (2, "us-east-1")] {
        let id = RegionId::from(name);
        facts.core.regions.insert(id.clone(), Region { id: id.clone(), number, ..Region::default() });
        facts.open_group(number, &id);
        let host = Host { standing: HostStanding::Up, ..Host::default() };
        facts.regions.get_mut(&id).expect("opened").hosts.insert("h1".into(), host);
    }
    let vm = Vm {
        id: VmId(1),
        name: "web-1".into(),
        tenant: "shop".into(),
        host: "h1".into(),
        generation: Generation(3),
        spec: VmSpec { probe: Probe::Tcp(80), ..VmSpec::default() },
        observed: Observed {
            generation: Generation(3),
            phase: Phase::Running,
            health: Health::Healthy,
            boot_id: "b1".into(),
            at: s(0),
            ..Observed::default()
        },
        created_at: Wall(NOON - DAY),
        placed_at: s(5),
        ..Vm::default()
    };
    (facts, vm)
}

fn put(facts: &mut Federation, region: &str, vm: Vm) {
    facts.regions.get_mut(&RegionId::from(region)).expect("a region").vms.insert(vm.id, vm);
}

fn stand(facts: &Federation) -> Stand {
    let seen = sights(facts, s(0), s(100));
    assert_eq!(seen.vms.len(), 1);
    seen.vms[0].stand.clone()
}

#[test]
fn facts_tell_whether_a_vm_is_up_and_since_when_it_is_not() {
    let (facts, vm) = federation();
    let seen = |vm: Vm| {
        let mut facts = facts.clone();
        put(&mut facts, "us-east-1", vm);
        stand(&facts)
    };
    assert_eq!(seen(vm.clone()), up(0));
    let observed = |phase, health| Vm {
        observed: Observed { phase, health, at: s(9), ..vm.observed.clone() },
        ..vm.clone()
    };
    for (phase, health, expected) in [
        (Phase::Running, Health::Unhealthy, Some("it does not answer")),
        (Phase::Failed, Health::Unknown, Some("failed")),
        (Phase::Paused, Health::Healthy, Some("paused")),
        (Phase::Stopped, Health::Unknown, Some("stopped")),
        (Phase::Running, Health::Unknown, None),
    ] {
        let stand = seen(observed(phase, health));
        match expected {
            Some(cause) => {
                assert_eq!(stand, Stand::Down { since: s(9), cause: cause.into(), failover: None })
            }
            None => assert_eq!(stand, Stand::Untold),
        }
    }
    // Another generation is to run, and nobody has seen it.
    let restarted = Vm { generation: Generation(4), observed: Observed::default(), ..vm.clone() };
    let why = "it is being started in another place";
    assert_eq!(seen(restarted), Stand::Down { since: s(5), cause: why.into(), failover: None });
    // What nobody wants to run, and copies of drills, do not count.
    for gone in [
        Vm { want: Want::Stopped, ..vm.clone() },
        Vm { want: Want::Deleted, ..vm.clone() },
        Vm { drill: Some(DrillMark::default()), ..vm },
    ] {
        let mut facts = facts.clone();
        put(&mut facts, "us-east-1", gone);
        assert_eq!(sights(&facts, s(0), s(100)).vms, []);
    }
}

#[test]
fn in_a_lost_region_everything_is_down_since_it_was_last_heard() {
    let (mut facts, vm) = federation();
    put(&mut facts, "us-east-1", vm.clone());
    let region = facts.core.regions.get_mut(&RegionId::from("us-east-1")).expect("a region");
    (region.standing, region.standing_since) = (Standing::Lost, s(20));
    let cause = "region us-east-1 was lost";
    assert_eq!(stand(&facts), Stand::Down { since: s(20), cause: cause.into(), failover: None });
    let failover = Failover {
        id: FailoverId(1),
        from: "us-east-1".into(),
        first_missed_at: s(14),
        vms: vec![FailoverVm { vm: VmId(1), generation: Generation(4), ..FailoverVm::default() }],
        ..Failover::default()
    };
    facts.core.failovers.insert(FailoverId(1), failover);
    let since_missed =
        |cause: &str| Stand::Down { since: s(14), cause: cause.into(), failover: Some(FailoverId(1)) };
    assert_eq!(stand(&facts), since_missed(cause));
    // On its way, and given a place, under the generation that the failover gave it.
    let moved = Vm { generation: Generation(4), observed: Observed::default(), ..vm.clone() };
    let of = facts.regions.get_mut(&RegionId::from("us-east-1")).expect("a region");
    of.vms.clear();
    of.departures.insert(VmId(1), Departure { vm: moved.clone(), at: s(30), ..Departure::default() });
    assert_eq!(stand(&facts), since_missed(cause));
    put(&mut facts, "eu-west-1", moved.clone());
    assert_eq!(stand(&facts), since_missed("failover of us-east-1"));
    let seen = Observed { generation: Generation(4), at: s(35), ..vm.observed };
    put(&mut facts, "eu-west-1", Vm { observed: seen, ..moved });
    assert_eq!(stand(&facts), up(35));
}

#[test]
fn a_lost_host_and_a_live_move() {
    let (facts, vm) = federation();
    let mut lost = facts.clone();
    put(&mut lost, "us-east-1", vm.clone());
    let hosts = &mut lost.regions.get_mut(&RegionId::from("us-east-1")).expect("a region").hosts;
    *hosts.get_mut(&HostId::from("h1")).expect("a host") =
        Host { standing: HostStanding::Lost, standing_since: s(50), ..Host::default() };
    assert_eq!(stand(&lost), Stand::Down { since: s(50), cause: "host h1 was lost".into(), failover: None });
    let mut facts = facts;
    let ended = Migration {
        id: MigrationId(1),
        vm: VmId(1),
        generation: Generation(4),
        state: MigrationState::Done,
        ended_at: Some(s(60)),
        took: dwcp_state::Took { downtime_ms: 250, ..dwcp_state::Took::default() },
        ..Migration::default()
    };
    facts.regions.get_mut(&RegionId::from("us-east-1")).expect("a region").migrated.push_back(ended);
    let moved = Vm { generation: Generation(4), observed: Observed::default(), placed_at: s(60), ..vm };
    put(&mut facts, "eu-west-1", moved);
    assert_eq!(stand(&facts), up(60));
    let pauses = |after| sights(&facts, s(after), s(100)).pauses;
    assert_eq!(pauses(59), [Pause { vm: VmId(1), at: s(60), ms: 250 }]);
    assert_eq!(pauses(60), []);
}
