//! Consoles of VMs.

use dwcp_api::Problem;
use dwcp_api::vm::{ConsoleText, VmConsole, VmConsoleRequest};
use dwcp_roles::node::{Reply, Request};
use dwcp_types::VmId;

use super::call::{Call, bad_value, unexpected};
use super::names;
use super::routes::Serve;

/// Bytes that are shown when nothing else is said; also the most that a host sends at once.
const PIECE_BYTES: u64 = 64 << 10;
/// Most bytes of one answer.
const MOST_BYTES: u64 = 1 << 20;
/// An offset behind every end: the host answers with where the end is.
const BEHIND_ALL: u64 = u64::MAX >> 1;

async fn read(call: &Call, vm: VmId, offset: u64) -> Result<(Vec<u8>, u64), Problem> {
    match call.ask(Request::Console(vm, offset)).await? {
        Reply::Console { bytes, next_offset } => Ok((bytes, next_offset)),
        other => Err(unexpected(&other)),
    }
}

impl Serve for VmConsole {
    const REPEATS: bool = false;

    async fn answer(call: &Call, request: VmConsoleRequest) -> Result<ConsoleText, Problem> {
        let limit = u64::from(request.limit.unwrap_or(PIECE_BYTES as u32));
        if !(1..=MOST_BYTES).contains(&limit) {
            return Err(bad_value("limit", format!("1 to {MOST_BYTES} bytes")));
        }
        let name = request.vm.clone();
        let vm = call.find(move |view| names::vm(view, &name).map(|found| found.vm.id)).await?;
        let start = match request.offset {
            Some(offset) if offset >= 0 => offset.unsigned_abs(),
            from_end => {
                let (_, end) = read(call, vm, BEHIND_ALL).await?;
                end.saturating_sub(from_end.map_or(PIECE_BYTES, i64::unsigned_abs))
            }
        };
        let mut bytes = Vec::new();
        let mut next_offset = start;
        while (bytes.len() as u64) < limit {
            let (piece, next) = read(call, vm, next_offset).await?;
            let ended = piece.is_empty();
            bytes.extend(piece);
            next_offset = next;
            if ended {
                break;
            }
        }
        let surplus = (bytes.len() as u64).saturating_sub(limit);
        bytes.truncate(limit as usize);
        next_offset -= surplus.min(next_offset);
        Ok(ConsoleText {
            offset: next_offset.saturating_sub(bytes.len() as u64),
            next_offset,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        })
    }

    fn news(before: Option<&ConsoleText>, now: &ConsoleText) -> Option<ConsoleText> {
        (before.is_none() || !now.text.is_empty()).then(|| now.clone())
    }

    fn advance(request: &mut VmConsoleRequest, sent: &ConsoleText) {
        request.offset = i64::try_from(sent.next_offset).ok();
    }
}
