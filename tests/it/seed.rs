//! `cargo xtask seed`, by the program that it starts.

use std::collections::BTreeSet;
use std::process::Command;

use arbiter_tests::http::Caller;
use arbiter_tests::{Done, Place, Serving, done};

fn seed(serving: &Serving, key: &std::path::Path) -> Done {
    done(
        Command::new(env!("CARGO_BIN_EXE_seed"))
            .args(["--server", &serving.url, "--token-file"])
            .arg(key),
    )
}

fn names(operator: &Caller, path: &str, list: &str) -> Vec<String> {
    let told = operator.get(path).json();
    let all = told[list].as_array().expect("a list").iter();
    all.map(|one| one["name"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn a_second_seed_finds_everything_and_makes_nothing() {
    let place = Place::new();
    let serving = Serving::start(&place, &[]);
    let path = place.path("data/operator.key");
    let key = std::fs::read_to_string(&path).expect("the operator's key");
    let operator = Caller::new(&serving, Some(&key));
    for total in [
        "20 agents (20 new), 30 tasks (30 new)",
        "20 agents (0 new), 30 tasks (0 new)",
    ] {
        let told = seed(&serving, &path);
        assert_eq!(told.code(), 0, "{told:?}");
        assert!(told.stdout.trim_end().ends_with(total), "{told:?}");
        assert_eq!(told.stdout.lines().count(), 4, "a line for each tenant: {told:?}");
        let mut tenants = names(&operator, "/v1/tenants", "tenants");
        tenants.sort();
        assert_eq!(tenants, ["default", "seed-north", "seed-south", "seed-west"]);
        let agents = names(&operator, "/v1/agents?limit=100", "agents");
        assert_eq!(agents.len(), 20, "{agents:?}");
        let topics: BTreeSet<&str> = (agents.iter())
            .filter_map(|name| name.split('-').nth(1))
            .collect();
        assert_eq!(topics.len(), 5, "{topics:?}");
    }
    let tenants = operator.get("/v1/tenants").json();
    for tenant in tenants["tenants"].as_array().expect("tenants").iter().skip(1) {
        let id = tenant["id"].as_str().expect("an id");
        let told = operator
            .get(&format!("/v1/principals?tenant={id}&limit=100"))
            .json();
        let keepers: Vec<_> = (told["principals"].as_array().expect("principals").iter())
            .filter(|principal| principal["name"] == "seed")
            .collect();
        assert_eq!(keepers.len(), 1, "{told}");
        let keeper = keepers[0]["id"].as_str().expect("an id");
        let keys = operator
            .get(&format!("/v1/principals/{keeper}/keys?tenant={id}"))
            .json();
        let keys = keys["keys"].as_array().expect("keys");
        assert_eq!(keys.len(), 2, "one for each run");
        assert!(keys.iter().all(|key| key["state"] == "revoked"), "{keys:?}");
    }
    assert_eq!(serving.stop().code(), Some(0));
}

#[test]
fn a_key_that_is_not_known_is_told() {
    let place = Place::new();
    let serving = Serving::start(&place, &[]);
    let key = place.write("wrong.key", &format!("arb_{}\n", "0".repeat(60)));
    let told = seed(&serving, &key);
    assert_eq!(told.code(), 1, "{told:?}");
    assert!(told.stderr.starts_with("seed: listing tenants: "), "{told:?}");
    assert_eq!(serving.stop().code(), Some(0));
}
