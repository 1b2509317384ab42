//! `deploy/kubernetes` holds what the published models of Kubernetes know, nothing misspelt, and its parts fit each other.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, PodSpec, Probe, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::finding::Finding;

/// The files as they are read.
#[derive(Debug, Clone)]
struct Texts {
    deployment: String,
    service: String,
    disruption: String,
    config: String,
}

impl Texts {
    fn load() -> Self {
        let read = |name: &str| super::read(&format!("deploy/kubernetes/{name}"));
        Self {
            deployment: read("deployment.yaml"),
            service: read("service.yaml"),
            disruption: read("disruption.yaml"),
            config: read("config.toml"),
        }
    }
}

fn check(texts: &Texts) -> Vec<Finding> {
    let mut found = Vec::new();
    let deployment: Option<Deployment> = strict("deployment.yaml", &texts.deployment, &mut found);
    let service: Option<Service> = strict("service.yaml", &texts.service, &mut found);
    let disruption: Option<PodDisruptionBudget> = strict("disruption.yaml", &texts.disruption, &mut found);
    let (Some(deployment), Some(service), Some(disruption)) = (deployment, service, disruption) else {
        return found;
    };
    match toml::from_str(&texts.config) {
        Ok(config) => together(&deployment, &service, &disruption, &config, &mut found),
        Err(error) => found.push(Finding::new("manifests::form", "config.toml", error.to_string())),
    }
    found
}

/// Reads a manifest by its model, and names each field that the model did not take.
fn strict<T: Serialize + DeserializeOwned>(name: &str, text: &str, found: &mut Vec<Finding>) -> Option<T> {
    let mut wrong = |text: String| found.push(Finding::new("manifests::form", name, text));
    let given: Value = match serde_saphyr::from_str(text) {
        Ok(given) => given,
        Err(error) => {
            wrong(error.to_string().lines().next().unwrap_or_default().to_owned());
            return None;
        }
    };
    let typed: T = match serde_json::from_value(given.clone()) {
        Ok(typed) => typed,
        Err(error) => {
            wrong(error.to_string());
            return None;
        }
    };
    let taken = serde_json::to_value(&typed).unwrap();
    let mut lost = Vec::new();
    compare("", &given, &taken, &mut lost);
    let sound = lost.is_empty();
    lost.into_iter()
        .for_each(|path| wrong(format!("`{path}` is not known")));
    sound.then_some(typed)
}

