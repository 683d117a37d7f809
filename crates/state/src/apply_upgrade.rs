//! Applies levels that come into force, releases, and what begins, becomes of and ends an upgrade.

use dwcp_types::{Code, OperationId, Refusal, is_sha256};

use crate::apply_core::unknown_region;
use crate::apply_region::{Applied, Stamp, end_operation};
use crate::command::Receipt;
use crate::{Core, Operation, OperationKind, OperationState, Release, Severity, Upgrade, UpgradeStep};

/// Upgrades that ended and are kept.
const UPGRADES_KEPT: usize = 50;

impl Core {
    /// Upgrades, in the order of their ids.
    pub fn upgrades(&self) -> impl Iterator<Item = (&Operation, &Upgrade)> {
        self.operations.values().filter_map(|operation| match &operation.kind {
            OperationKind::Upgrade(upgrade) => Some((operation, &**upgrade)),
            _ => None,
        })
    }

    /// The upgrade that is going on.
    pub fn running_upgrade(&self) -> Option<(&Operation, &Upgrade)> {
        self.upgrades().find(|(operation, _)| operation.state == OperationState::Running)
    }

    pub(crate) fn raise_level(&mut self, level: u64, stamp: &Stamp<'_>) -> Applied {
        if level <= self.level {
            return Ok(Receipt::default());
        }
        // A region that is about to go back to its program before this one could not.
        if let Some((operation, _)) = self.running_upgrade() {
            let what = format!("{} is going on: the level stays {}", operation.title, self.level);
            return Err(Refusal::new(Code::WrongState, what));
        }
        let text = format!("level {level} is in force: every region's program knows it");
        let event = stamp.event(Severity::Info, "federation.level_raised", "federation", text);
        self.ledger.note(event.changing(self.level, level));
        self.level = level;
        Ok(Receipt::default())
    }

    pub(crate) fn publish_release(&mut self, asked: &Release, stamp: &Stamp<'_>) -> Applied {
        let bad = |why: &str| Err(Refusal::new(Code::BadValue, "that is no release").because(why));
        if !is_version(&asked.version) {
            return bad("a version is letters, digits, dots and hyphens, at most 32");
        }
        if !is_sha256(&asked.sha256) || asked.bytes == 0 || asked.bytes > Release::LARGEST {
            return bad("its digest or its size can't be");
        }
        if let Some(known) = self.releases.get(&asked.version) {
            if known.sha256 == asked.sha256 && known.level == asked.level {
                return Ok(Receipt::default());
            }
            let what = format!("version {} is published already, with other bytes", asked.version);
            return Err(Refusal::new(Code::WrongState, what).then("nothing was changed"));
        }
        let release = Release {
            by: stamp.envelope.by.clone(),
            at: stamp.envelope.at,
            revision: stamp.revision,
            ..asked.clone()
        };
        let text = format!(
            "version {} is published: level {}, {} MiB, {}{}",
            release.version,
            release.level,
            release.bytes.div_ceil(1 << 20),
            &release.sha256[..12],
            stamp.because()
        );
        self.ledger.note(stamp.event(Severity::Info, "release.published", &release.version, text));
        self.releases.insert(release.version.clone(), release);
        let in_use = self.running_upgrade().map(|(_, upgrade)| upgrade.version.clone());
        while self.releases.len() > Release::KEPT {
            let others = self.releases.values().filter(|of| in_use.as_ref() != Some(&of.version));
            let Some(oldest) = others.min_by_key(|of| of.revision).map(|of| of.version.clone()) else {
                break;
            };
            self.releases.remove(&oldest);
        }
        Ok(Receipt::default())
    }

    /// Whether a region may be upgraded to a version, as far as these facts say.
    ///
    /// # Errors
    /// Says why not: no such region or release, levels too far apart, or something that is going on.
    pub fn may_upgrade(&self, upgrade: &Upgrade) -> Result<(), Refusal> {
        let refused = |code, what: String| Err(Refusal::new(code, what).then("nothing was changed"));
        if !self.regions.contains_key(&upgrade.region) {
            return Err(unknown_region(&upgrade.region));
        }
        let Some(release) = self.releases.get(&upgrade.version) else {
            return Err(Refusal::new(
                Code::UnknownVersion,
                format!("no version {} is published", upgrade.version),
            )
            .then("nothing was changed")
            .try_this("dwcp-cli federation release list"));
        };
        if release.level < self.level {
            let what = format!(
                "version {} knows level {} only; level {} is in force, and what was written since can't be read by it",
                release.version, release.level, self.level
            );
            return refused(Code::WrongState, what);
        }
        if release.level > self.level.max(1) + 1 {
            let what = format!(
                "version {} knows level {}; level {} is in force, and programs one level apart work together",
                release.version, release.level, self.level
            );
            return refused(Code::WrongState, what);
        }
        if let Some((failover, _)) =
            self.failovers.iter().find(|(_, failover)| failover.state == crate::FailoverState::Running)
        {
            return refused(Code::WrongState, format!("{failover} is going on"));
        }
        if let Some((running, _)) = self.running_sync() {
            return refused(Code::WrongState, format!("{} is going on", running.title));
        }
        Ok(())
    }

