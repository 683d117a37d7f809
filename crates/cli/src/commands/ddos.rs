//! Attackers at the routers: seen, judged, kept out.

use dwcp_api::guard::{
    Attack, AttackList, AttackListRequest, AttackValidate, AttackValidateRequest, AttackVerdict, BlockAdd,
    BlockAddRequest, BlockRemove, BlockRemoveRequest, Blocked, BlocksChanged, Excepted, Guard,
    GuardConfigure, GuardConfigureRequest, GuardRead, GuardReadRequest, WhitelistChange,
    WhitelistChangeRequest,
};
use dwcp_api::routing::Named;

use super::{Ended, dry, read, site};
use crate::Exit;
use crate::session::Session;
use crate::show::{Cell, Document, Table, Tone, words};
use crate::typed::{
    BlacklistCommand, DdosAction, DdosActionArgs, DdosActionCommand, DdosCommand, DdosConfigureArgs,
    GeoBlockArgs, RateLimitsCommand, WhitelistCommand, WhoArgs,
};

/// A block of a service without an own wish, ms.
const HOUR_MS: u64 = 3_600_000;
/// Routers' counts that people look at first; the others follow.
const COUNTS: [&str; 6] = ["passed", "limited", "challenged", "tarpitted", "geo_blocked", "denied"];

pub fn run(session: &Session, command: &DdosCommand) -> Ended {
    match command {
        DdosCommand::Detections { since } => detections(session, *since),
        DdosCommand::Status => status(session),
        DdosCommand::Validate { attack_id } => validate(session, attack_id),
        DdosCommand::Configure(wanted) => configure(session, request(wanted)),
        DdosCommand::Enable { reason } => automatic(session, true, reason),
        DdosCommand::Disable { reason } => automatic(session, false, reason),
        DdosCommand::GeoBlock(wanted) => geo_block(session, wanted),
        DdosCommand::Action(DdosActionCommand::Add(wanted)) => act(session, wanted, true),
        DdosCommand::Action(DdosActionCommand::Remove(wanted)) => act(session, wanted, false),
        DdosCommand::Action(DdosActionCommand::List) => actions(session),
        DdosCommand::Blacklist(command) => blacklist(session, command),
        DdosCommand::Whitelist(command) => whitelist(session, command),
        DdosCommand::RateLimits(RateLimitsCommand::Show) => rate_limits(session),
    }
}

fn name(action: DdosAction) -> String {
    match action {
        DdosAction::RateLimit => "rate_limit",
        DdosAction::ChallengeResponse => "challenge_response",
        DdosAction::Tarpit => "tarpit",
        DdosAction::GeoBlock => "geo_block",
        DdosAction::Blacklist => "blacklist",
    }
    .to_owned()
}

/// Whom the flags name, as the API takes it.
fn who(args: &WhoArgs) -> Vec<String> {
    let all = |words: &Option<crate::typed::Words>| {
        words.iter().flat_map(|words| words.0.clone()).collect::<Vec<_>>()
    };
    let system =
        |asn: String| if asn.to_ascii_uppercase().starts_with("AS") { asn } else { format!("AS{asn}") };
    [all(&args.ip), all(&args.cidr), all(&args.asn).into_iter().map(system).collect()].concat()
}

fn verdict(of: &str) -> Cell {
    match of {
        "real" => Cell::toned("real", Tone::Bad),
        "false_positive" => Cell::toned("false positive", Tone::Good),
        other => Cell::toned(other, Tone::Warn),
    }
}

fn attacks(all: &[Attack]) -> Table {
    let names = [
        "ATTACK", "KIND", "TARGET", "SERVICE", ">PEAK/S", ">SOURCES", "SINCE", "STATE", "VERDICT", ">BLOCKS",
        "ROUTERS",
    ];
    let mut table = Table::new(&names).or("no attacks");
    for attack in all {
        let state = match attack.active {
            true => Cell::toned("active", Tone::Bad),
            false => Cell::from(format!("over at {}", words::instant(attack.last_ms))),
        };
        table.row(vec![
            Cell::from(&attack.attack),
            Cell::from(&attack.kind),
            Cell::from(&attack.target),
            words::text_or_dash(&attack.service),
            Cell::from(attack.peak_rate.to_string()),
            Cell::from(attack.sources.to_string()),
            Cell::from(words::instant(attack.first_ms)),
            state,
            verdict(&attack.verdict),
            Cell::from(attack.blocks.to_string()),
            words::text_or_dash(&attack.routers.join(", ")),
        ]);
    }
    table
}

