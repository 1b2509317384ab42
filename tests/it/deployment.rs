//! What `docs/deployment.md` and `deploy` say is done as it stands there, as far as one machine can.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;

use arbiter_tests::http::Caller;
use arbiter_tests::{Place, Running, wait_until, workspace};

fn read(path: &str) -> String {
    std::fs::read_to_string(workspace().join(path)).expect(path)
}

/// The lines of the code blocks in a language, block by block.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<Vec<&'a str>> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("```") {
            inside = !inside && name == language;
            if inside {
                found.push(Vec::new());
            }
        } else if let Some(block) = found.last_mut().filter(|_| inside) {
            block.push(line);
        }
    }
    found
}

/// A certificate for the settings that name one.
fn with_certificate(place: &Place, config: &str) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let certificate = place.write("tls.crt", &made.cert.pem());
    let key = place.write("tls.key", &made.signing_key.serialize_pem());
    config
        .replace("/etc/arbiter/tls/tls.crt", certificate.to_str().expect("a path"))
        .replace("/etc/arbiter/tls/tls.key", key.to_str().expect("a path"))
}

#[test]
fn the_start_command_of_the_image_works_in_an_empty_folder() {
    let file = read("deploy/Containerfile");
    let words = |instruction: &str| -> Vec<String> {
        let mut lines = file.lines().filter_map(|line| line.strip_prefix(instruction));
        serde_json::from_str(lines.next_back().expect(instruction)).expect("a list of words")
    };
    assert_eq!(words("ENTRYPOINT "), ["/usr/local/bin/arbiter"]);
    let place = Place::new();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let address = port.expect("a port").to_string();
    let config = place.write("config.toml", &format!("[server]\nlisten = \"{address}\"\n"));
    let (empty, temporary) = (place.path("empty"), place.path("tmp"));
    for folder in [&empty, &temporary] {
        std::fs::create_dir(folder).expect("a folder");
    }
    let command = std::process::Command::new(place.path("arbiter"))
        .args(words("CMD "))
        .env_clear()
        .env("TMPDIR", &temporary)
        .env("ARBITER_CONFIG", config)
        .env("ARBITER_DATA_DIR", place.path("volume"))
        .current_dir(&empty)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut server = Running(command.expect("the server starts"));
    let caller = Caller::at(&format!("http://{address}"), None);
    wait_until("the server is ready", || {
        let ended = server.0.try_wait().expect("a status");
        assert_eq!(ended, None, "the server ended by itself");
        let answer = caller.try_send("GET", "/readyz", &[], &serde_json::Value::Null);
        answer.is_ok_and(|answer| answer.status == 200)
    });
    assert_eq!(caller.get("/healthz").status, 200);
    let id = nix::unistd::Pid::from_raw(i32::try_from(server.0.id()).expect("an id"));
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).expect("the server runs");
    let mut ended = None;
    wait_until("the server has ended", || {
        ended = server.0.try_wait().expect("a status");
        ended.is_some()
    });
    assert_eq!(ended.and_then(|status| status.code()), Some(0));
    let left = std::fs::read_dir(&empty).expect("a folder").count();
    assert_eq!(
        left, 0,
        "it writes only into its volume and the folder of temporary files"
    );
    assert!(place.path("volume/arbiter.db").exists());
}

#[test]
fn the_settings_of_the_manifests_are_valid() {
    let place = Place::new().with_variable("ARBITER_STORE_URL", "postgres://arbiter:secret@database/arbiter");
    let config = with_certificate(&place, &read("deploy/kubernetes/config.toml"));
    let check = |config: &str| {
        let path = place.write("config.toml", config);
        place.run(&["--config", path.to_str().expect("a path"), "config", "check"])
    };
    let told = check(&config);
    assert_eq!(told.code(), 0, "{told:?}");
    let told = check(&config.replace("drain_seconds", "drain_second"));
    assert_eq!(told.code(), 3, "{told:?}");
}

#[test]
fn the_settings_of_the_guide_are_valid() {
    let guide = read("docs/deployment.md");
    let blocks = blocks(&guide, "toml");
    assert!(blocks.len() > 1, "{blocks:?}");
    for block in blocks {
        let url = ("ARBITER_STORE_URL", "postgres://arbiter:secret@database/arbiter");
        let place = if block.contains(&"[store]") {
            Place::new().with_variable(url.0, url.1)
        } else {
            Place::new()
        };
        let config = with_certificate(&place, &block.join("\n"));
        let path = place.write("config.toml", &config);
        let told = place.run(&["--config", path.to_str().expect("a path"), "config", "check"]);
        assert_eq!(told.code(), 0, "{config}\n{told:?}");
    }
}

/// Clap reads a command line from its start: a word that it does not know is an error before it comes to `--help`.
#[test]
fn the_program_knows_every_command_of_the_guide() {
    let place = Place::new();
    let guide = read("docs/deployment.md");
    let shell = blocks(&guide, "sh").concat();
    let commands = shell
        .iter()
        .filter_map(|line| line.trim().strip_prefix("arbiter "));
    let mut known = 0;
    for command in commands {
        let words = command
            .split([';', '|', '>', '#', '&'])
            .next()
            .unwrap_or_default();
        let words: Vec<&str> = words.split_whitespace().chain(["--help"]).collect();
        let told = place.run(&words);
        assert_eq!(told.code(), 0, "{command}: {told:?}");
        known += 1;
    }
    assert!(known > 5, "{known} commands");
    let told = place.run(&["serve", "--no-such-option", "--help"]);
    assert_eq!(told.code(), 2, "{told:?}");
    for path in shell.iter().flat_map(|line| line.split_whitespace()) {
        let path = path.trim_start_matches("--from-file=");
        if path.starts_with("deploy/") || path.starts_with("docs/") {
            assert!(workspace().join(path).exists(), "{path}");
        }
    }
}
