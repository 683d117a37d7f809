//! The byte forms of what goes into a node. A tag is never used again for another meaning.

use dwcp_types::codec::{Reader, Writer};
use dwcp_types::{DecodeError, Wire, wire_enum, wire_struct};

use crate::node::{Asked, Change, CreateVm, FailoverRequest, Input, MigrateRequest, NodeConfig, Request};

wire_struct!(NodeConfig {
    1 me, 2 region, 3 regions, 4 voters, 5 version, 6 seed, 7 lease_ms, 8 beat_ms, 9 commit_timeout_ms, 10 host_loss_ms,
    11 genesis, 12 consensus, 13 lost, 160 joins, 161 issues, 180 program
});
wire_struct!(Asked { 1 by, 2 key, 3 digest, 4 request_id, 5 expected, 6 reason });
wire_struct!(CreateVm { 1 template, 2 users_in, 3 dry_run, 4 explain, 190 only });
wire_enum!(Change { 1 Start, 2 Stop, 3 Restart, 4 Delete });
wire_struct!(MigrateRequest { 1 from, 2 vms, 3 title });
wire_struct!(FailoverRequest { 1 from, 2 to, 3 min_priority, 4 max_time_ms, 5 partial, 6 dry_run });

/// Writes a choice with what it holds, one after the other.
macro_rules! choice {
    ($w:ident, $tag:literal $(, $part:expr)*) => { $w.field($tag, |_w| { $( $part.put(_w); )* }) };
}

