//! Errors as people read them: what, why, what happens next, what to type.

use dwcp_api::Problem;

use crate::Exit;
use crate::session::Session;
use crate::typed::Format;

/// Why a command ended without its answer.
#[derive(Clone, Debug)]
pub struct Failure {
    pub exit: Exit,
    /// On the heap: results pass through many hands.
    pub problem: Box<Problem>,
}

impl Failure {
    /// An error of this program's own, without a code.
    pub fn new(exit: Exit, title: impl Into<String>) -> Failure {
        let problem = Problem { title: title.into(), ..Problem::default() };
        Failure { exit, problem: Box::new(problem) }
    }

    /// Wrong usage.
    pub fn usage(title: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, title)
    }

    /// Adds a line of why.
    pub fn because(mut self, cause: impl Into<String>) -> Failure {
        self.problem.cause.push(cause.into());
        self
    }

    /// Says what happens next by itself.
    pub fn and_then(mut self, next: impl Into<String>) -> Failure {
        self.problem.next = next.into();
        self
    }

    /// Adds a command to type.
    pub fn suggest(mut self, command: impl Into<String>) -> Failure {
        self.problem.attempts.push(command.into());
        self
    }

    /// The error as text, one fact a line.
    pub fn text(&self) -> String {
        let problem = &self.problem;
        let verb = match self.exit {
            Exit::Failed | Exit::Unreachable | Exit::Partly | Exit::Done => "failed",
            _ => "refused",
        };
        let mut text = match problem.code.as_str() {
            "" => format!("{verb}: {}\n", problem.title),
            code => format!("{verb} {code}: {}\n", problem.title),
        };
        let mut line = |name: &str, value: &str| {
            for (index, part) in value.lines().enumerate() {
                let name = if index == 0 { name } else { "" };
                text.push_str(&format!("  {name:<7} {part}\n"));
            }
        };
        line("detail", &problem.detail);
        problem.cause.iter().for_each(|cause| line("cause", cause));
        line("next", &problem.next);
        problem.attempts.iter().for_each(|command| line("try", command));
        if !problem.code.is_empty() {
            line("more", &format!("dwcp-cli explain {}", problem.code));
        }
        line("request", &problem.request_id);
        text
    }

    /// Prints it to stderr: as text, or as JSON where that was asked for.
    pub fn print(&self, session: &Session) {
        if session.global.format == Some(Format::Json)
            && let Ok(json) = serde_json::to_string_pretty(&self.problem)
        {
            crate::remark(&format!("{json}\n"));
            return;
        }
        crate::remark(&self.text());
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        Failure { exit: Exit::of(&problem), problem: Box::new(problem) }
    }
}
