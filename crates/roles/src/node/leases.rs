//! Leases: who may run VMs, and when it is certain that nobody does.
//!
//! A grant is given only after a read-index round that began after the renewal arrived: a majority confirmed, after the
//! agent had sent its renewal, that this node still leads. The agent counts from before it sent. So a lease given by an
//! earlier leader ends at most `lease` after the last moment at which some member of every majority answered that leader,
//! and each node knows its own such moment ([`dwcp_consensus::MultiRaft::older_leader_ack_age_us`], never longer ago than
//! the first leader that it knew since its start). A takeover therefore waits until the lease, with the worst clock drift, has passed since
//! * this node's own last grant, and
//! * for a majority of voters, their last answer to an older leader, or since they first knew one.
//!
//! The second also covers leases that an agent kept by itself because a majority of voters were proven not to run, or to have
//! known no leader yet: any majority holds one of them, and what it says counts from after the proof.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_consensus::Input as RaftInput;
use dwcp_state::HostStanding;
use dwcp_types::{CLOCK_DRIFT_PERCENT, GroupId, HostId, Mono};

use super::intents::DatedIntents;
use super::{HostSession, Node};
use crate::protocol::{ControllerMessage, Grant, Hello, HelperKind, Renew, asked_by};

/// Between the end of a lease and the moment the watchdog has stopped the VMs, ms.
const FENCE_SLACK_MS: u64 = 150;
/// A read index without an answer is asked for again, ms.
const READ_RETRY_MS: u64 = 1_500;

/// Renewals of a group, and the round that will confirm them.
#[derive(Clone, Debug, Default)]
struct Round {
    /// Renewals that arrived after the round began.
    next: BTreeMap<HostId, u64>,
    /// Renewals that the round confirms.
    asked: BTreeMap<HostId, u64>,
    /// The round's ticket and when it began.
    ticket: Option<(u64, Mono)>,
}

/// Hosts and leases of every group this node leads or has led.
#[derive(Default)]
pub(super) struct Leases {
    /// Hosts, by group.
    pub(super) hosts: BTreeMap<(GroupId, HostId), HostSession>,
    /// When this process last granted a lease; kept when leadership goes and comes.
    granted: BTreeMap<(GroupId, HostId), Mono>,
    /// The intents of each host.
    pub(super) intents: BTreeMap<(GroupId, HostId), DatedIntents>,
    /// What was last proposed about each VM, so that it is not proposed at every renewal.
    pub(super) concluded: BTreeMap<dwcp_types::VmId, (dwcp_state::Observed, Mono)>,
    rounds: BTreeMap<GroupId, Round>,
    next_ticket: u64,
}

impl Leases {
    /// When this process last granted a host its lease.
    pub(super) fn granted_at(&self, host: &(GroupId, HostId)) -> Option<Mono> {
        self.granted.get(host).copied()
    }

    pub(super) fn leader_changed(&mut self, group: GroupId, _now: Mono) {
        self.hosts.retain(|(of, _), _| *of != group);
        self.intents.retain(|(of, _), _| *of != group);
        self.rounds.remove(&group);
    }
}

impl Node {
    pub(super) fn take_renew(&mut self, group: GroupId, host: &HostId, renew: Renew) {
        let key = (group, host.clone());
        if let Some(session) = self.leases.hosts.get_mut(&key) {
            session.acted = (renew.term, renew.revision);
            session.usage = renew.usage.or(session.usage);
            if renew.images.is_some() {
                session.images = renew.images;
            }
            for (kind, said) in
                [(HelperKind::Controller, renew.controllers), (HelperKind::Router, renew.routers)]
            {
                if let Some(said) = said {
                    session.helpers.entry(kind).or_default().said = said;
                }
            }
            if let Some(hosting) = renew.hosting {
                session.hosting = hosting;
            }
            session.reports = renew.vms.iter().map(|report| (report.vm, report.clone())).collect();
        }
        self.leases.rounds.entry(group).or_default().next.insert(host.clone(), renew.seq);
        self.begin_round(group);
        if !self.serves(group, host) {
            return;
        }
        self.conclude_reports(group, host);
        self.conclude_guards(group, host);
        self.conclude_damages(group, host, renew.damages);
        self.resend_intents(group, host);
    }

    fn begin_round(&mut self, group: GroupId) {
        let now = self.now.mono;
        let round = self.leases.rounds.entry(group).or_default();
        let busy = round.ticket.is_some_and(|(_, since)| now < since.plus_ms(READ_RETRY_MS));
        if busy || round.next.is_empty() {
            return;
        }
        self.leases.next_ticket += 1;
        let ticket = self.leases.next_ticket;
        round.asked = std::mem::take(&mut round.next);
        round.ticket = Some((ticket, now));
        self.inbox.push_back(RaftInput::ReadIndex { group, ticket: LEASE_TICKET | ticket });
    }

    pub(super) fn read_ready(&mut self, group: GroupId, ticket: u64, as_leader: Option<u64>) {
        if ticket & LEASE_TICKET == 0 {
            self.barrier_passed(ticket);
            return;
        }
        let ticket = ticket & !LEASE_TICKET;
        let Some(round) = self.leases.rounds.get_mut(&group) else { return };
        if round.ticket.is_none_or(|(open, _)| open != ticket) {
            return;
        }
        round.ticket = None;
        let asked = std::mem::take(&mut round.asked);
        if as_leader.is_some() && self.leads(group) {
            for (host, seq) in asked {
                self.grant(group, &host, seq);
            }
        }
        self.begin_round(group);
    }

