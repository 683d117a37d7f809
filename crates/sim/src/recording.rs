//! Runs again what `dwcpd run --record FILE` wrote down: the same node, the same disk, the same inputs at the same times.
//! Every step must decide what the recorder saw it decide.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use dwcp_roles::node::{Effect, Level};
use dwcp_roles::recording::replay::{Replay, Step, Taken};
use dwcp_roles::recording::{Decided, Records, Trouble, kind_of_effect, kind_of_input};

/// A replay that differs lists so many effects of the step.
const EFFECTS_SHOWN: usize = 20;

/// How a replay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every step that was recorded with its decision decided the same again.
    Identical,
    /// A step decided otherwise, or a record is damaged.
    Differs,
}

/// Counts by kind, and the lines that are said.
struct Report<'a> {
    say: &'a mut dyn FnMut(String),
    inputs: BTreeMap<&'static str, u64>,
    effects: BTreeMap<&'static str, u64>,
    steps: u64,
    last_us: u64,
}

/// Replays a recording; `say` gets a line at a time. `source` gives the next so many bytes, fewer only at the end.
///
/// # Errors
/// It is no recording that can be run again; says why.
pub fn replay(source: impl FnMut(usize) -> Vec<u8>, say: &mut dyn FnMut(String)) -> Result<Verdict, String> {
    let records = Records::new(source).map_err(|trouble| trouble.to_string())?;
    let mut replay = Replay::open(records)?;
    let config = replay.node().config();
    say(format!(
        "{}, node {} of {}, version {}, seed {:016x}; its disk held {} records",
        config.region,
        config.me,
        config.regions.len(),
        config.version,
        config.seed,
        replay.kept
    ));
    let this = env!("CARGO_PKG_VERSION");
    if replay.node().config().version != this {
        say(format!("this is version {this}: where they differ, the replay does"));
    }
    let opened_us = replay.opened.mono.0;
    let mut report =
        Report { say, inputs: BTreeMap::new(), effects: BTreeMap::new(), steps: 0, last_us: opened_us };
    let (verdict, end) = report.run(&mut replay, opened_us);
    report.sum_up(opened_us);
    (report.say)(end);
    Ok(verdict)
}

impl Report<'_> {
    /// Takes every step; the verdict and why it ended there.
    fn run<S: FnMut(usize) -> Vec<u8>>(
        &mut self,
        replay: &mut Replay<S>,
        opened_us: u64,
    ) -> (Verdict, String) {
        loop {
            let step = match replay.next_step() {
                Ok(Some(step)) => step,
                Ok(None) => return (Verdict::Identical, self.identical("the recording is whole")),
                Err(trouble) => return self.stopped(&trouble),
            };
            self.steps += 1;
            self.last_us = step.now.mono.0;
            step.inputs.iter().for_each(|input| *self.inputs.entry(kind_of_input(input)).or_default() += 1);
            let said = describe(&step);
            let Some(taken) = take(replay, step) else { return self.failed(replay) };
            self.tell(&taken, opened_us);
            match replay.recorded() {
                Ok(Some(recorded)) if recorded == taken.decided => {}
                Ok(Some(recorded)) => return self.differs(&said, &taken, recorded, opened_us),
                Ok(None) => {
                    return (Verdict::Identical, self.identical("the recording ends inside the last step"));
                }
                Err(trouble) => return self.stopped(&trouble),
            }
        }
    }

    fn identical(&self, how: &str) -> String {
        format!("IDENTICAL: every step decided what was recorded; {how}")
    }

    fn stopped(&self, trouble: &Trouble) -> (Verdict, String) {
        match trouble {
            Trouble::CutOff(_) => (Verdict::Identical, self.identical(&format!("{trouble}"))),
            _ => (Verdict::Differs, format!("DAMAGED after step {}: {trouble}", self.steps)),
        }
    }

    /// The step ended in a failed assertion, as it may have done when it was recorded.
    fn failed<S: FnMut(usize) -> Vec<u8>>(&self, replay: &mut Replay<S>) -> (Verdict, String) {
        let step = self.steps;
        match replay.recorded() {
            Ok(Some(_)) => {
                (Verdict::Differs, format!("DIFFERS: step {step} fails (above) and did not when recorded"))
            }
            _ => (
                Verdict::Identical,
                self.identical(&format!("step {step} fails (above), and the recording ends there")),
            ),
        }
    }

    fn tell(&mut self, taken: &Taken, opened_us: u64) {
        for effect in &taken.effects {
            *self.effects.entry(kind_of_effect(effect)).or_default() += 1;
            if let Effect::Log { component, level, text } = effect {
                let level = match level {
                    Level::Info => "",
                    Level::Warning => "warning: ",
                    Level::Error => "error: ",
                };
                let at = self.last_us.saturating_sub(opened_us) as f64 / 1e6;
                (self.say)(format!("{at:>9.3} {component}: {level}{text}"));
            }
        }
    }

    fn differs(&mut self, said: &str, taken: &Taken, recorded: Decided, opened_us: u64) -> (Verdict, String) {
        let at = self.last_us.saturating_sub(opened_us) as f64 / 1e6;
        (self.say)(format!("step {} at {at:.3} s took {said}", self.steps));
        for effect in taken.effects.iter().take(EFFECTS_SHOWN) {
            (self.say)(format!("  decides {}", shortened(&format!("{effect:?}"))));
        }
        let Decided { digest, effects } = taken.decided;
        let text = format!(
            "DIFFERS in step {}: recorded {} effects, digest {:016x}; decided {effects} effects, digest {digest:016x}",
            self.steps, recorded.effects, recorded.digest
        );
        (Verdict::Differs, text)
    }

    fn sum_up(&mut self, opened_us: u64) {
        let seconds = self.last_us.saturating_sub(opened_us) as f64 / 1e6;
        (self.say)(format!("{} steps in {seconds:.3} s", self.steps));
        for (what, counts) in [("took", &self.inputs), ("decided", &self.effects)] {
            for (kind, count) in counts {
                (self.say)(format!("  {what:<8} {count:>9} {kind}"));
            }
        }
    }
}

/// Lets the node take a step; none when an assertion failed, whose message the panic has printed.
fn take<S: FnMut(usize) -> Vec<u8>>(replay: &mut Replay<S>, step: Step) -> Option<Taken> {
    catch_unwind(AssertUnwindSafe(|| replay.take(step))).ok()
}

fn describe(step: &Step) -> String {
    let inputs: Vec<&str> = step.inputs.iter().map(kind_of_input).collect();
    if inputs.is_empty() { "no input".to_string() } else { inputs.join(", ") }
}

fn shortened(text: &str) -> String {
    let short: String = text.chars().take(200).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}
