//! The words of the command line.

use std::process::Command;

use dwcp_sim::arguments::Arguments;

fn parse(words: &[&str]) -> Result<Arguments, String> {
    let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
    Arguments::parse(&words, &["seed", "seeds"], &["verbose"])
}

#[test]
fn a_number_of_seeds_begins_at_zero() {
    assert_eq!(parse(&["--seeds", "200"]).and_then(|found| found.seeds(0..1)), Ok(0..200));
    assert_eq!(parse(&["--seeds=200"]).and_then(|found| found.seeds(0..1)), Ok(0..200));
}

#[test]
fn a_range_of_seeds_leaves_its_end_out() {
    assert_eq!(parse(&["--seeds", "7..9"]).and_then(|found| found.seeds(0..1)), Ok(7..9));
    assert_eq!(parse(&["--seed", "7"]).and_then(|found| found.seeds(0..1)), Ok(7..8));
    assert_eq!(parse(&["--verbose"]).and_then(|found| found.seeds(0..3)), Ok(0..3));
}

#[test]
fn what_is_not_known_is_refused() {
    for words in [&["--sedes", "3"][..], &["--seeds"], &["--verbose=yes"], &["--seed", "1", "--seed", "2"]] {
        assert!(parse(words).is_err(), "{words:?}");
    }
    for words in
        [&["--seeds", "9..7"][..], &["--seeds", "0"], &["--seed", "x"], &["--seed", "1", "--seeds", "2"]]
    {
        assert!(parse(words).and_then(|found| found.seeds(0..1)).is_err(), "{words:?}");
    }
}

#[test]
fn exit_codes_tell_help_from_a_wrong_command_line() {
    let code = |words: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_dwcp-sim")).args(words).output().map(|out| out.status.code())
    };
    assert_eq!(code(&["--help"]).ok(), Some(Some(0)));
    assert_eq!(code(&["swarm", "--help"]).ok(), Some(Some(0)));
    for wrong in [
        &[][..],
        &["dance"],
        &["swarm", "--fast"],
        &["swarm", "7"],
        &["twice", "--seeds", "3..3"],
        &["replay"],
    ] {
        assert_eq!(code(wrong).ok(), Some(Some(2)), "{wrong:?}");
    }
}