    pub(super) fn read_dropped(&mut self, group: GroupId, ticket: u64) {
        if ticket & LEASE_TICKET == 0 {
            self.barrier_failed(ticket);
            return;
        }
        if let Some(round) = self.leases.rounds.get_mut(&group) {
            if round.ticket.is_some_and(|(open, _)| open == ticket & !LEASE_TICKET) {
                round.ticket = None;
            }
        }
        self.begin_round(group);
    }

    /// Grants a lease when the facts at this very moment allow it.
    fn grant(&mut self, group: GroupId, host: &HostId, seq: u64) {
        let Some(region) = self.facts.region_of(group) else { return };
        let facts = &self.facts.regions[region];
        let Some(known) = facts.hosts.get(host) else { return };
        let Some(session) = self.leases.hosts.get(&(group, host.clone())) else { return };
        let introduced =
            |hello: &Hello| hello.incarnation == known.facts.incarnation && asked_by(hello.incarnation, seq);
        let same = session.hello.as_ref().is_some_and(introduced);
        if facts.evacuation.is_some() || known.standing != HostStanding::Up || !same {
            return;
        }
        if !facts.serves(host) {
            let term = self.raft.status(group).map_or(0, |status| status.term);
            if self.does_not_count(group, host) {
                // It is asked what it has, and nothing is prolonged: no renewal of it is answered.
                return self.hold_host(group, host, Grant { seq: u64::MAX, term, ..self.length(group) });
            }
            self.leases.granted.insert((group, host.clone()), self.now.mono);
            self.hold_host(group, host, Grant { seq, term, ..self.length(group) });
            return;
        }
        // The grant names the intents as they are at this very moment: a lease must not revive what has left since.
        self.refresh_intents(group, host);
        let Some((term, revision)) = self.leases.place_of(group, host) else { return };
        let grant = Grant { seq, term, revision, ..self.length(group) };
        self.leases.granted.insert((group, host.clone()), self.now.mono);
        self.tell_host(group, host, &ControllerMessage::Grant(grant));
    }

    /// What every grant of a group says now: its length, and who votes.
    fn length(&self, group: GroupId) -> Grant {
        let voters = self.raft.status(group).map_or_else(Vec::new, |status| status.voters);
        Grant { lease_ms: self.config.lease_ms, voters, joining: self.joining(group), ..Grant::default() }
    }

    /// True when no lease can hold any more that another leader of the group gave, or that was kept without one.
    pub(super) fn no_older_lease(&self, group: GroupId) -> bool {
        self.leads(group) && self.older_leases_ended(group, self.fence_ms())
    }

    /// How long a lease given now may let VMs run, with drift and slack, ms.
    pub(super) fn fence_ms(&self) -> u64 {
        #[cfg(feature = "mutations")]
        if self.config.mutation == Some(super::Mutation::SkipLeaseWait) {
            return 0;
        }
        self.config.lease_ms + self.config.lease_ms * CLOCK_DRIFT_PERCENT / 100 + FENCE_SLACK_MS
    }

    /// True when no lease of this host (or of any host of the group) can still hold. The caller has made sure that no new
    /// one is given: the host is lost, or the region is being evacuated, in the facts applied here.
    pub(super) fn is_fenced(&self, group: GroupId, host: Option<&HostId>) -> bool {
        let fence_ms = self.fence_ms();
        let own = self
            .leases
            .granted
            .iter()
            .filter(|((of, name), _)| *of == group && host.is_none_or(|host| host == name))
            .all(|(_, granted)| self.now.mono.ms_since(*granted) >= fence_ms);
        own && self.leads(group) && self.older_leases_ended(group, fence_ms)
    }

    /// What a takeover is waiting for, for the log.
    pub(super) fn fence_report(&self, group: GroupId) -> String {
        let granted = self.leases.granted.iter().filter(|((of, _), _)| *of == group);
        let own = granted.map(|(_, at)| self.now.mono.ms_since(*at)).min();
        let term = self.raft.status(group).map_or(0, |status| status.term);
        let others: Vec<String> = self
            .raft
            .status(group)
            .map_or_else(Vec::new, |status| status.voters)
            .iter()
            .map(|voter| {
                match self.beats.older_leader_ack_age_us(*voter, group, (term, self.config.me), self.now.mono)
                {
                    Some(age_us) => format!("{voter}: {} ms", age_us / 1_000),
                    None => format!("{voter}: unknown"),
                }
            })
            .collect();
        let own = own.map_or("none".to_string(), |ms| format!("{ms} ms ago"));
        format!("own last grant {own}; last answer to an older leader: {}", others.join(", "))
    }

    fn older_leases_ended(&self, group: GroupId, fence_ms: u64) -> bool {
        let Some(status) = self.raft.status(group) else { return false };
        let voters: BTreeSet<u64> = status.voters.iter().copied().collect();
        let ended = voters
            .iter()
            .filter(|voter| {
                let age_us = if **voter == self.config.me {
                    self.raft.older_leader_ack_age_us(group, self.now.mono.0)
                } else {
                    self.beats.older_leader_ack_age_us(
                        **voter,
                        group,
                        (status.term, self.config.me),
                        self.now.mono,
                    )
                };
                age_us.is_some_and(|age_us| age_us / 1_000 >= fence_ms)
            })
            .count();
        ended * 2 > voters.len()
    }
}

/// Marks read-index tickets of lease rounds.
pub(super) const LEASE_TICKET: u64 = 1 << 63;
