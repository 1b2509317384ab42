//! What every operation has in common.

use arbiter_tests::http::Caller;
use serde_json::json;

use super::{Served, refused, task};

#[test]
fn a_call_is_answered_with_its_ids_and_safe_headers() {
    let served = Served::new();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [("x-request-id", "call-7"), ("traceparent", trace)];
    let answer = served.operator.call("GET", "/v1/tasks", &headers, b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("x-request-id"), Some("call-7"));
    assert_eq!(answer.header("traceparent"), Some(trace));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let made = served.operator.get("/v1/tasks");
    assert!(made.header("x-request-id").is_some_and(|id| id.len() > 8));
    // What is no id is not echoed: it would end up in logs.
    let odd = served
        .operator
        .call("GET", "/v1/tasks", &[("x-request-id", "a b\"c")], b"");
    assert_ne!(odd.header("x-request-id"), Some("a b\"c"));
}

#[test]
fn refusals_are_problem_details() {
    let served = Served::new();
    let nobody = Caller::new(&served.serving, None);
    let answer = nobody.get("/v1/tasks");
    refused(&answer, 401, "auth_failed");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    let wrong = Caller::new(&served.serving, Some("arb_nonsense"));
    refused(&wrong.get("/v1/tasks"), 401, "auth_failed");
    refused(&served.operator.get("/v1/nowhere"), 404, "not_found");
    let method = served.operator.call("DELETE", "/v1/tasks", &[], b"");
    refused(&method, 405, "method_not_allowed");
    assert!(
        method
            .header("allow")
            .is_some_and(|allowed| allowed.contains("POST"))
    );
    let absent = served
        .operator
        .get("/v1/tasks/00000000-0000-7000-8000-000000000000");
    refused(&absent, 404, "not_found");
    let mut odd = task();
    odd["pripority"] = json!(3);
    let odd = served.operator.post("/v1/tasks", &odd);
    refused(&odd, 400, "unsupported_field");
    assert!(odd.json()["server_version"].is_string(), "{odd:?}");
    assert!(odd.json()["request_id"].is_string(), "{odd:?}");
    let kind = json!({"kind": "no-such-kind", "title": "x", "instructions": "y"});
    refused(&served.operator.post("/v1/tasks", &kind), 422, "kind_not_allowed");
    refused(
        &served.operator.get("/v1/tasks?colour=red"),
        400,
        "unsupported_field",
    );
    refused(&served.operator.get("/v1/tasks?cursor=x"), 400, "bad_cursor");
}

