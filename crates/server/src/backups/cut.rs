//! The facts of all groups at one point. `docs/decisions/2026-11-28-backups.md` says why two looks tell that no cause is missing.

use std::time::Duration;

use dwcp_backup::Record;
use dwcp_state::{FEDERATION_GROUP, Facts};
use dwcp_types::{Code, GroupId, Refusal, Revision, Wall};

use crate::handle::{NodeHandle, View, stopping};

/// How often it is looked again while things move between groups, and how long it is waited before.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(250);

/// One group's facts.
#[derive(Clone, Debug)]
pub struct Group {
    /// Which.
    pub group: GroupId,
    /// The region's name, or `federation`.
    pub name: String,
    /// Position in its log.
    pub revision: Revision,
    /// Its snapshot.
    pub bytes: Vec<u8>,
}

/// The facts of all groups at one point.
#[derive(Clone, Debug)]
pub struct Cut {
    /// When it was looked at.
    pub at: Wall,
    /// The groups, by number.
    pub groups: Vec<Group>,
}

fn look(view: &View<'_>) -> (Cut, Vec<u8>) {
    let facts = view.node.facts();
    let mut groups = vec![(FEDERATION_GROUP, "federation".to_owned())];
    groups.extend(view.node.regions().iter().map(|(group, name)| (*group, name.to_string())));
    let groups = groups.into_iter().map(|(group, name)| Group {
        group,
        name,
        revision: facts.revision(group),
        bytes: facts.snapshot(group),
    });
    (Cut { at: view.now.wall, groups: groups.collect() }, facts.crossing())
}

/// Takes the facts.
///
/// # Errors
/// A group's facts are not known to be current, or too much moved between groups all the time.
pub async fn take(node: &NodeHandle) -> Result<Cut, Refusal> {
    node.barrier().await?;
    for _ in 0..TRIES {
        let (cut, before) = node.look(look).await.ok_or_else(stopping)?;
        // Everything that the look shows was caused by what was committed by now.
        node.barrier().await?;
        let after = node.look(|view| view.node.facts().crossing()).await.ok_or_else(stopping)?;
        if before == after {
            return Ok(cut);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Refusal::new(Code::Overloaded, "no point was found at which all groups can be backed up together")
        .because(format!(
            "{TRIES} times, VMs or their copies moved between regions while they were looked at"
        ))
        .then("it is tried again when the next backup is due"))
}

impl Cut {
    /// The facts as records, sorted. A snapshot that can't be read is a bug and shows as such: the node has just made it.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.groups.iter().flat_map(|group| {
            let facts = Facts::of_snapshot(group.group == FEDERATION_GROUP, &group.bytes);
            let facts = facts.expect("a snapshot that was made here");
            facts.into_pieces().into_iter().map(|piece| Record {
                group: group.group,
                key: piece.name.into_bytes(),
                value: piece.bytes,
            })
        })
    }
}
