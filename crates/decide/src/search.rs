//! Finds the best host of a region.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::{RegionFacts, Rules};
use dwcp_types::{Amount, HostId, RegionId, ZoneId};

use crate::index::{BLOCK, Dims, RegionTable, Row, RowState, WHOLE, dims};
use crate::relations::Bounds;
use crate::report::{HostVerdict, Reason, ReasonKind};

/// What a search looks for.
pub(crate) struct Search<'a> {
    pub region: &'a RegionId,
    pub table: &'a RegionTable,
    pub facts: Option<&'a RegionFacts>,
    pub rules: &'a Rules,
    pub bounds: &'a Bounds,
    pub need: Amount,
    /// Only this zone, on top of the rules.
    pub only_zone: Option<&'a ZoneId>,
    pub pack: bool,
    /// Rows that are reserved in part, in order.
    pub reserved: Vec<(usize, Dims)>,
    /// Hosts that the request leaves out.
    pub excluded: BTreeSet<&'a HostId>,
}

/// What a search found.
#[derive(Default)]
pub(crate) struct Found {
    /// Row and score, 0 to 1000.
    pub best: Option<(usize, u32)>,
    pub considered: u32,
    pub excluded: BTreeMap<ReasonKind, u32>,
}

impl Search<'_> {
    /// True when any open host with room will do.
    fn is_plain(&self) -> bool {
        only_room_counts(self.rules, self.bounds) && self.excluded.is_empty() && self.only_zone.is_none()
    }

    /// The best host, or none; then, when asked to `count`, with how many hosts each rule excluded.
    ///
    /// Reads the most promising block first and skips those that can't hold a better host; with `pack` a block says
    /// nothing about its fullest host, so all that have room are read. Rules are asked only of a host that would be the
    /// best so far.
    pub fn run(&self, count: bool) -> Found {
        let need = dims(self.need);
        let plain = self.is_plain();
        let mut best: Option<(usize, u32)> = None;
        let first = if self.pack { None } else { self.most_promising(need) };
        if let Some(block) = first {
            self.scan_block(block, need, plain, &mut best);
        }
        for (block, summary) in self.table.blocks.iter().enumerate() {
            let Some(bound) = summary.bound(need) else { continue };
            let hopeless =
                best.is_some_and(|(at, most)| bound < most || (bound == most && block > at / BLOCK));
            if Some(block) == first || (!self.pack && hopeless) {
                continue;
            }
            self.scan_block(block, need, plain, &mut best);
        }
        let mut found = Found { considered: self.table.rows.len() as u32, ..Found::default() };
        found.best = best.map(|(at, worth)| (at, milli(worth)));
        match best {
            None if !count => {}
            Some(_) => {}
            None if plain => self.count_states(&mut found),
            None => self.count_each(&mut found),
        }
        found
    }

    /// Larger is better: the share that stays free, or under `pack` how full it gets; none when it doesn't fit.
    fn worth(&self, row: &Row, need: Dims) -> Option<u32> {
        if self.pack { row.filled(need) } else { row.left(need) }
    }

    fn row(&self, at: usize, next_reserved: &mut usize) -> Row {
        let mut row = self.table.rows[at];
        while let Some((reserved, amount)) = self.reserved.get(*next_reserved) {
            if *reserved > at {
                break;
            }
            if *reserved == at {
                for (free, taken) in row.free.iter_mut().zip(amount) {
                    *free = free.saturating_sub(*taken);
                }
                row.idle = false;
            }
            *next_reserved += 1;
        }
        row
    }

    fn most_promising(&self, need: Dims) -> Option<usize> {
        let mut first: Option<(u32, usize)> = None;
        for (block, summary) in self.table.blocks.iter().enumerate() {
            let Some(bound) = summary.bound(need) else { continue };
            if first.is_none_or(|(most, _)| bound > most) {
                first = Some((bound, block));
            }
        }
        first.map(|(_, block)| block)
    }

    fn scan_block(&self, block: usize, need: Dims, plain: bool, best: &mut Option<(usize, u32)>) {
        let start = block * BLOCK;
        let mut next_reserved = self.reserved.partition_point(|(row, _)| *row < start);
        for at in start..self.table.rows.len().min(start + BLOCK) {
            let row =
                if self.reserved.is_empty() { self.table.rows[at] } else { self.row(at, &mut next_reserved) };
            if row.state != RowState::Open {
                continue;
            }
            let Some(worth) = self.worth(&row, need) else { continue };
            let better = best.is_none_or(|(other, most)| worth > most || (worth == most && at < other));
            if better && (plain || self.check(at, &row).is_ok()) {
                *best = Some((at, worth));
            }
        }
    }

    fn count_states(&self, found: &mut Found) {
        for (state, count) in
            [RowState::Open, RowState::Closed, RowState::Lost].into_iter().zip(self.table.counts)
        {
            if count > 0 {
                found.excluded.insert(state_reason(state), count);
            }
        }
    }

    /// The host that no rule excludes and that has the largest share of everything in `need`, with what it has free.
    pub fn closest(&self, need: Amount) -> Option<(u64, Amount, usize)> {
        let mut best: Option<(u64, Amount, usize)> = None;
        for (block, summary) in self.table.blocks.iter().enumerate() {
            if best.is_some_and(|(share, ..)| nearness(amount(summary.most), need) <= share) {
                continue;
            }
            let start = block * BLOCK;
            let mut next_reserved = self.reserved.partition_point(|(row, _)| *row < start);
            for at in start..self.table.rows.len().min(start + BLOCK) {
                let row = self.row(at, &mut next_reserved);
                let share = nearness(amount(row.free), need);
                if best.is_none_or(|(most, ..)| share > most) && self.check(at, &row).is_ok() {
                    best = Some((share, amount(row.free), at));
                }
            }
        }
        best
    }

    fn count_each(&self, found: &mut Found) {
        let mut next_reserved = 0;
        for at in 0..self.table.rows.len() {
            let row = self.row(at, &mut next_reserved);
            if let Err(kind) = self.check(at, &row) {
                *found.excluded.entry(kind).or_default() += 1;
            }
        }
    }

    fn check(&self, at: usize, row: &Row) -> Result<u32, ReasonKind> {
        if row.state != RowState::Open {
            return Err(state_reason(row.state));
        }
        let (host, zone) = &self.table.hosts[at];
        let rules = self.rules;
        if self.excluded.contains(host) {
            return Err(ReasonKind::HostClosed);
        }
        if self.only_zone.is_some_and(|only| only != zone) {
            return Err(ReasonKind::Zone);
        }
        if !rules.zones.is_empty() && !rules.zones.contains(zone.as_str()) {
            return Err(ReasonKind::Zone);
        }
        if (!rules.hosts.is_empty() && !rules.hosts.contains(host)) || rules.denied_hosts.contains(host) {
            return Err(ReasonKind::HostRule);
        }
        if !rules.host_labels.is_empty() {
            let labels = self.facts.and_then(|facts| facts.hosts.get(host)).map(|host| &host.facts.labels);
            let carries = |(key, value): (&String, &String)| {
                labels.is_some_and(|labels| labels.get(key) == Some(value))
            };
            if !rules.host_labels.iter().all(carries) {
                return Err(ReasonKind::HostLabel);
            }
        }
        if let Some((kind, _)) = self.bounds.excludes_host(self.region, host, zone) {
            return Err(kind);
        }
        self.worth(row, dims(self.need)).ok_or(ReasonKind::Capacity)
    }

    /// Every host with its verdict, best first.
    pub fn explain(&self) -> Vec<HostVerdict> {
        let (mut next_reserved, need) = (0, dims(self.need));
        let mut verdicts: Vec<HostVerdict> = (0..self.table.rows.len())
            .map(|at| {
                let row = self.row(at, &mut next_reserved);
                let host = self.table.hosts[at].0.clone();
                match self.check(at, &row) {
                    Ok(worth) => HostVerdict {
                        host,
                        excluded: None,
                        score_milli: milli(worth),
                        left_percent: Some(row.left_percent(need)),
                        idle: row.idle,
                    },
                    Err(kind) => HostVerdict {
                        excluded: Some(Reason::new(kind, self.text(kind, at, &row))),
                        host,
                        score_milli: 0,
                        left_percent: None,
                        idle: row.idle,
                    },
                }
            })
            .collect();
        verdicts.sort_by(|a, b| {
            (a.excluded.is_some(), std::cmp::Reverse(a.score_milli), &a.host).cmp(&(
                b.excluded.is_some(),
                std::cmp::Reverse(b.score_milli),
                &b.host,
            ))
        });
        verdicts
    }

    fn text(&self, kind: ReasonKind, at: usize, row: &Row) -> String {
        let (host, zone) = &self.table.hosts[at];
        match kind {
            ReasonKind::Capacity => {
                format!("it needs {}; {} are free", amount_text(self.need), amount_text(amount(row.free)))
            }
            ReasonKind::Zone => format!("it is in zone {zone}"),
            ReasonKind::HostLabel => "it does not carry every required label".to_string(),
            ReasonKind::Affinity | ReasonKind::AntiAffinity => {
                let name = self.bounds.excludes_host(self.region, host, zone).map_or("", |(_, name)| name);
                let how = if kind == ReasonKind::Affinity { "with" } else { "apart from" };
                format!("the VM must be {how} {name}")
            }
            other => other.words().to_string(),
        }
    }
}

