//! The words of the command line.

use std::process::Command;
use std::time::Duration;

use dwcp_sim::arguments::Arguments;
use dwcp_sim::swarm::in_order;

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
fn results_come_in_the_order_of_the_seeds_however_many_run_at_once() {
    // Later seeds end sooner, so that several threads finish them in another order.
    let run = |seed: u64| {
        std::thread::sleep(Duration::from_millis(20 - seed % 20));
        seed * 7
    };
    let told = |jobs: usize, until: u64| {
        let mut told = Vec::new();
        in_order(100..140, jobs, run, |seed, result| {
            told.push((seed, result));
            seed < until
        });
        told
    };
    assert_eq!(told(1, 999).len(), 40);
    for jobs in [2, 7] {
        assert_eq!(told(jobs, 999), told(1, 999));
        assert_eq!(
            told(jobs, 117).last(),
            Some(&(117, 819)),
            "what comes after the last wanted one is not told"
        );
    }
}

#[test]
fn a_swarm_says_the_same_however_many_seeds_run_at_once() {
    let said = |jobs: &str| {
        let words = ["swarm", "--seeds", "0..6", "--mutation", "ack-before-fsync", "--jobs", jobs];
        let out = Command::new(env!("CARGO_BIN_EXE_dwcp-sim")).args(words).output().expect("it starts");
        (out.status.code(), String::from_utf8(out.stdout).expect("text"))
    };
    let alone = said("1");
    assert_eq!(alone.0, Some(1), "{}", alone.1);
    assert!(alone.1.starts_with("seed 0: VIOLATION"), "{}", alone.1);
    assert_eq!(said("4"), alone);
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
        &["swarm", "--jobs", "0"],
        &["twice", "--seeds", "3..3"],
        &["partitions", "--mutation", "skip-lease-wait"],
        &["replay"],
    ] {
        assert_eq!(code(wrong).ok(), Some(Some(2)), "{wrong:?}");
    }
}
