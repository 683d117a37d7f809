//! What a runbook consists of.

/// A command of `dwcp-cli`, without the program's name.
pub type Words = Vec<String>;

/// When a step has come out right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    /// With exit 0.
    WhenDone,
    /// With exit 0, and it is asked again while it has another one: what it looks at comes about by itself.
    InTheEnd,
    /// With exit 0, and it is asked again while it is refused: what is in the way goes by itself.
    OnceAllowed,
    /// When no VM lives in the region.
    WhenEmpty,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Does {
    Types(Words, Passes),
    /// Looks at health and VMs for so long, ms.
    Watches(u64),
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub title: String,
    pub does: Does,
    /// The fact that says that there is nothing to do; none: it is to be done.
    pub already: Option<String>,
    /// Not before this, ms since 1970.
    pub not_before: Option<u64>,
    /// What takes it back, one after the other.
    pub way_back: Vec<Words>,
    /// Nothing that was done before, nor this, can be taken back from here on.
    pub no_return: bool,
    /// The region itself must be well from here on.
    pub in_service: bool,
}

impl Step {
    pub fn types(title: impl Into<String>, words: Words, passes: Passes) -> Step {
        Step {
            title: title.into(),
            does: Does::Types(words, passes),
            already: None,
            not_before: None,
            way_back: Vec::new(),
            no_return: false,
            in_service: false,
        }
    }

    pub fn watches(title: impl Into<String>, ms: u64) -> Step {
        let nothing = Step::types(title, Vec::new(), Passes::WhenDone);
        Step { does: Does::Watches(ms), ..nothing }
    }

    pub fn already(self, because: Option<String>) -> Step {
        Step { already: because, ..self }
    }

    pub fn back(self, commands: &[String]) -> Step {
        Step { way_back: commands.iter().map(|line| super::split(line)).collect(), ..self }
    }

    pub fn not_before(self, at_ms: Option<u64>) -> Step {
        Step { not_before: at_ms, ..self }
    }
}

/// A runbook for one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub name: &'static str,
    pub region: String,
    pub steps: Vec<Step>,
    /// What is left to people.
    pub by_hand: Vec<String>,
    /// Said after a way back.
    pub stays: Vec<String>,
}

/// What takes back what was done, in the order in which it is typed. What was done last is taken back first; a command is typed once.
pub fn way_back(done: &[&Step]) -> Vec<Words> {
    let mut all: Vec<Words> = Vec::new();
    for words in done.iter().rev().flat_map(|step| &step.way_back) {
        if !all.contains(words) {
            all.push(words.clone());
        }
    }
    all
}

/// A command as it is typed.
pub fn typed(words: &Words) -> String {
    let quoted = |word: &String| match word.contains([' ', '\'', '"']) && !word.starts_with("$(") {
        true => format!("'{}'", word.replace('\'', "'\\''")),
        false => word.clone(),
    };
    let words: Vec<String> = words.iter().map(quoted).collect();
    format!("dwcp-cli {}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_last_is_taken_back_first_and_each_command_once() {
        let step = |back: &[&str]| {
            let back: Vec<String> = back.iter().map(|line| (*line).to_owned()).collect();
            Step::watches("s", 0).back(&back)
        };
        let (deploy, enable, more) =
            (step(&["remove", "cleanup"]), step(&["set 0", "disable"]), step(&["set 0"]));
        let lines: Vec<String> = way_back(&[&deploy, &enable, &more]).iter().map(typed).collect();
        assert_eq!(lines, ["dwcp-cli set 0", "dwcp-cli disable", "dwcp-cli remove", "dwcp-cli cleanup"]);
        assert!(way_back(&[]).is_empty());
    }

    #[test]
    fn a_command_is_shown_so_that_it_can_be_typed() {
        let words = ["a", "b c", "it's", "$(get-region-ip x)"].map(str::to_owned).to_vec();
        assert_eq!(typed(&words), "dwcp-cli a 'b c' 'it'\\''s' $(get-region-ip x)");
    }
}