impl Wire for Request {
    fn put(&self, w: &mut Writer) {
        match self {
            Request::CreateVm(asked, create) => choice!(w, 1, asked, create),
            Request::PreviewVms(create, count) => choice!(w, 2, create, count),
            Request::ChangeVm(asked, vm, change) => choice!(w, 3, asked, vm, change),
            Request::ChangeRegion(asked, change) => choice!(w, 4, asked, change),
            Request::SetPolicy(asked, policy) => choice!(w, 5, asked, policy),
            Request::SetFreeze(asked, freeze) => choice!(w, 6, asked, freeze),
            Request::PutToken(asked, token) => choice!(w, 7, asked, token),
            Request::RevokeToken(asked, id) => choice!(w, 8, asked, id),
            Request::Failover(asked, request) => choice!(w, 9, asked, request),
            Request::CancelOperation(asked, id) => choice!(w, 10, asked, id),
            Request::Console(vm, offset) => choice!(w, 11, vm, offset),
            Request::AskRouter(region, text) => choice!(w, 240, region, text),
            Request::Probe(vms) => choice!(w, 12, vms),
            Request::CheckRegion(region) => choice!(w, 13, region),
            Request::Barrier(group) => choice!(w, 14, group),
            Request::Migrate(asked, request) => choice!(w, 15, asked, request),
            Request::Drain(asked, region, drain) => choice!(w, 16, asked, region, drain),
            Request::CancelMigrations(asked, vms) => choice!(w, 17, asked, vms),
            Request::Protect(asked, change) => choice!(w, 20, asked, change),
            Request::ScheduleWindow(asked, window) => choice!(w, 40, asked, window),
            Request::CancelWindow(asked, id) => choice!(w, 41, asked, id),
            Request::BeginDrill(asked, region, mode, 0) => choice!(w, 30, asked, region, mode),
            Request::BeginDrill(asked, region, mode, limit) => choice!(w, 33, asked, region, mode, limit),
            Request::RestoreDrill(asked, id) => choice!(w, 31, asked, id),
            Request::NoteDrill(asked, news) => choice!(w, 32, asked, news),
            Request::PublishImage(asked, name, host) => choice!(w, 130, asked, name, host),
            Request::RemoveImage(asked, name) => choice!(w, 131, asked, name),
            Request::VerifySync(region, within_ms) => choice!(w, 60, region, within_ms),
            Request::ForceSync(asked, source, targets, dry_run) => {
                choice!(w, 61, asked, source, targets, dry_run)
            }
            Request::ConfigureBackups(asked, plan) => choice!(w, 150, asked, plan),
            Request::BeginBackup(asked, run) => choice!(w, 151, asked, run),
            Request::EndBackup(asked, end) => choice!(w, 152, asked, end),
            Request::AddRegion(asked, region) => choice!(w, 160, asked, region),
            Request::ReplicateRegion(asked, region) => choice!(w, 161, asked, region),
            Request::RemoveRegion(asked, region) => choice!(w, 162, asked, region),
            Request::CleanRegion(asked, region) => choice!(w, 163, asked, region),
            Request::ConfigureRegion(asked, settings) => choice!(w, 190, asked, settings),
            Request::SetEndpoint(asked, region, endpoint, there) => {
                choice!(w, 191, asked, region, endpoint, there)
            }
            Request::AnnounceDecommission(asked, region, at) => choice!(w, 192, asked, region, at),
            Request::CancelDecommission(asked, region) => choice!(w, 193, asked, region),
            Request::CheckPool(region, host) => choice!(w, 194, region, host),
            Request::CheckHost(region, host, over_ms, measure) => {
                choice!(w, 220, region, host, over_ms, measure)
            }
            Request::ChangeDocuments(asked, changes) => choice!(w, 230, asked, changes),
            Request::SetControllers(asked, region, count) => choice!(w, 210, asked, region, count),
            Request::SetRouters(asked, region, count) => choice!(w, 250, asked, region, count),
            Request::PublishRelease(asked, release) => choice!(w, 180, asked, release),
            Request::Upgrade(asked, request) => choice!(w, 181, asked, request),
            Request::WriteOffHost(asked, region, host) => choice!(w, 170, asked, region, host),
            Request::DecideMissing(asked, vm, start) => choice!(w, 171, asked, vm, start),
        }
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tag = r.varint()?;
        let r = &mut r.inner()?;
        Ok(match tag {
            1 => Request::CreateVm(Wire::get(r)?, Wire::get(r)?),
            2 => Request::PreviewVms(Wire::get(r)?, Wire::get(r)?),
            3 => Request::ChangeVm(Wire::get(r)?, Wire::get(r)?, Wire::get(r)?),
            4 => Request::ChangeRegion(Wire::get(r)?, Wire::get(r)?),
            5 => Request::SetPolicy(Wire::get(r)?, Wire::get(r)?),
            6 => Request::SetFreeze(Wire::get(r)?, Wire::get(r)?),
            7 => Request::PutToken(Wire::get(r)?, Wire::get(r)?),
            8 => Request::RevokeToken(Wire::get(r)?, Wire::get(r)?),
            9 => Request::Failover(Wire::get(r)?, Wire::get(r)?),
            10 => Request::CancelOperation(Wire::get(r)?, Wire::get(r)?),
            11 => Request::Console(Wire::get(r)?, Wire::get(r)?),
            240 => Request::AskRouter(Wire::get(r)?, Wire::get(r)?),
            12 => Request::Probe(Wire::get(r)?),
            13 => Request::CheckRegion(Wire::get(r)?),
            14 => Request::Barrier(Wire::get(r)?),
            15 => Request::Migrate(Wire::get(r)?, Wire::get(r)?),
            16 => Request::Drain(Wire::get(r)?, Wire::get(r)?, Wire::get(r)?),
            17 => Request::CancelMigrations(Wire::get(r)?, Wire::get(r)?),
            20 => Request::Protect(Wire::get(r)?, Wire::get(r)?),
            40 => Request::ScheduleWindow(Wire::get(r)?, Wire::get(r)?),
            41 => Request::CancelWindow(Wire::get(r)?, Wire::get(r)?),
            30 => Request::BeginDrill(Wire::get(r)?, Wire::get(r)?, Wire::get(r)?, 0),
            33 => Request::BeginDrill(Wire::get(r)?, Wire::get(r)?, Wire::get(r)?, Wire::get(r)?),
            31 => Request::RestoreDrill(Wire::get(r)?, Wire::get(r)?),
            32 => Request::NoteDrill(Wire::get(r)?, Wire::get(r)?),
            130 => Request::PublishImage(Wire::get(r)?, Wire::get(r)?, Wire::get(r)?),
            131 => Request::RemoveImage(Wire::get(r)?, Wire::get(r)?),
            60 => Request::VerifySync(Wire::get(r)?, Wire::get(r)?),
            61 => Request::ForceSync(Wire::get(r)?, Wire::get(r)?, Wire::get(r)?, Wire::get(r)?),
            150 => Request::ConfigureBackups(Wire::get(r)?, Wire::get(r)?),
            151 => Request::BeginBackup(Wire::get(r)?, Wire::get(r)?),
            152 => Request::EndBackup(Wire::get(r)?, Wire::get(r)?),
            160 => Request::AddRegion(Wire::get(r)?, Wire::get(r)?),
            161 => Request::ReplicateRegion(Wire::get(r)?, Wire::get(r)?),
            162 => Request::RemoveRegion(Wire::get(r)?, Wire::get(r)?),
            163 => Request::CleanRegion(Wire::get(r)?, Wire::get(r)?),
            190 => Request::ConfigureRegion(Wire::get(r)?, Wire::get(r)?),
            191 => Request::SetEndpoint(Wire::get(r)?, Wire::get(r)?, Wire::get(r)?, Wire::get(r)?),
            192 => Request::AnnounceDecommission(Wire::get(r)?, Wire::get(r)?, Wire::get(r)?),
            193 => Request::CancelDecommission(Wire::get(r)?, Wire::get(r)?),
            194 => Request::CheckPool(Wire::get(r)?, Wire::get(r)?),
            220 => Request::CheckHost(Wire::get(r)?, Wire::get(r)?, Wire::get(r)?, Wire::get(r)?),
            230 => Request::ChangeDocuments(Wire::get(r)?, Wire::get(r)?),
            210 => Request::SetControllers(Wire::get(r)?, Wire::get(r)?, Wire::get(r)?),
            250 => Request::SetRouters(Wire::get(r)?, Wire::get(r)?, Wire::get(r)?),
            180 => Request::PublishRelease(Wire::get(r)?, Wire::get(r)?),
            181 => Request::Upgrade(Wire::get(r)?, Wire::get(r)?),
            170 => Request::WriteOffHost(Wire::get(r)?, Wire::get(r)?, Wire::get(r)?),
            171 => Request::DecideMissing(Wire::get(r)?, Wire::get(r)?, Wire::get(r)?),
            other => return Err(DecodeError::UnknownTag("a request", other)),
        })
    }
}

