//! Calls that make something are made once per idempotency key, over real sockets.

use arbiter_tests::http::{Answer, Caller};
use serde_json::{Value, json};

use super::{Served, refused};

const KEY: [(&str, &str); 1] = [("idempotency-key", "k-1")];

/// Calls that make something, with what they ask for and another content; the second one needs a principal.
fn forms() -> [(&'static str, Value, Value); 3] {
    let hook = json!({"url": "https://example.com/hook", "events": ["closed"]});
    let other_hook = json!({"url": "https://example.com/other", "events": ["closed"]});
    [
        ("/v1/hooks", hook, other_hook),
        ("/v1/principals", somebody("Ada"), somebody("Bob")),
        (
            "/v1/tenants",
            json!({"name": "guests"}),
            json!({"name": "others"}),
        ),
    ]
}

fn somebody(name: &str) -> Value {
    json!({"name": name, "roles": ["submitter"]})
}

/// The id of what an answer shows.
fn id(answer: &Answer) -> String {
    let told = answer.json();
    let shown = ["hook", "key"].into_iter().find(|name| told[name].is_object());
    let shown = shown.map_or(&told, |name| &told[name]);
    shown["id"].as_str().expect("an id").to_owned()
}

/// How many changes of an operation are on record.
fn on_record(served: &Served, operation: &str) -> usize {
    let path = format!("/v1/audit/entries?action={operation}&outcome=done&limit=100");
    let page = served.operator.get(&path);
    assert_eq!(page.status, 200, "{page:?}");
    page.json()["entries"].as_array().expect("entries").len()
}

#[test]
fn hooks_principals_and_tenants_are_made_once() {
    let served = Served::new();
    for (path, form, other) in forms() {
        let call = |form: &Value| served.operator.send("POST", path, &KEY, form);
        let (first, again) = (call(&form), call(&form));
        assert_eq!((first.status, again.status), (201, 200), "{path}: {again:?}");
        assert_eq!(first.json(), again.json(), "{path}");
        assert_eq!(first.header("etag"), Some("\"1\""));
        assert_eq!(again.header("etag"), Some("\"1\""));
        let location = format!("{path}/{}", id(&first));
        assert_eq!(first.header("location"), Some(location.as_str()));
        assert_eq!(served.operator.get(&location).status, 200, "{path}");
        refused(&call(&other), 409, "idempotency_conflict");
        let free = served.operator.post(path, &other);
        assert_eq!(free.status, 201, "{path}: {free:?}");
        let word = path.trim_start_matches("/v1/").trim_end_matches('s');
        assert_eq!(on_record(&served, &format!("{word}.create")), 2, "{path}");
    }
    // The secret of the hook is the present one.
    let (path, form, _) = &forms()[0];
    let again = served.operator.send("POST", path, &KEY, form);
    let hook = format!("{path}/{}", id(&again));
    let rotated = served.operator.post(&format!("{hook}/rotate"), &json!({}));
    let again = served.operator.send("POST", path, &KEY, form);
    assert_eq!(again.json()["secret"], rotated.json()["secret"]);
    assert_eq!(again.header("etag"), Some("\"2\""));
    // It is not made anew when it was deleted.
    assert_eq!(served.operator.call("DELETE", &hook, &[], b"").status, 204);
    let deleted = served.operator.send("POST", path, &KEY, form);
    refused(&deleted, 409, "idempotency_conflict");
    let detail = deleted.json()["detail"].as_str().expect("a text").to_owned();
    assert!(detail.contains("deleted"), "{detail}");
}

#[test]
fn a_repeat_is_recognised_after_a_restart() {
    let served = Served::new();
    let made: Vec<String> = forms()
        .iter()
        .map(|(path, form, _)| id(&served.operator.send("POST", path, &KEY, form)))
        .collect();
    let place = served.place;
    assert_eq!(served.serving.stop().code(), Some(0));
    let served = Served::at(place, "", &[]);
    for ((path, form, _), made) in forms().iter().zip(made) {
        let again = served.operator.send("POST", path, &KEY, form);
        assert_eq!((again.status, id(&again)), (200, made), "{path}");
    }
}

#[test]
fn a_key_is_made_once_and_its_secret_shown_once() {
    let served = Served::new();
    let owner = id(&served.operator.post("/v1/principals", &somebody("Ada")));
    let path = format!("/v1/principals/{owner}/keys");
    let form = json!({"expires_in_seconds": 3600});
    let call = |path: &str, form: &Value| served.operator.send("POST", path, &KEY, form);
    let (first, again) = (call(&path, &form), call(&path, &form));
    assert_eq!((first.status, again.status), (201, 200), "{again:?}");
    assert_eq!(first.json()["key"]["id"], again.json()["key"]["id"]);
    assert!(again.json().get("secret").is_none(), "{again:?}");
    refused(&call(&path, &json!({})), 409, "idempotency_conflict");
    let secret = first.json()["secret"].as_str().expect("a secret").to_owned();
    let caller = Caller::new(&served.serving, Some(&secret));
    assert_eq!(caller.get("/v1/tasks").status, 200);

    let rotate = format!("{path}/{}/rotate", id(&first));
    let form = json!({"overlap_seconds": 0});
    let (new, again) = (call(&rotate, &form), call(&rotate, &form));
    assert_eq!((new.status, again.status), (201, 200), "{again:?}");
    assert_eq!(id(&new), id(&again));
    assert!(again.json().get("secret").is_none(), "{again:?}");
    refused(&caller.get("/v1/tasks"), 401, "auth_failed");
    refused(
        &call(&rotate, &json!({"overlap_seconds": 60})),
        409,
        "idempotency_conflict",
    );
    let keys = served.operator.get(&path).json();
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(2), "{keys}");
    // A lost answer: revoke it, and make another.
    let revoked = format!("{path}/{}", id(&new));
    assert_eq!(served.operator.call("DELETE", &revoked, &[], b"").status, 200);
    assert_eq!(call(&rotate, &form).json()["key"]["state"], "revoked");
    assert_eq!(served.operator.post(&path, &json!({})).status, 201);
}

