//! Starts the right program, and tries a new one so that the one before it comes back by itself.
//!
//! The process that was started stays: it goes over to another program in place. A program on trial is its child, and dies with
//! it. So whoever starts, stops or kills `dwcpd` by its number reaches the whole of it, also during a trial. The one that
//! watches is always a program that was good.

use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Programs, State, Trying, digest_of};

/// Digest of the program that this process was made to run; not set: the installed one.
const RUNS: &str = "DWCPD_PROGRAM";
/// Set for a program that another one watches.
const WATCHED: &str = "DWCPD_WATCHED";
/// How long a program may take to become well.
pub const WELL_WITHIN: Duration = Duration::from_secs(60);
/// How long a program that is told to end may take.
const ENDS_WITHIN: Duration = Duration::from_secs(4);
/// Between two looks at the program that is watched.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A program that somebody kills is tried again; so often, the first one included.
const STARTS: u32 = 3;

/// What this process is to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// The program is on trial.
    pub trial: bool,
    /// Another process watches this one, and starts the next program when this one ends.
    pub watched: bool,
}

static TOLD_TO_END: AtomicBool = AtomicBool::new(false);

extern "C" fn told_to_end(_signal: libc::c_int) {
    TOLD_TO_END.store(true, Ordering::Relaxed);
}

/// Goes over to the good program, or tries one that is to be tried; comes back when this process is to run the region itself.
///
/// # Errors
/// What says which program is good can't be read or written.
pub fn begin(programs: &Programs) -> Result<Part, String> {
    let fail = |error: std::io::Error| format!("program.json: {error}");
    let runs = std::env::var(RUNS).unwrap_or_default();
    if std::env::var_os(WATCHED).is_some() {
        let state = programs.state().map_err(fail)?;
        return Ok(Part { trial: state.trying.is_some_and(|trying| trying.sha256 == runs), watched: true });
    }
    let state = programs.state().map_err(fail)?;
    if state.good != runs {
        match good_program(programs, &state) {
            Ok(path) => return Err(format!("{}: {}", path.display(), go_over(&path, &state.good))),
            Err(why) => eprintln!("warning: {why}; this program goes on"),
        }
    }
    if let Some(trying) = state.trying {
        try_out(programs, trying)?;
    }
    Ok(Part { trial: false, watched: false })
}