fn detections(session: &Session, since_ms: Option<u64>) -> Ended {
    read(session, || {
        let found = session.call::<AttackList>(&AttackListRequest { since_ms })?;
        session.warn(&found.complaints);
        let document = Document::of(&found).table(attacks(&found.attacks));
        Ok((document.text_block(words::as_of(&found.as_of)), Exit::Done))
    })
}

fn blocks<'a>(all: impl IntoIterator<Item = &'a Blocked>) -> Table {
    let names = ["WHO", "ACTION", ">LIMIT/S", "UNTIL", "BY", "ATTACK", "REASON"];
    let mut table = Table::new(&names).or("nobody is kept out");
    for block in all {
        table.row(vec![
            Cell::from(&block.who),
            Cell::from(&block.action),
            words::or_dash(block.limit),
            Cell::from(words::instant(block.until_ms)),
            Cell::from(&block.by),
            words::or_dash(block.attack.as_ref()),
            words::text_or_dash(&block.reason),
        ]);
    }
    table
}

fn exceptions(all: &[Excepted]) -> Table {
    let mut table = Table::new(&["WHO", "UNTIL", "BY", "REASON"]).or("nobody is excepted");
    for one in all {
        let until = one.until_ms.map_or_else(|| "no end".to_owned(), words::instant);
        table.row(vec![
            Cell::from(&one.who),
            Cell::from(until),
            Cell::from(&one.by),
            words::text_or_dash(&one.reason),
        ]);
    }
    table
}

fn status(session: &Session) -> Ended {
    read(session, || {
        let found = session.call::<GuardRead>(&GuardReadRequest {})?;
        let people = found.blocks.iter().filter(|block| !block.by.starts_with("router ")).count();
        let does = match (found.automatic, found.actions.is_empty()) {
            (true, false) => Cell::toned(found.actions.join(", "), Tone::Good),
            _ => Cell::toned("nothing: they only tell", Tone::Warn),
        };
        let active = match found.attacks_active {
            0 => Cell::toned("none", Tone::Good),
            some => Cell::toned(some.to_string(), Tone::Bad),
        };
        let pairs = vec![
            ("attacks that go on", active),
            ("routers do by themselves", does),
            ("blocks by people", Cell::from(people.to_string())),
            ("blocks by routers", Cell::from((found.blocks.len() - people).to_string())),
            ("exceptions", Cell::from(found.whitelist.len().to_string())),
        ];
        session.warn(&found.complaints);
        let document = Document::of(&found).pairs(pairs).section("routers", routers(&found));
        Ok((document.text_block(words::as_of(&found.as_of)), Exit::Done))
    })
}

fn routers(found: &Guard) -> Table {
    let mut names =
        vec!["REGION".to_owned(), "ROUTER".to_owned(), ">ATTACKS".to_owned(), ">BLOCKS".to_owned()];
    names.extend(COUNTS.iter().map(|name| format!(">{}", name.to_uppercase().replace('_', " "))));
    names.push("OTHER".to_owned());
    let mut table = Table::new(&names).or("no router is heard of");
    for router in &found.routers {
        let count = |name: &&str| router.counts.get(*name).copied().unwrap_or_default().to_string();
        let rest =
            router.counts.iter().filter(|(name, count)| **count > 0 && !COUNTS.contains(&name.as_str()));
        let rest: Vec<String> = rest.map(|(name, count)| format!("{name} {count}")).collect();
        let mut row = vec![
            Cell::from(&router.region),
            Cell::from(&router.router),
            Cell::from(router.attacks_active.to_string()),
            Cell::from(router.blocks.to_string()),
        ];
        row.extend(COUNTS.iter().map(count).map(Cell::from));
        row.push(words::text_or_dash(&rest.join(", ")));
        table.row(row);
    }
    table
}

fn rows(named: &[Named]) -> Table {
    let mut table = Table::new(&["WHAT", ">VALUE"]).or("not learned yet");
    named.iter().for_each(|row| table.row(vec![Cell::from(&row.name), Cell::from(&row.value)]));
    table
}

