//! What commands may write, and what not.

use std::time::Duration;

use arbiter_core::model::{Json, Ratio, Usage};

use super::*;

#[test]
fn answers_of_the_protocol_are_read() {
    let text = br#"{"version":1,"outcome":"succeeded","output":{"n":1.50},"artifacts":["a.txt"],"claims":[1],"usage":{"tokens":3,"duration_ms":7}}
"#;
    let answer = Answer::parse(text).expect("answer");
    assert_eq!(
        answer.usage,
        Usage {
            tokens: Some(3),
            duration: Some(Duration::from_millis(7)),
            ..Usage::default()
        }
    );
    let Outcome::Succeeded {
        output,
        artifacts,
        claims,
        evidence,
    } = answer.outcome
    else {
        panic!("succeeded")
    };
    assert_eq!(output.as_ref().map(Json::as_str), Some(r#"{"n":1.50}"#));
    assert_eq!(
        (artifacts, claims.len(), evidence.len()),
        (vec!["a.txt".to_owned()], 1, 0)
    );
    let failed = Answer::parse(br#"{"version":1,"outcome":"failed","error":{"class":"x","message":"m"}}"#);
    let expected = Outcome::Failed {
        class: Some("x".into()),
        message: "m".into(),
    };
    assert_eq!(failed.map(|answer| answer.outcome), Ok(expected));
}

#[test]
fn everything_else_is_named() {
    for (text, part) in [
        (&b""[..], "no answer"),
        (b" \n", "no answer"),
        (b"\xff", "UTF-8"),
        (b"hello", "not one object"),
        (b"{\"version\":1,\"outcome\":\"succeeded\"} {}", "trailing"),
        (b"{\"version\":1,\"outcome\":\"succeeded\",\"ouput\":1}", "ouput"),
        (b"{\"version\":2,\"outcome\":\"succeeded\"}", "version 2"),
        (b"{\"version\":1,\"outcome\":\"maybe\"}", "maybe"),
        (
            b"{\"version\":1,\"outcome\":\"succeeded\",\"artifacts\":[\"a\",\"a\"]}",
            "`a` twice",
        ),
        (b"{\"version\":1,\"outcome\":\"failed\"}", "no `error`"),
        (
            b"{\"version\":1,\"outcome\":\"succeeded\",\"error\":{\"message\":\"m\"}}",
            "`error`",
        ),
        (
            b"{\"version\":1,\"outcome\":\"succeeded\",\"usage\":{\"tokens\":-1}}",
            "tokens",
        ),
    ] {
        let error = Answer::parse(text).expect_err("refused").to_string();
        assert!(
            error.contains(part) || (part == "tokens" && error.contains("invalid value")),
            "{part}: {error}"
        );
    }
}

#[test]
fn progress_is_told_from_log() {
    let line = parse_line(r#"{"progress":{"fraction":0.5,"message":"half"}}"#);
    let expected = Line::Progress {
        fraction: Ratio::new(0.5).ok(),
        message: Some("half".into()),
        usage: None,
    };
    assert_eq!(line, expected);
    for log in ["", "warning: x", "{\"level\":\"info\"}", "{broken"] {
        assert_eq!(parse_line(log), Line::Log, "{log}");
    }
}

#[test]
fn lists_are_no_objects() {
    for bad in [
        r#"[1,"succeeded",null,[],[],[],{},null]"#,
        r#"{"version":1,"outcome":"succeeded","usage":[1,2,3,4,5]}"#,
        r#"{"version":1,"outcome":"failed","error":["c","m"]}"#,
    ] {
        assert!(Answer::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    for log in [r#"{"progress":[0.5,"half",null]}"#, r#"[{"fraction":0.5}]"#] {
        assert_eq!(parse_line(log), Line::Log, "{log}");
    }
}
