//! P13: what policies, redaction and the audit log cost.

use crate::plane::{Plane, Policies};
use crate::{ROUNDS, median, raw, show};

pub(crate) async fn run() {
    let mut lives = [Vec::new(), Vec::new()];
    let mut submits = [Vec::new(), Vec::new()];
    let mut raws = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (place, policies) in [Policies::On, Policies::Off].into_iter().enumerate() {
            lives[place].push(Plane::new(policies).await.lives(32, 500).await.0);
            submits[place].push(Plane::new(policies).await.submits(32, 1_500).await.0);
        }
        for (place, audit) in [true, false].into_iter().enumerate() {
            raws[place].push(raw::lives_with(16_000, 20.0, audit));
        }
    }
    println!("P13 what security costs");
    let cost = |on: f64, off: f64| 100.0 * (1.0 - on / off);
    for (name, [on, off]) in [
        ("whole life, 32 callers", &lives),
        ("submit, 32 callers", &submits),
    ] {
        let on = show(&format!("  {name}: policies and redaction on"), on);
        let off = show(&format!("  {name}: neither"), off);
        println!("  cost of policies and redaction {:.0} %", cost(on, off));
    }
    let [with, without] = &raws;
    println!(
        "  raw whole life, 20 calls per commit: the audit rows cost {:.0} %",
        cost(median(with), median(without))
    );
}