#[test]
fn equal_calls_at_once_make_one() {
    let served = Served::new();
    let owner = id(&served.operator.post("/v1/principals", &somebody("Ada")));
    let keys = format!("/v1/principals/{owner}/keys");
    let mut calls: Vec<(&str, Value)> = forms().map(|(path, form, _)| (path, form)).into();
    calls.push((&keys, json!({})));
    for (path, form) in calls {
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| served.operator.send("POST", path, &KEY, &form)))
                .collect();
            calls
                .into_iter()
                .map(|one| one.join().expect("an answer"))
                .collect()
        });
        let made = answers.iter().filter(|answer| answer.status == 201).count();
        let found = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!((made, found), (1, 7), "{path}: {answers:?}");
        assert!(
            answers.iter().all(|answer| id(answer) == id(&answers[0])),
            "{path}"
        );
    }
}

#[test]
fn a_refusal_is_not_remembered_and_a_key_is_one_callers() {
    let served = Served::new();
    let plain = served.plain_operator();
    let bad = json!({"url": "ftp://example.com", "events": ["closed"]});
    refused(
        &served.operator.send("POST", "/v1/hooks", &KEY, &bad),
        422,
        "invalid_value",
    );
    let (path, form, _) = &forms()[0];
    let mine = served.operator.send("POST", path, &KEY, form);
    let theirs = plain.send("POST", path, &KEY, form);
    assert_eq!((mine.status, theirs.status), (201, 201), "{theirs:?}");
    assert_ne!(id(&mine), id(&theirs));
    for bad in ["", " "] {
        let answer = served
            .operator
            .send("POST", path, &[("idempotency-key", bad)], form);
        refused(&answer, 422, "invalid_value");
    }
}
