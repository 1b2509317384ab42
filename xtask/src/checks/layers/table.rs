//! The layer table: who may depend on whom, who stays pure, who owns which driver.

/// What one crate may depend on.
#[derive(Debug)]
pub(crate) struct Row {
    /// Where its manifest must lie.
    pub(crate) folder: String,
    /// Which of our crates it may name.
    pub(crate) edges: Edges,
    /// Which external crates are out of bounds.
    pub(crate) purity: Purity,
    /// The rule in words, for the finding.
    pub(crate) rule: &'static str,
}

/// The allowed edges to our own crates.
#[derive(Debug)]
pub(crate) enum Edges {
    /// These and no others.
    Only(&'static [&'static str]),
    /// These and the domain crates.
    OnlyAndDomains(&'static [&'static str]),
    /// Any crate of ours.
    Any,
}

impl Edges {
    /// Whether the edge to this crate of ours is allowed.
    pub(crate) fn allow(&self, name: &str) -> bool {
        match self {
            Self::Only(names) => names.contains(&name),
            Self::OnlyAndDomains(names) => names.contains(&name) || is_domain(name),
            Self::Any => true,
        }
    }
}

/// How far a crate stays away from runtimes and from input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purity {
    /// No runtime, no input, no output.
    Pure,
    /// As `Pure`, but with tokio's feature `sync`, which runs on any executor.
    TokioSync,
    /// No limit but the owners of drivers.
    Any,
}

const DOMAINS: &[&str] = &[
    "queue",
    "allocation",
    "failure",
    "verification",
    "federated-memory",
    "compliance",
    "evaluation",
    "orchestration",
];

const ADAPTERS: &[&str] = &[
    "anthropic",
    "cedar",
    "docker",
    "dspy",
    "files",
    "http",
    "inmem",
    "kubernetes",
    "oidc",
    "openai",
    "otlp",
    "pagerduty",
    "postgres",
    "process",
    "prometheus",
    "redis",
    "registry-http",
    "slack",
    "smtp",
    "sqlite",
    "system",
    "systemd",
    "webhook",
];

/// What development dependencies may add.
pub(crate) const DEVELOPMENT: &[&str] = &[
    "arbiter-testkit",
    "arbiter-adapter-inmem",
    "arbiter-adapter-system",
];

/// Driver crates and the only crates that may name them, in any kind of dependency.
/// `deny.toml` says the same as bans with wrappers.
pub(crate) const OWNERS: &[(&str, &[&str])] = &[
    ("cedar-policy", &["arbiter-adapter-cedar"]),
    ("deadpool-postgres", &["arbiter-adapter-postgres"]),
    ("fred", &["arbiter-adapter-redis"]),
    (
        "hyper",
        &["arbiter-api", "arbiter-net", "arbiter-testkit", "arbiter-tests"],
    ),
    ("landlock", &["arbiter-adapter-process"]),
    ("opentelemetry-otlp", &["arbiter-adapter-otlp"]),
    ("prometheus-client", &["arbiter-adapter-prometheus"]),
    ("rusqlite", &["arbiter-adapter-sqlite", "arbiter-tests"]),
    ("tokio-postgres", &["arbiter-adapter-postgres", "arbiter-tests"]),
];

/// External crates that bring a runtime, or reach files, sockets, processes, the clock or the
/// system's entropy.
pub(crate) const RUNTIME_OR_IO: &[&str] = &[
    "async-std",
    "axum",
    "chrono",
    "fs4",
    "getrandom",
    "hyper",
    "hyper-util",
    "landlock",
    "libc",
    "mio",
    "nix",
    "reqwest",
    "rustix",
    "rustls",
    "smol",
    "socket2",
    "tempfile",
    "tokio",
    "tokio-rustls",
    "tokio-util",
    "tracing-subscriber",
    "ureq",
];

/// Whether this is the name of a crate of ours.
pub(crate) fn is_ours(package: &str) -> bool {
    package == "arbiter" || package == "xtask" || package.starts_with("arbiter-")
}

/// The package names of the domain crates.
pub(crate) fn domain_crates() -> impl Iterator<Item = String> {
    DOMAINS.iter().map(|name| format!("arbiter-{name}"))
}

/// The row of a crate, by package name.
pub(crate) fn row(package: &str) -> Option<Row> {
    match package {
        "arbiter" => {
            return Some(named(
                "bins/arbiter",
                Edges::Any,
                Purity::Any,
                "the binary may import all",
            ));
        }
        "arbiter-tests" => return Some(named("tests", Edges::Any, Purity::Any, "tests may import all")),
        "xtask" => {
            return Some(named(
                "xtask",
                Edges::Only(&[]),
                Purity::Any,
                "xtask imports none of our crates",
            ));
        }
        _ => {}
    }
    let name = package.strip_prefix("arbiter-")?;
    if let Some(adapter) = name.strip_prefix("adapter-") {
        return ADAPTERS.contains(&adapter).then(|| {
            named(
                format!("crates/adapters/{adapter}"),
                Edges::Only(&[
                    "arbiter-core",
                    "arbiter-audit",
                    "arbiter-wire",
                    "arbiter-net",
                    "arbiter-layers",
                ]),
                Purity::Any,
                "adapters import core, audit, wire, net and layers only",
            )
        });
    }
    let (edges, purity, rule) = library(name)?;
    Some(named(format!("crates/{name}"), edges, purity, rule))
}

fn library(name: &str) -> Option<(Edges, Purity, &'static str)> {
    let only_core = Edges::Only(&["arbiter-core"]);
    let core_and_audit = Edges::Only(&["arbiter-core", "arbiter-audit"]);
    let row = match name {
        "core" => (Edges::Only(&[]), Purity::Pure, "core imports nothing of ours"),
        "audit" => (only_core, Purity::Pure, "audit imports core only"),
        "wire" => (core_and_audit, Purity::Pure, "wire imports core and audit only"),
        "layers" => (only_core, Purity::Any, "layers imports core only"),
        "net" => {
            let edges = Edges::Only(&["arbiter-core", "arbiter-layers"]);
            (edges, Purity::Any, "net imports core and layers only")
        }
        "testkit" => {
            let edges = Edges::Only(&["arbiter-core", "arbiter-audit", "arbiter-wire"]);
            (edges, Purity::Any, "testkit imports core, audit and wire only")
        }
        "api" => {
            let edges = Edges::OnlyAndDomains(&["arbiter-core", "arbiter-wire", "arbiter-audit"]);
            (
                edges,
                Purity::Any,
                "api imports core, wire, audit and domain crates only",
            )
        }
        "client" => {
            let edges = Edges::Only(&["arbiter-core", "arbiter-wire", "arbiter-audit", "arbiter-net"]);
            (
                edges,
                Purity::Any,
                "client imports core, wire, audit and net only",
            )
        }
        "compliance" => (
            core_and_audit,
            Purity::TokioSync,
            "compliance imports core and audit only",
        ),
        domain if DOMAINS.contains(&domain) => {
            (only_core, Purity::TokioSync, "a domain crate imports core only")
        }
        _ => return None,
    };
    Some(row)
}

fn named(folder: impl Into<String>, edges: Edges, purity: Purity, rule: &'static str) -> Row {
    Row {
        folder: folder.into(),
        edges,
        purity,
        rule,
    }
}

fn is_domain(package: &str) -> bool {
    package
        .strip_prefix("arbiter-")
        .is_some_and(|name| DOMAINS.contains(&name))
}
