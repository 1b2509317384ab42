//! What is sent.

use arbiter_core::model::{IncidentState, Severity};
use arbiter_core::ports::NoticeStep;
use arbiter_testkit::builders::notice;
use serde_json::{Value, json};

use crate::support::{CHANNEL, PATH, Sort, TOKEN, World, ok};

fn marked(text: &str) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

#[tokio::test]
async fn an_incident_is_told_whole() {
    let world = World::taking(Sort::Webhook).await;
    let open = notice(1, NoticeStep::Open);
    world.notify(&open).await.unwrap();
    let title = "[HIGH] store: could not be reached 3 times in 5 minutes";
    let minute = "1970-01-01T00:01:00.000000Z";
    let expected = json!({
        "text": format!("{title} (store)"),
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": false}},
            {"type": "section", "fields": [
                marked("*Severity*\nhigh"),
                marked("*State*\nopen"),
                marked("*Component*\nstore"),
                marked("*Kind of failure*\nconnection"),
                marked("*Failures*\n3"),
                marked(&format!("*Opened*\n{minute}")),
                marked(&format!("*Latest failure*\n{minute}")),
                marked(&format!("*Told*\n{minute}")),
            ]},
            {"type": "section", "text": marked("a test")},
            {"type": "section", "fields": [marked("*error*\nconnection refused")]},
            {"type": "section", "text": marked("<https://arbiter.example/incidents/1|Incident>")},
            {"type": "context", "elements": [
                marked(&format!("incident {}", open.incident.id)),
                marked("notice notice-1-open"),
            ]},
        ],
        "unfurl_links": false,
        "unfurl_media": false,
    });
    assert_eq!(world.messages(), [expected]);
    let request = world.stub.seen().remove(0);
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", PATH));
    assert_eq!(
        request.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    assert_eq!(request.header("authorization"), None);
}

#[tokio::test]
async fn a_bot_names_its_channel_and_shows_its_token() {
    let world = World::taking(Sort::Bot).await;
    world.notify(&notice(1, NoticeStep::Open)).await.unwrap();
    let request = world.stub.seen().remove(0);
    assert_eq!(request.target, "/api/chat.postMessage");
    assert_eq!(
        request.header("authorization"),
        Some(format!("Bearer {TOKEN}").as_str())
    );
    assert_eq!(world.messages()[0]["channel"], CHANNEL);
}

#[tokio::test]
async fn severity_and_step_are_words() {
    let world = World::taking(Sort::Webhook).await;
    for severity in Severity::ALL {
        for step in NoticeStep::ALL {
            let mut told = notice(1, *step);
            told.incident.severity = *severity;
            told.incident.title = "down".to_owned();
            world.notify(&told).await.unwrap();
        }
    }
    let messages = world.messages();
    let headers: Vec<&str> = messages
        .iter()
        .map(|message| message["blocks"][0]["text"]["text"].as_str().unwrap())
        .collect();
    let expected: Vec<String> = ["LOW", "MEDIUM", "HIGH", "CRITICAL"]
        .iter()
        .flat_map(|severity| {
            ["", "Update: ", "Acknowledged: ", "Resolved: "].map(|step| format!("[{severity}] {step}down"))
        })
        .collect();
    assert_eq!(headers, expected);
}

#[tokio::test]
async fn nothing_that_an_incident_says_calls_anybody_or_leads_anywhere() {
    let world = World::taking(Sort::Webhook).await;
    let evil = "<!channel> <@U1> <https://evil.example|here> @here & @Everyone";
    let mut open = notice(1, NoticeStep::Open);
    open.incident.title = evil.to_owned();
    open.why = evil.to_owned();
    open.id = evil.to_owned();
    open.incident.details = vec![(evil.to_owned(), evil.to_owned())];
    open.incident.links = vec![
        (evil.to_owned(), "https://good.example/?a=1&b=2".to_owned()),
        ("bad".to_owned(), "javascript:alert(1)".to_owned()),
        ("bad".to_owned(), "https://bad.example/|x> <!channel".to_owned()),
        (String::new(), "http://plain.example".to_owned()),
    ];
    world.notify(&open).await.unwrap();
    let text = world.messages()[0].to_string();
    assert!(
        !text.contains("<!") && !text.contains("<@") && !text.contains("<https://evil"),
        "{text}"
    );
    for word in ["@here", "@channel", "@everyone"] {
        assert!(!text.to_ascii_lowercase().contains(word), "{word} in {text}");
    }
    assert!(
        !text.contains("bad.example") && !text.contains("javascript"),
        "{text}"
    );
    assert!(
        text.contains("<https://good.example/?a=1&amp;b=2|&lt;!channel&gt; "),
        "{text}"
    );
    assert!(text.contains("<http://plain.example|link>"), "{text}");
}

