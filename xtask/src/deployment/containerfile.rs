//! `deploy/Containerfile` builds and starts what we build and start: with the pinned compiler, by the command of a
//! release, as an ordinary user.

use crate::checks::fixtures;
use crate::environment::Build;
use crate::finding::Finding;

pub(super) const FILE: &str = "deploy/Containerfile";

/// Instructions that may be used. `ADD` would unpack and fetch things.
const INSTRUCTIONS: &[&str] = &[
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "RUN",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// One image of the file.
#[derive(Debug, Default)]
pub(super) struct Stage {
    from: String,
    name: Option<String>,
    steps: Vec<(String, String)>,
}

impl Stage {
    /// What stands behind the last instruction of this name.
    pub(super) fn last<'a>(&'a self, instruction: &'a str) -> Option<&'a str> {
        self.all(instruction).last()
    }

    fn all<'a>(&'a self, instruction: &'a str) -> impl Iterator<Item = &'a str> {
        let steps = self.steps.iter();
        steps
            .filter(move |(name, _)| name == instruction)
            .map(|(_, rest)| &**rest)
    }

    /// The words of an instruction in its form without a shell; none in another form.
    pub(super) fn words(&self, instruction: &str) -> Option<Vec<String>> {
        serde_json::from_str(self.last(instruction)?).ok()
    }
}

/// Reads the file: comments are left out, continued lines joined.
pub(super) fn parse(text: &str) -> (Vec<Stage>, Vec<Finding>) {
    let lines: Vec<&str> = (text.lines())
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let (mut stages, mut found) = (Vec::<Stage>::new(), Vec::new());
    for line in joined.lines().filter(|line| !line.trim().is_empty()) {
        let (instruction, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let rest = rest.split_whitespace().collect::<Vec<_>>().join(" ");
        if !INSTRUCTIONS.contains(&instruction) {
            let text = format!("`{instruction}` is no instruction that may be used here");
            found.push(Finding::new("container::instruction", FILE, text));
        } else if instruction == "FROM" {
            let mut words = rest.splitn(2, " AS ").map(str::to_owned);
            stages.push(Stage {
                from: words.next().unwrap_or_default(),
                name: words.next(),
                steps: Vec::new(),
            });
        } else if let Some(stage) = stages.last_mut() {
            stage.steps.push((instruction.to_owned(), rest));
        } else {
            let text = format!("`{instruction}` stands before the first `FROM`");
            found.push(Finding::new("container::instruction", FILE, text));
        }
    }
    (stages, found)
}

fn check(text: &str, channel: &str) -> Vec<Finding> {
    let (stages, mut found) = parse(text);
    let mut wrong = |rule: &str, text: String| {
        found.push(Finding::new(&format!("container::{rule}"), FILE, text));
    };
    for stage in &stages {
        let tag = stage.from.rsplit_once(':').map(|(_, tag)| tag);
        if tag.is_none_or(|tag| tag == "latest" || tag.contains('/')) {
            wrong("tag", format!("`{}` has no fixed version", stage.from));
        }
    }
    let [build, run] = &*stages else {
        wrong("stages", format!("there are {} stages, not two", stages.len()));
        return found;
    };
    let compiler = format!("docker.io/library/rust:{channel}-");
    if !build.from.starts_with(&compiler) {
        let text = format!(
            "`{}` is not the compiler of rust-toolchain.toml, {channel}",
            build.from
        );
        wrong("compiler", text);
    }
    let command = format!("cargo {}", Build::Release.arguments().join(" "));
    let commands: Vec<&str> = build.all("RUN").collect();
    if commands != [command.as_str()] {
        wrong(
            "build",
            format!("what is run is {commands:?}, not `{command}` alone"),
        );
    }
    let origin = format!(
        "--from={} {}/target/release/arbiter ",
        build.name.as_deref().unwrap_or_default(),
        build.last("WORKDIR").unwrap_or_default()
    );
    let program = run.all("COPY").find_map(|copy| copy.strip_prefix(&origin));
    let start = run.words("ENTRYPOINT").zip(run.words("CMD"));
    match (&start, program) {
        (None, _) => wrong("start", "ENTRYPOINT and CMD must be lists of words".into()),
        (Some((program, _)), Some(at)) if *program == [at] => {}
        (Some((program, _)), at) => {
            wrong(
                "start",
                format!("what is started is {program:?}, what was built is at {at:?}"),
            );
        }
    }
    let user = run.last("USER").unwrap_or_default();
    let ids: Vec<u32> = user.split(':').flat_map(str::parse).collect();
    if ids.len() != 2 || ids.contains(&0) {
        wrong(
            "user",
            format!("`{user}` is not the number of an ordinary user and group"),
        );
    }
    let data = run
        .all("ENV")
        .find_map(|set| set.strip_prefix("ARBITER_DATA_DIR="));
    if run.words("VOLUME").unwrap_or_default() != Vec::from_iter(data) {
        wrong(
            "data",
            format!("the data folder, {data:?}, is not the one volume"),
        );
    }
    found
}

/// The channel that `rust-toolchain.toml` pins.
fn channel() -> String {
    let file: toml::Table = toml::from_str(&super::read("rust-toolchain.toml")).unwrap();
    file["toolchain"]["channel"].as_str().unwrap().to_owned()
}

#[test]
fn the_image_is_built_and_started_as_releases_are() {
    assert_eq!(check(&super::read(FILE), &channel()), []);
}

#[test]
fn each_fault_of_an_image_is_named() {
    let found = check(&fixtures::text("deployment/Containerfile"), "1.95.0");
    fixtures::assert_findings(&found, "deployment/containerfile.expected");
}

#[test]
fn a_third_stage_is_named() {
    let text = super::read(FILE) + "FROM docker.io/library/debian:bookworm-slim\n";
    let found = check(&text, &channel());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].check, "container::stages");
}
