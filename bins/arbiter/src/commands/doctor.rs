//! `arbiter doctor`: what is wrong with configuration, data and machine, and what to do about it.

mod bundle;
mod data;
pub(crate) mod identity;
mod machine;
mod registry;

use serde_json::json;

use crate::cli::DoctorArgs;
use crate::config::Config;
use crate::exit::Failure;
use crate::output;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// The check's stable name.
    check: &'static str,
    grade: Grade,
    /// What was found.
    what: String,
    /// What to do about it.
    fix: Option<String>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grade {
    /// As it should be.
    Fine,
    /// Worth knowing; the program works.
    Note,
    /// Something does not work, or will not for long.
    Problem,
}

impl Grade {
    const fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Problem => "problem",
        }
    }
}

impl Finding {
    fn fine(check: &'static str, what: impl Into<String>) -> Self {
        Self {
            check,
            grade: Grade::Fine,
            what: what.into(),
            fix: None,
        }
    }

    fn note(check: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            check,
            grade: Grade::Note,
            what: what.into(),
            fix: Some(fix.into()),
        }
    }

    fn problem(check: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            grade: Grade::Problem,
            ..Self::note(check, what, fix)
        }
    }
}

/// Looks at everything. Fails, without a message of its own, when there is a problem.
pub(super) async fn run(config: Config, arguments: DoctorArgs, json: bool) -> Result<(), Failure> {
    let mut findings = vec![configuration(&config)];
    findings.extend(data::look(&config));
    findings.extend(machine::look(&config));
    findings.extend(identity::look(&config).await);
    findings.extend(registry::look(&config).await);
    if let Some(path) = &arguments.bundle {
        bundle::write(&config, &findings, path, arguments.log.as_deref()).await?;
        if !json {
            output::line(&format!(
                "the bundle is {}; read it before you send it",
                path.display()
            ));
        }
    }
    show(&findings, json)
}

/// Tells of a configuration that cannot be read: nothing else can be looked at then.
pub(crate) fn unconfigured(failure: &Failure, json: bool) -> Result<(), Failure> {
    let fix = "correct the configuration; `arbiter config check` names every problem of it";
    show(
        &[Finding::problem("configuration", failure.message.clone(), fix)],
        json,
    )
}

fn configuration(config: &Config) -> Finding {
    // What can only be found out by building it.
    let built = crate::commands::config::build(config);
    let readable = |path: &std::path::Path| {
        std::fs::File::open(path)
            .map(drop)
            .map_err(|error| Failure::configuration(format!("`{}` cannot be read: {error}", path.display())))
    };
    let tls = config
        .server
        .tls
        .iter()
        .flat_map(|(certificate, key)| [certificate, key]);
    let mut files = tls.chain(config.server.agents.iter());
    match built.and_then(|()| files.try_for_each(|path| readable(path))) {
        Ok(()) => Finding::fine("configuration", "it is valid"),
        Err(failure) => Finding::problem(
            "configuration",
            failure.message,
            "correct the configuration; `arbiter config check` names every problem of it",
        ),
    }
}

fn as_json(findings: &[Finding]) -> serde_json::Value {
    findings
        .iter()
        .map(|finding| {
            json!({
                "check": finding.check,
                "grade": finding.grade.word(),
                "what": finding.what,
                "fix": finding.fix,
            })
        })
        .collect()
}

fn show(findings: &[Finding], json: bool) -> Result<(), Failure> {
    let problems = findings
        .iter()
        .filter(|finding| finding.grade == Grade::Problem)
        .count();
    if json {
        output::json(&json!({"ok": problems == 0, "findings": as_json(findings)}));
    } else {
        for finding in findings {
            output::line(&format!(
                "{:8} {}: {}",
                finding.grade.word(),
                finding.check,
                finding.what
            ));
            if let Some(fix) = &finding.fix {
                output::line(&format!("         → {fix}"));
            }
        }
    }
    if problems == 0 {
        Ok(())
    } else {
        Err(Failure::some_failed())
    }
}