fn validate(session: &Session, attack: &str) -> Ended {
    read(session, || {
        let request = AttackValidateRequest { attack: attack.to_owned() };
        let found: AttackVerdict = session.call::<AttackValidate>(&request)?;
        let seen = &found.attack;
        let pairs = vec![
            ("attack", Cell::from(format!("{}: {} at {}", seen.attack, seen.kind, seen.target))),
            ("verdict", verdict(&seen.verdict)),
            ("because", words::text_or_dash(&found.reasons.join("; "))),
            ("state", Cell::from(if seen.active { "active" } else { "over" })),
        ];
        let mut document = Document::of(&found)
            .pairs(pairs)
            .section("at its peak", rows(&found.evidence))
            .section("usual at this hour", rows(&found.typical))
            .section("kept out because of it", blocks(&found.blocks));
        if let Some(setting) = &found.suggested {
            let flag = setting.name.replace('_', "-");
            document = document.text_block(format!(
                "with this it would not have been detected: dwcp-cli routing ddos configure --{flag} {}",
                setting.value
            ));
        }
        let exit = if seen.verdict == "false_positive" { Exit::Failed } else { Exit::Done };
        Ok((document.text_block(words::as_of(&found.as_of)), exit))
    })
}

fn request(wanted: &DdosConfigureArgs) -> GuardConfigureRequest {
    GuardConfigureRequest {
        threshold_requests: wanted.threshold_requests,
        threshold_connections: wanted.threshold_connections,
        threshold_bytes: wanted.threshold_bytes,
        prefix_factor: wanted.prefix_factor,
        asn_factor: wanted.asn_factor,
        country_factor: wanted.country_factor,
        path_factor: wanted.path_factor,
        service_factor: wanted.service_factor,
        error_percent: wanted.error_percent,
        slow_clients: wanted.slow_clients,
        resets: wanted.resets,
        block_ms: wanted.block_duration,
        challenge_bits: wanted.challenge_bits,
        clearance_ms: wanted.challenge_clearance,
        reason: wanted.reason.clone(),
        ..GuardConfigureRequest::default()
    }
}

fn automatic(session: &Session, on: bool, reason: &Option<String>) -> Ended {
    let (automatic, reason) = (Some(on), reason.clone());
    configure(session, GuardConfigureRequest { automatic, reason, ..GuardConfigureRequest::default() })
}

fn configure(session: &Session, request: GuardConfigureRequest) -> Ended {
    let answer = session
        .call::<GuardConfigure>(&GuardConfigureRequest { dry_run: session.global.dry_run, ..request })?;
    let line = match (session.global.dry_run, answer.changed) {
        (true, true) => format!("attackers would be kept out so{}", dry(session)),
        (false, true) => "attackers are kept out so".to_owned(),
        (_, false) => format!("attackers are kept out so already{}", dry(session)),
    };
    let table = site::before_and_after(&answer.settings);
    session.show(&Document::of(&answer).table(table).text_block(line))?;
    answer.notes.iter().for_each(|note| session.note(note));
    Ok(Exit::Done)
}

fn actions(session: &Session) -> Ended {
    read(session, || {
        let found = session.call::<GuardRead>(&GuardReadRequest {})?;
        let mut table = Table::new(&["ACTION"]).or("nothing: routers only tell");
        found.actions.iter().for_each(|action| table.row(vec![Cell::from(action)]));
        let document = Document::of(&found).table(table);
        let document = match found.automatic {
            true => document,
            false => document.text_block("they do nothing now: dwcp-cli routing ddos enable"),
        };
        Ok((document.text_block(words::as_of(&found.as_of)), Exit::Done))
    })
}

fn act(session: &Session, wanted: &DdosActionArgs, add: bool) -> Ended {
    let (action, reason) = (name(wanted.action), wanted.reason.clone());
    let Some(service) = &wanted.service else {
        let (actions_added, actions_removed) =
            if add { (vec![action], Vec::new()) } else { (Vec::new(), vec![action]) };
        let request = GuardConfigureRequest {
            actions_added,
            actions_removed,
            reason,
            ..GuardConfigureRequest::default()
        };
        return configure(session, request);
    };
    let path = wanted.path.as_deref().map(|path| format!("/{}", path.trim_start_matches('/')));
    let who = vec![format!("service:{service}{}", path.unwrap_or_default())];
    match add {
        true => add_block(
            session,
            BlockAddRequest {
                who,
                action,
                duration_ms: wanted.duration.unwrap_or(HOUR_MS),
                limit: wanted.limit,
                reason,
                ..BlockAddRequest::default()
            },
        ),
        false => {
            remove_block(session, BlockRemoveRequest { who, action: Some(action), reason, dry_run: false })
        }
    }
}

