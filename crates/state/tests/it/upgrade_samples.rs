//! Samples of what is said of programs.

use dwcp_state::*;
use dwcp_types::*;

pub fn release() -> Release {
    Release {
        version: "3.2.0".into(),
        level: 2,
        sha256: "ab".repeat(32),
        bytes: 9,
        platform: "x86_64-linux".into(),
        key: "cd".repeat(32),
        signature: "ef".repeat(64),
        by: "ann".into(),
        at: Wall(5),
        revision: Revision(9),
    }
}

pub fn commands() -> Vec<Command> {
    let upgrade = Upgrade {
        region: "a".into(),
        version: "3.2.0".into(),
        sha256: release().sha256,
        before: "3.1.0".into(),
        step: UpgradeStep::Switching,
        since: Wall(6),
    };
    let kind = OperationKind::Upgrade(Box::new(upgrade));
    let operation =
        Operation { id: OperationId(8), kind, title: "upgrade of a".into(), ..Operation::default() };
    vec![
        Command::RaiseLevel(2),
        Command::PublishRelease(Box::new(release())),
        Command::BeginUpgrade(Box::new(operation)),
        Command::SwitchUpgrade(OperationId(8)),
        Command::EndUpgrade((OperationId(8), (OperationState::Done, "a runs 3.2.0".into()))),
    ]
}
