//! Guide 10.2: a region is down.

use super::{carry_out, printed, split};
use crate::Exit;
use crate::commands::{Ended, confirmed};
use crate::failure::Failure;
use crate::session::Session;
use crate::typed::EmergencyFailover;

/// What an end of a step means for the next ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goes {
    /// They follow, but for a failure.
    OnWhenDone,
    /// They follow whatever it was: it only shows.
    On,
    /// They follow only when the region is found to be down.
    OnWhenDown,
}

struct Step {
    title: &'static str,
    /// Words of `dwcp-cli`; `{region}` and the like are filled in.
    words: &'static str,
    goes: Goes,
}

/// The step that disables the region.
const DISABLES: usize = 1;

/// Guide 10.2.
const EMERGENCY_FAILOVER: [Step; 6] = [
    Step {
        title: "verify that the region is truly down",
        words: "federation region health-check --region {region}",
        goes: Goes::OnWhenDown,
    },
    Step {
        title: "disable the failed region",
        words: "federation region disable --region {region}",
        goes: Goes::OnWhenDone,
    },
    Step {
        title: "fail it over",
        words: "federation failover --from-region {region} --to-regions {to} --priority critical --max-time {max_time}",
        goes: Goes::On,
    },
    Step { title: "see how the failover went", words: "federation failover status", goes: Goes::On },
    Step {
        title: "verify that no VM is left there",
        words: "federation region vm-count --region {region}",
        goes: Goes::On,
    },
    Step {
        title: "verify that the services answer",
        words: "federation vm health-check --all",
        goes: Goes::On,
    },
];

/// What is left to people.
const BY_HAND: [&str; 3] = [
    "notify stakeholders, and update the status page",
    "keep the region's logs for the root cause analysis",
    "open an incident",
];

fn filled(words: &str, wanted: &EmergencyFailover) -> String {
    let to = if wanted.to_regions.0.is_empty() { "all".to_owned() } else { wanted.to_regions.0.join(",") };
    words.replace("{region}", &wanted.region).replace("{to}", &to).replace("{max_time}", &wanted.max_time)
}

pub fn run(session: &Session, wanted: &EmergencyFailover) -> Ended {
    if session.global.dry_run {
        for (number, step) in EMERGENCY_FAILOVER.iter().enumerate() {
            let line = filled(step.words, wanted);
            crate::print_quietly(&format!("{}. {}\n   dwcp-cli {line}\n", number + 1, step.title));
        }
        return Ok(Exit::Done);
    }
    let mut worst = Exit::Done;
    for (number, step) in EMERGENCY_FAILOVER.iter().enumerate() {
        let line = filled(step.words, wanted);
        crate::print_quietly(&format!("== {}. {}\n$ dwcp-cli {line}\n", number + 1, step.title));
        let exit = printed(session, carry_out(session, &split(&line)));
        match (step.goes, exit) {
            (Goes::OnWhenDown, Exit::Done) => still_there(session, wanted)?,
            (Goes::OnWhenDown | Goes::On, Exit::Failed | Exit::Partly | Exit::Unreachable | Exit::Done) => {}
            (Goes::OnWhenDone, Exit::Done) => {}
            (_, exit) => {
                if number > DISABLES {
                    crate::print_quietly(&format!(
                        "== stopped: {region} is disabled and not failed over; once it serves again:\n     dwcp-cli federation region enable --region {region}\n",
                        region = wanted.region
                    ));
                }
                return Ok(exit);
            }
        }
        if step.goes != Goes::OnWhenDown && exit != Exit::Done {
            worst = Exit::Partly;
        }
    }
    for step in BY_HAND {
        crate::print_quietly(&format!("by hand: {step}\n"));
    }
    Ok(worst)
}

/// A region that answers is not failed over unless somebody means it.
fn still_there(session: &Session, wanted: &EmergencyFailover) -> Result<(), Failure> {
    let again = format!("dwcp-cli runbook run emergency-failover --region {}", wanted.region);
    confirmed(session, &format!("{} is healthy", wanted.region), &again)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::typed::{Typed, Words};

    #[test]
    fn every_step_is_a_command_that_can_be_typed() {
        let wanted = EmergencyFailover {
            region: "us-east-1".into(),
            to_regions: Words(vec!["eu-west-1".into(), "ap-south-1".into()]),
            max_time: "30s".into(),
        };
        for step in EMERGENCY_FAILOVER {
            let line = filled(step.words, &wanted);
            assert!(!line.contains('{'), "{line}");
            let words = std::iter::once("dwcp-cli").chain(line.split(' '));
            assert!(Typed::try_parse_from(words).is_ok(), "{line}");
        }
    }
}