impl Wire for Input {
    fn put(&self, w: &mut Writer) {
        let frame = |w: &mut Writer, tag: u64, number: &u64, bytes: &[u8]| {
            w.field(tag, |w| {
                number.put(w);
                w.bytes(bytes);
            });
        };
        match self {
            Input::Wake => choice!(w, 1),
            Input::Mesh { from, bytes } => frame(w, 2, from, bytes),
            Input::Persisted { seq } => choice!(w, 3, seq),
            Input::Links(readings) => choice!(w, 4, readings),
            Input::Measures(measures) => choice!(w, 5, measures),
            Input::AgentUp { session, region, host } => choice!(w, 6, session, region, host),
            Input::AgentFrame { session, bytes } => frame(w, 7, session, bytes),
            Input::AgentDown { session } => choice!(w, 8, session),
            Input::Request { ticket, request } => choice!(w, 9, ticket, request),
            Input::HandOver => choice!(w, 10),
            Input::StoreChecked(check) => choice!(w, 11, check),
            Input::Issued(certified) => choice!(w, 160, certified),
            Input::Program(program) => choice!(w, 180, program),
            Input::ReplicaUp { session, region, host, slot } => choice!(w, 210, session, region, host, slot),
            Input::ReplicaSaid { session, said } => choice!(w, 211, session, said),
            Input::ReplicaDown { session } => choice!(w, 212, session),
        }
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tag = r.varint()?;
        let r = &mut r.inner()?;
        Ok(match tag {
            1 => Input::Wake,
            2 => Input::Mesh { from: r.varint()?, bytes: r.bytes()?.to_vec() },
            3 => Input::Persisted { seq: r.varint()? },
            4 => Input::Links(Wire::get(r)?),
            5 => Input::Measures(Wire::get(r)?),
            6 => Input::AgentUp { session: r.varint()?, region: Wire::get(r)?, host: Wire::get(r)? },
            7 => Input::AgentFrame { session: r.varint()?, bytes: r.bytes()?.to_vec() },
            8 => Input::AgentDown { session: r.varint()? },
            9 => Input::Request { ticket: r.varint()?, request: Wire::get(r)? },
            10 => Input::HandOver,
            11 => Input::StoreChecked(Wire::get(r)?),
            160 => Input::Issued(Wire::get(r)?),
            180 => Input::Program(Wire::get(r)?),
            210 => Input::ReplicaUp {
                session: r.varint()?,
                region: Wire::get(r)?,
                host: Wire::get(r)?,
                slot: Wire::get(r)?,
            },
            211 => Input::ReplicaSaid { session: r.varint()?, said: Wire::get(r)? },
            212 => Input::ReplicaDown { session: r.varint()? },
            other => return Err(DecodeError::UnknownTag("an input", other)),
        })
    }
}

#[cfg(test)]
mod tests {
    use dwcp_types::{decode, encode};

    use super::*;

    // Every field is named, so that a new one is missed here before it is missed in a recording.
    #[test]
    fn who_asks_and_how_the_consensus_is_set_comes_back_with_every_field() {
        let asked = Asked {
            by: "ops".into(),
            key: Some("k".into()),
            digest: 9,
            request_id: "req_1".into(),
            expected: Some(dwcp_types::Revision(7)),
            reason: "fire".into(),
        };
        assert_eq!(format!("{:?}", decode::<Asked>(&encode(&asked)).unwrap()), format!("{asked:?}"));
        let config = dwcp_consensus::Config {
            node: 1,
            seed: 2,
            tick_us: 3,
            heartbeat_ticks: 4,
            election_ticks: 5,
            snapshot_every_entries: 7,
            keep_entries: 8,
            max_inflight_messages: 9,
            max_inflight_bytes: 10,
            max_message_bytes: 11,
            max_proposal_bytes: 12,
            read_timeout_ticks: 13,
            read_retry_ticks: 14,
            snapshot_retry_ticks: 15,
            repair_ticks: 16,
            home_backoff_ticks: 17,
            ack_broadcast: false,
            lease_reads: false,
            #[cfg(feature = "mutations")]
            mutation: None,
        };
        assert_eq!(decode::<dwcp_consensus::Config>(&encode(&config)).unwrap(), config);
    }
}
