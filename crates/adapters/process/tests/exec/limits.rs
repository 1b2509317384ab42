//! What commands are kept from.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use arbiter_adapter_process::{Enforced, Groups, Mode};
use arbiter_core::model::{FailureClass, Json};
use serde_json::{Value, json};

use crate::bench::*;

async fn output(bench: &Bench) -> Value {
    bench
        .reports()
        .await
        .output
        .as_ref()
        .map(Json::value)
        .expect("output")
}

#[tokio::test]
async fn a_flood_of_output_is_cut_off() {
    let mut bench = Bench::script("trap '' TERM; while :; do yes; done");
    bench.limits.output_bytes = 64 << 10;
    let failure = bench.fails().await;
    assert_eq!(failure.class, FailureClass::Limit);
    assert!(
        failure.message.contains("more than 65536 bytes of output"),
        "{failure:?}"
    );
    // The same when the command has ended before it is noticed.
    bench.command = ["/bin/sh", "-c", "head -c 65537 /dev/zero"]
        .map(str::to_owned)
        .into();
    assert_eq!(bench.fails().await.class, FailureClass::Limit);
}

#[tokio::test]
async fn memory_is_limited_over_all_processes() {
    // Two processes of 80 MB each, one of them in a group of its own.
    let hog = "x = bytearray(80 << 20); import signal; signal.pause()";
    let mut bench = Bench::script(&format!("setsid python3 -c '{hog}' &\nexec python3 -c '{hog}'"));
    bench.limits.memory_bytes = 120 << 20;
    for groups in [Groups::find(), Groups::off()] {
        bench.groups = Arc::new(groups);
        let failure = bench.fails().await;
        assert_eq!(failure.class, FailureClass::Limit);
        assert!(
            failure.message.contains("of memory where 125829120 is the limit"),
            "{}: {failure:?}",
            bench.groups.mode()
        );
    }
}

#[tokio::test]
async fn processes_are_limited() {
    let mut bench = Bench::script("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 100 & done; wait");
    bench.limits.processes = 8;
    for groups in [Groups::find(), Groups::off()] {
        bench.groups = Arc::new(groups);
        let failure = bench.fails().await;
        assert_eq!(failure.class, FailureClass::Limit);
        assert!(
            failure.message.contains("processes where 8 is the limit"),
            "{}: {failure:?}",
            bench.groups.mode()
        );
    }
}

#[tokio::test]
async fn threads_are_limited() {
    let mut bench = Bench::command(&["/usr/bin/python3", "-c"]);
    let script = "import signal, threading\n\
                  for _ in range(12): threading.Thread(target=signal.pause).start()\n\
                  signal.pause()";
    bench.command.push(script.into());
    (bench.limits.processes, bench.limits.threads) = (4, 8);
    for groups in [Groups::find(), Groups::off()] {
        bench.groups = Arc::new(groups);
        let failure = bench.fails().await;
        assert_eq!(failure.class, FailureClass::Limit);
        let told = ["8 threads is the limit", "threads where 8 is the limit"];
        assert!(
            told.iter().any(|told| failure.message.contains(told)),
            "{}: {failure:?}",
            bench.groups.mode()
        );
    }
}

#[tokio::test]
async fn the_environment_is_clean() {
    let mut bench = Bench::script(
        r#"printf '{"version":1,"outcome":"succeeded","output":["%s","%s"]}' "$(env -0 | tr '\n\0' ' \n' | cut -d= -f1 |
        tr '\n' ' ')" "$COLOUR""#,
    );
    bench.env.insert("COLOUR".into(), "green".into());
    let output = output(&bench).await;
    let names: BTreeSet<&str> = output[0].as_str().expect("names").split_whitespace().collect();
    let own = [
        "ARBITER_ATTEMPT",
        "ARBITER_ATTEMPT_NUMBER",
        "ARBITER_INPUT",
        "ARBITER_TASK_ID",
        "COLOUR",
        "HOME",
        "LANG",
        "PATH",
        "TMPDIR",
    ];
    assert!(own.iter().all(|name| names.contains(name)), "{names:?}");
    let shell = ["OLDPWD", "PWD", "SHLVL", "_"];
    assert!(
        names
            .iter()
            .all(|name| own.contains(name) || shell.contains(name)),
        "{names:?}"
    );
    assert_eq!(output[1], "green");
}