/// The good program, its bytes compared with its digest.
fn good_program(programs: &Programs, state: &State) -> Result<PathBuf, String> {
    if state.good.is_empty() {
        return Err("the installed program is good, and this is another one".to_owned());
    }
    let path = programs.path(&state.good);
    match digest_of(&path) {
        Ok(found) if found == state.good => Ok(path),
        Ok(_) => Err(format!("{} is not what it was", path.display())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// What this process was started with.
fn arguments() -> Vec<OsString> {
    std::env::args_os().skip(1).collect()
}

/// Becomes another program; comes back only with why it could not.
fn go_over(path: &Path, sha256: &str) -> std::io::Error {
    Command::new(path).args(arguments()).env(RUNS, sha256).env_remove(WATCHED).exec()
}

/// Begins anew as the good program, which sees what there is to try.
pub fn again(programs: &Programs) -> String {
    let own = own_program();
    let runs = std::env::var(RUNS).unwrap_or_default();
    let other = programs.state().ok().filter(|state| !state.good.is_empty() && state.good != runs);
    match other.map(|state| (good_program(programs, &state), state.good)) {
        Some((Ok(path), good)) => go_over(&path, &good).to_string(),
        Some((Err(why), _)) => {
            eprintln!("warning: {why}; this program begins anew");
            go_over(&own, &runs).to_string()
        }
        None => go_over(&own, &runs).to_string(),
    }
}

/// The file that this process runs; what the kernel keeps of it when it was removed.
pub fn own_program() -> PathBuf {
    let named = std::env::current_exe().ok().filter(|path| path.is_file());
    named.unwrap_or_else(|| PathBuf::from("/proc/self/exe"))
}

/// Tries a program, and watches it for as long as it lives. Comes back when it is not the one.
fn try_out(programs: &Programs, mut trying: Trying) -> Result<(), String> {
    // SAFETY: the handler does nothing but set a flag.
    unsafe {
        libc::signal(libc::SIGTERM, told_to_end as *const () as libc::sighandler_t);
        libc::signal(libc::SIGINT, told_to_end as *const () as libc::sighandler_t);
    }
    let why = loop {
        trying.starts += 1;
        if trying.starts > STARTS {
            break format!("it was killed {STARTS} times before it was well");
        }
        let mut state = programs.state().map_err(|e| e.to_string())?;
        state.trying = Some(trying.clone());
        programs.save(&state).map_err(|e| e.to_string())?;
        let path = programs.path(&trying.sha256);
        match digest_of(&path) {
            Ok(found) if found == trying.sha256 => {}
            Ok(_) => break "its bytes are not what they were".to_owned(),
            Err(error) => break error.to_string(),
        }
        let child = match start(&path, &trying.sha256) {
            Ok(child) => child,
            Err(error) => break format!("it does not start: {error}"),
        };
        match watch(programs, child)? {
            // Somebody else's doing, until it happens too often.
            Ending::Killed => {}
            Ending::NotTheOne(why) => break why,
        }
    };
    eprintln!("warning: version {} is not the one: {why}", trying.version);
    programs.go_back(&why).map_err(|e| e.to_string())?;
    // SAFETY: the region is run by this process now, which sets handlers of its own.
    unsafe {
        libc::signal(libc::SIGTERM, libc::SIG_DFL);
        libc::signal(libc::SIGINT, libc::SIG_DFL);
    }
    if TOLD_TO_END.load(Ordering::Relaxed) {
        std::process::exit(0);
    }
    Ok(())
}

fn start(path: &Path, sha256: &str) -> std::io::Result<Child> {
    let parent = std::process::id();
    let mut command = Command::new(path);
    command.args(arguments()).env(RUNS, sha256).env(WATCHED, "1");
    // SAFETY: prctl and getppid are async-signal-safe and allocate nothing.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            // It may have died before that was said.
            let orphan = libc::getppid() as u32 != parent;
            if orphan { Err(std::io::Error::other("its launcher is gone")) } else { Ok(()) }
        });
    }
    command.spawn()
}

enum Ending {
    /// Somebody killed it during its trial.
    Killed,
    /// It ended by itself during its trial, or was not well in time.
    NotTheOne(String),
}

/// Watches a program until it ends. Once it is well it is watched without an end: this process is then as the program is.
fn watch(programs: &Programs, mut child: Child) -> Result<Ending, String> {
    let began = Instant::now();
    loop {
        std::thread::sleep(LOOK_EVERY);
        if TOLD_TO_END.load(Ordering::Relaxed) {
            end(&mut child);
            std::process::exit(0);
        }
        let ended = child.try_wait().map_err(|e| e.to_string())?;
        let state = programs.state().map_err(|e| e.to_string())?;
        let on_trial = state.trying.as_ref().is_some_and(|trying| trying.sha256 != state.good);
        match ended {
            Some(status) if !on_trial => std::process::exit(code(status)),
            // It was good, and has been told to go over to another one: the good one tries that.
            Some(_) if state.trying.as_ref().is_some_and(|trying| trying.starts == 0) => {
                return Err(again(programs));
            }
            Some(status) if status.signal() == Some(libc::SIGKILL) => return Ok(Ending::Killed),
            Some(status) => return Ok(Ending::NotTheOne(format!("it ended at once: {status}"))),
            None if on_trial && state.trying.as_ref().is_some_and(|trying| trying.starts > 0) => {
                if began.elapsed() > WELL_WITHIN {
                    // It may have become well in this very moment: what it wrote counts.
                    let _ = child.kill();
                    let _ = child.wait();
                    let state = programs.state().map_err(|e| e.to_string())?;
                    if state.trying.is_none() {
                        return Err(again(programs));
                    }
                    return Ok(Ending::NotTheOne(format!("not well within {} s", WELL_WITHIN.as_secs())));
                }
            }
            None => {}
        }
    }
}

fn end(child: &mut Child) {
    // SAFETY: the child was not waited for, so its number is still its own.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
    let told = Instant::now();
    while told.elapsed() < ENDS_WITHIN {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
