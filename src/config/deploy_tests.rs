//! The files of `deploy/` are what they say: YAML that parses, and a configuration that the pool takes.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Config, Document, Environment, Format, Settings, Source};
use crate::policy::BudgetParams;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(text: &str) -> Value {
    let document = Document::parse(text.to_owned(), Format::Yaml).unwrap_or_else(|problems| panic!("{problems:?}"));
    document.value().clone()
}

/// The manifests, by their kind.
fn manifest(kind: &str) -> Value {
    let text = read("kubernetes.yaml");
    let mut all = text.split("\n---\n").map(yaml);
    all.find(|manifest| manifest["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

/// Files of secrets in a folder of this test's own.
struct Secrets(PathBuf);

impl Secrets {
    fn new(names: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("llmpool-deploy-{}-{}", std::process::id(), names.len()));
        std::fs::create_dir_all(&folder).expect("a folder");
        for name in names {
            std::fs::write(folder.join(name), format!("key-of-{name}\n")).expect("a file");
        }
        Self(folder)
    }

    fn config(&self, text: &str) -> Config {
        let text = text.replace("/run/secrets", &self.0.display().to_string());
        let settings = Settings::new(Source::Inline(Value::Null));
        let environment = Environment::from_map::<String, String>([]);
        Config::load_text(&text, &environment, &settings).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|name| name.as_str().expect("a text")).collect()
}

#[test]
fn the_compose_file_brings_every_secret_that_the_configuration_reads() {
    let compose = yaml(&read("compose.yaml"));
    let gateway = &compose["services"]["gateway"];
    let given = names(&gateway["secrets"]);
    let made: Vec<_> = compose["secrets"].as_object().expect("secrets").keys().map(String::as_str).collect();
    let sorted = |mut names: Vec<&str>| {
        names.sort_unstable();
        names.join(" ")
    };
    assert_eq!(sorted(given.clone()), sorted(made));
    let config = Secrets::new(&given).config(&read("config/config.jsonc"));
    assert_eq!(config.warnings, [""; 0]);
    let ids: Vec<_> = config.tenants.iter().map(|tenant| tenant.id.as_str()).collect();
    assert_eq!(ids, ["web", "batch"]);
    let daily = |budget: &Option<BudgetParams>| budget.as_ref().and_then(|budget| budget.daily).map(|usd| usd.0);
    let of_tenants: Option<u64> = config.tenants.iter().map(|tenant| daily(&tenant.budget)).sum();
    assert!(of_tenants.is_some() && of_tenants <= daily(&config.budget), "what tenants may spend, the pool may");
    // The folder is mounted, so that a file that is replaced is seen.
    assert_eq!(gateway["volumes"][0], "./config:/etc/llmpool:ro");
}

#[test]
fn no_secret_gets_into_the_image() {
    let mut left_out = read("Dockerfile.dockerignore");
    left_out.insert(0, '\n');
    assert!(left_out.contains("\ndeploy/secrets\n"), "where the compose file has them");
}

#[test]
fn the_config_map_is_the_configuration_and_its_folder_is_mounted() {
    let map = manifest("ConfigMap");
    let text = map["data"]["config.jsonc"].as_str().expect("a text");
    assert_eq!(text, read("config/config.jsonc"), "one configuration in two places");
    let deployment = manifest("Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    let gateway = &pod["containers"][0];
    let mounts = gateway["volumeMounts"].as_array().expect("mounts");
    assert!(mounts.iter().all(|mount| mount.get("subPath").is_none()), "one that is mounted alone is never replaced");
    let at = |name: &str| mounts.iter().find(|mount| mount["name"] == name).map(|mount| mount["mountPath"].clone());
    assert_eq!((at("config"), at("keys")), (Some(json!("/etc/llmpool")), Some(json!("/run/secrets"))));
    for (probe, path) in [("livenessProbe", "/live"), ("readinessProbe", "/ready")] {
        assert_eq!(gateway[probe]["httpGet"]["path"], path);
    }
    assert_eq!(
        (&pod["securityContext"]["runAsNonRoot"], &pod["securityContext"]["runAsUser"]),
        (&json!(true), &json!(1000))
    );
    let own = &gateway["securityContext"];
    assert_eq!((&own["allowPrivilegeEscalation"], &own["readOnlyRootFilesystem"]), (&json!(false), &json!(true)));
    assert_eq!(manifest("Service")["spec"]["selector"], deployment["spec"]["selector"]["matchLabels"]);
}

#[test]
fn a_shutdown_is_given_longer_than_it_drains() {
    let keys = ["openai_api_key", "anthropic_api_key", "operator_key", "web_key", "batch_key", "unused"];
    let drain = Secrets::new(&keys).config(&read("config/config.jsonc")).server.drain_timeout.as_secs();
    let grace = manifest("Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64();
    assert!(grace.is_some_and(|grace| grace > drain));
    assert_eq!(
        yaml(&read("compose.yaml"))["services"]["gateway"]["stop_grace_period"],
        format!("{}s", grace.unwrap_or(0))
    );
}
