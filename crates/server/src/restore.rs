//! `dwcpd restore`: the store of a region's node, made from a backup of all groups when every region's is gone.
//!
//! Nothing is written before every record has been read and checked, and then all at once.

mod difference;

use std::collections::BTreeMap;
use std::path::Path;

use dwcp_backup::Record;
use dwcp_config::region::RegionConfig;
use dwcp_consensus::Disk;
use dwcp_state::{FEDERATION_GROUP, Facts, Piece, Restoration};
use dwcp_types::{GroupId, Refusal, Wall};
use ring::digest::{Context, SHA256};

use crate::backups::place::{Opening, Places, canonical, refusal};
use crate::clock;
use crate::log::Log;
use crate::region::open_store;
use crate::setup;

/// Two machines' clocks may differ by so much, ms.
const CLOCKS_MS: u64 = 86_400_000;

/// How `dwcpd restore` was called.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// The destination that has the backup.
    pub from: String,
    /// Its number; none: the newest.
    pub backup: Option<u64>,
    /// The newest entry that the chain must have; empty: none is known.
    pub expect_head: String,
    /// The restoration that the other regions' nodes belong to; none: this is the first of them.
    pub restoration: Option<u64>,
    /// Only says what would be written, how that differs from the backup, and what is lost.
    pub dry_run: bool,
}

/// A backup, read to its end.
struct Read {
    number: u64,
    at: Wall,
    digest: String,
    facts: BTreeMap<GroupId, Facts>,
}

/// What a restoration loses, whatever the backup. VMs are told one by one once their hosts have been heard.
pub const LOST: [&str; 6] = [
    "everything acknowledged after the backup was taken, but for what hosts have of VMs",
    "disks of VMs that no host has: such a VM starts with a new disk of its image, once somebody says that it is to",
    "idempotency keys used since: a request of that time that is repeated is carried out again",
    "tokens made since; tokens revoked since open doors again: revoke them",
    "settings changed since: policy, images, regions, protection, labels and rules of VMs; regions deployed since",
    "events, operations and failovers since; what was under way in the backup has ended",
];

/// Makes the store, and says what it holds and what is to be typed in the other regions; with `dry_run`, only says so.
///
/// # Errors
/// Says what is wrong with the settings, the backup or the store; nothing was written then.
pub fn restore(path: &Path, options: &RestoreOptions) -> Result<Vec<String>, String> {
    let config = setup::load(path)?;
    let from = canonical(&options.from)?;
    let opening =
        Opening { destination: from.clone(), head: options.expect_head.clone(), ..Opening::default() };
    let read = read(&Places::new(&config), &opening, options.backup).map_err(|refusal| in_lines(&refusal))?;
    let now = clock::wall();
    let restoration = restoration(&config, &read, now, options.restoration)?;
    let mut lines = vec![format!(
        "backup {} of {from}, taken {}, {} before now",
        read.number,
        read.at.utc(),
        in_words(now.ms_since(read.at))
    )];
    lines.push(format!("digest of its records: {}", restoration.digest));
    lines.extend(difference::content(&read.facts));
    let before = read.facts.clone();
    let batch = dwcp_roles::node::restored(read.facts, &restoration)?;
    if options.dry_run {
        lines.extend(difference::lines(before, &restoration));
    } else {
        write(&config, batch)?;
    }
    lines.extend(LOST.iter().map(|what| format!("lost: {what}")));
    let folder = Path::new(&config.data_dir).join("store");
    match options.dry_run {
        true if folder.exists() => lines.push(format!(
            "dry run: nothing was written; {} is there, and must be moved away first",
            folder.display()
        )),
        true => lines.push(format!("dry run: nothing was written; {} would be made", folder.display())),
        false => {
            let (number, id) = (restoration.backup, restoration.id);
            lines.push(format!("restored: {}", folder.display()));
            lines.push(format!("restoration: {id}"));
            lines.push(format!(
                "in every other region, before any node is started: dwcpd restore --config FILE --from {from} \
                 --backup {number} --restoration {id}"
            ));
            lines.push("once they run: dwcp-cli federation restoration status".to_owned());
        }
    }
    Ok(lines)
}