#[test]
fn a_creation_is_done_once_per_idempotency_key() {
    let served = Served::new();
    let key = [("idempotency-key", "k-1")];
    let first = served.operator.send("POST", "/v1/tasks", &key, &task());
    let again = served.operator.send("POST", "/v1/tasks", &key, &task());
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.json()["id"], again.json()["id"]);
    let path = first.header("location").expect("where it is").to_owned();
    assert_eq!(served.operator.get(&path).status, 200);
    let mut other = task();
    other["title"] = json!("something else");
    let conflict = served.operator.send("POST", "/v1/tasks", &key, &other);
    refused(&conflict, 409, "idempotency_conflict");
    let mut both = task();
    both["idempotency_key"] = json!("k-2");
    let contradiction = served.operator.send("POST", "/v1/tasks", &key, &both);
    refused(&contradiction, 400, "invalid_request");
    both["idempotency_key"] = json!("k-1");
    assert_eq!(served.operator.send("POST", "/v1/tasks", &key, &both).status, 200);
    assert_eq!(
        served.operator.get("/v1/tasks").json()["tasks"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

/// Calls that make something and take no idempotency key, each with why.
const MADE_AGAIN: [(&str, &str); 1] = [(
    "system.backup",
    "a copy of the moment: a repeat takes another one, of a later moment",
)];

#[test]
fn whatever_a_call_makes_it_makes_once_per_idempotency_key() {
    let served = Served::new();
    let document = served.operator.get("/openapi.json").json();
    let mut makes = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let operation = &methods["post"];
        if !operation["responses"]["201"].is_object() {
            continue;
        }
        let id = operation["operationId"].as_str().expect("an id");
        makes.push(id.to_owned());
        let mut parameters = operation["parameters"].as_array().expect("parameters").iter();
        let takes_key = parameters.any(|parameter| parameter["name"] == "Idempotency-Key");
        let excepted = MADE_AGAIN.iter().any(|(known, _)| *known == id);
        assert!(takes_key != excepted, "{path}: {id}");
        if takes_key {
            assert!(
                operation["responses"]["200"].is_object(),
                "{path}: a repeat finds it"
            );
            let conflict = operation["responses"]["409"]["description"].as_str();
            let told = conflict.is_some_and(|codes| codes.contains("idempotency_conflict"));
            assert!(told, "{path}: {conflict:?}");
            let tags =
                ["201", "200"].map(|status| operation["responses"][status]["headers"]["ETag"].is_object());
            assert_eq!(tags[0], tags[1], "{path}: the version is told both times");
        }
    }
    makes.sort_unstable();
    let expected = [
        "hook.create",
        "key.create",
        "key.rotate",
        "principal.create",
        "schedule.create",
        "system.backup",
        "task.submit",
        "tenant.create",
    ];
    assert_eq!(makes, expected);
}

#[test]
fn a_change_can_insist_on_the_version_that_was_read() {
    let served = Served::new();
    let id = served.submit(&task());
    let path = format!("/v1/tasks/{id}");
    let read = served.operator.get(&path);
    let tag = read.header("etag").expect("a version").to_owned();
    let cancel = |tag: &str| {
        let because = json!({"reason": "no longer needed"});
        served
            .operator
            .send("POST", &format!("{path}/cancel"), &[("if-match", tag)], &because)
    };
    refused(&cancel("\"99\""), 412, "precondition_failed");
    refused(&cancel("nonsense"), 412, "precondition_failed");
    assert_eq!(served.operator.get(&path).json()["state"], "queued");
    let cancelled = cancel(&tag);
    assert_eq!(
        (cancelled.status, &cancelled.json()["state"]),
        (200, &json!("cancelled"))
    );
    assert_ne!(cancelled.header("etag"), Some(tag.as_str()));
}

#[test]
fn a_caller_over_its_rate_is_told_when_to_come_back() {
    let config = "[queue]\nsubmit_per_principal = { per_second = 1, burst = 2 }\n";
    let served = Served::with(config, &[]);
    let answers: Vec<_> = (0..4)
        .map(|_| served.operator.post("/v1/tasks", &task()))
        .collect();
    assert_eq!(
        answers[0].header("ratelimit-policy"),
        Some("\"principal\";q=2;w=2, \"tenant\";q=100;w=10")
    );
    assert_eq!(
        answers[0].header("ratelimit"),
        Some("\"principal\";r=1;t=1, \"tenant\";r=99;t=1")
    );
    let over: Vec<_> = answers.iter().filter(|answer| answer.status != 201).collect();
    assert!(!over.is_empty(), "{answers:?}");
    for answer in over {
        refused(answer, 429, "rate_limited");
        let wait: u64 = answer
            .header("retry-after")
            .expect("a wait")
            .parse()
            .expect("seconds");
        assert!((1..=4).contains(&wait), "{answer:?}");
        assert!(
            answer
                .header("ratelimit")
                .is_some_and(|left| left.contains("r=0"))
        );
    }
}

#[test]
fn pages_show_every_task_once() {
    let served = Served::new();
    let tasks: Vec<_> = (0..7)
        .map(|number| {
            let mut task = task();
            task["title"] = json!(format!("task {number}"));
            task
        })
        .collect();
    let keyed = served.operator.send(
        "POST",
        "/v1/tasks/batch",
        &[("idempotency-key", "one-for-many")],
        &json!({"tasks": tasks}),
    );
    refused(&keyed, 400, "invalid_request");
    let made = served.operator.post("/v1/tasks/batch", &json!({"tasks": tasks}));
    assert_eq!(made.status, 200, "{made:?}");
    let (mut titles, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = served.operator.get(&format!("/v1/tasks?limit=3{cursor}")).json();
        let found = page["tasks"].as_array().expect("tasks");
        assert!(found.len() <= 3);
        titles.extend(
            found
                .iter()
                .map(|task| task["title"].as_str().expect("a title").to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let expected: Vec<String> = (0..7).map(|number| format!("task {number}")).collect();
    assert_eq!(titles, expected);
}

#[test]
fn probes_measurements_and_the_document_need_no_key() {
    let served = Served::new();
    served.submit(&task());
    let nobody = Caller::new(&served.serving, None);
    assert_eq!(nobody.get("/healthz").status, 200);
    let ready = nobody.get("/readyz");
    assert_eq!(
        (ready.status, &ready.json()["ready"]),
        (200, &json!(true)),
        "{ready:?}"
    );
    let metrics = nobody.get("/metrics");
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(
        text.contains("http_server_requests_total{operation=\"task.submit\",status=\"201\"} 1"),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert_eq!(nobody.get("/openapi.json").json()["openapi"], "3.1.0");
}

#[test]
fn large_answers_are_compressed_for_who_can_read_them() {
    let served = Served::new();
    let gzip = [("accept-encoding", "gzip")];
    let answer = served.operator.call("GET", "/openapi.json", &gzip, b"");
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.body[..2], [0x1f, 0x8b], "the magic of RFC 1952 §2.3.1");
    assert_eq!(
        served.operator.get("/openapi.json").header("content-encoding"),
        None
    );
}

#[test]
fn the_document_states_limits_and_the_headers_of_answers() {
    let served = Served::with("[server]\nbody_bytes = 131072\n", &[]);
    let document = served.operator.get("/openapi.json").json();
    let submit = &document["paths"]["/v1/tasks"]["post"];
    assert_eq!(submit["requestBody"]["description"], "At most 131072 bytes");
    let upload = &document["paths"]["/v1/artifacts/{digest}"]["put"];
    assert_eq!(upload["requestBody"]["description"], "At most 268435456 bytes");
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            for (status, answer) in operation["responses"].as_object().expect("answers") {
                let headers = &answer["headers"];
                assert!(headers["X-Request-Id"].is_object(), "{method} {path} {status}");
                let again = ["429", "503"].contains(&status.as_str());
                assert_eq!(
                    headers["Retry-After"].is_object(),
                    again,
                    "{method} {path} {status}"
                );
            }
        }
    }
    let wide = "x".repeat(256);
    let long = served
        .operator
        .send("POST", "/v1/tasks", &[("idempotency-key", &wide)], &task());
    refused(&long, 400, "invalid_request");
    refused(
        &served.operator.get(&format!("/v1/tasks/{wide}")),
        404,
        "not_found",
    );
}