/// True when neither the VM's rules nor its relations tell hosts of a region apart.
pub(crate) fn only_room_counts(rules: &Rules, bounds: &Bounds) -> bool {
    rules.zones.is_empty()
        && rules.hosts.is_empty()
        && rules.denied_hosts.is_empty()
        && rules.host_labels.is_empty()
        && bounds.is_empty()
}

fn milli(worth: u32) -> u32 {
    (u64::from(worth) * 1_000 / u64::from(WHOLE)) as u32
}

fn state_reason(state: RowState) -> ReasonKind {
    match state {
        RowState::Open => ReasonKind::Capacity,
        RowState::Closed => ReasonKind::HostClosed,
        RowState::Lost => ReasonKind::HostLost,
    }
}

/// The least share of any dimension that is there, in millionths.
fn nearness(free: Amount, need: Amount) -> u64 {
    let share = |free: u64, need: u64| {
        if need <= free { 1_000_000 } else { free.saturating_mul(1_000_000) / need }
    };
    share(free.vcpus.into(), need.vcpus.into())
        .min(share(free.memory_mib, need.memory_mib))
        .min(share(free.disk_gib, need.disk_gib))
}

pub(crate) fn amount(dims: Dims) -> Amount {
    Amount { vcpus: dims[0], memory_mib: u64::from(dims[1]), disk_gib: u64::from(dims[2]) }
}

pub(crate) fn amount_text(amount: Amount) -> String {
    format!("{} vCPUs, {} MiB, {} GiB", amount.vcpus, amount.memory_mib, amount.disk_gib)
}
