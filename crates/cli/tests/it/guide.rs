use clap::Parser;
use dwcp_cli::{argv, guide, typed::Typed};

use super::fake::words;

/// Every command line of the operations guide, with its shell variables filled in.
const GUIDE: &str = include_str!("guide_commands.txt");

fn parse(line: &str) -> Result<Typed, clap::Error> {
    Typed::try_parse_from(argv::normal(words(line)))
}

#[test]
fn every_command_line_of_the_guide_is_carried_out_or_refused_by_name() {
    let (mut carried, mut refused) = (Vec::new(), Vec::new());
    for line in GUIDE.lines() {
        match parse(line) {
            Ok(_) => carried.push(line),
            Err(error) => match guide::unavailable(&argv::normal(words(line))) {
                Some(_) => refused.push(line),
                None => panic!("{line}\n{error}"),
            },
        }
    }
    assert!(carried.len() >= 80, "only {} are carried out: {carried:#?}", carried.len());
    assert_eq!(carried.len() + refused.len(), GUIDE.lines().count());
}

#[test]
fn no_command_is_both_available_and_not() {
    for command in guide::UNAVAILABLE {
        let line = format!("dwcp-cli {command} --help");
        let shown = parse(&line).err().is_some_and(|e| e.kind() == clap::error::ErrorKind::DisplayHelp);
        assert!(!shown, "{command} is in the table and in the parser");
    }
}

#[test]
fn a_group_without_its_command_is_told_as_typed() {
    let told = |line: &str| guide::unavailable(&words(line));
    assert_eq!(told("dwcp-cli billing credit").as_deref(), Some("billing credit"));
    assert_eq!(
        told("dwcp-cli --format json federation monitoring sla report").as_deref(),
        Some("federation monitoring sla report")
    );
    assert_eq!(
        told("dwcp-cli federation region scale-plan --region eu").as_deref(),
        Some("federation region scale-plan")
    );
    assert_eq!(told("dwcp-cli vm fly"), None);
    let ran = super::fake::Home::new().run("federation region");
    assert!(ran.exit == 2 && ran.stderr.contains("disable-placement"), "{}", ran.stderr);
}

#[test]
fn the_table_is_sorted_and_names_each_command_once() {
    assert!(guide::UNAVAILABLE.windows(2).all(|pair| pair[0] < pair[1]), "not sorted, or twice");
}

#[test]
fn switches_stand_alone_or_with_a_value() {
    for line in [
        "dwcp-cli federation controller configure --parallel-scoring",
        "dwcp-cli federation controller configure --parallel-scoring true",
        "dwcp-cli federation controller configure --parallel-scoring false",
        "dwcp-cli --watch federation status --global",
        "dwcp-cli --watch 5s federation status --global true",
        "dwcp-cli vm delete --yes web",
        "dwcp-cli vm delete web --confirm",
        "dwcp-cli federation failover --from-region a --dry-run --max-time 30s",
        "dwcp-cli dev link --from a --to b --cut false",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}\n{error}"));
    }
}

#[test]
fn a_parser_without_contradictions() {
    use clap::CommandFactory;
    Typed::command().debug_assert();
}

#[test]
fn under_its_other_name_the_program_prints_the_address_of_a_region() {
    let meant = |line: &str| argv::by_name(words(line)).join(" ");
    assert_eq!(meant("/usr/local/bin/get-region-ip eu-central-1"), "dwcp-cli routing address eu-central-1");
    assert_eq!(meant("get-region-ip --help"), "dwcp-cli routing address --help");
    assert_eq!(meant("dwcp-cli version"), "dwcp-cli version");
}