#[tokio::test]
async fn texts_are_cut_to_what_slack_takes() {
    let world = World::taking(Sort::Webhook).await;
    let long = "<\u{1F525}&\r\n\u{0}".repeat(5_000);
    let mut open = notice(1, NoticeStep::Open);
    open.incident.title.clone_from(&long);
    open.why.clone_from(&long);
    open.id.clone_from(&long);
    open.incident.details = (0..300)
        .map(|number| (format!("{number} {long}"), long.clone()))
        .collect();
    open.incident.links = (0..300)
        .map(|_| (long.clone(), "https://arbiter.example/x".to_owned()))
        .collect();
    world.notify(&open).await.unwrap();
    let message = world.messages().remove(0);
    let text = message.to_string();
    assert!(text.len() < 100_000, "{} bytes", text.len());
    let header = message["blocks"][0]["text"]["text"].as_str().unwrap();
    assert!(
        header.starts_with("[HIGH] &lt;\u{1F525}&amp;") && header.ends_with('…'),
        "{header}"
    );
    assert!(text.contains("more details were left out"), "{text}");
}

#[tokio::test]
async fn details_that_fit_are_all_told() {
    let world = World::taking(Sort::Webhook).await;
    let mut open = notice(1, NoticeStep::Open);
    open.incident.details = (0..31)
        .map(|number| (format!("name-{number:02}"), "v".to_owned()))
        .collect();
    world.notify(&open).await.unwrap();
    let text = world.messages()[0].to_string();
    for number in 0..30 {
        assert!(text.contains(&format!("*name-{number:02}*")), "{number}");
    }
    assert!(
        !text.contains("name-30") && text.contains("1 more details were left out"),
        "{text}"
    );
}

#[tokio::test]
async fn an_incident_that_says_nothing_is_named_by_what_failed() {
    let world = World::taking(Sort::Webhook).await;
    let mut open = notice(1, NoticeStep::Open);
    open.incident.title = " \n".to_owned();
    open.why = " ".to_owned();
    open.incident.details.clear();
    open.incident.links.clear();
    world.notify(&open).await.unwrap();
    let message = world.messages().remove(0);
    assert_eq!(message["blocks"][0]["text"]["text"], "[HIGH] store: connection");
    assert_eq!(message["blocks"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn buttons_are_there_when_asked_for_and_while_the_incident_is_open() {
    let world = World::with(Sort::Webhook, |_, _| ok(), |config| config.buttons = true).await;
    let plain = World::taking(Sort::Webhook).await;
    let open = notice(1, NoticeStep::Open);
    plain.notify(&open).await.unwrap();
    assert!(!plain.messages()[0].to_string().contains("button"));
    for state in IncidentState::ALL {
        let mut told = open.clone();
        told.incident.state = *state;
        world.notify(&told).await.unwrap();
        let message = world.messages().pop().unwrap();
        let blocks = message["blocks"].as_array().unwrap().clone();
        let buttons: Vec<_> = blocks.iter().filter_map(|block| block.get("accessory")).collect();
        if !state.is_open() {
            assert!(buttons.is_empty(), "{state:?}");
            continue;
        }
        let actions: Vec<_> = buttons
            .iter()
            .map(|button| button["action_id"].as_str().unwrap())
            .collect();
        assert_eq!(actions, ["acknowledge", "resolve"]);
        assert!(
            buttons
                .iter()
                .all(|button| button["value"] == open.incident.id.to_string())
        );
    }
}
