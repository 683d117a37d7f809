//! A plan, shown and carried out: a step, its gate, the next step; or the way back.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dwcp_api::region::{RegionReadRequest, RegionVmCount};
use dwcp_config::units::show_duration;

use super::gates::{self, Look, Worse};
use super::step::{Does, Passes, Plan, Step, Words, typed, way_back};
use super::{carry_out, printed, unasked};
use crate::Exit;
use crate::commands::{Ended, site};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::session::Session;
use crate::show::words;
use crate::typed::Gates;

/// Between two looks.
const LOOKS_EVERY: Duration = Duration::from_secs(5);
/// Between two attempts of a check.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// VMs that move and copies that are being made are waited for.
const ON_ITS_WAY: Duration = Duration::from_secs(600);

/// In a command: the address where a region's users arrive, found when the command is carried out.
pub fn address_of(region: &str) -> String {
    format!("$(get-region-ip {region})")
}

pub fn is_due(step: &Step, now_ms: u64) -> bool {
    step.not_before.is_none_or(|at_ms| at_ms <= now_ms)
}

fn say(text: &str) {
    crate::print_quietly(&format!("{text}\n"));
}

/// Prints every step, what is done of it, the gates and the way back.
pub fn show(plan: &Plan, gates: &Gates) {
    let steps = match plan.steps.len() {
        1 => "1 step".to_owned(),
        count => format!("{count} steps"),
    };
    say(&format!("runbook {} for {}: {steps}", plan.name, plan.region));
    for (number, step) in plan.steps.iter().enumerate() {
        say(&format!("{:>3}. {}", number + 1, step.title));
        if let Does::Types(words, _) = &step.does {
            say(&format!("     {}", typed(words)));
        }
        match (&step.already, step.not_before) {
            (Some(fact), _) => say(&format!("     done already: {fact}")),
            (None, Some(at_ms)) => say(&format!("     not before {}", words::instant(at_ms))),
            (None, None) => {}
        }
        if step.no_return {
            say("     there is no way back from here");
        }
    }
    let patience = show_duration(gates.patience);
    say(&match gates.ignore_health {
        true => "gates: each command's exit code; what gets worse elsewhere is only said".to_owned(),
        false => format!(
            "gates: each command's exit code; no other region and no VM worse than at the beginning for {patience}"
        ),
    });
    let until = plan.steps.iter().take_while(|step| !step.no_return);
    let open: Vec<&Step> = until.filter(|step| step.already.is_none()).collect();
    let back = way_back(&open);
    match back.is_empty() {
        true => say("way back: nothing is taken back"),
        false => say("way back when a gate does not pass, as far as it was done by then:"),
    }
    back.iter().for_each(|words| say(&format!("     {}", typed(words))));
}

/// A gate that did not pass.
struct Stopped {
    exit: Exit,
    why: String,
    /// Something may have been changed: a command that was refused has changed nothing.
    changed: bool,
}

impl Stopped {
    fn new(exit: Exit, why: String) -> Stopped {
        let refused = matches!(exit, Exit::Usage | Exit::NotFound | Exit::NotAllowed | Exit::Refused);
        Stopped { exit, why, changed: !refused }
    }
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Stopped {
        Stopped::new(failure.exit, failure.problem.title.clone())
    }
}

struct Walk<'a> {
    session: Session,
    plan: &'a Plan,
    gates: &'a Gates,
    then: Look,
}

