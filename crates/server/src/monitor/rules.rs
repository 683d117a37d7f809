//! The rules in force: those that come with the product, under the thresholds of capacity that are asked for, and those of the files
//! that `dwcpd.yaml` names. Files are read again when they change; one that can't be read changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use dwcp_config::capacity::Thresholds;
use dwcp_config::region::Monitoring;
use dwcp_telemetry::promql::Query;
use dwcp_telemetry::rules::{ExprError, Group, Rule, RuleFile, SHIPPED, capacity, read};

/// What the names of files begin with that come with the product.
pub const SHIPPED_FOLDER: &str = "shipped/";

/// Longest file, bytes.
const LONGEST: u64 = 1 << 20;
/// Most files, and most rules of all of them, those that come with the product among them.
const MOST_FILES: usize = 200;
const MOST_RULES: usize = 2_000;
/// Longest name of a group or a rule, bytes.
const LONGEST_NAME: usize = 200;

/// Rules as they are at one moment.
#[derive(Debug, Default)]
pub struct InForce {
    /// By where they come from: `shipped/NAME`, or the file's path. No two groups have one name.
    pub files: Vec<(String, RuleFile)>,
    /// What is wrong with files, by path: for what is not valid, its last valid version is in force, if there was one.
    pub complaints: Vec<(String, String)>,
    /// From which use on a region is short of something.
    pub thresholds: Thresholds,
}

impl InForce {
    /// All groups.
    pub fn groups(&self) -> Vec<Group> {
        self.files.iter().flat_map(|(_, file)| file.groups.iter().cloned()).collect()
    }
}

/// The rules in force of this process. Clones are the same.
#[derive(Clone)]
pub struct Rules {
    settings: Monitoring,
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    /// Of what is in force.
    stamps: Option<Vec<Stamp>>,
    valid: BTreeMap<PathBuf, RuleFile>,
    in_force: Arc<InForce>,
}

/// A file, and what says whether it has changed; none: it can't be seen.
type Stamp = (PathBuf, Option<(u64, u64, i64, i64)>);

impl Rules {
    /// The rules that `settings` name.
    pub fn new(settings: &Monitoring) -> Rules {
        Rules { settings: settings.clone(), held: Arc::default() }
    }

    /// The rules in force. As long as no file has changed it is the same [`Arc`], and costs a look at each file's entry.
    pub fn in_force(&self) -> Arc<InForce> {
        let stamps = stamps(&self.settings);
        let mut held = self.held.lock().unwrap_or_else(|e| e.into_inner());
        if held.stamps.as_ref() != Some(&stamps) {
            held.read(&self.settings, &stamps);
            held.stamps = Some(stamps);
        }
        held.in_force.clone()
    }
}

impl Held {
    fn read(&mut self, settings: &Monitoring, stamps: &[Stamp]) {
        let mut complaints = Vec::new();
        let place = Path::new(&settings.capacity_thresholds);
        // One that is not valid leaves those in force that were before.
        let mut thresholds = Thresholds::default();
        if place.exists() {
            let read = text_of(place).and_then(|text| Thresholds::parse(&text).map_err(|e| e.to_string()));
            match read {
                Ok(read) => thresholds = read,
                Err(why) => {
                    thresholds = self.in_force.thresholds.clone();
                    complaints.push((settings.capacity_thresholds.clone(), why));
                }
            }
        }
        let mut files = Vec::new();
        for (name, text) in SHIPPED {
            // A test reads them all; whatever the thresholds are, they are numbers.
            let read = read(&capacity(name, text, &thresholds), &check);
            files.push((format!("{SHIPPED_FOLDER}{name}"), read.unwrap_or_default()));
        }
        let paths: Vec<&PathBuf> = stamps.iter().skip(1).map(|(path, _)| path).collect();
        let mut former = std::mem::take(&mut self.valid);
        for path in paths {
            let name = path.display().to_string();
            let file = match rule_file(path).and_then(|file| fits(&files, &file).map(|()| file)) {
                Ok(file) => Some(file),
                Err(why) => {
                    complaints.push((name.clone(), why));
                    former.remove(path).filter(|file| fits(&files, file).is_ok())
                }
            };
            if let Some(file) = file {
                self.valid.insert(path.clone(), file.clone());
                files.push((name, file));
            }
        }
        if stamps.len() > MOST_FILES {
            complaints
                .push(("monitoring.rules".to_owned(), format!("only the first {MOST_FILES} files count")));
        }
        self.in_force = Arc::new(InForce { files, complaints, thresholds });
    }
}