#[tokio::test]
async fn rights_are_given_up() {
    let mut bench = Bench::command(&["/usr/bin/python3", "-c"]);
    bench.command.push(
        r#"
import ctypes, json, os, resource
signal = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(signal))
status = dict(line.split(":\t", 1) for line in open("/proc/self/status") if ":\t" in line)
print(json.dumps({"version": 1, "outcome": "succeeded", "output": {
    "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(), "umask": os.umask(0), "signal": signal.value,
    "group_leader": os.getpgrp() == os.getpid(), "no_new_privs": status["NoNewPrivs"].strip(),
    "capabilities": int(status["CapEff"], 16), "core": resource.getrlimit(resource.RLIMIT_CORE),
    "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0], "file": resource.getrlimit(resource.RLIMIT_FSIZE)[0],
    "descriptors": sorted(os.listdir("/proc/self/fd"))[:3], "home": os.environ["HOME"] == os.getcwd(),
    "owner": os.stat(".").st_uid == os.getuid()}}))"#
            .into(),
    );
    let output = output(&bench).await;
    if is_root() {
        assert_eq!(
            (&output["uid"], &output["gid"], &output["groups"]),
            (&json!(NOBODY), &json!(NOBODY), &json!([]))
        );
        assert_eq!(output["capabilities"], 0);
    } else {
        assert_eq!(output["uid"], nix::unistd::Uid::effective().as_raw());
    }
    assert_eq!(
        (&output["umask"], &output["signal"], &output["no_new_privs"]),
        (&json!(0o77), &json!(9), &json!("1"))
    );
    assert_eq!(
        (&output["core"], &output["file"]),
        (&json!([0, 0]), &json!(256 << 20))
    );
    assert!(
        output["files"].as_u64().is_some_and(|files| files <= 1_024),
        "{output}"
    );
    for yes in ["group_leader", "home", "owner"] {
        assert_eq!(output[yes], true, "{yes}");
    }
}

#[tokio::test]
async fn writing_outside_of_the_working_folder_is_refused_where_the_kernel_can() {
    let bench = Bench::script(
        r#"
        echo inside > own || exit 4
        echo inside > "$TMPDIR/own" || exit 5
        if (echo outside > "${0%/*}/open/file") 2>/dev/null; then wrote=true; else wrote=false; fi
        printf '{"version":1,"outcome":"succeeded","output":%s}' "$wrote""#,
    );
    let open = bench.folder.path().join("open");
    std::fs::create_dir(&open).expect("folder");
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).expect("rights");
    let enforced = Enforced::here(bench.limits.uid, bench.groups.mode());
    let landlock = enforced
        .limits
        .iter()
        .any(|(name, how)| name == "files" && how.starts_with("Landlock"));
    assert_eq!(output(&bench).await, json!(!landlock));
    assert_eq!(is_empty(&open), landlock);
}

#[tokio::test]
async fn what_is_not_enforced_is_told_with_every_answer() {
    let says = |answer: &str| {
        let mut bench = Bench::script(answer);
        bench.groups = Arc::new(Groups::off());
        bench
    };
    let good = says(r#"printf '{"version":1,"outcome":"succeeded"}'"#);
    let enforced = Enforced::here(good.limits.uid, good.groups.mode());
    let expected: Vec<String> = enforced.missing().map(|(limit, _)| limit.to_owned()).collect();
    for limit in ["control_groups", "network"] {
        assert!(expected.iter().any(|missing| missing == limit), "{expected:?}");
    }
    assert_eq!(good.reports().await.not_enforced.as_ref(), Some(&expected));
    for bad in [
        r#"printf '{"version":1,"outcome":"failed","error":{"message":"m"}}'"#,
        "exit 3",
        "kill -9 $$",
    ] {
        let failure = says(bad).fails().await;
        assert_eq!(failure.not_enforced.as_ref(), Some(&expected), "{failure:?}");
    }
    let told = good.told.not_enforced.lock().unwrap().take();
    assert_eq!(told.as_ref(), Some(&expected), "told before the end");
    // With groups, where this machine has them, the list is shorter by them.
    let held = Bench::script(r#"printf '{"version":1,"outcome":"succeeded"}'"#);
    let missing = held.reports().await.not_enforced.expect("a list");
    let has_groups = !matches!(held.groups.mode(), Mode::Measured(_));
    assert_eq!(missing.iter().any(|limit| limit == "control_groups"), !has_groups);
}
