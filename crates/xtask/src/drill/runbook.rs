//! The emergency runbook of the operations guide against a region that was killed: its lines as printed, and as one command.

use super::leaks;
use super::regions::back_elsewhere;
use super::script::{self, Ran};
use super::stage::Stage;
use crate::run::Failure;
use std::time::Duration;

/// Guide 10.2, as printed there, one entry a command; the exit codes it may end with. Two of its lines are left out: the
/// status page at another company, and `watch`, which by its nature never ends; the command under `watch` is run once.
const GUIDE: [(&str, &[i32]); 9] = [
    // Down: exit 1.
    ("dwcp-cli federation region health-check --region us-east-1", &[1]),
    ("dwcp-cli federation region disable --region us-east-1", &[0]),
    (
        "dwcp-cli federation failover \\\n  --from-region us-east-1 \\\n  --to-regions eu-west-1,ap-south-1 \\\n  \
         --priority critical \\\n  --max-time 30s",
        &[0, 7],
    ),
    ("dwcp-cli federation failover status", &[0, 7]),
    ("dwcp-cli federation region vm-count --region us-east-1", &[0]),
    ("dwcp-cli federation vm health-check --all", &[0]),
    (
        "dwcp-cli notification send \\\n  --template region-failover \\\n  --region us-east-1 \\\n  --status completed",
        &REFUSED,
    ),
    (
        "dwcp-cli federation region logs \\\n  --region us-east-1 \\\n  --since 2h \\\n  --output /tmp/us-east-1-failure.log",
        &REFUSED,
    ),
    (
        "dwcp-cli federation monitoring incidents create \\\n  --title \"Region us-east-1 failure\" \\\n  \
         --severity critical \\\n  --status investigating",
        &REFUSED,
    ),
];
/// Not carried out by this version, and said so.
const REFUSED: [i32; 1] = [2];
/// The whole runbook as one command.
const RUNBOOK: &str = "dwcp-cli runbook run emergency-failover --region us-east-1 --to-regions eu-west-1,ap-south-1 --max-time 30s";
/// How many VMs the region has at least.
const VMS: usize = 4;
/// A lost region's VMs answer elsewhere within this.
const PROMISED: Duration = Duration::from_secs(30);
/// No line of a runbook takes longer.
const PATIENCE: Duration = Duration::from_secs(90);

/// Kills a region and types what the guide says, then again with the runbook as one command.
///
/// # Errors
/// Says which line hung or ended otherwise, or what is not as promised afterwards.
pub fn runbook(stage: &Stage) -> Result<(), Failure> {
    let region = stage.regions[0].clone();
    lose(stage, &region, typed)?;
    lose(stage, &region, |stage| {
        let ran = line(stage, RUNBOOK)?;
        if ran.exit == Some(0) { Ok(()) } else { Err(Failure::new("the runbook did not end with exit 0")) }
    })
}

/// Kills the region, does that, and looks that everything is as promised; then brings it back.
fn lose(
    stage: &Stage,
    region: &str,
    types: impl FnOnce(&Stage) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let before = stage.fill(region, VMS)?;
    let cut = stage.kill(region)?;
    types(stage)?;
    back_elsewhere(stage, &before, &[region], (cut, PROMISED))?;
    for (words, wanted) in [
        (format!("dwcp-cli federation region vm-count --region {region}"), "0"),
        ("dwcp-cli federation vm health-check --all".to_owned(), ""),
    ] {
        let ran = line(stage, &words)?;
        if ran.exit != Some(0) || (!wanted.is_empty() && ran.text.trim() != wanted) {
            return Err(Failure::new(format!("`{words}` ended with {:?}: {}", ran.exit, ran.told())));
        }
    }
    stage.heal(&[region])?;
    leaks::check(stage)?;
    stage.check_no_doubles()
}

fn typed(stage: &Stage) -> Result<(), Failure> {
    for (words, wanted) in GUIDE {
        let ran = line(stage, words)?;
        match ran.exit {
            None => return Err(Failure::new(format!("`{words}` did not end in {} s", PATIENCE.as_secs()))),
            Some(exit) if wanted.contains(&exit) => {}
            Some(exit) => {
                return Err(Failure::new(format!("`{words}` ended with exit {exit}, not {wanted:?}")));
            }
        }
    }
    Ok(())
}

fn line(stage: &Stage, words: &str) -> Result<Ran, Failure> {
    let ran = script::run(stage, words, PATIENCE)?;
    let shown = words.replace("\\\n  ", "");
    stage.say(&format!(
        "$ {shown}\n{}\n    exit {:?} after {:.1} s",
        ran.told(),
        ran.exit,
        ran.took.as_secs_f64()
    ));
    Ok(ran)
}
