//! Commands of the operations guide that this version does not carry out.

/// Each as its words, with the longer of two that begin alike first.
pub const UNAVAILABLE: &[&str] = &[
    "billing credit apply",
    "billing credit list",
    "compliance report",
    "compliance violations",
    "federation capacity forecast",
    "federation capacity report",
    "federation cost breakdown",
    "federation cost optimize",
    "federation cost trend",
    "federation monitoring sla report",
    "federation performance report",
    "federation region scale-plan",
    "network check-congestion",
    "network optimize",
    "security audit",
    "security auth-failures",
    "security encryption-status",
    "security notify-user",
    "security rbac-audit",
    "security token audit",
    "security token impact",
    "security token rotate",
    "security verify-audit-log",
];

/// The command of the table that a command line names, if it does; or the words of a group that holds nothing else.
/// Global flags before the command are skipped.
pub fn unavailable(words: &[String]) -> Option<String> {
    let mut named: Vec<&str> = Vec::new();
    let mut rest = words.iter().skip(1).map(String::as_str);
    while let Some(word) = rest.next() {
        if !word.starts_with('-') {
            named.push(word);
            continue;
        }
        if !named.is_empty() {
            break;
        }
        let takes_value = ["--format", "--output", "--context", "--endpoint", "--ca", "--token", "--timeout"];
        if takes_value.contains(&word) {
            rest.next();
        }
    }
    let parts = |command: &str| command.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let begins = |long: &[String], short: &[&str]| long.iter().zip(short).all(|(a, b)| a == b);
    let whole = UNAVAILABLE.iter().find(|command| {
        let parts = parts(command);
        parts.len() <= named.len() && begins(&parts, &named)
    });
    if let Some(command) = whole {
        return Some((*command).to_owned());
    }
    let group = UNAVAILABLE.iter().any(|command| {
        let parts = parts(command);
        parts.len() > named.len() && begins(&parts, &named)
    });
    (group && !named.is_empty()).then(|| named.join(" "))
}
