//! Relabelling: rules that change the labels of a series or of a target, or drop it.

use std::collections::BTreeMap;

use regex::Regex;

use super::md5::md5;
use crate::exposition::is_label_name;
use crate::model::Labels;

/// A rule as it is written in a configuration; the default is that of Prometheus, which copies what it is given.
#[derive(Clone, Debug)]
pub struct RelabelSpec {
    pub source_labels: Vec<String>,
    /// Between the values of the source labels.
    pub separator: String,
    /// Anchored at both ends.
    pub regex: String,
    pub target_label: String,
    /// May name groups of the pattern: `$1`, `${name}`.
    pub replacement: String,
    pub modulus: u64,
    /// `replace`, `keep`, `drop`, `keepequal`, `dropequal`, `hashmod`, `labelmap`, `labeldrop`, `labelkeep`, `lowercase`,
    /// `uppercase`.
    pub action: String,
}

impl Default for RelabelSpec {
    fn default() -> RelabelSpec {
        RelabelSpec {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            regex: "(.*)".to_owned(),
            target_label: String::new(),
            replacement: "$1".to_owned(),
            modulus: 0,
            action: "replace".to_owned(),
        }
    }
}

/// A rule that can be applied.
#[derive(Clone, Debug)]
pub struct Relabel {
    source_labels: Vec<String>,
    separator: String,
    regex: Regex,
    target_label: String,
    replacement: String,
    modulus: u64,
    action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

impl Action {
    fn parse(text: &str) -> Option<Action> {
        Some(match text.to_ascii_lowercase().as_str() {
            "replace" => Action::Replace,
            "keep" => Action::Keep,
            "drop" => Action::Drop,
            "keepequal" => Action::KeepEqual,
            "dropequal" => Action::DropEqual,
            "hashmod" => Action::HashMod,
            "labelmap" => Action::LabelMap,
            "labeldrop" => Action::LabelDrop,
            "labelkeep" => Action::LabelKeep,
            "lowercase" => Action::Lowercase,
            "uppercase" => Action::Uppercase,
            _ => return None,
        })
    }
}

impl Relabel {
    /// # Errors
    /// What is wrong with the rule.
    pub fn new(spec: RelabelSpec) -> Result<Relabel, String> {
        let RelabelSpec { source_labels, separator, regex, target_label, replacement, modulus, action } =
            spec;
        let Some(kind) = Action::parse(&action) else { return Err(format!("there is no action {action:?}")) };
        let regex = Regex::new(&format!("^(?s:{regex})$")).map_err(|error| error.to_string())?;
        match kind {
            Action::Replace if target_label.is_empty() => {
                return Err("replace needs a target_label".to_owned());
            }
            Action::HashMod if modulus == 0 => return Err("hashmod needs a modulus".to_owned()),
            Action::HashMod
            | Action::Lowercase
            | Action::Uppercase
            | Action::KeepEqual
            | Action::DropEqual
                if !is_label_name(&target_label) =>
            {
                return Err(format!("{action}: {target_label:?} can't name a label"));
            }
            Action::LabelDrop | Action::LabelKeep
                if !source_labels.is_empty() || !target_label.is_empty() =>
            {
                return Err(format!("{action} takes nothing but a regex"));
            }
            _ => {}
        }
        Ok(Relabel { source_labels, separator, regex, target_label, replacement, modulus, action: kind })
    }
}

/// Labels after all rules, applied one after the other; none when one of them drops what they are of.
pub fn relabel(labels: &Labels, rules: &[Relabel]) -> Option<Labels> {
    if rules.is_empty() {
        return Some(labels.clone());
    }
    let mut changed: Changed =
        labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    rules.iter().all(|rule| rule.apply(&mut changed)).then(|| Labels::new(changed))
}

type Changed = BTreeMap<String, String>;

impl Relabel {
    /// Whether they stay.
    fn apply(&self, labels: &mut Changed) -> bool {
        let get = |name: &str| labels.get(name).map_or("", String::as_str);
        let source: Vec<&str> = self.source_labels.iter().map(|name| get(name)).collect();
        let source = source.join(&self.separator);
        match self.action {
            Action::Keep => return self.regex.is_match(&source),
            Action::Drop => return !self.regex.is_match(&source),
            Action::KeepEqual => return get(&self.target_label) == source,
            Action::DropEqual => return get(&self.target_label) != source,
            Action::Replace => self.replace(labels, &source),
            Action::HashMod => set(labels, &self.target_label, (hash(&source) % self.modulus).to_string()),
            Action::Lowercase => set(labels, &self.target_label, source.to_lowercase()),
            Action::Uppercase => set(labels, &self.target_label, source.to_uppercase()),
            Action::LabelDrop => labels.retain(|name, _| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name, _| self.regex.is_match(name)),
            Action::LabelMap => {
                let mapped = labels.iter().filter(|(name, _)| self.regex.is_match(name));
                let mapped: Vec<(String, String)> = mapped
                    .map(|(name, value)| {
                        (self.regex.replace(name, &*self.replacement).into_owned(), value.clone())
                    })
                    .collect();
                mapped.into_iter().for_each(|(name, value)| set(labels, &name, value));
            }
        }
        true
    }