/// Carries out what is open of a plan.
pub fn run(session: &Session, plan: &Plan, gates: &Gates) -> Ended {
    let walk = Walk { session: unasked(session), plan, gates, then: gates::look(session)? };
    let mut done: Vec<&Step> = Vec::new();
    let mut returns = true;
    for (number, step) in plan.steps.iter().enumerate() {
        say(&format!("== {}/{}. {}", number + 1, plan.steps.len(), step.title));
        if let Some(fact) = &step.already {
            say(&format!("-- done already: {fact}"));
            continue;
        }
        if let Some(at_ms) = step.not_before.filter(|_| !is_due(step, now_ms())) {
            say(&format!("-- not before {}: type it again then, or with --now", words::instant(at_ms)));
            return Ok(Exit::Partly);
        }
        let stopped = match walk.does(step) {
            Ok(()) => walk.gate(step).err(),
            Err(stopped) => Some(stopped),
        };
        if stopped.as_ref().is_none_or(|stopped| stopped.changed) {
            done.push(step);
            returns &= !step.no_return;
        }
        match stopped {
            Some(stopped) if returns => return Ok(walk.back(&done, &stopped)),
            Some(stopped) => {
                say(&format!("== stopped: {}", stopped.why));
                say("-- there is no way back from here; typed again, it goes on where it is");
                return Ok(stopped.exit);
            }
            None => {}
        }
    }
    say(&format!("== done: {} for {}", plan.name, plan.region));
    plan.by_hand.iter().for_each(|text| say(&format!("by hand: {text}")));
    Ok(Exit::Done)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

impl Walk<'_> {
    fn patience(&self) -> Duration {
        Duration::from_millis(self.gates.patience)
    }

    fn does(&self, step: &Step) -> Result<(), Stopped> {
        let Does::Types(words, passes) = &step.does else { return Ok(()) };
        let comes_about = |exit| match passes {
            Passes::InTheEnd => matches!(exit, Exit::Failed | Exit::Partly),
            Passes::OnceAllowed => exit == Exit::Refused,
            Passes::WhenDone | Passes::WhenEmpty => false,
        };
        self.types(words, |exit| exit == Exit::Unreachable || comes_about(exit))?;
        if *passes == Passes::WhenEmpty {
            let request = RegionReadRequest { region: self.plan.region.clone(), watch: false };
            let count = self.session.call::<RegionVmCount>(&request)?;
            if count.vms != Some(0) {
                let vms = words::known(count.vms).text;
                let why = format!("{vms} VMs are left in {}", self.plan.region);
                return Err(Stopped::new(Exit::Failed, why));
            }
        }
        Ok(())
    }

    /// Carries a command out; again for a while after an end that `passing` names.
    fn types(&self, command: &Words, passing: impl Fn(Exit) -> bool) -> Result<(), Stopped> {
        let (began, mut unanswered) = (Instant::now(), false);
        loop {
            let words = self.filled(command)?;
            say(&format!("$ {}", typed(&words)));
            let ended = carry_out(&self.session, &words);
            let exit = ended.as_ref().map_or_else(|failure| failure.exit, |exit| *exit);
            let left = self.patience().saturating_sub(began.elapsed());
            if exit != Exit::Done && passing(exit) && !left.is_zero() {
                say(&format!("-- exit {}: not right yet, once more", exit as u8));
                unanswered |= exit == Exit::Unreachable;
                std::thread::sleep(left.min(AGAIN_AFTER));
                continue;
            }
            let exit = printed(&self.session, ended);
            return match exit {
                Exit::Done => Ok(()),
                exit => {
                    // Refused because an attempt without an answer was carried out after all, maybe.
                    let mut stopped = Stopped::new(exit, format!("exit {} of {}", exit as u8, typed(&words)));
                    stopped.changed |= unanswered;
                    Err(stopped)
                }
            };
        }
    }

    /// With the address that is known by now.
    fn filled(&self, command: &Words) -> Result<Words, Failure> {
        let asked = address_of(&self.plan.region);
        let one = |word: &String| match *word == asked {
            true => site::address_of(&self.session, &self.plan.region),
            false => Ok(word.clone()),
        };
        command.iter().map(one).collect()
    }

    /// Looks at regions and VMs: once, or for as long as the step watches.
    fn gate(&self, step: &Step) -> Result<(), Stopped> {
        let watched = match step.does {
            Does::Watches(ms) => Duration::from_millis(ms),
            Does::Types(..) => Duration::ZERO,
        };
        let mut progress = Progress::new(self.session.global.quiet || watched.is_zero());
        let (began, mut said, mut bad_since) = (Instant::now(), Worse::default(), None);
        loop {
            let worse = self.look(step);
            if worse != said {
                worse.is.iter().for_each(|text| say(&format!("-- worse: {text}")));
                worse.on_its_way.iter().for_each(|text| say(&format!("-- waits: {text}")));
                said = worse.clone();
            }
            let elapsed = began.elapsed();
            bad_since = (!worse.is.is_empty()).then(|| bad_since.unwrap_or_else(Instant::now));
            let waits = !self.gates.ignore_health && worse != Worse::default();
            if !waits && elapsed >= watched {
                progress.end();
                let how = if worse == Worse::default() {
                    "nothing is worse than before"
                } else {
                    "goes on all the same"
                };
                say(&format!("-- gate: {how}"));
                return Ok(());
            }
            let too_long = bad_since.is_some_and(|since| since.elapsed() >= self.patience());
            let stuck = !worse.on_its_way.is_empty() && elapsed >= watched + ON_ITS_WAY;
            if waits && (too_long || stuck) {
                progress.end();
                let why = if too_long { worse.is } else { worse.on_its_way };
                return Err(Stopped::new(Exit::Failed, why.join("; ")));
            }
            let percent = elapsed.as_millis() * 100 / watched.as_millis().max(1);
            progress.at(percent.min(100) as u64, Some(100), &step.title);
            let next = if waits { self.patience() } else { watched.saturating_sub(elapsed) };
            std::thread::sleep(next.clamp(Duration::from_millis(100), LOOKS_EVERY));
        }
    }

    fn look(&self, step: &Step) -> Worse {
        match gates::look(&self.session) {
            Ok(now) => gates::compare(&self.then, &now, &self.plan.region, step.in_service),
            Err(failure) => Worse { is: vec![failure.problem.title.clone()], ..Worse::default() },
        }
    }

    /// Takes back what was done. What can't be taken back is listed.
    fn back(&self, done: &[&Step], stopped: &Stopped) -> Exit {
        say(&format!("== stopped: {}", stopped.why));
        let back = way_back(done);
        if back.is_empty() {
            say("-- this run has done nothing that is taken back");
            return stopped.exit;
        }
        for (number, words) in back.iter().enumerate() {
            say(&format!("== way back {}/{}", number + 1, back.len()));
            // What is still on its way is refused for a moment.
            let ended = self.types(words, |exit| matches!(exit, Exit::Unreachable | Exit::Refused));
            match ended {
                Ok(()) => {}
                Err(stopped) if stopped.exit == Exit::NotFound => say("-- there is nothing to take back"),
                Err(stopped) => {
                    say(&format!("== the way back stopped: {}; left to be typed:", stopped.why));
                    back[number..].iter().for_each(|words| say(&format!("     {}", typed(words))));
                    return Exit::Partly;
                }
            }
        }
        say("== what this run had done is taken back");
        self.plan.stays.iter().for_each(|text| say(&format!("-- {text}")));
        match stopped.exit {
            exit @ (Exit::Usage | Exit::NotFound | Exit::NotAllowed | Exit::Refused) => exit,
            _ => Exit::Failed,
        }
    }
}
