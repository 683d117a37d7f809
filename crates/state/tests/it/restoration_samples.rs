//! Samples of what is said of a restored control plane.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::*;
use dwcp_types::*;

pub fn restoration() -> Restoration {
    Restoration {
        id: 1_800_000_000_000,
        backup: 12,
        digest: "00ff".into(),
        taken_at: Wall(1_799_999_990_000),
    }
}

fn held() -> Held {
    Held {
        vm: super::vm(),
        want: Some(Want::Stopped),
        runs: true,
        left: true,
        arriving: Some(Arriving { from: "b".into(), host: "h9".into(), whole: true }),
    }
}

pub fn adoption() -> Adoption {
    Adoption {
        restoration: 1_800_000_000_000,
        found: BTreeMap::from([("h1".into(), vec![held()])]),
        late: BTreeMap::from([("h2".into(), vec![held()])]),
        written_off: BTreeSet::from(["h3".into()]),
        closed: true,
        done_at: Some(Wall(9)),
        given: BTreeMap::from([(VmId(1), super::vm())]),
        missing: BTreeMap::from([(VmId(2), super::vm())]),
        adopted: BTreeMap::from([
            (VmId(3), AdoptedAs::Unchanged),
            (VmId(4), AdoptedAs::Changed("moved".into())),
            (VmId(5), AdoptedAs::Unknown),
            (VmId(6), AdoptedAs::WithLostHost),
        ]),
    }
}

pub fn adoption_commands() -> Vec<Command> {
    let adopted = AdoptedVm { vm: super::vm(), how: AdoptedAs::Changed("moved".into()) };
    vec![
        Command::NoteHeld(("h1".into(), vec![held()])),
        Command::WriteOffHost("h3".into()),
        Command::CloseInventory,
        Command::Adopt(vec![
            Adopting::Place(Box::new(adopted)),
            Adopting::Give((VmId(1), "b".into())),
            Adopting::Miss(VmId(2)),
        ]),
        Command::FinishAdoption,
        Command::SettleLate(vec!["h2".into()]),
        Command::TidyAdoption,
        Command::DecideMissing(MissingChoice { vm: VmId(2), start: Some("h1".into()) }),
    ]
}
