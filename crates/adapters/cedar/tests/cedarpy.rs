//! Cedar's own engine for Python, fed by a mapping of its own, decides as we do.
#![expect(clippy::expect_used, reason = "helpers of tests fail the test")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use arbiter_adapter_cedar::CedarAuthorizer;
use arbiter_core::model::{
    AgentId, Band, Operation, Principal, PrincipalId, PrincipalKind, Role, SecurityLevel, Target, TaskId,
    TenantId,
};
use arbiter_core::ports::{Authorizer as _, Verdict};
use serde_json::{Value, json};

/// Half of what is asked for in all; each test asks so many.
const REQUESTS: usize = 10_000;

/// An interpreter that has `cedarpy`.
fn python() -> PathBuf {
    #[expect(
        clippy::disallowed_methods,
        reason = "`cargo xtask test` tells tests by variables what it provides"
    )]
    let found = std::env::var_os("ARBITER_TEST_PYTHON");
    found
        .expect(
            "ARBITER_TEST_PYTHON names no interpreter with `cedarpy`: run `cargo xtask test`, which makes one \
             under target/tools/venv, or name that one",
        )
        .into()
}

/// SplitMix64 (Steele, Lea, Flood 2014), so that the requests are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).expect("small")]
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(4) > 0).then(|| make(self))
    }

    /// One of two ids, so that equal ones are common: 018f1e6a-7b2c-7d3e-8f40-a1b2c3d4e501 and …02.
    fn id(&mut self) -> [u8; 16] {
        let last = self.pick(&[1, 2]);
        [
            0x01, 0x8f, 0x1e, 0x6a, 0x7b, 0x2c, 0x7d, 0x3e, 0x8f, 0x40, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5, last,
        ]
    }

    fn band(&mut self) -> Band {
        Band::new(self.pick(&[0, 1, 2, 3])).expect("a band")
    }

    fn request(&mut self) -> (Principal, Operation, Target) {
        let roles = Role::ALL.iter().copied().filter(|_| self.below(4) == 0);
        let who = Principal {
            roles: roles.collect(),
            id: PrincipalId::from_bytes(self.id()),
            tenant: self
                .maybe(|random| TenantId::from_bytes(random.id()))
                .unwrap_or(TenantId::SYSTEM),
            kind: self.pick(PrincipalKind::ALL),
            agent: self.maybe(|random| AgentId::from_bytes(random.id())),
            kinds: None,
            highest_band: self.band(),
        };
        let levels = [
            SecurityLevel::Internal,
            SecurityLevel::Confidential,
            SecurityLevel::Restricted,
        ];
        let what = Target {
            tenant: self.maybe(|random| TenantId::from_bytes(random.id())),
            task: self.maybe(|random| TaskId::from_bytes(random.id())),
            submitter: self.maybe(|random| PrincipalId::from_bytes(random.id())),
            agent: self.maybe(|random| AgentId::from_bytes(random.id())),
            holder: self.maybe(|random| AgentId::from_bytes(random.id())),
            band: self.maybe(Self::band),
            security: self.maybe(|random| random.pick(&levels)),
        };
        (who, self.pick(Operation::ALL), what)
    }
}

fn hexadecimal(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

/// The facts of a request. Nothing here is in the form that policies see: that mapping is the script's own.
fn facts((who, operation, what): &(Principal, Operation, Target)) -> Value {
    let security = what.security.map(|level| match level {
        SecurityLevel::Internal => 0,
        SecurityLevel::Confidential => 1,
        SecurityLevel::Restricted => 2,
    });
    json!({
        "who": {
            "id": hexadecimal(who.id.as_bytes()),
            "tenant": hexadecimal(who.tenant.as_bytes()),
            "agent": who.agent.map(|id| hexadecimal(id.as_bytes())),
            "kind": who.kind.word(),
            "roles": who.roles.iter().map(|role| role.word()).collect::<Vec<_>>(),
            "band": who.highest_band.get(),
        },
        "operation": operation.word(),
        "what": {
            "tenant": what.tenant.map(|id| hexadecimal(id.as_bytes())),
            "task": what.task.map(|id| hexadecimal(id.as_bytes())),
            "submitter": what.submitter.map(|id| hexadecimal(id.as_bytes())),
            "agent": what.agent.map(|id| hexadecimal(id.as_bytes())),
            "holder": what.holder.map(|id| hexadecimal(id.as_bytes())),
            "band": what.band.map(Band::get),
            "security": security,
        },
    })
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the script decides, in the order of the requests.
fn decided_by_cedarpy(policies: &[&str], lines: Vec<String>) -> Vec<Verdict> {
    let mut script = Command::new(python())
        .arg(folder().join("tests/decide.py"))
        .arg(folder().join("policies/schema.cedarschema"))
        .args(policies.iter().map(|file| folder().join(file)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the interpreter of ARBITER_TEST_PYTHON starts");
    let mut input = script.stdin.take().expect("piped");
    // Written beside the reading: neither side waits for ever for the other.
    let writer = std::thread::spawn(move || {
        // A script that ended early tells why itself; its exit status is checked below.
        let _ended = lines.iter().try_for_each(|line| writeln!(input, "{line}"));
    });
    let output = script.wait_with_output().expect("the script ends");
    writer.join().expect("written");
    assert!(output.status.success(), "the script failed: {}", output.status);
    let text = String::from_utf8(output.stdout).expect("text");
    let verdict = |line| match line {
        "allow" => Verdict::Allowed,
        "deny" => Verdict::Denied,
        other => unreachable!("`{other}` is no decision"),
    };
    text.lines().map(verdict).collect()
}

fn compare(seed: u64, extra: &[(String, String)], policies: &[&str]) {
    let authorizer = CedarAuthorizer::new(extra).expect("policies");
    let mut random = Random(seed);
    let requests: Vec<_> = (0..REQUESTS).map(|_| random.request()).collect();
    let lines = requests
        .iter()
        .map(|request| facts(request).to_string())
        .collect();
    let theirs = decided_by_cedarpy(policies, lines);
    assert_eq!(theirs.len(), REQUESTS);
    for ((who, operation, what), theirs) in requests.iter().zip(&theirs) {
        // Twice by the port, so that the answer of the cache is compared as well, and once by the policies alone.
        for _ in 0..2 {
            let ours = authorizer.authorize(who, *operation, what).expect("decided");
            assert_eq!(ours, *theirs, "{who:?} {operation:?} {what:?}");
        }
        let ours = authorizer.decide(who, *operation, what).expect("decided");
        assert_eq!(ours, *theirs, "uncached: {who:?} {operation:?} {what:?}");
    }
    let allowed = theirs
        .iter()
        .filter(|verdict| **verdict == Verdict::Allowed)
        .count();
    assert!(
        (REQUESTS / 5..REQUESTS * 4 / 5).contains(&allowed),
        "both answers are common: {allowed}"
    );
}

#[test]
fn cedarpy_decides_alike_by_the_default_policies() {
    compare(11, &[], &["policies/default.cedar"]);
}

#[test]
fn cedarpy_decides_alike_by_the_policies_of_an_operator() {
    let extra = "tests/extra.cedar";
    let text = std::fs::read_to_string(folder().join(extra)).expect("the operator's policies");
    compare(
        12,
        &[("extra.cedar".to_owned(), text)],
        &["policies/default.cedar", extra],
    );
}
