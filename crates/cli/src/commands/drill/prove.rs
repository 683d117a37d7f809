//! The federation's own configuration in the simulator, which is a program of its own.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dwcp_api::configuration::ConfigurationRead;
use dwcp_api::page::Nothing;

use crate::Exit;
use crate::commands::Ended;
use crate::failure::Failure;
use crate::session::Session;
use crate::typed::Prove;

/// The program.
const SIMULATOR: &str = "dwcp-sim";

pub fn run(session: &Session, wanted: &Prove) -> Ended {
    let program = beside(std::env::current_exe().ok().as_deref())?;
    let configuration = session.call::<ConfigurationRead>(&Nothing {})?;
    let text = serde_json::to_string_pretty(&configuration).map_err(|error| {
        Failure::new(Exit::Failed, format!("the configuration can't be written: {error}"))
    })?;
    if let Some(file) = &wanted.save {
        std::fs::write(file, &text)
            .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", file.display())))?;
    }
    let mut simulator = Command::new(&program);
    let file = wanted.save.as_ref().map_or("-".into(), |file| file.display().to_string());
    simulator.args(["prove", "--config", &file, "--seeds", &wanted.seeds]);
    if let Some(jobs) = wanted.jobs {
        simulator.args(["--jobs", &jobs.to_string()]);
    }
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("{} can't be run: {error}", program.display()))
    };
    let mut child = simulator.stdin(Stdio::piped()).spawn().map_err(failed)?;
    // One that has ended by itself has said why.
    if let Some(mut stdin) = child.stdin.take().filter(|_| wanted.save.is_none()) {
        let _ = stdin.write_all(text.as_bytes());
    }
    match child.wait().map_err(failed)?.code() {
        Some(0) => Ok(Exit::Done),
        Some(2) => Ok(Exit::Usage),
        _ => Ok(Exit::Failed),
    }
}

/// The simulator in the folder of this program.
///
/// # Errors
/// Says that it is not there, and what to do.
fn beside(program: Option<&Path>) -> Result<PathBuf, Failure> {
    let folder = program.and_then(Path::parent).unwrap_or(Path::new("."));
    let found = folder.join(SIMULATOR);
    if found.is_file() {
        return Ok(found);
    }
    Err(Failure::new(Exit::NotFound, format!("there is no {SIMULATOR} beside this dwcp-cli"))
        .because(format!("{} does not exist; it is not a part of every installation", found.display()))
        .and_then("nothing was run")
        .suggest(format!("cp {SIMULATOR} {}/", folder.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulator_that_is_not_there_is_said_to_be_missing_and_where() {
        let folder = std::env::temp_dir().join(format!("dwcp-cli-prove-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let program = folder.join("dwcp-cli");
        let failure = beside(Some(&program)).expect_err("there is none");
        assert_eq!(failure.exit, Exit::NotFound);
        std::fs::write(folder.join(SIMULATOR), "").expect("a file");
        assert_eq!(beside(Some(&program)).expect("it is there"), folder.join(SIMULATOR));
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