fn geo_block(session: &Session, wanted: &GeoBlockArgs) -> Ended {
    let (who, action, reason) =
        (wanted.countries.0.clone(), name(DdosAction::GeoBlock), wanted.reason.clone());
    match wanted.remove {
        true => {
            remove_block(session, BlockRemoveRequest { who, action: Some(action), reason, dry_run: false })
        }
        false => {
            let duration_ms = wanted.duration;
            add_block(
                session,
                BlockAddRequest { who, action, duration_ms, reason, ..BlockAddRequest::default() },
            )
        }
    }
}

fn add_block(session: &Session, request: BlockAddRequest) -> Ended {
    let answer = session.call::<BlockAdd>(&BlockAddRequest { dry_run: session.global.dry_run, ..request })?;
    changed(
        session,
        &answer,
        blocks(&answer.blocks),
        if session.global.dry_run { "would be in force" } else { "in force" },
    )
}

fn remove_block(session: &Session, request: BlockRemoveRequest) -> Ended {
    let answer =
        session.call::<BlockRemove>(&BlockRemoveRequest { dry_run: session.global.dry_run, ..request })?;
    changed(
        session,
        &answer,
        ended(&answer),
        if session.global.dry_run { "would be let in" } else { "let in" },
    )
}

fn ended(answer: &BlocksChanged) -> Table {
    let mut table = Table::new(&["WHO"]);
    answer.ended.iter().for_each(|who| table.row(vec![Cell::from(who)]));
    table
}

fn changed(session: &Session, answer: &BlocksChanged, table: Table, done: &str) -> Ended {
    session.show(&Document::of(answer).table(table).text_block(format!("{done}{}", dry(session))))?;
    answer.notes.iter().for_each(|note| session.note(note));
    Ok(Exit::Done)
}

fn blacklist(session: &Session, command: &BlacklistCommand) -> Ended {
    match command {
        BlacklistCommand::List => read(session, || {
            let found = session.call::<GuardRead>(&GuardReadRequest {})?;
            session.warn(&found.complaints);
            let document = Document::of(&found.blocks).table(blocks(&found.blocks));
            Ok((document.text_block(words::as_of(&found.as_of)), Exit::Done))
        }),
        BlacklistCommand::Add { who: of, duration, attack_id, reason } => add_block(
            session,
            BlockAddRequest {
                who: who(of),
                action: name(DdosAction::Blacklist),
                duration_ms: *duration,
                attack: attack_id.clone(),
                reason: reason.clone(),
                ..BlockAddRequest::default()
            },
        ),
        BlacklistCommand::Remove { who: of, reason } => {
            let (action, reason) = (None, reason.clone());
            remove_block(session, BlockRemoveRequest { who: who(of), action, reason, dry_run: false })
        }
    }
}

fn whitelist(session: &Session, command: &WhitelistCommand) -> Ended {
    let (of, remove, duration_ms, reason) = match command {
        WhitelistCommand::List => {
            return read(session, || {
                let found = session.call::<GuardRead>(&GuardReadRequest {})?;
                session.warn(&found.complaints);
                let document = Document::of(&found.whitelist).table(exceptions(&found.whitelist));
                Ok((document.text_block(words::as_of(&found.as_of)), Exit::Done))
            });
        }
        WhitelistCommand::Add { who, duration, reason } => (who, false, *duration, reason),
        WhitelistCommand::Remove { who, reason } => (who, true, None, reason),
    };
    let (reason, dry_run) = (reason.clone(), session.global.dry_run);
    let request = WhitelistChangeRequest { who: who(of), remove, duration_ms, reason, dry_run };
    let answer = session.call::<WhitelistChange>(&request)?;
    let (table, done) = match (remove, dry_run) {
        (true, true) => (ended(&answer), "would be excepted no longer"),
        (true, false) => (ended(&answer), "excepted no longer"),
        (false, true) => (exceptions(&answer.excepted), "would be excepted"),
        (false, false) => (exceptions(&answer.excepted), "excepted"),
    };
    changed(session, &answer, table, done)
}

fn rate_limits(session: &Session) -> Ended {
    read(session, || {
        let found = session.call::<GuardRead>(&GuardReadRequest {})?;
        let limits = found.blocks.iter().filter(|block| block.action == "rate_limit");
        let thresholds: Vec<Named> = found
            .settings
            .iter()
            .filter(|one| one.name.starts_with("threshold_") || one.name.ends_with("_factor"))
            .cloned()
            .collect();
        session.warn(&found.complaints);
        let document =
            Document::of(&found).table(rows(&thresholds)).section("limits in force", blocks(limits));
        Ok((document.text_block(words::as_of(&found.as_of)), Exit::Done))
    })
}