    pub(crate) fn begin_upgrade(&mut self, asked: &Operation, stamp: &Stamp<'_>) -> Applied {
        let OperationKind::Upgrade(upgrade) = &asked.kind else {
            return Err(Refusal::new(Code::WrongState, "this is no upgrade"));
        };
        if let Some((running, of)) = self.running_upgrade() {
            if (&of.region, &of.version) == (&upgrade.region, &upgrade.version) {
                return Ok(Receipt { operation: Some(running.id), ..Receipt::default() });
            }
            let what = format!("{} is going on; regions are upgraded one at a time", running.title);
            return Err(Refusal::new(Code::WrongState, what)
                .try_this(format!("dwcp-cli operation watch {}", running.id)));
        }
        self.may_upgrade(upgrade)?;
        let operation = Operation { revision: stamp.revision, ..asked.clone() };
        let text = format!("{} begins{}", operation.title, stamp.because());
        self.ledger.note(stamp.event(Severity::Warning, "region.upgrade_started", &upgrade.region, text));
        let id = operation.id;
        self.operations.insert(id, operation);
        let mut ended: Vec<_> = self
            .upgrades()
            .filter(|(operation, _)| operation.state != OperationState::Running)
            .map(|(operation, _)| (operation.ended_at, operation.id))
            .collect();
        ended.sort_unstable();
        let excess = ended.len().saturating_sub(UPGRADES_KEPT);
        for (_, id) in ended.into_iter().take(excess) {
            self.operations.remove(&id);
        }
        Ok(Receipt { operation: Some(id), ..Receipt::default() })
    }

    /// The region's node may go over to the program.
    pub(crate) fn switch_upgrade(&mut self, id: OperationId, stamp: &Stamp<'_>) -> Applied {
        let operation = self.operations.get_mut(&id).filter(|of| of.state == OperationState::Running);
        let Some(Operation { kind: OperationKind::Upgrade(upgrade), .. }) = operation else {
            return Err(Refusal::new(Code::WrongState, format!("{id} is no upgrade that is going on")));
        };
        if upgrade.step == UpgradeStep::Fetching {
            upgrade.step = UpgradeStep::Switching;
            upgrade.since = stamp.envelope.at;
            let (region, version) = (upgrade.region.clone(), upgrade.version.clone());
            let text = format!("{region} goes over to version {version}");
            self.ledger.note(stamp.event(Severity::Info, "region.upgrade_step", region, text));
        }
        Ok(Receipt { operation: Some(id), ..Receipt::default() })
    }

    pub(crate) fn end_upgrade(
        &mut self,
        id: OperationId,
        (state, result): &(OperationState, String),
        stamp: &Stamp<'_>,
    ) -> Applied {
        let Some((operation, upgrade)) = self.upgrades().find(|(operation, _)| operation.id == id) else {
            return Err(Refusal::new(Code::UnknownOperation, format!("no upgrade {id}")));
        };
        if operation.state == OperationState::Running {
            if *state == OperationState::Cancelled && upgrade.step == UpgradeStep::Switching {
                let what = format!("{} has begun to go over: it ends by itself", upgrade.region);
                return Err(
                    Refusal::new(Code::WrongState, what).then("a program that does not work is rolled back")
                );
            }
            let severity = if *state == OperationState::Done { Severity::Info } else { Severity::Warning };
            let text = format!("{} ended: {result}", operation.title);
            self.ledger.note(stamp.event(severity, "region.upgrade_ended", &upgrade.region, text));
        }
        end_operation(self.operations.get_mut(&id), *state, result, stamp)?;
        Ok(Receipt { operation: Some(id), ..Receipt::default() })
    }
}

fn is_version(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(plain)
}