    fn replace(&self, labels: &mut Changed, source: &str) {
        let Some(groups) = self.regex.captures(source) else { return };
        let expand = |template: &str| {
            let mut out = String::new();
            groups.expand(template, &mut out);
            out
        };
        let target = expand(&self.target_label);
        if is_label_name(&target) {
            set(labels, &target, expand(&self.replacement));
        }
    }
}

/// An empty value takes the label away.
fn set(labels: &mut Changed, name: &str, value: String) {
    if value.is_empty() {
        labels.remove(name);
    } else {
        labels.insert(name.to_owned(), value);
    }
}

/// The number that Prometheus shards by: the last 8 bytes of the MD5 sum.
fn hash(text: &str) -> u64 {
    let sum = md5(text.as_bytes());
    sum[8..].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(action: &str, change: impl FnOnce(&mut RelabelSpec)) -> Relabel {
        let mut spec = RelabelSpec { action: action.to_owned(), ..RelabelSpec::default() };
        change(&mut spec);
        Relabel::new(spec).expect("a rule")
    }

    fn sources(spec: &mut RelabelSpec, names: &[&str]) {
        spec.source_labels = names.iter().map(|name| (*name).to_owned()).collect();
    }

    /// `a="1", b="Two"` after one rule; `-` when it is dropped.
    fn after(rule: Relabel) -> String {
        let labels = Labels::new([("a", "1"), ("b", "Two"), ("other", "1")]);
        relabel(&labels, &[rule]).map_or("-".to_owned(), |labels| labels.to_string())
    }

    #[test]
    fn every_action_does_what_prometheus_documents() {
        let all = "{a=\"1\", b=\"Two\", other=\"1\"}";
        let replaced = rule("replace", |spec| {
            sources(spec, &["a", "b"]);
            spec.regex = "(.*);T(.*)".to_owned();
            spec.replacement = "${2}-$1".to_owned();
            spec.target_label = "c".to_owned();
        });
        assert_eq!(after(replaced), "{a=\"1\", b=\"Two\", c=\"wo-1\", other=\"1\"}");
        let part = rule("replace", |spec| {
            sources(spec, &["b"]);
            (spec.regex, spec.target_label) = ("Tw".to_owned(), "b".to_owned());
        });
        assert_eq!(after(part), all, "a pattern is anchored");
        let emptied = rule("replace", |spec| {
            (spec.replacement, spec.target_label) = (String::new(), "b".to_owned());
        });
        assert_eq!(after(emptied), "{a=\"1\", other=\"1\"}");
        let named = rule("replace", |spec| {
            sources(spec, &["b"]);
            (spec.replacement, spec.target_label) = ("x".to_owned(), "to_$1".to_owned());
        });
        assert_eq!(after(named), "{a=\"1\", b=\"Two\", other=\"1\", to_Two=\"x\"}");
        let regex = |text: &'static str| {
            move |spec: &mut RelabelSpec| {
                sources(spec, &["a"]);
                spec.regex = text.to_owned();
            }
        };
        assert_eq!((&*after(rule("keep", regex("1|2"))), &*after(rule("keep", regex("2")))), (all, "-"));
        assert_eq!((&*after(rule("drop", regex("1|2"))), &*after(rule("drop", regex("2")))), ("-", all));
        let names = |text: &'static str| move |spec: &mut RelabelSpec| spec.regex = text.to_owned();
        assert_eq!(after(rule("labeldrop", names("a|b"))), "{other=\"1\"}");
        assert_eq!(after(rule("labelkeep", names("a|b"))), "{a=\"1\", b=\"Two\"}");
        let map = rule("labelmap", |spec| {
            (spec.regex, spec.replacement) = ("o(.*)".to_owned(), "an_o$1".to_owned());
        });
        assert_eq!(after(map), "{a=\"1\", an_other=\"1\", b=\"Two\", other=\"1\"}");
        let case = |spec: &mut RelabelSpec| {
            sources(spec, &["b"]);
            spec.target_label = "b".to_owned();
        };
        assert_eq!(after(rule("lowercase", case)), "{a=\"1\", b=\"two\", other=\"1\"}");
        assert_eq!(after(rule("Uppercase", case)), "{a=\"1\", b=\"TWO\", other=\"1\"}");
        let equal = |target: &'static str| {
            move |spec: &mut RelabelSpec| {
                sources(spec, &["a"]);
                spec.target_label = target.to_owned();
            }
        };
        assert_eq!(
            (&*after(rule("keepequal", equal("other"))), &*after(rule("keepequal", equal("b")))),
            (all, "-")
        );
        assert_eq!(
            (&*after(rule("dropequal", equal("other"))), &*after(rule("dropequal", equal("b")))),
            ("-", all)
        );
    }

    #[test]
    fn targets_are_sharded_as_prometheus_shards_them() {
        // The MD5 sum of "foo" is acbd18db4cc2f85cedef654fccc4a4d8.
        assert_eq!(hash("foo"), 0xedef_654f_ccc4_a4d8);
        let sharded = rule("hashmod", |spec| {
            sources(spec, &["b"]);
            (spec.modulus, spec.target_label) = (1000, "shard".to_owned());
        });
        let shard = hash("Two") % 1000;
        assert_eq!(after(sharded), format!("{{a=\"1\", b=\"Two\", other=\"1\", shard=\"{shard}\"}}"));
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        let why = |action: &str, change: fn(&mut RelabelSpec)| {
            let mut spec = RelabelSpec { action: action.to_owned(), ..RelabelSpec::default() };
            change(&mut spec);
            Relabel::new(spec).expect_err("refused")
        };
        assert_eq!(why("replase", |_| {}), "there is no action \"replase\"");
        assert_eq!(why("replace", |_| {}), "replace needs a target_label");
        assert_eq!(why("hashmod", |spec| spec.target_label = "a".to_owned()), "hashmod needs a modulus");
        assert_eq!(
            why("lowercase", |spec| spec.target_label = "a b".to_owned()),
            "lowercase: \"a b\" can't name a label"
        );
        assert_eq!(
            why("labeldrop", |spec| spec.target_label = "a".to_owned()),
            "labeldrop takes nothing but a regex"
        );
        assert!(why("keep", |spec| spec.regex = "(".to_owned()).contains("unclosed group"));
    }
}