/// The file of thresholds, and then the rule files in their order: patterns as they are given, names in alphabetical order.
fn stamps(settings: &Monitoring) -> Vec<Stamp> {
    let mut paths = vec![PathBuf::from(&settings.capacity_thresholds)];
    for path in settings.rules.iter().flat_map(|pattern| named(pattern)) {
        if !paths.contains(&path) && paths.len() <= MOST_FILES {
            paths.push(path);
        }
    }
    let stamp = |path: PathBuf| {
        let seen = fs::metadata(&path).ok();
        let seen = seen.map(|seen| (seen.ino(), seen.len(), seen.ctime(), seen.ctime_nsec()));
        (path, seen)
    };
    paths.into_iter().map(stamp).collect()
}

/// The files of a pattern; a name without `*` and `?` stands for itself, whether it is there or not.
fn named(pattern: &str) -> BTreeSet<PathBuf> {
    let path = Path::new(pattern);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    if !name.contains(['*', '?']) {
        return BTreeSet::from([path.to_owned()]);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let fits = |entry: &fs::DirEntry| {
        entry.file_name().to_str().is_some_and(|found| {
            (!found.starts_with('.') || name.starts_with('.')) && matches(name.as_bytes(), found.as_bytes())
        })
    };
    entries.filter(fits).map(|entry| entry.path()).collect()
}

/// Whether a name fits a pattern: `*` for any letters, `?` for one byte.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut back) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match back {
                Some((star, from)) => {
                    back = Some((star, from + 1));
                    (p, n) = (star + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

fn text_of(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let longer = file.take(LONGEST + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if longer as u64 > LONGEST { Err(format!("it is longer than {LONGEST} bytes")) } else { Ok(text) }
}

/// Whether a text is an expression that can be evaluated.
///
/// # Errors
/// Says where it is none.
pub fn check(text: &str) -> Result<(), ExprError> {
    let read = Query::parse(text).map(drop);
    read.map_err(|error| ExprError { offset: error.position, message: error.message })
}

fn rule_file(path: &Path) -> Result<RuleFile, String> {
    read(&text_of(path)?, &check).map_err(|complaints| complaints.to_string())
}

/// Whether a file can be in force beside others: its groups have names of their own, and there are not too many rules.
fn fits(others: &[(String, RuleFile)], file: &RuleFile) -> Result<(), String> {
    let known = || others.iter().flat_map(|(name, file)| file.groups.iter().map(move |group| (name, group)));
    for group in &file.groups {
        if let Some((name, _)) = known().find(|(_, known)| known.name == group.name) {
            return Err(format!("there is a group '{}' in {name} already", group.name));
        }
        let names = group.rules.iter().map(|rule| match rule {
            Rule::Recording(rule) => rule.record.as_str(),
            Rule::Alerting(rule) => rule.alert.as_str(),
        });
        for name in names.chain([group.name.as_str()]) {
            if name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
                let shown: String = name.chars().take(40).flat_map(char::escape_default).collect();
                return Err(format!("'{shown}' is no name of at most {LONGEST_NAME} bytes on one line"));
            }
        }
    }
    let rules = known().map(|(_, group)| group).chain(&file.groups).map(|group| group.rules.len());
    match rules.sum::<usize>() {
        many if many > MOST_RULES => Err(format!("with it there are {many} rules, more than {MOST_RULES}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