/// Collects the paths of what is given and was not taken.
fn compare(path: &str, given: &Value, taken: &Value, lost: &mut Vec<String>) {
    match (given, taken) {
        (Value::Object(given), Value::Object(taken)) => {
            for (name, value) in given {
                let path = format!("{path}.{name}");
                match taken.get(name) {
                    Some(taken) => compare(&path, value, taken, lost),
                    None => lost.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(taken)) if given.len() == taken.len() => {
            for (index, (given, taken)) in given.iter().zip(taken).enumerate() {
                compare(&format!("{path}[{index}]"), given, taken, lost);
            }
        }
        _ if given == taken => {}
        _ => lost.push(path.to_owned()),
    }
}

fn together(
    deployment: &Deployment,
    service: &Service,
    disruption: &PodDisruptionBudget,
    config: &toml::Table,
    found: &mut Vec<Finding>,
) {
    let mut must = |holds: bool, rule: &str, text: &str| {
        if !holds {
            let rule = format!("manifests::{rule}");
            found.push(Finding::new(&rule, "deploy/kubernetes", text));
        }
    };
    let spec = deployment.spec.clone().unwrap_or_default();
    let labels = spec.template.metadata.unwrap_or_default().labels;
    let pods = spec.template.spec.unwrap_or_default();
    let budget = disruption.spec.clone().unwrap_or_default();
    let chosen = [
        spec.selector.match_labels.clone(),
        service.spec.as_ref().and_then(|spec| spec.selector.clone()),
        budget.selector.and_then(|selector| selector.match_labels),
    ];
    must(
        labels.is_some() && chosen.iter().all(|selector| *selector == labels),
        "selector",
        "deployment, service and budget must choose the same pods",
    );
    must(
        spec.replicas.is_some_and(|replicas| replicas > 1)
            && budget.max_unavailable == Some(IntOrString::Int(1)),
        "replicas",
        "one of several nodes may be away",
    );
    let [node] = &*pods.containers else {
        must(false, "containers", "a pod has one container");
        return;
    };
    let server = |key: &str| config.get("server").and_then(|server| server.get(key));
    let drain = server("drain_seconds").and_then(toml::Value::as_integer);
    let pause = (node.lifecycle.as_ref())
        .and_then(|lifecycle| lifecycle.pre_stop.as_ref()?.sleep.as_ref())
        .map(|sleep| sleep.seconds);
    let grace = pods.termination_grace_period_seconds;
    must(
        matches!((grace, drain, pause), (Some(grace), Some(drain), Some(pause)) if grace > drain + pause),
        "grace",
        "terminationGracePeriodSeconds must be longer than preStop and server.drain_seconds together",
    );
    let port = server("listen")
        .and_then(toml::Value::as_str)
        .and_then(|listen| listen.rsplit_once(':')?.1.parse().ok());
    let named = (node.ports.iter().flatten()).find(|named| Some(named.container_port) == port);
    let name = named.and_then(|port| port.name.clone()).map(IntOrString::String);
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    must(
        name.is_some() && ports.map(|port| &port.target_port).all(|target| *target == name),
        "port",
        "the service must lead to the port of server.listen",
    );
    for (probe, path, what) in [
        (&node.startup_probe, "/readyz", "startupProbe"),
        (&node.readiness_probe, "/readyz", "readinessProbe"),
        (&node.liveness_probe, "/healthz", "livenessProbe"),
    ] {
        must(
            probe
                .as_ref()
                .is_some_and(|probe| asks(probe, path, name.as_ref())),
            "probe",
            &format!("{what} must ask for {path} over HTTPS"),
        );
    }
    for container in pods.init_containers.iter().flatten().chain([node]) {
        let name = &container.name;
        must(
            is_locked(container),
            "security",
            &format!("`{name}` must have a root that is only read, and no rights to give"),
        );
        must(
            is_limited(container),
            "resources",
            &format!("`{name}` must say what it needs, and how much memory it may use"),
        );
        must(
            container.image == node.image && container.image.as_ref().is_some_and(|image| is_fixed(image)),
            "image",
            &format!("`{name}` must use the one image, in a fixed version"),
        );
        must(
            mounts_exist(container, &pods),
            "volume",
            &format!("`{name}` mounts a volume that the pod has not"),
        );
    }
    must(
        is_ordinary(&pods),
        "user",
        "the pod must run as the user of the image",
    );
    must(
        node.args == image().words("CMD"),
        "start",
        "the node must be started as the image starts it",
    );
    let secret = (node.env.iter().flatten())
        .find(|variable| variable.name == "ARBITER_STORE_URL")
        .and_then(|variable| variable.value_from.as_ref()?.secret_key_ref.as_ref());
    let told = config.get("store").and_then(|store| store.get("url"));
    must(
        secret.is_some() && told.is_none(),
        "secret",
        "the store's URL must come from a secret alone",
    );
    let mounted: Vec<&str> = node
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount| &*mount.mount_path)
        .collect();
    let is_mounted = |path: &str| mounted.iter().any(|mount| path.starts_with(mount));
    let paths = ["tls_certificate", "tls_key"].map(|key| server(key).and_then(toml::Value::as_str));
    let variables = node
        .env
        .iter()
        .flatten()
        .filter_map(|variable| variable.value.as_deref());
    must(
        paths.iter().all(|path| path.is_some_and(is_mounted)) && variables.into_iter().all(is_mounted),
        "path",
        "what the settings name must be mounted",
    );
}

/// The last stage of the image's file.
fn image() -> super::containerfile::Stage {
    let (mut stages, _) = super::containerfile::parse(&super::read(super::containerfile::FILE));
    stages.pop().unwrap()
}

fn asks(probe: &Probe, path: &str, port: Option<&IntOrString>) -> bool {
    probe.http_get.as_ref().is_some_and(|get| {
        get.path.as_deref() == Some(path) && get.scheme.as_deref() == Some("HTTPS") && Some(&get.port) == port
    })
}

fn is_locked(container: &Container) -> bool {
    container.security_context.as_ref().is_some_and(|context| {
        let dropped = context.capabilities.as_ref().and_then(|all| all.drop.clone());
        context.read_only_root_filesystem == Some(true)
            && context.allow_privilege_escalation == Some(false)
            && dropped == Some(vec!["ALL".to_owned()])
    })
}

fn is_limited(container: &Container) -> bool {
    container.resources.as_ref().is_some_and(|resources| {
        let asked: BTreeSet<&str> = resources
            .requests
            .iter()
            .flatten()
            .map(|(name, _)| &**name)
            .collect();
        asked == BTreeSet::from(["cpu", "memory"])
            && resources
                .limits
                .iter()
                .flatten()
                .any(|(name, _)| name == "memory")
    })
}

fn is_fixed(image: &str) -> bool {
    let tag = image.rsplit_once(':').map(|(_, tag)| tag);
    tag.is_some_and(|tag| tag != "latest" && !tag.contains('/'))
}

fn mounts_exist(container: &Container, pods: &PodSpec) -> bool {
    let mut mounts = container.volume_mounts.iter().flatten();
    mounts.all(|mount| (pods.volumes.iter().flatten()).any(|volume| volume.name == mount.name))
}

fn is_ordinary(pods: &PodSpec) -> bool {
    let image = image();
    pods.security_context.as_ref().is_some_and(|context| {
        let (user, group) = (context.run_as_user, context.run_as_group);
        let own = user.zip(group).map(|(user, group)| format!("{user}:{group}"));
        context.run_as_non_root == Some(true) && own.as_deref() == image.last("USER")
    })
}

#[test]
fn the_manifests_are_known_to_kubernetes_and_fit_together() {
    assert_eq!(check(&Texts::load()), []);
}

#[test]
fn a_misspelt_field_is_named_with_its_place() {
    for (right, wrong, place) in [
        (
            "readinessProbe:",
            "readinesProbe:",
            ".spec.template.spec.containers[0].readinesProbe",
        ),
        (
            "readOnlyRootFilesystem: true",
            "readOnlyRootFileSystem: true",
            ".spec.template.spec.initContainers[0].securityContext.readOnlyRootFileSystem",
        ),
        ("  replicas: 2", "  replica: 2", ".spec.replica"),
        (
            "secretName: arbiter-tls",
            "secret: arbiter-tls",
            ".spec.template.spec.volumes[1].secret.secret",
        ),
    ] {
        let mut texts = Texts::load();
        assert!(texts.deployment.contains(right), "{right}");
        texts.deployment = texts.deployment.replacen(right, wrong, 1);
        let found = check(&texts);
        let expected = Finding::new(
            "manifests::form",
            "deployment.yaml",
            format!("`{place}` is not known"),
        );
        assert_eq!(found, [expected]);
    }
}

#[test]
fn a_value_of_another_type_and_a_field_twice_are_refused() {
    for (right, wrong) in [
        ("  replicas: 2", "  replicas: two"),
        ("  replicas: 2", "  replicas: 2\n  replicas: 3"),
        ("apps/v1", "apps/v1beta1"),
    ] {
        let mut texts = Texts::load();
        texts.deployment = texts.deployment.replacen(right, wrong, 1);
        let found = check(&texts);
        assert_eq!(found.len(), 1, "{wrong}: {found:?}");
        assert_eq!(found[0].check, "manifests::form", "{found:?}");
    }
}

/// One of the files, to be changed.
type Part = fn(&mut Texts) -> &mut String;

#[test]
fn parts_that_do_not_fit_are_named() {
    let deployment: Part = |texts| &mut texts.deployment;
    let service: Part = |texts| &mut texts.service;
    let disruption: Part = |texts| &mut texts.disruption;
    let config: Part = |texts| &mut texts.config;
    for (part, right, wrong, rule) in [
        (
            service,
            "selector:\n    app.kubernetes.io/name: arbiter",
            "selector:\n    app.kubernetes.io/name: other",
            "selector",
        ),
        (deployment, "replicas: 2", "replicas: 1", "replicas"),
        (disruption, "maxUnavailable: 1", "maxUnavailable: 2", "replicas"),
        (
            deployment,
            "terminationGracePeriodSeconds: 60",
            "terminationGracePeriodSeconds: 25",
            "grace",
        ),
        (config, "drain_seconds = 20", "drain_seconds = 55", "grace"),
        (service, "targetPort: https", "targetPort: http", "port"),
        (config, "0.0.0.0:7700", "0.0.0.0:7800", "port"),
        (deployment, "path: /healthz", "path: /readyz", "probe"),
        (deployment, "scheme: HTTPS", "scheme: HTTP", "probe"),
        (
            deployment,
            "readOnlyRootFilesystem: true",
            "readOnlyRootFilesystem: false",
            "security",
        ),
        (deployment, "drop: [\"ALL\"]", "drop: []", "security"),
        (deployment, "memory: 1Gi", "cpu: \"1\"", "resources"),
        (
            deployment,
            "image: arbiter:0.1.0",
            "image: arbiter:latest",
            "image",
        ),
        (
            deployment,
            "- name: temporary\n          emptyDir",
            "- name: other\n          emptyDir",
            "volume",
        ),
        (deployment, "runAsNonRoot: true", "runAsNonRoot: false", "user"),
        (deployment, "runAsUser: 10001", "runAsUser: 10002", "user"),
        (
            deployment,
            "args: [\"--log-format\", \"json\", \"serve\"]",
            "args: [\"serve\"]",
            "start",
        ),
        (
            config,
            "[store]\n",
            "[store]\nurl = \"postgres://a:b@c/d\"\n",
            "secret",
        ),
        (config, "/etc/arbiter/tls/tls.key", "/etc/ssl/tls.key", "path"),
    ] {
        let mut texts = Texts::load();
        let text = part(&mut texts);
        assert!(text.contains(right), "{right}");
        *text = text.replacen(right, wrong, 1);
        let rules: BTreeSet<String> = check(&texts).into_iter().map(|found| found.check).collect();
        assert!(
            rules.contains(&format!("manifests::{rule}")),
            "{wrong}: {rules:?}"
        );
    }
}
