//! What one decision costs, by the policies and by the cache.

#![expect(
    clippy::expect_used,
    reason = "a bench that cannot start has nothing to measure"
)]

use std::hint::black_box;

use arbiter_adapter_cedar::CedarAuthorizer;
use arbiter_core::model::{Band, Operation, Principal, PrincipalId, PrincipalKind, Role, Target, TenantId};
use arbiter_core::ports::Authorizer as _;
use criterion::{Criterion, criterion_group, criterion_main};

fn decide(criterion: &mut Criterion) {
    let authorizer = CedarAuthorizer::new(&[]).expect("policies");
    let tenant = TenantId::from_bytes([1; 16]);
    let id = PrincipalId::from_bytes([2; 16]);
    let who = Principal {
        id,
        tenant,
        kind: PrincipalKind::User,
        roles: [Role::Submitter].into(),
        agent: None,
        kinds: None,
        highest_band: Band::HIGHEST,
    };
    let what = Target {
        submitter: Some(id),
        band: Some(Band::HIGHEST),
        ..Target::of(tenant)
    };
    criterion.bench_function("decide/policies", |bencher| {
        bencher
            .iter(|| black_box(authorizer.decide(black_box(&who), Operation::TaskSubmit, black_box(&what))));
    });
    criterion.bench_function("decide/cached", |bencher| {
        bencher.iter(|| {
            black_box(authorizer.authorize(black_box(&who), Operation::TaskSubmit, black_box(&what)))
        });
    });
}

criterion_group!(benches, decide);
criterion_main!(benches);