/// The restoration of this backup, if this region can be part of it.
fn restoration(
    config: &RegionConfig,
    read: &Read,
    now: Wall,
    wanted: Option<u64>,
) -> Result<Restoration, String> {
    let Some(Facts::Core(core)) = read.facts.get(&FEDERATION_GROUP) else {
        return Err(format!("backup {} has no facts of the federation", read.number));
    };
    let known = core.regions.get(&config.region.as_str().into()).map(|region| region.number);
    if known != Some(config.number) {
        return Err(format!(
            "backup {} does not know {} as region {}; a region that came in since joins again when the others run",
            read.number, config.region, config.number
        ));
    }
    if now <= read.at {
        return Err(format!("backup {} is of a later time than this machine's clock shows", read.number));
    }
    let id = wanted.unwrap_or(now.0);
    if id <= read.at.0 || id > now.0 + CLOCKS_MS {
        return Err(format!("--restoration {id} is not the number that `dwcpd restore` printed elsewhere"));
    }
    let last = core.restoration.as_ref().map_or(0, |last| last.id);
    if id <= last {
        return Err(format!("restoration {last} is in the backup: another one needs a later number"));
    }
    if core.level > dwcp_types::LEVEL {
        return Err(format!(
            "backup {} is of level {}; this program knows level {} only: take the program of then",
            read.number,
            core.level,
            dwcp_types::LEVEL
        ));
    }
    Ok(Restoration { id, backup: read.number, digest: read.digest.clone(), taken_at: read.at })
}

fn in_words(ms: u64) -> String {
    match ms / 1_000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

fn in_lines(refusal: &Refusal) -> String {
    let causes = refusal.causes.iter().map(|cause| format!("\n  {cause}"));
    std::iter::once(refusal.what.clone()).chain(causes).collect()
}

/// Reads a backup to its end: only then it is known to be whole.
fn read(places: &Places, opening: &Opening, wanted: Option<u64>) -> Result<Read, Refusal> {
    let wrong = |error: dwcp_backup::Error| refusal(&error, &opening.destination);
    let (repository, _) = places.open(opening)?;
    let (backup, records) = repository.restore(wanted).map_err(wrong)?;
    let mut digest = Context::new(&SHA256);
    let mut pieces: BTreeMap<GroupId, Vec<Piece>> = BTreeMap::new();
    for record in records {
        let Record { group, key, value } = record.map_err(wrong)?;
        for part in [&group.to_be_bytes()[..], &key, &value] {
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let name = String::from_utf8_lossy(&key).into_owned();
        pieces.entry(group).or_default().push(Piece { name, bytes: value });
    }
    let facts = pieces.iter().map(|(group, pieces)| {
        let facts = Facts::of_pieces(*group == FEDERATION_GROUP, pieces);
        facts.map(|facts| (*group, facts)).map_err(|error| {
            let what = format!("backup {} can't be read by this version", backup.sequence);
            Refusal::new(dwcp_types::Code::BackupDamaged, what).because(format!("group {group}: {error}"))
        })
    });
    let facts = facts.collect::<Result<_, _>>()?;
    let digest = dwcp_types::hex(digest.finish().as_ref());
    Ok(Read { number: backup.sequence, at: backup.at, digest, facts })
}

fn write(config: &RegionConfig, batch: dwcp_consensus::Batch) -> Result<(), String> {
    let folder = Path::new(&config.data_dir).join("store");
    let (mut store, lost) = open_store(config, &Log::new(&config.region))?;
    // Records of the consensus begin with `r`.
    let holds = store.range(b"r", b"s").next().is_some();
    if holds || lost {
        return Err(format!(
            "{} is the store of a node already, and stays as it is; a restoration of the whole control plane begins with \
             stores that are gone: move it away first",
            folder.display()
        ));
    }
    store.write(&[batch]).map_err(|error| format!("{}: {error}", folder.display()))
}
