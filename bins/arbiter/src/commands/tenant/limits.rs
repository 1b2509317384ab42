//! A tenant's limits as they are typed and shown.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::model::TaskKind;
use arbiter_wire::http::{TenantLimitsForm, TenantRateForm};

use crate::cli::{LimitArgs, LimitWord};
use crate::exit::Failure;

/// Whether any limit is named.
pub(super) const fn is_named(named: &LimitArgs) -> bool {
    let LimitArgs {
        open_tasks,
        submit_rate,
        submit_burst,
        running,
        running_per_kind,
        kind,
    } = named;
    open_tasks.is_some()
        || submit_rate.is_some()
        || submit_burst.is_some()
        || running.is_some()
        || !running_per_kind.is_empty()
        || !kind.is_empty()
}

/// The limits that are named over those that are there, without those that are taken back.
pub(super) fn over(
    present: TenantLimitsForm,
    named: LimitArgs,
    unset: &[LimitWord],
) -> Result<TenantLimitsForm, Failure> {
    let mut limits = without(present, &named, unset)?;
    limits.open_tasks = named.open_tasks.or(limits.open_tasks);
    if let (Some(per_second), Some(burst)) = (named.submit_rate, named.submit_burst) {
        limits.submit = Some(TenantRateForm { per_second, burst });
    }
    limits.running = named.running.or(limits.running);
    if !named.running_per_kind.is_empty() {
        let pairs = named.running_per_kind.iter().map(|text| per_kind(text));
        limits.running_per_kind = pairs.collect::<Result<BTreeMap<_, _>, _>>()?;
    }
    if !named.kind.is_empty() {
        let kinds = named.kind.iter().map(|word| kind(word));
        limits.kinds = Some(kinds.collect::<Result<BTreeSet<_>, _>>()?);
    }
    Ok(limits)
}

fn without(
    mut limits: TenantLimitsForm,
    named: &LimitArgs,
    unset: &[LimitWord],
) -> Result<TenantLimitsForm, Failure> {
    for word in unset {
        let (flag, is_named) = match word {
            LimitWord::OpenTasks => ("open-tasks", named.open_tasks.is_some()),
            LimitWord::SubmitRate => ("submit-rate", named.submit_rate.is_some()),
            LimitWord::Running => ("running", named.running.is_some()),
            LimitWord::RunningPerKind => ("running-per-kind", !named.running_per_kind.is_empty()),
            LimitWord::Kind => ("kind", !named.kind.is_empty()),
        };
        if is_named {
            return Err(Failure::usage(format!(
                "--{flag} and --unset {flag} contradict each other; leave one out"
            )));
        }
        match word {
            LimitWord::OpenTasks => limits.open_tasks = None,
            LimitWord::SubmitRate => limits.submit = None,
            LimitWord::Running => limits.running = None,
            LimitWord::RunningPerKind => limits.running_per_kind.clear(),
            LimitWord::Kind => limits.kinds = None,
        }
    }
    Ok(limits)
}

fn per_kind(text: &str) -> Result<(String, u32), Failure> {
    let parts = text.rsplit_once('=');
    let parts = parts.and_then(|(word, count)| Some((word, count.parse().ok()?)));
    let (word, count) =
        parts.ok_or_else(|| Failure::usage(format!("--running-per-kind takes KIND=N, not `{text}`")))?;
    Ok((kind(word)?, count))
}

fn kind(word: &str) -> Result<String, Failure> {
    let kind = TaskKind::new(word).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(kind.to_string())
}

/// Limits on one line, by the names of their options.
pub(super) fn text(limits: &TenantLimitsForm) -> String {
    let mut parts = Vec::new();
    parts.extend(limits.open_tasks.map(|count| format!("open-tasks={count}")));
    if let Some(TenantRateForm { per_second, burst }) = limits.submit {
        parts.push(format!("submit-rate={per_second} submit-burst={burst}"));
    }
    parts.extend(limits.running.map(|count| format!("running={count}")));
    for (kind, count) in &limits.running_per_kind {
        parts.push(format!("running-per-kind={kind}={count}"));
    }
    for kind in limits.kinds.iter().flatten() {
        parts.push(format!("kind={kind}"));
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> LimitArgs {
        LimitArgs {
            open_tasks: None,
            submit_rate: None,
            submit_burst: None,
            running: None,
            running_per_kind: Vec::new(),
            kind: Vec::new(),
        }
    }

    #[test]
    fn what_is_not_named_stays_and_what_is_unset_goes() {
        let present = TenantLimitsForm {
            open_tasks: Some(5),
            running: Some(2),
            ..TenantLimitsForm::default()
        };
        let named = LimitArgs {
            submit_rate: Some(3),
            submit_burst: Some(9),
            running_per_kind: vec!["acme/paint=4".to_owned()],
            kind: vec!["writing".to_owned()],
            ..nothing()
        };
        assert!(is_named(&named) && !is_named(&nothing()));
        let limits = over(present.clone(), named, &[LimitWord::Running]).expect("limits");
        assert_eq!(
            text(&limits),
            "open-tasks=5 submit-rate=3 submit-burst=9 running-per-kind=acme/paint=4 kind=writing"
        );
        assert_eq!(over(present.clone(), nothing(), &[]).expect("limits"), present);
        let both = LimitArgs {
            running: Some(1),
            ..nothing()
        };
        let refused = over(present, both, &[LimitWord::Running]).expect_err("a contradiction");
        assert!(refused.message.contains("--unset running"), "{refused}");
    }

    #[test]
    fn a_limit_of_a_kind_is_a_kind_and_a_number() {
        assert_eq!(per_kind("writing=2").expect("a pair"), ("writing".to_owned(), 2));
        for text in ["writing", "writing=", "writing=-1", "=2", "A b=2"] {
            assert!(per_kind(text).is_err(), "{text}");
        }
    }
}
