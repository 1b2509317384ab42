//! Who gets which rights: the settings' rules, and nothing without one.

use std::collections::BTreeSet;

use arbiter_core::model::{Band, PrincipalKind, Role, TaskKind, TenantId};
use serde_json::Value;

use crate::object::Object;

/// A rule: whom it is about, and what they get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whom it is about.
    pub when: When,
    /// What they get.
    pub grant: Grant,
}

/// Whom a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// Whose token has a claim of this value: the text itself, or a list with it; of the claim `scope`, one of its words.
    Claim {
        /// The claim's name, or a JSON pointer (RFC 6901) when it begins with `/`.
        name: String,
        /// The value, compared exactly.
        value: String,
    },
    /// Whose certificate has this subject.
    Certificate {
        /// The sort of the name.
        sort: CertificateName,
        /// The name: of hosts in lower case, else compared exactly.
        value: String,
    },
}

/// A sort of names in certificates (RFC 5280 §4.2.1.6), in the order in which the subject is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CertificateName {
    /// A URI, such as a SPIFFE id.
    Uri,
    /// A host.
    Dns,
    /// An e-mail address.
    Email,
}

impl CertificateName {
    /// Every sort.
    pub const ALL: [Self; 3] = [Self::Uri, Self::Dns, Self::Email];

    /// Its word in settings.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Uri => "uri",
            Self::Dns => "dns",
            Self::Email => "email",
        }
    }
}

/// What somebody gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The tenant that they belong to.
    pub tenant: TenantId,
    /// What sort they are.
    pub kind: PrincipalKind,
    /// Their roles, at least one.
    pub roles: BTreeSet<Role>,
    /// The kinds of tasks that they may submit, where that differs from the tenant's.
    pub kinds: Option<BTreeSet<TaskKind>>,
    /// The highest band that they may use.
    pub highest_band: Band,
}

/// The grant of the first rule that is about these claims.
pub(crate) fn for_claims<'a>(rules: &'a [Rule], claims: &Object) -> Option<&'a Grant> {
    let is_about = |rule: &&Rule| match &rule.when {
        When::Claim { name, value } => has(claims, name, value),
        When::Certificate { .. } => false,
    };
    rules.iter().find(is_about).map(|rule| &rule.grant)
}

/// The grant of the first rule that is about this subject of a certificate.
pub(crate) fn for_certificate<'a>(rules: &'a [Rule], sort: CertificateName, name: &str) -> Option<&'a Grant> {
    let is_about = |rule: &&Rule| match &rule.when {
        When::Claim { .. } => false,
        When::Certificate { sort: asked, value } => *asked == sort && value == name,
    };
    rules.iter().find(is_about).map(|rule| &rule.grant)
}

fn has(claims: &Object, name: &str, value: &str) -> bool {
    let found = if name.starts_with('/') {
        claims.pointer(name)
    } else {
        claims.get(name)
    };
    match found {
        Some(Value::String(words)) if name == "scope" => words.split(' ').any(|word| word == value),
        Some(Value::String(text)) => text == value,
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, value: &str, role: Role) -> Rule {
        Rule {
            when: When::Claim {
                name: name.to_owned(),
                value: value.to_owned(),
            },
            grant: Grant {
                tenant: TenantId::from_bytes([7; 16]),
                kind: PrincipalKind::User,
                roles: BTreeSet::from([role]),
                kinds: None,
                highest_band: Band::HIGHEST,
            },
        }
    }

    #[test]
    fn the_first_rule_that_is_about_a_token_counts_and_without_one_there_is_nothing() {
        let rules = [
            rule("sub", "ann", Role::Operator),
            rule("groups", "staff", Role::Auditor),
            rule("scope", "tasks", Role::Submitter),
            rule("/realm/roles", "reviewer", Role::Reviewer),
        ];
        let cases = [
            (r#"{"sub":"ann","groups":["staff"]}"#, Some(Role::Operator)),
            (r#"{"sub":"bob","groups":["x","staff"]}"#, Some(Role::Auditor)),
            (r#"{"sub":"bob","groups":"staff"}"#, Some(Role::Auditor)),
            (r#"{"scope":"openid tasks"}"#, Some(Role::Submitter)),
            (r#"{"realm":{"roles":["reviewer"]}}"#, Some(Role::Reviewer)),
            (r#"{"sub":"Ann"}"#, None),
            (r#"{"sub":"ann "}"#, None),
            (r#"{"groups":"staff guests"}"#, None),
            (r#"{"groups":[["staff"]]}"#, None),
            (r#"{"groups":{"staff":true}}"#, None),
            (r#"{"scope":"tasks-all"}"#, None),
            (r#"{"/realm/roles":["reviewer"]}"#, None),
            ("{}", None),
        ];
        for (claims, role) in cases {
            let claims = Object::read(claims.as_bytes()).expect("an object");
            let granted = for_claims(&rules, &claims).map(|grant| grant.roles.clone());
            assert_eq!(granted, role.map(|role| BTreeSet::from([role])), "{claims:?}");
            assert_eq!(for_certificate(&rules, CertificateName::Uri, "ann"), None);
        }
    }
}
